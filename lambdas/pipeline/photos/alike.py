"""Decides whether two photos show the same shot: one is laid over the other, and no place may look different.

Two documents of the same type on the same table differ in the face and in words, which is a small part of the photo.
Burst photos differ a little along all edges. So the total difference says little. What counts is the place that differs
most, relative to the difference that edges and noise explain there.
"""

import numpy as np
import numpy.typing as npt

from pipeline.photos import GREY_SIDE
from pipeline.photos.prints import PARTS, WINDOWS, Floats

Bools = npt.NDArray[np.bool_]

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


def same_shot(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], start: Floats) -> Bools:
    """Whether each pair of small grey copies (pairs x `GREY_SIDE` x `GREY_SIDE`) shows the same shot. See `starts`."""
    return difference(first, second, start) <= MOST_DIFFERENT


def difference(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], start: Floats) -> Floats:
    """The difference of each pair in its most different place; infinite if the photos have little in common.

    1 is the difference that edges and noise explain. A pair that is found to be the same shot at one level is not
    aligned at the next.
    """
    most = np.full(len(first), np.inf, np.float32)
    pairs = np.arange(len(first))
    ones, others, maps = first.astype(np.float32), second.astype(np.float32), start
    for side, steps in LEVELS:
        one, other = _evened(_smaller(ones, side)), _evened(_smaller(others, side))
        seen = _smaller(((ones < TOO_BRIGHT) & (others < TOO_BRIGHT)).astype(np.float32), side)
        maps = _laid_over(one, other, seen, maps, steps)
        follow = _in_common(one, other, seen, maps) >= LEAST_IN_COMMON if side < GREY_SIDE else np.full(len(maps), True)
        if side >= FINE:
            most[pairs[follow]] = _most_different(_softened(ones[follow]), _softened(others[follow]), maps[follow])
            follow &= (most[pairs] > MOST_DIFFERENT) & (most[pairs] <= HOPELESS)
        pairs, ones, others, maps = pairs[follow], ones[follow], others[follow], maps[follow]
        if not len(pairs):
            break
    return most


def _softened(photos: Floats) -> Floats:
    """The photos without the finest noise: each pixel is averaged with its neighbours (1, 2, 1) across and down."""
    rows = np.pad(photos, ((0, 0), (1, 1), (0, 0)), mode="edge")
    rows = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4
    columns = np.pad(rows, ((0, 0), (0, 0), (1, 1)), mode="edge")
    return (columns[:, :, :-2] + 2 * columns[:, :, 1:-1] + columns[:, :, 2:]) / 4


def _smaller(photos: Floats, side: int) -> Floats:
    many = GREY_SIDE // side
    smaller: Floats = photos.reshape(len(photos), side, many, side, many).mean(axis=(2, 4))
    return smaller


# The contrast, in grey levels, that is not raised.
FAINT = 6.0


def _evened(photos: Floats) -> Floats:
    """The photos with equal brightness and contrast everywhere."""
    reach = photos.shape[1] // 6
    lit = photos - _blurred(photos, reach)
    evened: Floats = lit / np.sqrt(_blurred(lit * lit, reach) + FAINT**2)
    return evened


def _blurred(photos: Floats, reach: int) -> Floats:
    """Each pixel as the mean of the pixels up to ``reach`` around it."""
    for axis in (1, 2):
        beside = [(0, 0), (0, 0), (0, 0)]
        beside[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(photos, beside, mode="edge"), axis=axis)
        ends, starts = np.split(sums, [2 * reach + 1], axis=axis)[1], np.split(sums, [-2 * reach - 1], axis=axis)[0]
        photos = (ends - starts) / (2 * reach + 1)
    return photos


def _places(side: int) -> tuple[Floats, Floats]:
    """The x and y, -0.5 to 0.5, of the pixels of a square, row by row."""
    middle = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    return np.tile(middle, side), np.repeat(middle, side)


_PLACES = {side: _places(side) for side, _ in LEVELS}


