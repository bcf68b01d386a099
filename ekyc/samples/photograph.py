"""Photographs documents: arranges the scene, projects it through a camera, and adds light, lens and sensor effects."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ekyc.samples import documents, objects, surfaces
from ekyc.samples.artwork import Sprite, disc, noise

LONG_SIDE = 800


@dataclass(frozen=True)
class Photograph:
    """A finished photo: JPEG bytes, its size in pixels, and the outline of every document (4 x 2, pixels).

    The outline's corners are the document's own top left, top right, bottom right and bottom left. They may lie
    outside the frame. Pixel (0, 0) covers the square from 0 to 1.
    """

    jpeg: bytes
    width: int
    height: int
    outlines: list[tuple[str, np.ndarray]]


def take(names: Sequence[str], rng: np.random.Generator) -> Photograph:
    """Photograph documents of the types `names` (zero to two) in a random scene."""
    short = int(rng.choice([533, 600]))
    width, height = (LONG_SIDE, short) if rng.random() < 0.65 and len(names) < 2 else (short, LONG_SIDE)
    cards = [documents.draw(name, rng) for name in names]
    poses = _place_documents(cards, rng)
    is_held = len(cards) == 1 and rng.random() < 0.14
    view = _camera_matrix(cards, poses, width, height, rng, may_cut=not is_held)
    places = [view @ pose for pose in poses]

    angle = rng.uniform(0, 2 * np.pi)
    shadows = 0.6 * np.array([np.cos(angle), np.sin(angle)])  # offset in mm for each mm of an object's height
    if is_held:
        image = surfaces.room(rng, width, height)
    else:
        image = _table(view, width, height, rng)
        things = [objects.pick(rng) for _ in range(int(rng.integers(1, 6)) if cards else int(rng.integers(3, 8)))]
        for thing in sorted(things, key=lambda thing: thing.height_mm):
            _paint_object(image, thing, view @ _beside(thing, rng, poses), view, shadows)
        if not cards and rng.random() < 0.6:  # an object that resembles a document
            place = _pose_matrix(rng.uniform(-20, 20, 2), rng.uniform(0, 2 * np.pi))
            _paint_object(image, objects.loyalty_card(rng), view @ place, view, shadows)
    outlines = []
    for name, card, place in zip(names, cards, places, strict=True):
        if not is_held:
            _darken_shadow(image, card, place, view, shadows * 0.9)
        _paint_sprite(image, card, place)
        across, down = documents.TYPES[name].size_mm
        corners = np.array([[[0, 0], [across, 0], [across, down], [0, down]]], np.float64)
        outlines.append((name, cv2.perspectiveTransform(corners, place)[0]))
    if is_held:
        _paint_thumbs(image, cards[0], view, poses[0], rng)
    elif cards and rng.random() < 0.3:
        _cover_edge(image, cards[0], view, poses[0], shadows, rng)
    image = _develop(image, [outline for _, outline in outlines], rng)
    quality = int(rng.integers(78, 94))
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return Photograph(jpeg, width, height, outlines)


# --- positions on the table, a plane in millimetres


def _pose_matrix(at: np.ndarray, angle: float, middle: tuple[float, float] = (0, 0)) -> np.ndarray:
    """The 3 x 3 matrix that rotates an object by `angle` and moves its `middle` (mm) to the point `at`."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, at[0]], [sin, cos, at[1]], [0, 0, 1]])
    return turn @ np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1]])


def _size_mm(sprite: Sprite) -> tuple[float, float]:
    height, width = sprite.mask.shape
    return width / sprite.pixels_per_mm, height / sprite.pixels_per_mm


def _place_documents(cards: Sequence[Sprite], rng: np.random.Generator) -> list[np.ndarray]:
    """A pose for each document: mostly near upright, at times at any angle. Two documents lie one above the other."""
    kind = rng.random()
    angle = rng.normal(0, 0.16) if kind < 0.7 else rng.uniform(-0.8, 0.8) if kind < 0.88 else rng.uniform(-3.14, 3.14)
    poses = []
    for place, card in enumerate(cards):
        across, down = _size_mm(card)
        shift = np.array([rng.uniform(-12, 12), (place - 0.5) * 98]) if len(cards) > 1 else np.zeros(2)
        lean = rng.normal(0, 0.05) if len(cards) > 1 else 0
        cos, sin = np.cos(angle), np.sin(angle)
        at = np.array([cos * shift[0] - sin * shift[1], sin * shift[0] + cos * shift[1]])
        poses.append(_pose_matrix(at, angle + lean, (across / 2, down / 2)))
    return poses


