"""The outlines of documents are learned from boxes and found in boxes. What cannot be trusted gets no confidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

import outlines
from outlines import Box, Outline, Outlines
from outlines.comparison import Summary
from outlines.corners import four_corners
from outlines.model import MOST_KEY_POINTS, Type, texture_shape
from tests.drawn_documents import FRAME, TYPES, draw_document, photograph

WIDTH = 260


def photos_of(*labels: str, count: int = 5) -> tuple[list[np.ndarray], list[list[Box]], list[list[np.ndarray]]]:
    """``count`` photos of each type, more or less upright, with their boxes and true corners."""
    random = np.random.default_rng(1)
    taken = []
    for number in range(count * len(labels)):
        centre = (240 + random.uniform(-40, 40), 180 + random.uniform(-30, 30))
        document = (labels[number % len(labels)], random.uniform(-35, 35), centre, random.uniform(220, 300))
        taken.append(photograph([document], number))
    return [image for image, _, _ in taken], [boxes for _, boxes, _ in taken], [corners for _, _, corners in taken]


@pytest.fixture(scope="module")
def learned() -> Outlines:
    photos, boxes, _ = photos_of(*TYPES)
    return outlines.learn(photos, boxes)


def frame_of(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.width, box.height


def new_photo(label: str, angle: float, seed: int = 500) -> tuple[np.ndarray, Box, np.ndarray]:
    """A photo of one document that learning did not see, with its box and true corners."""
    image, (box,), (corners,) = photograph([(label, angle, (230, 190), WIDTH)], seed)
    return image, box, corners


def error(found: Outline | None, corners: np.ndarray) -> float:
    """The largest distance of a corner from the true one, in widths of the document."""
    assert found is not None
    return float(np.linalg.norm(found.corners - corners, axis=1).max() / WIDTH)


@pytest.mark.parametrize("label", TYPES)
@pytest.mark.parametrize("angle", [10, 95, 180, -60])
def test_finds_the_corners_however_it_is_turned(learned: Outlines, label: str, angle: float) -> None:
    # Given a new photo, and the box of a detector that is up to 4 % off on each side
    image, box, corners = new_photo(label, angle)
    off = 0.04 * np.array([box.width, -box.height])
    rough = (box.left - off[0], box.top - off[1], box.width + off[0], box.height + 2 * off[1])
    # When the outline is looked for
    found = outlines.find(image, rough, label, learned)
    # Then its corners are the true ones, from the document's own top left, and certain
    assert error(found, corners) < 0.03
    assert found is not None
    assert found.confidence > 0.8
    # And a grey photo gives the same
    assert error(outlines.find(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), rough, label, learned), corners) < 0.03


def test_each_of_two_documents_has_its_own_outline(learned: Outlines) -> None:
    # Given two documents of one type side by side
    documents = [("PERMIT", 5, (120, 170), 200), ("PERMIT", -10, (350, 180), 200)]
    image, boxes, corners = photograph(documents, 7)
    # When the outline of each box is looked for, then it is that of the document in the box
    for box, truth in zip(boxes, corners, strict=True):
        assert error(outlines.find(image, frame_of(box), "PERMIT", learned), truth) < 0.05


def test_corners_are_pixels_of_a_large_photo(learned: Outlines) -> None:
    # Given a photo of 2,880 pixels, larger than what is worked on
    image, box, corners = new_photo("ID_CARD", 12)
    large = cv2.resize(image, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    left, top, width, height = frame_of(box)
    # When the outline is looked for, then its corners are pixels of that photo
    found = outlines.find(large, (6 * left, 6 * top, 6 * width, 6 * height), "ID_CARD", learned)
    assert error(found, 6 * corners) < 6 * 0.03


def test_there_is_no_outline_of_nothing(learned: Outlines) -> None:
    # Given photos without a document and a box of each, one outside the photo, without a size or not a number
    image, box, _ = new_photo("PERMIT", 0)
    nothing, _, _ = photograph([], 9)
    blank = np.full_like(image, 255)
    middle = (100.0, 80.0, 280.0, 180.0)
    # When an outline is looked for, then there is none, or none to trust
    assert outlines.find(blank, middle, "PERMIT", learned) is None
    assert outlines.find(blank[:1, :1], (0, 0, 1, 1), "PERMIT", learned) is None
    for frame in ((900, 900, 50, 50), (50, 50, 0, 0), (float("nan"), 0, 50, 50), (-500, -500, 20, 20)):
        assert outlines.find(image, frame, "PERMIT", learned) is None
    assert all(
        (found := outlines.find(nothing, middle, label, learned)) is None or found.confidence < 0.5 for label in TYPES
    )
    # And a type that was not learned has no outline
    assert outlines.find(image, frame_of(box), "UNKNOWN", learned) is None


def test_a_box_elsewhere_gets_no_outline_of_a_document(learned: Outlines) -> None:
    # Given a box that has half of the document only
    image, box, _ = new_photo("PERMIT", 0)
    # When the outline is looked for there, then the document's outline is not taken for it
    assert outlines.find(image, (box.left, box.top, box.width / 2, box.height), "PERMIT", learned) is None


def test_a_look_alike_gets_no_certain_outline(learned: Outlines) -> None:
    # Given a document that was never learned, but has the layout, the portrait and a line of a learned type
    document = draw_document("UNKNOWN")
    document[42:70] = draw_document("ID_CARD")[42:70]
    image, _, _ = photograph([], 3)
    card = np.array([[0, 0], [400, 0], [400, 252], [0, 252]], np.float32)
    corners = np.array([[110, 90], [370, 90], [370, 254], [110, 254]], np.float32)
    matrix = cv2.getPerspectiveTransform(card, corners)
    cv2.warpPerspective(document, matrix, FRAME, dst=image, borderMode=cv2.BORDER_TRANSPARENT)
    # When the outline of that type is looked for
    found = outlines.find(image, (110, 90, 260, 164), "ID_CARD", learned)
    # Then what is alike gives an outline, but not a certain one
    assert found is not None
    assert error(found, corners) < 0.1
    assert found.confidence < 0.5


def test_polygons_in_labels_are_used() -> None:
    # Given two photos of one type with the same turn, whose boxes do not tell how the document is turned
    taken = [photograph([("PERMIT", 30, (235 + 10 * n, 185), 240)], n) for n in range(2)]
    photos = [image for image, _, _ in taken]
    by_box = [boxes for _, boxes, _ in taken]
    # And the same labels with polygons
    by_polygon = [[replace(box, polygon=corners) for box in boxes] for _, boxes, (corners,) in taken]
    # When outlines are learned from each
    image, box, corners = new_photo("PERMIT", 10)
    errors = [
        error(outlines.find(image, frame_of(box), "PERMIT", outlines.learn(photos, labels)), corners)
        for labels in (by_box, by_polygon)
    ]
    # Then the polygons give the corners, and the boxes alone do not
    assert errors[1] < 0.02 < errors[0]


SQUARE = [[10, 10], [60, 12], [58, 70], [8, 66]]


@pytest.mark.parametrize(
    ("polygon", "corners"),
    [
        (SQUARE, SQUARE),
        (SQUARE[::-1], SQUARE),
        ([*SQUARE, [9, 38]], SQUARE),
        ([[0, 0], [50, 0], [50, 50]], None),
        ([[0, 0], [10, 10], [20, 20], [30, 30]], None),
        ([[0, 0], [50, 0], [50, 50], [float("nan"), 50]], None),
        ([], None),
    ],
)
def test_a_polygon_gives_four_corners_or_none(polygon: list[list[float]], corners: list[list[float]] | None) -> None:
    found = four_corners(np.array(polygon))
    if corners is None:
        assert found is None
    else:
        assert found is not None
        assert min(np.abs(np.roll(found, turn, axis=0) - corners).max() for turn in range(4)) < 3


def test_the_same_photos_give_the_same_file(learned: Outlines) -> None:
    # Given outlines that were learned, when they are learned again and saved
    photos, boxes, _ = photos_of(*TYPES)
    steps: list[tuple[int, int]] = []
    content = outlines.save(outlines.learn(photos, boxes, lambda done, total: steps.append((done, total))))
    # Then the file is the same, byte for byte
    assert content == outlines.save(learned)
    # And the progress counted up to the end
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))


def test_a_loaded_file_answers_as_before(learned: Outlines) -> None:
    # Given a saved file, when it is loaded
    content = outlines.save(learned)
    loaded = outlines.load(content)
    # Then it is the same, and answers to the last digit
    assert list(loaded.types) == list(TYPES)
    assert outlines.save(loaded) == content
    image, box, _ = new_photo("PERMIT", 20)
    before, after = (outlines.find(image, frame_of(box), "PERMIT", one) for one in (learned, loaded))
    assert before is not None
    assert after is not None
    assert before.confidence == after.confidence
    assert np.array_equal(before.corners, after.corners)


def test_a_type_takes_at_most_2_mb() -> None:
    # Given a type that is as large as possible
    size = np.array([640.0, 640.0])
    points, descriptors = np.zeros((MOST_KEY_POINTS, 2), np.float32), np.zeros((MOST_KEY_POINTS, 128), np.uint8)
    largest = Type(points, descriptors, size, np.zeros(texture_shape(size), np.int8))
    # When it is saved, then it is small enough
    assert len(outlines.save(Outlines({"LARGEST": largest}, np.zeros(6)))) < 2_000_000


def changed(content: bytes, change: Callable[[dict], object], body: bytes | None = None) -> bytes:
    """A file with a changed description, and the checksum of its body or of another ``body``."""
    line, _, own = content.partition(b"\n")
    body = own if body is None else body
    head = json.loads(line) | {"sha256": hashlib.sha256(body).hexdigest()}
    change(head)
    return json.dumps(head).encode() + b"\n" + body


MALFORMED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _content: b"", "does not begin with a line of JSON"),
    "a picture": (lambda _content: b"\xff\xd8\xff\xe0" * 100, "does not begin with a line of JSON"),
    "deep JSON": (lambda _content: b"[" * 100_000, "does not begin with a line of JSON"),
    "other JSON": (lambda _content: b"[1]\n", "no file of outlines"),
    "another version": (lambda content: changed(content, lambda head: head.update(version=2)), "version 2"),
    "a flipped bit": (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "damaged"),
    "cut off": (lambda content: content[:-1], "damaged"),
    "too short": (lambda content: changed(content, len, content.partition(b"\n")[2][:-1]), "ends within the type"),
    "too long": (lambda content: changed(content, len, content.partition(b"\n")[2] + b"!"), "1 bytes after"),
    "no weights": (lambda content: changed(content, lambda head: head.pop("weights")), "weights .* must be 6 numbers"),
    "weights that are no numbers": (
        lambda content: changed(content, lambda head: head["weights"].__setitem__(0, float("nan"))),
        "weights .* must be 6 numbers",
    ),
    "no types": (lambda content: changed(content, lambda head: head.pop("types")), "no list of types"),
    "a type that is no object": (lambda content: changed(content, lambda head: head.update(types=[1])), "a name"),
    "a type twice": (
        lambda content: changed(content, lambda head: head["types"][1].update(name="ID_CARD")),
        "a name of its own: 'ID_CARD'",
    ),
    "a size of 0": (lambda content: changed(content, lambda head: head["types"][0].update(size=[0, 1])), "not within"),
    "too many key points": (
        lambda content: changed(content, lambda head: head["types"][0].update(points=10**9)),
        "at most 3000",
    ),
    "a key point that is no number": (
        lambda content: changed(content, len, b"\xff" * len(content.partition(b"\n")[2])),
        "not a number",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_in_words(learned: Outlines, name: str) -> None:
    # Given a file that is not as it was saved
    spoil, message = MALFORMED[name]
    content = spoil(outlines.save(learned))
    # When it is loaded, then the error says what is wrong
    with pytest.raises(outlines.UnusableOutlines, match=message):
        outlines.load(content)


def test_learning_from_nothing_knows_nothing() -> None:
    # Given a photo that cannot be read, a blank one, and labels without an area
    photos = [None, np.full((200, 300, 3), 250, np.uint8)]
    boxes = [[Box("PERMIT", 0, 0, 10, 10)], [Box("PERMIT", 10, 10, 200, 100), Box("POINT", 5, 5, 0, 0)]]
    # When outlines are learned and saved, then there are none
    content = outlines.save(outlines.learn(photos, boxes))
    assert outlines.load(content).types == {}


def of_type(label: str, boxes: list[list[Box]]) -> dict[int, list[Box]]:
    """The boxes of a type by photo."""
    return {n: own for n, of_photo in enumerate(boxes) if (own := [box for box in of_photo if box.label == label])}


def test_learning_in_steps_gives_what_learning_at_once_gives() -> None:
    # Given photos of three types
    photos, boxes, _ = photos_of(*TYPES)
    # When each type is learned alone, and kept as a file until all are joined
    files = {label: outlines.pack(outlines.learn_type(photos, of_type(label, boxes)), [], 0) for label in TYPES}
    kinds = {label: outlines.unpack(content)[0] for label, content in files.items()}
    joined = outlines.join({label: kind for label, kind in kinds.items() if kind}, photos, dict(enumerate(boxes)))
    # Then the outlines are those of one run, and the confidences differ by the rounding of the files only
    at_once = outlines.learn(photos, boxes)
    assert outlines.save(replace(joined, weights=at_once.weights)) == outlines.save(at_once)
    assert joined.weights == pytest.approx(at_once.weights, abs=0.01)


def test_a_type_without_a_usable_photo_is_kept_as_a_file_too() -> None:
    assert outlines.learn_type({3: None}, {3: [Box("ID_CARD", 0, 0, 9, 9)]}) is None
    assert outlines.unpack(outlines.pack(None, [], 1)) == (None, [], 1)
    nothing = outlines.join({}, {}, {3: [Box("ID_CARD", 0, 0, 9, 9)]})
    assert nothing.types == {}
    assert outlines.summarize([], nothing) == Summary(0, 0, None, 0, None, None)


def test_a_found_outline_is_compared_with_box_and_polygon() -> None:
    # Given a learned type, and new photos with a box, with the true polygon too, and one that shows another type
    photos, boxes, _ = photos_of("PERMIT", "PASSPORT")
    kinds = {label: outlines.learn_type(photos, of_type(label, boxes)) for label in ("PERMIT", "PASSPORT")}
    learned = {label: kind for label, kind in kinds.items() if kind}
    joined = outlines.join(learned, photos, dict(enumerate(boxes)))
    image, box, corners = new_photo("PERMIT", 25)
    other, other_box, _ = new_photo("PASSPORT", 25)
    drawn = replace(box, polygon=np.roll(corners, 1, axis=0))
    # When they are compared, with files between
    compared = [outlines.compare(*one, learned["PERMIT"]) for one in ((image, box), (image, drawn), (other, other_box))]
    compared.append(outlines.compare(None, box, learned["PERMIT"]))
    kept = outlines.unpack(outlines.pack(None, compared, 0))[1]
    # Then two of four have an outline, whose corners the polygon confirms
    summary = outlines.summarize(kept, joined)
    assert (summary.documents, summary.outlined, summary.polygons) == (4, 2, 1)
    assert summary.box_iou is not None
    assert summary.box_iou > 0.95
    assert summary.polygon_iou is not None
    assert summary.polygon_iou > 0.95
    assert summary.corner_error is not None
    assert summary.corner_error < 0.01


@pytest.mark.parametrize("content", [b"", b"no photo", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_photo_has_no_pixels(content: bytes) -> None:
    assert outlines.decode(content) is None


def test_a_photo_is_decoded_to_its_pixels() -> None:
    image, _, _ = new_photo("PERMIT", 25)
    assert np.array_equal(outlines.decode(cv2.imencode(".png", image)[1].tobytes()), image)
