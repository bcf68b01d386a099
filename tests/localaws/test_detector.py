"""The detector learns document types from labelled boxes and finds them, upright, in photos that it has not seen."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

import outlines
from ekyc.localaws.services.detector import Box, Detection, Detector, LabelledPhoto, evaluate, train
from outlines import straighten
from tests.drawn_documents import TYPES, draw_document, photograph

SCENES = Path(__file__).parents[3] / "shared/documents/scenes"


def take_photo(
    path: Path, documents: list[tuple[str, float, tuple[float, float], float]], seed: int
) -> tuple[LabelledPhoto, list[np.ndarray]]:
    """Save a photo of documents (label, angle in degrees, centre, width); gives their boxes and true outlines too."""
    image, boxes, corners = photograph(documents, seed)
    cv2.imwrite(str(path), image)
    return LabelledPhoto(path, boxes), corners


@pytest.fixture(scope="module")
def training_photos(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPhoto]:
    """Five photos of each type, more or less upright, and one without a document."""
    folder = tmp_path_factory.mktemp("training")
    random = np.random.default_rng(1)
    photos = [take_photo(folder / "nothing.png", [], 99)[0]]
    for number in range(15):
        centre = (240 + random.uniform(-40, 40), 180 + random.uniform(-30, 30))
        document = (TYPES[number % 3], random.uniform(-35, 35), centre, random.uniform(220, 300))
        photos.append(take_photo(folder / f"{number}.png", [document], number)[0])
    return photos


@pytest.fixture(scope="module")
def detector(training_photos: list[LabelledPhoto]) -> Detector:
    return train(training_photos)


def overlap(found: Detection, box: Box) -> float:
    width = min(found.left + found.width, box.left + box.width) - max(found.left, box.left)
    height = min(found.top + found.height, box.top + box.height) - max(found.top, box.top)
    common = max(0.0, width) * max(0.0, height)
    return common / (found.width * found.height + box.width * box.height - common)


def confident(detector: Detector, path: Path) -> list[Detection]:
    return [found for found in detector.detect(cv2.imread(str(path))) if found.confidence >= 0.5]


@pytest.mark.parametrize("label", TYPES)
@pytest.mark.parametrize("angle", [10, 95, 180, -60])
def test_finds_each_type_however_it_is_turned(detector: Detector, tmp_path: Path, label: str, angle: float) -> None:
    # Given a photo that training did not see
    photo, (truth,) = take_photo(tmp_path / "new.png", [(label, angle, (230, 190), 260)], seed=500)
    # When the detector looks at it
    (found,) = confident(detector, photo.path)
    # Then it finds the one document there, with a box as tight as the label
    assert found.label == label
    assert overlap(found, photo.boxes[0]) > 0.95
    # And the outline starts at the document's own top-left corner, though training saw boxes only
    assert np.linalg.norm(found.outline - truth, axis=1).max() < 0.05 * 260


def test_finds_two_of_a_type_beside_another(detector: Detector, tmp_path: Path) -> None:
    # Given three documents in one photo, two of one type
    documents = [("PERMIT", 5, (120, 100), 200), ("PERMIT", -10, (350, 110), 200), ("ID_CARD", 0, (240, 270), 200)]
    photo, _ = take_photo(tmp_path / "three.png", documents, seed=7)
    # When the detector looks at it
    found = confident(detector, photo.path)
    # Then each is found once
    assert sorted(one.label for one in found) == ["ID_CARD", "PERMIT", "PERMIT"]
    assert all(max(overlap(one, box) for box in photo.boxes if box.label == one.label) > 0.9 for one in found)


def test_the_box_of_a_cut_off_document_ends_at_the_edge(detector: Detector, tmp_path: Path) -> None:
    # Given a document that leaves the frame on the left
    photo, _ = take_photo(tmp_path / "edge.png", [("PASSPORT", 8, (60, 180), 260)], seed=8)
    # When it is found
    (found,) = confident(detector, photo.path)
    # Then the box ends at the edge and the outline goes beyond it
    assert found.left == 0
    assert found.outline[:, 0].min() < -20
    assert overlap(found, photo.boxes[0]) > 0.95


def test_finds_nothing_where_no_document_is(detector: Detector, tmp_path: Path) -> None:
    # Given photos without a document: one with texture, one blank, one of a single pixel, one grey
    photo, _ = take_photo(tmp_path / "none.png", [], seed=9)
    blank = np.full((300, 400, 3), 255, np.uint8)
    # When the detector looks at them, then it finds nothing
    assert confident(detector, photo.path) == []
    assert detector.detect(blank) == []
    assert detector.detect(blank[:1, :1]) == []
    assert detector.detect(blank[:, :, 0]) == []


def test_coordinates_are_those_of_a_large_photo(detector: Detector, tmp_path: Path) -> None:
    # Given a photo larger than what the detector works on
    photo, (truth,) = take_photo(tmp_path / "new.png", [("ID_CARD", 12, (240, 180), 280)], seed=10)
    large = cv2.resize(cv2.imread(str(photo.path)), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    # When the detector looks at it
    (found,) = [one for one in detector.detect(large) if one.confidence >= 0.5]
    # Then the outline is in that photo's pixels
    assert np.linalg.norm(found.outline / 4 - truth, axis=1).max() < 0.05 * 280


def test_a_saved_model_answers_the_same(detector: Detector, tmp_path: Path) -> None:
    # Given a saved model
    path = tmp_path / "model.npz"
    detector.save(path)
    photo, _ = take_photo(tmp_path / "new.png", [("PERMIT", 20, (240, 180), 240)], seed=11)
    # When it is loaded
    loaded = Detector.load(path)
    # Then it has the same types and answers to the last digit
    assert loaded.labels == list(TYPES)
    (before,), (after,) = confident(detector, photo.path), confident(loaded, photo.path)
    assert before.confidence == after.confidence
    assert np.array_equal(before.outline, after.outline)


def test_same_photos_give_the_same_model(training_photos: list[LabelledPhoto], detector: Detector) -> None:
    # Given a detector, when another learns from the same photos
    steps: list[tuple[int, int]] = []
    again = train(training_photos, progress=lambda done, total: steps.append((done, total)))
    # Then it is the same
    assert outlines.save(again.outlines) == outlines.save(detector.outlines)
    # And the progress counted up to the end
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))


def test_a_wrong_label_does_not_spoil_a_type(training_photos: list[LabelledPhoto], tmp_path: Path) -> None:
    # Given training photos of which one calls an ID card a passport
    wrong = next(photo for photo in training_photos if photo.boxes and photo.boxes[0].label == "ID_CARD")
    box = wrong.boxes[0]
    mislabelled = LabelledPhoto(wrong.path, [Box("PASSPORT", box.left, box.top, box.width, box.height)])
    detector = train([mislabelled if photo is wrong else photo for photo in training_photos])
    # When the detector looks at an ID card and at a passport
    id_card, _ = take_photo(tmp_path / "id.png", [("ID_CARD", -15, (240, 180), 260)], seed=12)
    passport, _ = take_photo(tmp_path / "passport.png", [("PASSPORT", 15, (240, 180), 260)], seed=13)
    # Then it distinguishes them
    assert [found.label for found in confident(detector, id_card.path)] == ["ID_CARD"]
    assert [found.label for found in confident(detector, passport.path)] == ["PASSPORT"]


def test_unusable_photos_and_types_are_left_out(training_photos: list[LabelledPhoto], tmp_path: Path) -> None:
    # Given one good type, a file that is no image, a missing file, a type that is plain paper, and boxes of no size,
    # outside the photo, not a number
    good = [photo for photo in training_photos if photo.boxes and photo.boxes[0].label == "PERMIT"]
    (tmp_path / "text.jpg").write_text("no image")
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((200, 300, 3), 250, np.uint8))
    odd = [
        LabelledPhoto(tmp_path / "text.jpg", [Box("ID_CARD", 0, 0, 10, 10)]),
        LabelledPhoto(tmp_path / "missing.jpg", []),
        LabelledPhoto(tmp_path / "plain.png", [Box("PAPER", 10, 10, 200, 100)]),
        LabelledPhoto(good[0].path, [Box("NOWHERE", 900, 900, 50, 50), Box("POINT", 50, 50, 0, 0)]),
        LabelledPhoto(good[1].path, [Box("UNKNOWN", float("nan"), 0, 50, 50), Box("NEGATIVE", 90, 90, -50, -50)]),
    ]
    # When a detector learns from them
    detector = train(odd + good)
    # Then it knows the good type only, and still finds it
    assert detector.labels == ["PERMIT"]
    assert [found.label for found in confident(detector, good[0].path)] == ["PERMIT"]


def test_one_photo_of_a_type_is_enough_to_know_it(training_photos: list[LabelledPhoto], tmp_path: Path) -> None:
    # Given a single photo of one type
    detector = train([next(photo for photo in training_photos if photo.boxes)])
    # When the detector looks at another photo of that type, then it is found
    photo, _ = take_photo(tmp_path / "new.png", [("ID_CARD", 5, (240, 180), 260)], seed=14)
    assert [found.label for found in confident(detector, photo.path)] == ["ID_CARD"]


def test_learning_from_nothing_finds_nothing(tmp_path: Path) -> None:
    # Given no photo at all, when a detector learns and is saved and loaded
    train([]).save(tmp_path / "model.npz")
    detector = Detector.load(tmp_path / "model.npz")
    # Then it finds nothing, and its evaluation is of zeros
    photo, _ = take_photo(tmp_path / "new.png", [("ID_CARD", 5, (240, 180), 260)], seed=15)
    assert detector.labels == []
    assert detector.detect(cv2.imread(str(photo.path))) == []
    evaluation = evaluate(detector, [photo])
    assert (evaluation.f1, evaluation.photos[0].missed) == (0.0, photo.boxes)


def test_evaluation_counts_what_is_right_wrong_and_missed(detector: Detector, tmp_path: Path) -> None:
    # Given four photos: two labelled rightly, one whose label names another type, one without a label
    right = [take_photo(tmp_path / f"{n}.png", [("PERMIT", 5, (240, 180), 260)], seed=20 + n)[0] for n in range(2)]
    other, _ = take_photo(tmp_path / "other.png", [("ID_CARD", 5, (240, 180), 260)], seed=22)
    box = other.boxes[0]
    renamed = LabelledPhoto(other.path, [Box("PASSPORT", box.left, box.top, box.width, box.height)])
    empty, _ = take_photo(tmp_path / "empty.png", [], seed=23)
    # When the detector is evaluated on them
    evaluation = evaluate(detector, [*right, renamed, empty])
    # Then the type that is always right has full marks, and a threshold that lets its detections through
    labels = {label.label: label for label in evaluation.labels}
    permit = labels["PERMIT"]
    assert (permit.f1, permit.precision, permit.recall, permit.testing_photos) == (1.0, 1.0, 1.0, 2)
    assert permit.average_precision == permit.average_recall == 1.0
    assert 0 < permit.threshold < min(found.confidence for photo in right for found in confident(detector, photo.path))
    # And the type that is only in a label has none
    assert (labels["PASSPORT"].f1, labels["PASSPORT"].recall, labels["PASSPORT"].testing_photos) == (0.0, 0.0, 1)
    # And overall: two right, one wrong (the ID card), one missed (the passport that is none)
    assert (evaluation.precision, evaluation.recall) == pytest.approx((2 / 3, 2 / 3))
    assert evaluation.mean_iou > 0.95
    # And photo by photo it says which
    assert [[one.correct for one in photo.detections] for photo in evaluation.photos] == [[True], [True], [False], []]
    assert [photo.missed for photo in evaluation.photos] == [[], [], renamed.boxes, []]


def test_crop_is_upright_and_shows_the_document(detector: Detector, tmp_path: Path) -> None:
    # Given a document photographed upside down
    photo, _ = take_photo(tmp_path / "new.png", [("ID_CARD", 170, (240, 180), 300)], seed=30)
    image = cv2.imread(str(photo.path))
    (found,) = confident(detector, photo.path)
    # When it is cut out
    crop = straighten(image, found.outline, long_side=400)
    # Then the crop has a card's shape and looks like the document, upright
    assert crop.shape == (252, 400, 3)
    alike = cv2.matchTemplate(crop, draw_document("ID_CARD"), cv2.TM_CCOEFF_NORMED)[0, 0]
    assert alike > 0.6


def test_crop_of_a_standing_document_stands() -> None:
    # Given the outline of a document whose own top edge is its short side
    outline = np.array([[100, 50], [200, 50], [200, 192], [100, 192]], float)
    # When it is cut out, then the long side is the height
    assert straighten(np.zeros((240, 320, 3), np.uint8), outline, long_side=710).shape == (710, 500, 3)


@pytest.mark.parametrize("outline", [np.zeros((4, 2)), np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_crop_refuses_what_is_no_outline(outline: np.ndarray) -> None:
    with pytest.raises(ValueError, match="four corners"):
        straighten(np.zeros((240, 320, 3), np.uint8), outline)


@pytest.mark.skipif(not SCENES.exists(), reason="the shared scenes are not here")
def test_learns_real_looking_documents_from_five_photos_each() -> None:
    # Given scenes of two types, five of each to learn from and three others of each to look at
    coco = json.loads((SCENES / "annotations.json").read_text())
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    by_photo = defaultdict(list)
    for annotation in coco["annotations"]:
        by_photo[annotation["image_id"]].append(annotation)
    of_type = defaultdict(list)
    for number, labelled in by_photo.items():
        boxes = [Box(names[one["category_id"]], *one["bbox"]) for one in labelled]
        if len(boxes) == 1:
            of_type[boxes[0].label].append(LabelledPhoto(SCENES / files[number], boxes))
    types = ("alb_id", "rp_card_td1")
    # When a detector learns the five and looks at the three
    detector = train([photo for label in types for photo in of_type[label][:5]])
    evaluation = evaluate(detector, [photo for label in types for photo in of_type[label][5:8]])
    # Then it finds nearly all of them, with tight boxes
    assert evaluation.f1 > 0.9
    assert evaluation.mean_iou > 0.95
