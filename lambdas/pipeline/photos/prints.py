"""Fingerprints of photos: numbers that change little when a photo is recompressed, cropped a little or brightened.

Like a perceptual hash, a fingerprint has the lowest frequencies of the photo, and also of some windows in the photo. A
cropped photo is similar to one of the windows of the whole photo. ImageHash's hashes do not recognise a photo that was
cropped by 5 %, and ImageHash needs SciPy (120 MB).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.photos import GREY_SIDE

Floats = npt.NDArray[np.floating[Any]]

FREQUENCIES = 8
NUMBERS = FREQUENCIES * FREQUENCIES - 1
"""The numbers of a window: the lowest frequencies of a cosine transform, without the brightness."""

# Parts of a side, from 0 to 1: the whole, three of 95 %, one of 90 %.
WHOLE, LOW, MIDDLE, HIGH, INNER = range(5)
PARTS = np.array([(0, 1), (0, 0.95), (0.025, 0.975), (0.05, 1), (0.05, 0.95)])
PLACED = (LOW, MIDDLE, HIGH)


class Window(NamedTuple):
    """A part of the photo's height and a part of its width, both as places in `PARTS`."""

    down: int
    across: int


# Grey levels. A window whose frequencies are all weaker shows nothing.
FAINTEST = 1.0

# All windows of a photo are in the index. The first `ASKED` windows of a photo are looked up in it.
WINDOWS = [Window(WHOLE, WHOLE), Window(MIDDLE, MIDDLE), Window(INNER, INNER)]
ASKED = len(WINDOWS)
WINDOWS += [Window(down, across) for down in PLACED for across in PLACED if (down, across) != (MIDDLE, MIDDLE)]


def _waves(low: float, high: float) -> Floats:
    """The cosine waves, one in each row, that measure the pixels of a side between ``low`` and ``high`` (0 to 1)."""
    edges = np.arange(GREY_SIDE + 1) / GREY_SIDE
    covered = np.clip(edges[1:], low, high) - np.clip(edges[:-1], low, high)  # the covered part of each pixel
    place = ((edges[1:] + edges[:-1]) / 2 - low) / (high - low)
    waves = np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * place) * covered / (high - low)
    waves[1:] *= np.sqrt(2)
    return waves.astype(np.float32)


WAVES = np.concatenate([_waves(low, high) for low, high in PARTS])


def fingerprint(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """The fingerprint, `WINDOWS` x `NUMBERS`, of a small grey copy (`GREY_SIDE` x `GREY_SIDE`).

    The numbers of a window are scaled so that its largest is 127 or -127. Those of a photo in one colour are near 0.
    """
    measured = (WAVES @ grey.astype(np.float32) @ WAVES.T).reshape(len(PARTS), FREQUENCIES, len(PARTS), FREQUENCIES)
    numbers = np.stack([measured[window.down, :, window.across].reshape(-1)[1:] for window in WINDOWS])
    largest = np.abs(numbers).max(axis=1, keepdims=True)
    scaled: npt.NDArray[np.int8] = np.rint(numbers * (127 / np.maximum(largest, FAINTEST))).astype(np.int8)
    return scaled
