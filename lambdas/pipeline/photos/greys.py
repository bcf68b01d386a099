"""Decodes small grey copies."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def opened(grey: bytes) -> npt.NDArray[np.uint8]:
    """The pixels of a small grey copy, `GREY_SIDE` x `GREY_SIDE`."""
    return np.asarray(Image.open(io.BytesIO(grey), formats=("JPEG",)))
