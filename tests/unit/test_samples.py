"""The sample photographs: what a user of `ekyc samples` relies on."""

import collections
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ekyc import samples
from ekyc.samples import documents, people

COUNT = 40
TYPES = [
    "ID_KTP",
    "MY_NRIC",
    "AU_PASSPORT",
    "KH_IC",
    "PRC_PASSPORT",
    "SG_PASSPORT",
    "THAI_ID_FRONT",
    "THAI_ID_BACK",
]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write(tmp_path_factory.mktemp("photos"), COUNT, seed=5)


@pytest.fixture(scope="module")
def coco(labels: Path) -> dict:
    return json.loads(labels.read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_photo_is_a_jpeg_of_the_size_that_its_label_states(labels: Path, coco: dict) -> None:
    # Given a written set of photos / When each listed file is read
    names = [image["file_name"] for image in coco["images"]]
    # Then all are there, nothing else is, and the sizes agree
    assert names == [f"photo-{number:04d}.jpg" for number in range(1, COUNT + 1)]
    assert set(contents(labels.parent)) == {*names, "annotations.json"}
    for image in coco["images"]:
        pixels = cv2.imread(str(labels.parent / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
        assert max(pixels.shape) == 800


def test_types_are_balanced_and_some_photos_show_no_document(coco: dict) -> None:
    # Given the labels / When documents are counted by type
    names = {category["id"]: category["name"] for category in coco["categories"]}
    shown = collections.Counter(names[label["category_id"]] for label in coco["annotations"])
    # Then each of the eight types has its share, and about a tenth of the photos has none
    assert list(names.values()) == TYPES
    assert all(abs(shown[name] - COUNT * 0.9 / 8) <= 1 for name in TYPES)
    empty = COUNT - len({label["image_id"] for label in coco["annotations"]})
    assert 0.05 * COUNT <= empty <= 0.15 * COUNT


def test_a_box_is_its_outline_clipped_to_the_frame(coco: dict) -> None:
    # Given photos with their sizes
    sizes = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    for label in coco["annotations"]:
        # When a label's box is compared with its outline
        left, top, width, height = label["bbox"]
        frame = sizes[label["image_id"]]
        outline = np.array(label["segmentation"][0]).reshape(4, 2)
        low, high = np.maximum(outline.min(axis=0), 0), np.minimum(outline.max(axis=0), frame)
        # Then it is the part inside the frame, big enough to be seen, and the outline is not mirrored
        np.testing.assert_allclose([left, top, left + width, top + height], [*low, *high], atol=0.2)
        assert width > 60
        assert height > 60
        assert cv2.contourArea(outline.astype(np.float32), oriented=True) > 0
        assert 0 < label["area"] <= width * height + 1
        assert label["iscrowd"] == 0


def likeness(photo: np.ndarray, outline: np.ndarray, design: np.ndarray) -> float:
    """How much the photo, straightened by the outline, looks like the design (correlation, at most 1)."""
    upright = np.array([[0, 0], [320, 0], [320, 200], [0, 200]], np.float32)
    crop = cv2.warpPerspective(photo, cv2.getPerspectiveTransform(outline, upright), (320, 200), flags=cv2.INTER_AREA)
    design = cv2.resize(design, (320, 200), interpolation=cv2.INTER_AREA)
    return float(np.corrcoef(*(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).ravel() for image in (crop, design)))[0, 1])


def test_outline_and_type_fit_the_document_in_the_photo(labels: Path, coco: dict) -> None:
    # Given each labelled document
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    best = []
    for label in coco["annotations"]:
        photo = cv2.imread(str(labels.parent / files[label["image_id"]]))
        outline = np.array(label["segmentation"][0], np.float32).reshape(4, 2)
        name = TYPES[label["category_id"] - 1]
        right = likeness(photo, outline, documents.blank(name))
        # When the outline is moved by six pixels or turned upside down, or another type is expected
        moves = np.array([[6, 0], [-6, 0], [0, 6], [0, -6]], np.float32)
        wrong = [likeness(photo, outline + move, documents.blank(name)) for move in moves]
        wrong.append(likeness(photo, np.roll(outline, 2, axis=0), documents.blank(name)))
        wrong += [likeness(photo, outline, documents.blank(other)) for other in TYPES if other != name]
        best.append(right > max(wrong))
    # Then the crop looks less like the design (a finger or glare may spoil one or two)
    assert np.mean(best) > 0.9


def test_the_same_seed_gives_the_same_bytes_on_any_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a set of photos
    samples.write(tmp_path / "first", 8, seed=1)
    # When it is written again on one core, and with another seed
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    samples.write(tmp_path / "again", 8, seed=1)
    samples.write(tmp_path / "other", 8, seed=2)
    # Then the same seed gives the same files, and another seed no photo of them
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "again")
    assert not set(first.values()) & set(contents(tmp_path / "other").values())


def test_eight_photos_show_every_type_once(tmp_path: Path) -> None:
    # Given the smallest count / When photos are written
    coco = json.loads(samples.write(tmp_path, 8, seed=3).read_text())
    # Then there is one document of each type
    assert sorted(label["category_id"] for label in coco["annotations"]) == list(range(1, 9))


def test_progress_counts_every_photo(tmp_path: Path) -> None:
    # Given a progress callback / When photos are written
    seen: list[tuple[int, int]] = []
    samples.write(tmp_path, 8, seed=0, progress=lambda done, count: seen.append((done, count)))
    # Then each photo is reported once, in order
    assert seen == [(done, 8) for done in range(1, 9)]


@pytest.mark.parametrize("count", [7, 0, -1, 100_001])
def test_a_count_out_of_range_is_refused(tmp_path: Path, count: int) -> None:
    # Given a count that no set can have / When photos are asked for / Then the words name the count and the limits
    with pytest.raises(ValueError, match=f"is {count}: use 8 .* to 100,000"):
        samples.write(tmp_path / "photos", count, seed=0)
    assert not (tmp_path / "photos").exists()


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        samples.write(tmp_path / "photos", 8, seed=-1)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    # Given a folder with a photo in it
    (tmp_path / "photo-0001.jpg").write_bytes(b"mine")
    # When photos are to be written there / Then it is refused and the file is as it was
    with pytest.raises(ValueError, match="not empty"):
        samples.write(tmp_path, 8, seed=0)
    assert contents(tmp_path) == {"photo-0001.jpg": b"mine"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    # Given a file / When it is named as the folder / Then the words say so
    (tmp_path / "photos").write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        samples.write(tmp_path / "photos", 8, seed=0)


def test_documents_of_a_type_look_mostly_alike() -> None:
    for name in TYPES:
        # Given a type's fixed design / When documents of two people are drawn
        design = documents.blank(name)
        drawn = [documents.draw(name, np.random.default_rng(seed)).image for seed in (1, 2)]
        # Then at least half of the design is free of personal data, and the data differ
        fixed = np.all(design == drawn[0], axis=-1) & np.all(design == drawn[1], axis=-1)
        assert fixed.mean() > 0.5, name
        assert not np.array_equal(drawn[0], drawn[1]), name


def test_check_digits_follow_icao_doc_9303() -> None:
    # Given the specimen of ICAO Doc 9303 (document number, birth date, expiry) / Then its check digits come out
    assert [people.check_digit(words) for words in ("L898902C3", "740812", "120415")] == ["6", "2", "9"]


def test_machine_readable_zones_have_their_lengths() -> None:
    # Given an invented person / When their zones are printed
    person = people.invent(np.random.default_rng(0))
    # Then a passport has two lines of 44 and a card three of 30
    assert [len(line) for line in people.passport_zone(person, "XAU")] == [44, 44]
    assert [len(line) for line in people.card_zone(person, "XKH")] == [30, 30, 30]