def _warped(photos: Floats, maps: Floats) -> tuple[Floats, Floats]:
    """Each photo aligned with its second photo (pairs x pixels), and 1 for each pixel that it covers, otherwise 0."""
    count, side, _ = photos.shape
    x, y = _PLACES[side]
    across = (maps[:, 0:1] * x + maps[:, 1:2] * y + maps[:, 2:3] + 0.5) * side - 0.5
    down = (maps[:, 3:4] * x + maps[:, 4:5] * y + maps[:, 5:6] + 0.5) * side - 0.5
    covers = ((across >= -0.5) & (across <= side - 0.5) & (down >= -0.5) & (down <= side - 0.5)).astype(np.float32)
    across, down = across.clip(0, side - 1.001), down.clip(0, side - 1.001)
    left, top = across.astype(np.int32), down.astype(np.int32)
    right_share, bottom_share = across - left.astype(np.float32), down - top.astype(np.float32)
    at = top * side + left + (np.arange(count, dtype=np.int32) * side * side)[:, None]
    flat = photos.reshape(-1)
    upper = flat[at] + right_share * (flat[at + 1] - flat[at])
    lower = flat[at + side] + right_share * (flat[at + side + 1] - flat[at + side])
    return upper + bottom_share * (lower - upper), covers


def _laid_over(one: Floats, other: Floats, seen: Floats, maps: Floats, steps: int) -> Floats:
    """The best maps after ``steps`` steps of the Gauss-Newton method (Lucas and Kanade, 1981)."""
    count, side, _ = one.shape
    x, y = _PLACES[side]
    slope_down, slope_across = (slope.reshape(count, -1) * side for slope in np.gradient(other, axis=(1, 2)))
    slopes = np.stack(
        [slope_across * x, slope_across * y, slope_across, slope_down * x, slope_down * y, slope_down], axis=1
    )
    target, seen = other.reshape(count, -1), seen.reshape(count, -1)
    best, least = maps, np.full(count, np.inf, np.float32)
    for step in range(steps + 1):
        warped, covers = _warped(one, maps)
        weights = covers * seen
        apart = target - warped
        error = (weights * apart * apart).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-6)
        better = (error < least) & _near(maps)
        best, least = np.where(better[:, None], maps, best), np.where(better, error, least)
        if step < steps:
            # einsum instead of matrix products: OpenBLAS's threads wait for each other at such small matrices.
            weighted = slopes * weights[:, None, :]
            normal = np.einsum("pin,pjn->pij", weighted, slopes)
            steady = (1e-3 / 6) * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-6
            pull = np.einsum("pin,pn->pi", weighted, apart)[:, :, None]
            maps = maps + np.linalg.solve(normal + steady * np.eye(6, dtype=np.float32), pull)[:, :, 0].clip(-0.1, 0.1)
    return best


def _near(maps: Floats) -> Bools:
    """Whether the maps can be of the same shot: nearly no turn, shift and scaling."""
    farthest: Floats = np.abs(maps - np.array([1, 0, 0, 0, 1, 0], np.float32)).max(axis=1)
    return farthest <= FARTHEST


def _in_common(one: Floats, other: Floats, seen: Floats, maps: Floats) -> Floats:
    """The correlation of the photos where both show something."""
    warped, covers = _warped(one, maps)
    weights = covers * seen.reshape(len(seen), -1)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    target = other.reshape(len(other), -1)
    warped = warped - (weights * warped).sum(axis=1, keepdims=True)
    target = target - (weights * target).sum(axis=1, keepdims=True)
    both, own, others = ((weights * product).sum(axis=1) for product in (warped * target, warped**2, target**2))
    correlation: Floats = both / np.sqrt(np.maximum(own * others, 1e-12))
    return correlation


def _most_different(ones: Floats, others: Floats, maps: Floats) -> Floats:
    warped, covers = (pixels.reshape(others.shape) for pixels in _warped(ones, maps))
    seen = covers * (warped < TOO_BRIGHT) * (others < TOO_BRIGHT)
    seen[:, :EDGE] = seen[:, -EDGE:] = seen[:, :, :EDGE] = seen[:, :, -EDGE:] = 0
    # A linear function, around each place, that adapts the brightness of one photo to the other.
    some = _blurred(seen, AROUND) + 1e-6
    mean, other_mean = _blurred(seen * warped, AROUND) / some, _blurred(seen * others, AROUND) / some
    both = _blurred(seen * warped * others, AROUND) / some - mean * other_mean
    own = _blurred(seen * warped * warped, AROUND) / some - mean * mean
    left = others - (both + PICTURE) / (own + PICTURE) * (warped - mean) - other_mean
    down, across = np.gradient(others, axis=(1, 2))
    steepness = np.square(down) + np.square(across)
    explained = NOISE**2 + BESIDE**2 * _blurred(steepness, 2)
    different = _blurred(seen * left * left, 1) / explained * (_blurred(seen, 1) > LEAST_SEEN)
    most: Floats = different.max(axis=(1, 2))
    return most
