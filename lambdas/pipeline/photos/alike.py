"""Decides whether two photos show the same shot: one is laid over the other, and no place may look different.

Two documents of the same type on the same table differ in the face and in words, which is a small part of the photo.
Burst photos differ a little along all edges. So the total difference says little. What counts is the place that differs
most, relative to the difference that edges and noise explain there.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.photos import GREY_SIDE
from pipeline.photos.prints import PARTS, WINDOWS

# OpenCV's type hints say no more. All arrays but the small grey copies have type float32.
Floats = npt.NDArray[Any]

# At such small pictures, OpenCV's threads cost more than they save.
cv2.setNumThreads(1)

# Photos are aligned from coarse to fine: the side in pixels, and the number of steps.
LEVELS = ((32, 6), (64, 4), (128, 2))
# Pairs with a lower correlation are dropped. Photos of different scenes have at most 0.3.
LEAST_IN_COMMON = 0.8
# Places are compared from this side on, in pixels.
FINE = 64
# The error of the alignment, in pixels of the small grey copy, and the noise of a photo, in grey levels.
BESIDE, NOISE = 0.4, 8.0
# The largest squared difference of a place of 3x3 pixels, relative to that error and noise. 99 of 100 photos
# of the same shot differ less. 99 of 100 documents in the place of another differ more, nearly all by more than 6.
MOST_DIFFERENT = 4.0
# Pairs that differ more before the last level are not aligned further, because they stay above `MOST_DIFFERENT`.
HOPELESS = 16.0
# Brightness and contrast are compared within this many pixels around a place, because cameras and editors change them.
AROUND = 8
# The squared contrast above which a place shows something. Below, it is noise, and contrast is not made equal.
PICTURE = 64
# Brighter pixels may be clipped and are not compared.
TOO_BRIGHT = 245
# The least share of a place that both photos must show.
LEAST_SEEN = 0.6
# The largest share of a side by which a photo may be shifted or cropped relative to the other.
FARTHEST = 0.13
# Pixels along the edges that are not compared, because crops and turns show other things there.
EDGE = 4


def starts(asked: npt.NDArray[np.intp], found: npt.NDArray[np.intp]) -> Floats:
    """The first alignment of each pair, in which window ``asked`` of the first photo is window ``found`` of the second.

    Returns:
        Six numbers for each pair: the affine map (2 x 3) from places in the second photo to places in the first. Places
        are from -0.5 to 0.5.
    """
    windows = np.array(WINDOWS)
    maps = np.zeros((len(asked), 2, 3), np.float32)
    for row, axis in ((0, 1), (1, 0)):  # x is across, y is down
        first, second = PARTS[windows[asked][:, axis]], PARTS[windows[found][:, axis]]
        scale = (first[:, 1] - first[:, 0]) / (second[:, 1] - second[:, 0])
        maps[:, row, row] = scale
        maps[:, row, 2] = first.mean(axis=1) - 0.5 - scale * (second.mean(axis=1) - 0.5)
    return maps.reshape(-1, 6)


def same_shot(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], start: Floats) -> bool:
    """Whether two small grey copies (`GREY_SIDE` x `GREY_SIDE`) show the same shot. ``start`` is from `starts`."""
    return difference(first, second, start) <= MOST_DIFFERENT


def difference(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], start: Floats) -> float:
    """The difference of two small grey copies in their most different place; infinite if they have little in common.

    1 is the difference that edges and noise explain. Photos that are found to be the same shot at one level are not
    aligned at the next.
    """
    one, other = first.astype(np.float32), second.astype(np.float32)
    unclipped = ((first < TOO_BRIGHT) & (second < TOO_BRIGHT)).astype(np.float32)
    aligned, most = start, np.inf
    for side, steps in LEVELS:
        pair = _Pair(_evened(_smaller(one, side)), _evened(_smaller(other, side)), _smaller(unclipped, side))
        aligned = pair.aligned(aligned, steps)
        if side < GREY_SIDE and pair.in_common(aligned) < LEAST_IN_COMMON:
            break
        if side >= FINE:
            most = _most_different(_softened(one), _softened(other), aligned)
            if not MOST_DIFFERENT < most <= HOPELESS:
                break
    return most


def _softened(photo: Floats) -> Floats:
    """The photo without the finest noise: each pixel is averaged with its neighbours (1, 2, 1) across and down."""
    return cv2.sepFilter2D(photo, -1, _SOFTENS, _SOFTENS, borderType=cv2.BORDER_REPLICATE)


_SOFTENS = np.array([1, 2, 1], np.float32) / 4


def _smaller(photo: Floats, side: int) -> Floats:
    return cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)


# The contrast, in grey levels, that is not raised.
FAINT = 6.0


def _evened(photo: Floats) -> Floats:
    """The photo with equal brightness and contrast everywhere."""
    reach = photo.shape[1] // 6
    lit = photo - _blurred(photo, reach)
    evened: Floats = lit / np.sqrt(_blurred(lit * lit, reach) + np.float32(FAINT**2))
    return evened


def _blurred(photo: Floats, reach: int) -> Floats:
    """Each pixel as the mean of the pixels up to ``reach`` around it."""
    return cv2.blur(photo, (2 * reach + 1, 2 * reach + 1), borderType=cv2.BORDER_REPLICATE)


def _slopes(photo: Floats) -> tuple[Floats, Floats]:
    """How fast the photo gets brighter, in grey levels a pixel, across and down."""
    across, down = (cv2.filter2D(photo, -1, kernel, borderType=cv2.BORDER_REPLICATE) for kernel in (_RISES, _RISES.T))
    return across, down


_RISES = np.array([[-0.5, 0, 0.5]], np.float32)


def _places(side: int) -> tuple[Floats, Floats]:
    """The x and y, -0.5 to 0.5, of the pixels of a square."""
    middle = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    return np.tile(middle, (side, 1)), np.tile(middle[:, None], side)


_PLACES = {side: _places(side) for side, _ in LEVELS}


def _warped(photo: Floats, aligned: Floats) -> tuple[Floats, Floats]:
    """The photo aligned with its second photo, and 1 for each pixel that it covers, otherwise 0."""
    side = photo.shape[1]
    # From places to pixels: pixel = (place + 0.5) * side - 0.5.
    pixels = aligned.reshape(2, 3).copy()
    pixels[:, 2] = (pixels[:, 2] + 0.5) * side - 0.5 - (pixels[:, :2].sum(axis=1) * (side - 1)) / 2
    warp = cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(photo, pixels, (side, side), flags=warp | cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    covers = cv2.warpAffine(np.ones_like(photo), pixels, (side, side), flags=warp | cv2.INTER_NEAREST)
    return warped, covers


_NOTHING = np.empty(0, np.float32)


class _Pair(NamedTuple):
    """Two photos at one level. ``seen`` is the share of each pixel of the second photo that may be compared."""

    one: Floats
    other: Floats
    seen: Floats

    def aligned(self, start: Floats, steps: int) -> Floats:
        """The best map after ``steps`` steps of the Gauss-Newton method (Lucas and Kanade, 1981)."""
        side = self.one.shape[1]
        x, y = _PLACES[side]
        across, down = (slope * side for slope in _slopes(self.other))
        slopes = np.stack([across * x, across * y, across, down * x, down * y, down]).reshape(6, -1)
        aligned, best, least = start, start, np.inf
        for step in range(steps + 1):
            warped, covers = _warped(self.one, aligned)
            weights = covers * self.seen
            apart = self.other - warped
            weighted = weights * apart
            error = cv2.sumElems(weighted * apart)[0] / max(cv2.sumElems(weights)[0], 1e-6)
            if error < least and _near(aligned):
                best, least = aligned, error
            if step < steps:
                # gemm, because OpenBLAS's threads wait for each other at such small matrices.
                normal = cv2.gemm(slopes * weights.reshape(-1), slopes, 1, _NOTHING, 0, flags=cv2.GEMM_2_T)
                pull = cv2.gemm(slopes, weighted.reshape(-1, 1), 1, _NOTHING, 0)
                steady = 1e-3 / 6 * np.trace(normal) + 1e-6
                step_by = np.linalg.solve(normal + steady * np.eye(6, dtype=np.float32), pull)[:, 0]
                aligned = aligned + step_by.clip(-0.1, 0.1)
        return best

    def in_common(self, aligned: Floats) -> float:
        """The correlation of the photos where both show something."""
        warped, covers = _warped(self.one, aligned)
        weights = covers * self.seen
        weights = weights / max(cv2.sumElems(weights)[0], 1e-6)
        own = warped - cv2.sumElems(weights * warped)[0]
        other = self.other - cv2.sumElems(weights * self.other)[0]
        both, ones, others = (cv2.sumElems(weights * product)[0] for product in (own * other, own * own, other * other))
        return both / float(np.sqrt(max(ones * others, 1e-12)))


def _near(aligned: Floats) -> bool:
    """Whether the map can be of the same shot: nearly no turn, shift and scaling."""
    return bool(np.abs(aligned - _UNCHANGED).max() <= FARTHEST)


_UNCHANGED = np.array([1, 0, 0, 0, 1, 0], np.float32)


def _most_different(one: Floats, other: Floats, aligned: Floats) -> float:
    warped, covers = _warped(one, aligned)
    seen = covers * (warped < TOO_BRIGHT) * (other < TOO_BRIGHT)
    seen[:EDGE] = seen[-EDGE:] = seen[:, :EDGE] = seen[:, -EDGE:] = 0
    # A linear function, around each place, that adapts the brightness of one photo to the other.
    some = _blurred(seen, AROUND) + np.float32(1e-6)
    seen_warped = seen * warped
    mean, other_mean = _blurred(seen_warped, AROUND) / some, _blurred(seen * other, AROUND) / some
    both = _blurred(seen_warped * other, AROUND) / some - mean * other_mean
    own = _blurred(seen_warped * warped, AROUND) / some - mean * mean
    left = other - (both + PICTURE) / (own + PICTURE) * (warped - mean) - other_mean
    across, down = _slopes(other)
    explained = np.float32(NOISE**2) + np.float32(BESIDE**2) * _blurred(down * down + across * across, 2)
    different = _blurred(seen * left * left, 1) / explained * (_blurred(seen, 1) > LEAST_SEEN)
    return float(different.max())
