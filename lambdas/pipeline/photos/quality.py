"""The quality of a photo: figures that tell how well a document can be found in it."""

from typing import NamedTuple

from PIL import Image, ImageFilter, ImageStat

LONG_SIDE = 512
"""A larger photo is first reduced to this longer side, in pixels, so that figures are comparable."""

# The difference of a pixel from the mean of its four neighbours, -255 to 255, as half of it plus 128.
EDGES = ImageFilter.Kernel((3, 3), (0, -1, 0, -1, 4, -1, 0, -1, 0), scale=8, offset=128)
EDGES_SCALE = 2


class Quality(NamedTuple):
    """``sharpness`` is the usual difference of a pixel from its neighbours (grey levels), ``brightness`` is 0 to 1."""

    sharpness: float
    brightness: float


def quality(photo: Image.Image) -> Quality:
    """The figures of a photo in grey (mode L)."""
    longest = max(photo.size)
    if longest > LONG_SIDE:
        width, height = (max(3, round(side * LONG_SIDE / longest)) for side in photo.size)
        photo = photo.resize((width, height), Image.Resampling.BOX)
    # Pillow does not filter the outermost pixels.
    edges = photo.filter(EDGES).crop((1, 1, photo.width - 1, photo.height - 1))
    return Quality(
        round(EDGES_SCALE * ImageStat.Stat(edges).stddev[0], 2), round(ImageStat.Stat(photo).mean[0] / 255, 3)
    )