def _camera_matrix(
    cards: Sequence[Sprite],
    poses: Sequence[np.ndarray],
    width: int,
    height: int,
    rng: np.random.Generator,
    may_cut: bool,
) -> np.ndarray:
    """The 3 x 3 matrix from the table (mm) to the photo (pixels): a tilted pinhole camera, then zoom and shift."""
    tilt, side = np.radians(40) * rng.beta(1.3, 2.2), rng.uniform(0, 2 * np.pi)
    spin = np.array([[np.cos(side), -np.sin(side), 0], [np.sin(side), np.cos(side), 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    rotation = spin.T @ lean @ spin
    distance = rng.uniform(260, 420)
    camera = np.column_stack([rotation[:, 0], rotation[:, 1], [0, 0, distance]])
    points = [np.array([[-60.0, -45], [60, -45], [60, 45], [-60, 45]])] if not cards else []
    for card, pose in zip(cards, poses, strict=True):
        across, down = _size_mm(card)
        corners = np.array([[[0, 0], [across, 0], [across, down], [0, down]]])
        points.append(cv2.perspectiveTransform(corners, pose)[0])
    projected = cv2.perspectiveTransform(np.concatenate(points)[None], camera)[0]
    low, span = projected.min(axis=0), np.ptp(projected, axis=0)
    frame = np.array([width, height])
    zoom = (rng.uniform(0.52, 0.93) if len(cards) < 2 else rng.uniform(0.8, 0.94)) * (frame / span).min()
    room = frame - span * zoom
    left_top = room * (0.5 + rng.uniform(-0.4, 0.4, 2))
    if may_cut and len(cards) == 1 and rng.random() < 0.12:  # part of it is out of the frame
        axis = int(rng.integers(2))
        out = span[axis] * zoom * rng.uniform(0.06, 0.26)
        left_top[axis] = -out if rng.random() < 0.5 else room[axis] + out
    shift = left_top - low * zoom
    return np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1]]) @ camera


def _beside(thing: objects.Object, rng: np.random.Generator, poses: Sequence[np.ndarray]) -> np.ndarray:
    """A pose on the table. Paper may lie under the document, a cup may not."""
    reach = rng.uniform(55, 110)
    if thing.height_mm > 3 and poses:
        reach = rng.uniform(50, 85) + max(_size_mm(thing.sprite)) / 2 + 45 * (len(poses) - 1)
    angle = rng.uniform(0, 2 * np.pi)
    return _pose_matrix(reach * np.array([np.cos(angle), np.sin(angle)]), rng.uniform(0, 2 * np.pi))


def _paint_object(
    image: np.ndarray, thing: objects.Object, place: np.ndarray, view: np.ndarray, shadows: np.ndarray
) -> None:
    """Paint an object with its middle at `place`, and its shadow."""
    across, down = _size_mm(thing.sprite)
    place = place @ _pose_matrix(np.zeros(2), 0, (across / 2, down / 2))
    _darken_shadow(image, thing.sprite, place, view, shadows * thing.height_mm)
    _paint_sprite(image, thing.sprite, place)


def _paint_thumbs(
    image: np.ndarray, card: Sprite, view: np.ndarray, pose: np.ndarray, rng: np.random.Generator
) -> None:
    """Paint one or two thumbs over the edges of a document that is held up."""
    thumb = objects.finger(rng)
    across, down = _size_mm(card)
    spots = [((across * rng.uniform(0.3, 0.7), down), np.pi / 2)]
    if rng.random() < 0.5:
        spots = [
            ((0, down * rng.uniform(0.45, 0.8)), np.pi * 0.85),
            ((across, down * rng.uniform(0.45, 0.8)), np.pi * 0.15),
        ]
    for spot, direction in spots:
        inside = np.array(spot) - rng.uniform(5, 10) * np.array([np.cos(direction), np.sin(direction)])
        _paint_finger(image, thumb, pose @ _pose_matrix(inside, direction + rng.normal(0, 0.12)), view)


