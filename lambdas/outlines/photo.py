"""Decodes photos."""

from __future__ import annotations

import cv2
import numpy as np


def decode(content: bytes) -> np.ndarray | None:
    """The pixels of a JPEG or PNG file, h x w x 3 uint8 BGR, upright if the file has an EXIF orientation.

    None if they cannot be read.
    """
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # for example, an empty file
        return None