def _cover_edge(
    image: np.ndarray,
    card: Sprite,
    view: np.ndarray,
    pose: np.ndarray,
    shadows: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Cover an edge of the document with a finger or an object."""
    across, down = _size_mm(card)
    side = int(rng.integers(4))
    direction = side * np.pi / 2 + rng.normal(0, 0.2)
    along = rng.uniform(0.15, 0.85)
    edge = [(across, down * along), (across * along, down), (0, down * along), (across * along, 0)][side]
    outwards = np.array([np.cos(direction), np.sin(direction)])
    if rng.random() < 0.5:
        tip = pose @ _pose_matrix(np.array(edge) - rng.uniform(5, 13) * outwards, direction)
        _paint_finger(image, objects.finger(rng), tip, view)
        return
    thing = [objects.pen, objects.coin, objects.sticky_note, objects.receipt, objects.leaf][int(rng.integers(5))](rng)
    wide = _size_mm(thing.sprite)[0]
    angle = direction + rng.normal(0, 0.25)
    middle = np.array(edge) + (wide / 2 - rng.uniform(6, 15)) * outwards
    _paint_object(image, thing, view @ pose @ _pose_matrix(middle, angle), view, shadows)


def _paint_finger(image: np.ndarray, finger: objects.Object, tip: np.ndarray, view: np.ndarray) -> None:
    """Paint a finger with its tip at the pose `tip` (a matrix from millimetres to the table)."""
    place = view @ tip @ _pose_matrix(np.zeros(2), 0, (0, _size_mm(finger.sprite)[1] / 2))
    _darken_shadow(image, finger.sprite, place, view, np.array([1.2, 1.6]))
    _paint_sprite(image, finger.sprite, place)


# --- painting sprites into the photo


def _table(view: np.ndarray, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    texture = surfaces.pick(rng)
    scale = surfaces.SIDE_MM / texture.shape[0]
    middle = surfaces.SIDE_MM / 2
    spot = _pose_matrix(rng.uniform(-15, 15, 2), rng.uniform(0, 2 * np.pi), (middle, middle))
    matrix = view @ spot @ np.diag([scale, scale, 1])
    return cv2.warpPerspective(
        texture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def _window(image: np.ndarray, sprite: Sprite, place: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """The rows and columns of the photo that a sprite may cover, or None when the sprite is outside the frame."""
    across, down = _size_mm(sprite)
    corners = np.array([[[0, 0], [across, 0], [across, down], [0, down]]])
    depth = (place @ np.array([[0, across, across, 0], [0, 0, down, down], [1, 1, 1, 1]]))[2]
    if depth.min() <= 0:
        return None
    projected = cv2.perspectiveTransform(corners, place)[0]
    height, width = image.shape[:2]
    left, top = np.maximum(np.floor(projected.min(axis=0)).astype(int) - margin, 0)
    right, bottom = np.minimum(np.ceil(projected.max(axis=0)).astype(int) + margin, (width, height))
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _pixels_to_window(sprite_scale: float, place: np.ndarray, left: int, top: int) -> np.ndarray:
    """The matrix from a sprite's pixel centres to a window's. Pixel centres have an offset of half a pixel."""
    enter = np.array([[1 / sprite_scale, 0, 0.5 / sprite_scale], [0, 1 / sprite_scale, 0.5 / sprite_scale], [0, 0, 1]])
    leave = np.array([[1, 0, -0.5 - left], [0, 1, -0.5 - top], [0, 0, 1]])
    return leave @ place @ enter


def _paint_sprite(image: np.ndarray, sprite: Sprite, place: np.ndarray) -> None:
    """Paint the sprite into the photo, in place. `place` is the 3 x 3 matrix from its millimetres to the photo."""
    window = _window(image, sprite, place, 2)
    if window is None:
        return
    rows, columns = window
    pixels, mask, scale = sprite.image, sprite.mask, sprite.pixels_per_mm
    across, down = _size_mm(sprite)
    corners = np.array([[[0, 0], [across, 0], [across, down], [0, down]]], np.float32)
    area_ratio = cv2.contourArea(cv2.perspectiveTransform(corners, place)[0].astype(np.float32)) / mask.size
    if area_ratio < 0.5:  # a warp alone would skip pixels and alias
        shrink = max(0.2, float(np.sqrt(area_ratio)) * 1.25)
        height, width = round(mask.shape[0] * shrink), round(mask.shape[1] * shrink)
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        scale *= width / sprite.mask.shape[1]
    matrix = _pixels_to_window(scale, place, columns.start, rows.start)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    drawn = cv2.warpPerspective(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpPerspective(mask, matrix, size, flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    image[rows, columns] = cv2.blendLinear(drawn, np.ascontiguousarray(image[rows, columns]), cover, 1 - cover)


def _darken_shadow(
    image: np.ndarray, sprite: Sprite, place: np.ndarray, view: np.ndarray, offset_mm: np.ndarray
) -> None:
    """Darken the photo, in place, under the sprite's soft shadow. `offset_mm` moves the shadow on the table."""
    moved = view @ np.array([[1, 0, offset_mm[0]], [0, 1, offset_mm[1]], [0, 0, 1]]) @ np.linalg.inv(view) @ place
    soft = 2.0 + 2.2 * float(np.hypot(*offset_mm))
    window = _window(image, sprite, moved, round(3 * soft))
    if window is None:
        return
    rows, columns = window
    matrix = np.diag([0.5, 0.5, 1]) @ _pixels_to_window(sprite.pixels_per_mm, moved, columns.start, rows.start)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    mask = cv2.warpPerspective(sprite.mask, matrix, (size[0] // 2 + 1, size[1] // 2 + 1), flags=cv2.INTER_LINEAR)
    mask = cv2.blur(cv2.blur(mask, (round(soft) + 1,) * 2), (round(soft) + 1,) * 2)
    light = cv2.resize(255 - mask // 2, size, interpolation=cv2.INTER_LINEAR)
    image[rows, columns] = cv2.multiply(image[rows, columns], cv2.merge([light] * 3), scale=1 / 255)


# --- light, lens, sensor


def _develop(image: np.ndarray, outlines: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    low_w, low_h = width // 8, height // 8
    x, y = np.meshgrid(np.linspace(-1, 1, low_w, dtype=np.float32), np.linspace(-1, 1, low_h, dtype=np.float32))
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0.03, 0.22) * (np.cos(angle) * x + np.sin(angle) * y)
    light *= 1 - rng.uniform(0.02, 0.12) * (x**2 + y**2)
    light *= 0.95 + 0.1 * noise(rng, low_h, low_w, 2, 3)
    if rng.random() < 0.3:  # the photographer's, or a window frame's, shadow
        light *= _shadow(low_w, low_h, rng)
    exposure = np.clip(rng.normal(0.99, 0.1), 0.65, 1.2)
    warmth = rng.normal(0, 0.05)
    gains = np.array([1 - warmth, 1 + rng.normal(0, 0.012), 1 + warmth], np.float32) * exposure
    shine = np.zeros((low_h, low_w), np.float32)
    if outlines and rng.random() < 0.22:
        spot = outlines[0].mean(axis=0) / 8 + rng.uniform(-0.25, 0.25, 2) * np.ptp(outlines[0], axis=0) / 8
        cv2.ellipse(
            shine,
            (int(spot[0]), int(spot[1])),
            (int(rng.integers(3, 9)), int(rng.integers(2, 5))),
            float(rng.uniform(0, 180)),
            0,
            360,
            float(rng.uniform(160, 300)),
            -1,
        )
        shine = cv2.GaussianBlur(shine, (0, 0), float(rng.uniform(2, 4)))
    light = cv2.resize(light[..., None] * gains, (width, height), interpolation=cv2.INTER_LINEAR)
    shine = cv2.resize(shine, (width, height), interpolation=cv2.INTER_LINEAR)

    image = _blur(image, rng)
    added = rng.standard_normal((height, width), np.float32)
    added = added * np.float32(rng.uniform(1.5, 6)) + shine
    image = cv2.multiply(image, light, dtype=cv2.CV_32F)
    return cv2.add(image, cv2.merge([added] * 3), dtype=cv2.CV_8U)


def _shadow(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((height, width, 3), np.uint8)
    reach = max(width, height)
    at, angle = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:  # a head and shoulders, or a hand with a telephone
        disc(mask, at[0], at[1], reach * rng.uniform(0.12, 0.25), (255, 255, 255))
    far = at + reach * 1.5 * np.array([np.cos(angle), np.sin(angle)])
    cv2.line(mask, tuple(at.astype(int)), tuple(far.astype(int)), (255, 255, 255), int(reach * rng.uniform(0.15, 0.4)))
    soft = cv2.GaussianBlur(mask[..., 0], (0, 0), float(rng.uniform(1.5, 5)))
    return 1 - soft.astype(np.float32) / 255 * rng.uniform(0.15, 0.38)


def _blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    if kind < 0.16:  # the hand moved
        length, angle = int(rng.integers(3, 8)), rng.uniform(0, np.pi)
        kernel = np.zeros((9, 9), np.float32)
        reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        start, end = np.round((4 - reach) * 16).astype(int), np.round((4 + reach) * 16).astype(int)
        cv2.line(kernel, tuple(start), tuple(end), 1.0, 1, cv2.LINE_8, 4)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    if kind < 0.5:  # not quite in focus
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.5)))
    return image
