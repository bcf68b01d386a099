"""The rules for labels files: what the job and the command line accept and refuse, and the messages of both."""

import io
import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

import pytest

from rules import labels
from rules.entries import Entry, Problem, Size, Source, Unreadable
from rules.lines import Labelled
from rules.types import fault_of_type

WIDE = Size(400, 300)


def read(
    content: bytes, photos: Mapping[str, Size | None] | None, types: list[str] | None = None
) -> tuple[dict[str, Entry], list[Problem]]:
    """The entries by the photos' names, and the problems."""
    problems: list[Problem] = []
    source = Source(report=problems.append, photos=photos, types=types, created="2026-11-24T01:53:24")
    return {entry.name: entry for entry in labels.read(lambda: io.BytesIO(content), len(content), source)}, problems


def coco(*images: Mapping[str, Any], annotations: list[dict[str, Any]] | None = None, **parts: Any) -> bytes:
    """A COCO file of ``images``, each of which has one box unless ``annotations`` says otherwise."""
    known = [{"id": number, "width": 400, "height": 300} | dict(image) for number, image in enumerate(images, 1)]
    boxes = annotations if annotations is not None else [{"bbox": [10, 20, 100, 60]}] * len(images)
    default = [{"id": 1, "name": "ID_KTP"}]
    document = {
        "images": known,
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1} | box for number, box in enumerate(boxes, 1)
        ],
        "categories": default,
    }
    return json.dumps(document | parts).encode()


def line(name: str = "1.jpg", **changes: Any) -> dict[str, Any]:
    """A line of a labelling job; ``changes`` are of its metadata."""
    return {
        "source-ref": f"s3://archive/in/{name}",
        "boxes": {
            "image_size": [{"width": 400, "height": 300, "depth": 3}],
            "annotations": [{"class_id": 0, "left": 10, "top": 20, "width": 100, "height": 60}],
        },
        "boxes-metadata": {
            "objects": [{"confidence": 0.9}],
            "class-map": {"0": "ID_KTP"},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": "2026-01-02T03:04:05",
        }
        | changes,
    }


def manifest(*lines: Mapping[str, Any] | str) -> bytes:
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines).encode()


def frames(entry: Entry) -> list[tuple[float, ...]]:
    assert isinstance(entry.labels, Labelled)
    return [box[1:5] for box in entry.labels.boxes]


# --- Rotation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rotation", "frame"),
    [
        (90.0, (40, 0, 60, 100)),
        ("90", (40, 0, 60, 100)),
        (-270, (40, 0, 60, 100)),
        (180, (20, 20, 100, 60)),
        (30.0, (12, -1, 116, 102)),
        (0, (20, 20, 100, 60)),
    ],
)
@pytest.mark.parametrize("where", ["attributes", "annotation"])
def test_a_turned_box_becomes_the_frame_around_it(where: str, rotation: Any, frame: tuple[int, ...]) -> None:
    # Given a box that was turned clockwise about its centre, as CVAT writes it
    turned = (
        {"rotation": rotation} if where == "annotation" else {"attributes": {"occluded": False, "rotation": rotation}}
    )
    content = coco({"file_name": "1.jpg"}, annotations=[{"bbox": [20, 20, 100, 60]} | turned])
    # When read; Then the frame is upright, and a turned box keeps its corners
    entries, problems = read(content, {"1.jpg": WIDE})
    assert problems == []
    assert frames(entries["1.jpg"]) == [frame]
    labelled = entries["1.jpg"].labels
    assert isinstance(labelled, Labelled)
    assert bool(labelled.corners) == (frame != (20, 20, 100, 60) or rotation == 180)


def test_the_corners_of_a_turned_box_go_round_clockwise() -> None:
    content = coco({"file_name": "1.jpg"}, annotations=[{"bbox": [20, 20, 100, 60], "rotation": 90}])
    labelled = read(content, {"1.jpg": WIDE})[0]["1.jpg"].labels
    assert isinstance(labelled, Labelled)
    assert list(labelled.corners) == [((100, 0), (100, 100), (40, 100), (40, 0))]


TILTED = [30, 20, 120, 40, 110, 80, 20, 60]


@pytest.mark.parametrize(
    ("segmentation", "corners"),
    [
        ([TILTED], 4),
        ([[*TILTED[:4], 70, 45], [110, 80, 20, 60, 60, 40]], 4),  # in two parts, with a corner inside the others
        ([[30, 20, 120, 40, 115, 75, 60, 79, 20, 60]], 5),
        ([[20, 20, 120, 20, 120, 80, 20, 80]], 0),  # the box itself
        ([[20, 21, 119, 20, 120, 80, 21, 80]], 0),
        ([[220, 120, 320, 140, 310, 180, 220, 160]], 0),  # in another place than the box
        ([[30, 20, 120, 40, 110, 80]], 0),
        ([[30, 20, 120, 40, 110]], 0),
        ([["30", 20, 120, 40, 110, 80, 20, 60]], 0),
        ([[float("inf"), 20, 120, 40, 110, 80, 20, 60]], 0),
        ([], 0),
        ({"counts": "abc", "size": [200, 400]}, 0),  # a mask
        ([{"counts": "abc"}], 0),
        (None, 0),
    ],
)
def test_a_polygon_gives_a_box_its_corners(segmentation: Any, corners: int) -> None:
    # Given a box with a segmentation
    annotations = [{"bbox": [20, 20, 100, 60], "segmentation": segmentation}]
    entries, problems = read(coco({"file_name": "1.jpg"}, annotations=annotations), {"1.jpg": WIDE})
    # Then the box stays, and has the corners of the polygon if it says more than the box
    assert problems == []
    assert frames(entries["1.jpg"]) == [(20, 20, 100, 60)]
    labelled = entries["1.jpg"].labels
    assert isinstance(labelled, Labelled)
    assert [len(one or ()) for one in labelled.corners] == ([corners] if corners else [])
    if corners == 4:
        assert sorted(labelled.corners[0] or ()) == [(20, 60), (30, 20), (110, 80), (120, 40)]


def test_a_traced_outline_keeps_few_corners() -> None:
    # Given a circle of a thousand points
    circle = [50 + 40 * part(n / 500 * math.pi) for n in range(1000) for part in (math.cos, math.sin)]
    annotations = [{"bbox": [10, 10, 80, 80], "segmentation": [circle]}]
    labelled = read(coco({"file_name": "1.jpg"}, annotations=annotations), {"1.jpg": WIDE})[0]["1.jpg"].labels
    # Then it is taken for no document's
    assert isinstance(labelled, Labelled)
    assert labelled.corners == ()


@pytest.mark.parametrize("rotation", ["steep", "", "nan", float("inf"), None, True, [90], {"degrees": 90}])
def test_a_rotation_that_is_no_number_is_refused(rotation: Any) -> None:
    annotations = [{"bbox": [20, 20, 100, 60], "attributes": {"rotation": rotation}}]
    _, [problem] = read(coco({"file_name": "1.jpg"}, annotations=annotations), {"1.jpg": WIDE})
    assert problem.code == "InvalidRotation"
    assert "must be a number of degrees, not " in problem.reason


# --- Ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [1, 1.0, "1"])
def test_a_category_id_with_two_names_is_refused(second: Any) -> None:
    categories = [{"id": 1, "name": "ID_KTP"}, {"id": second, "name": "MY_NRIC"}]
    _, [problem] = read(coco({"file_name": "1.jpg"}, categories=categories), {"1.jpg": WIDE})
    assert (str(problem.place), problem.code) == ("category 2", "RepeatedId")
    assert problem.reason.startswith("the categories 'ID_KTP' and 'MY_NRIC' have the same id ")


def test_categories_that_say_the_same_twice_are_taken() -> None:
    # Given a category twice, and another id with the same name
    categories = [{"id": 1, "name": "ID_KTP"}, {"id": 1, "name": "ID_KTP"}, {"id": 2, "name": "ID_KTP"}]
    content = coco(
        {"file_name": "1.jpg"}, annotations=[{"bbox": [1, 2, 30, 40], "category_id": 2}], categories=categories
    )
    assert read(content, {"1.jpg": WIDE})[1] == []


def test_an_id_as_text_differs_from_a_number() -> None:
    annotations = [{"bbox": [1, 2, 30, 40], "image_id": "1"}]
    _, [problem] = read(coco({"file_name": "1.jpg"}, annotations=annotations), {"1.jpg": WIDE})
    assert (
        problem.reason == "no image has its image_id '1', but 1 exists: write both with quotation marks or both without"
    )


# --- Names -----------------------------------------------------------------------------------------------------------

CARD = "carné 1.jpg"


@pytest.mark.parametrize(
    "written",
    [
        "CARNÉ 1.JPG",
        unicodedata.normalize("NFD", CARD),
        "carn%C3%A9%201.jpg",
        "carn%25C3%25A9%25201.jpg",
        "https://host.example/in/carn%C3%A9%201.jpg?X-Amz-Signature=abc&x=y",
        "https://host.example/in/carn%C3%A9%201.jpg#top",
        "/data/local-files/?d=in%2Fcarn%C3%A9%201.jpg",
        "./in/carné 1.jpg",
        "in\\carné 1.jpg",
        "  carné 1.jpg ",
        "1a2b3c4d-carné 1.jpg",
        "upload/7/1a2b3c4d-carné_1.jpg",
    ],
)
def test_a_photo_is_found_by_another_spelling(written: str) -> None:
    entries, problems = read(coco({"file_name": written}), {CARD: WIDE, "other.jpg": WIDE})
    assert (list(entries), problems) == ([CARD], [])
    assert isinstance(entries[CARD].labels, Labelled)


def test_a_manifest_finds_photos_by_another_spelling() -> None:
    # Given lines in an order that puts those with other spellings first
    content = manifest(line("1A2B.JPG"), line("carn%C3%A9.jpg"), line("b.jpg"), line("nobody.jpg"))
    entries, problems = read(content, {"1a2b.jpg": WIDE, "carné.jpg": WIDE, "b.jpg": WIDE})
    assert problems == []
    found = {name for name, entry in entries.items() if isinstance(entry.labels, Labelled)}
    assert found == {"1a2b.jpg", "carné.jpg", "b.jpg"}
    assert entries["nobody.jpg"].labels == ("UnknownPhoto", "the job has no such photo")


@pytest.mark.parametrize("form", ["coco", "manifest"])
@pytest.mark.parametrize("first", [0, 1])
def test_the_exact_name_wins_in_any_order(form: str, first: int) -> None:
    # Given one photo, an entry with its name, and one whose name differs by letter case
    names = ["A.JPG", "a.jpg"] if first else ["a.jpg", "A.JPG"]
    content = coco(*({"file_name": name} for name in names)) if form == "coco" else manifest(*map(line, names))
    # When read; Then the photo has the labels under its own name, and the others have no photo
    entries, problems = read(content, {"a.jpg": WIDE})
    assert problems == []
    assert isinstance(entries["a.jpg"].labels, Labelled)
    assert entries["A.JPG"].labels == ("UnknownPhoto", "the job has no such photo")


@pytest.mark.parametrize("form", ["coco", "manifest"])
@pytest.mark.parametrize(
    ("names", "photos"), [(["A.jpg", "a.JPG"], ["a.jpg"]), (["a.jpg", "b.jpg"], ["A.jpg", "a.JPG", "b.jpg"])]
)
def test_names_that_are_too_similar_are_refused(form: str, names: list[str], photos: list[str]) -> None:
    content = coco(*({"file_name": name} for name in names)) if form == "coco" else manifest(*map(line, names))
    _, problems = read(content, dict.fromkeys(photos, WIDE))
    assert {problem.code for problem in problems} == {"AmbiguousName"}
    assert "'A.jpg'" in problems[0].reason
    assert "'a.JPG'" in problems[0].reason


def test_what_has_no_counterpart_is_counted() -> None:
    # Given 4 labelled photos, one of which is not uploaded, an image without labels, and an upload that is not named
    names = ["1.jpg", "2.jpg", "3.jpg", "gone.jpg", "blank.jpg"]
    content = coco(*({"file_name": name} for name in names), annotations=[{"bbox": [1, 2, 30, 40]}] * 4)
    counts = labels.Counts(photos=4, without_label=1)
    lost = [
        entry.name
        for entry in read(content, dict.fromkeys(["1.jpg", "2.jpg", "3.jpg", "x.jpg"], WIDE))[0].values()
        if counts.add(entry)
    ]
    # Then the counts and the words say so
    assert lost == ["gone.jpg"]
    assert counts.words == "1 of 4 labelled photos has no upload, 1 upload has no labels"
    assert (counts.above(0.24), counts.above(0.25)) == (True, False)


# --- Phone photos ----------------------------------------------------------------------------------------------------

LYING = {"width": 400, "height": 300}


@pytest.mark.parametrize(
    ("orientation", "stored", "seen"),
    [
        (5, (310, 20, 80, 50), (20, 310, 50, 80)),
        (6, (310, 20, 80, 50), (230, 310, 50, 80)),
        (7, (310, 20, 80, 50), (230, 10, 50, 80)),
        (8, (310, 20, 80, 50), (20, 10, 50, 80)),
    ],
)
@pytest.mark.parametrize("form", ["coco", "manifest"])
def test_boxes_on_the_stored_photo_are_turned(
    form: str, orientation: int, stored: tuple[int, ...], seen: tuple[int, ...]
) -> None:
    # Given a photo stored as 400x300 px and seen as 300x400 px, and a box that fits the stored one only
    if form == "coco":
        content = coco({"file_name": "1.jpg"} | LYING, annotations=[{"bbox": stored}])
    else:
        one = line()
        one["boxes"]["annotations"][0] |= dict(zip(("left", "top", "width", "height"), stored, strict=True))
        content = manifest(one)
    # When read; Then the box is where people see it, and so is the size
    entries, problems = read(content, {"1.jpg": Size(300, 400, orientation)})
    assert problems == []
    assert frames(entries["1.jpg"]) == [seen]
    assert entries["1.jpg"].labels[1:3] == (300, 400)


def test_boxes_on_the_photo_as_seen_stay() -> None:
    # Given a size before the turn with a box that fits the photo after the turn only, as Label Studio exports them
    content = coco({"file_name": "1.jpg"} | LYING, annotations=[{"bbox": [20, 310, 50, 80]}])
    entries, problems = read(content, {"1.jpg": Size(300, 400, 6)})
    assert (frames(entries["1.jpg"]), problems) == ([(20, 310, 50, 80)], [])


@pytest.mark.parametrize("bbox", [[10, 20, 100, 60], [310, 310, 80, 80]])
def test_boxes_that_prove_nothing_are_refused_with_a_way_out(bbox: list[int]) -> None:
    content = coco({"file_name": "1.jpg"} | LYING, annotations=[{"bbox": bbox}])
    _, [problem] = read(content, {"1.jpg": Size(300, 400, 6)})
    assert problem.code == "WrongImageSize"
    assert "Label Studio" in problem.reason
    assert "write 300 as its width and 400 as its height" in problem.reason


# --- Both forms, in the same words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + coco({"file_name": "1.jpg"}),
        coco({"file_name": "1.jpg", "id": 1.0, "width": 400.0, "height": 300.0}),
        coco({"file_name": "1.jpg", "width": None, "height": None}),
        b"\xef\xbb\xbf" + manifest(line()),
        b"\n\r\n" + manifest("", line(), " ", ""),
        manifest(line()).replace(b"400", b"400.0").replace(b'"class_id": 0', b'"class_id": 0.0'),
    ],
)
def test_what_is_harmless_is_taken(content: bytes) -> None:
    entries, problems = read(content, {"1.jpg": WIDE}, ["ID_KTP"])
    assert (frames(entries["1.jpg"]), problems) == ([(10, 20, 100, 60)], [])


def changed(**changes: Any) -> bytes:
    """A manifest of one line whose box has other values."""
    one = line()
    one["boxes"]["annotations"][0] |= changes
    return manifest(one)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (changed(class_id="0"), "InvalidBox", "its class_id is '0'"),
        (manifest(line(objects=[{"confidence": 95}])), "InvalidBox", "confidence from 0 to 1: its confidence is 95"),
        (changed(left=0.1, top=0.2, width=0.5, height=0.4), "BoxInFractions", "fractions of the photo, from 0 to 1"),
        (changed(left=500), "BoxOutside", "[500, 20, 100, 60] lies outside the photo of 400x300 px"),
        (changed(height=0), "InvalidBox", "has no area"),
        (manifest({**line(), "source-ref": "https://x/1.jpg"}), "InvalidSourceRef", "not 'https://x/1.jpg'"),
        (manifest(line(**{"class-map": {"0": "a passport"}})), "InvalidType", "'a passport' cannot be a document type"),
        (manifest(line(**{"creation-date": "last week"})), "InvalidMetadata", "needs type"),
        (coco({"file_name": "1.jpg"}, annotations=[{"bbox": [0.1, 0.2, 0.5, 0.4]}]), "BoxInFractions", "in pixels"),
        (coco({"file_name": "1.jpg"}, annotations=[{"bbox": [0, 0, 1, 1]}]), "BoxInFractions", "in pixels"),
        (coco({"file_name": "1.jpg"}, annotations=[{"bbox": [1, 400, 5, 5]}]), "BoxOutside", "of 400x300 px"),
        (coco({"file_name": "1.jpg", "width": "400"}), "WrongImageSize", "whole numbers of pixels, not '400' and 300"),
        (coco({"file_name": "1.jpg", "width": 400.5}), "WrongImageSize", "whole numbers of pixels, not 400.5 and 300"),
        (coco({"file_name": "1.jpg"}, categories=[{"id": 1, "name": "ID_KTP "}]), "InvalidType", "'ID_KTP '"),
        (coco({"file_name": "1.jpg"}, categories=[{"id": 1, "name": "x" * 256}]), "InvalidType", "xxx...'"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, code: str, words: str) -> None:
    _, [problem] = read(content, {"1.jpg": WIDE})
    assert problem.code == code
    assert words in problem.reason


@pytest.mark.parametrize("photos", [{"1.jpg": WIDE}, {"1.jpg": None}, None])
@pytest.mark.parametrize("size", [{"width": "400"}, {"width": 400.5}, {"width": -400}, {"width": [], "height": None}])
def test_a_size_that_is_no_number_is_named_anywhere(photos: Any, size: dict[str, Any]) -> None:
    # Given a COCO file with a size that no photo has; When it is read with and without the photos' sizes
    _, [problem] = read(coco({"file_name": "1.jpg"} | size), photos)
    # Then it is refused, so the command line passes nothing that the job refuses
    assert (problem.code, "must be whole numbers of pixels" in problem.reason) == ("WrongImageSize", True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b'[{"id": 1, "annotations": []}]',
            "it is a JSON list, as Label Studio's own JSON is. Export the labels as COCO",
        ),
        (b'{"images": [], "annotations": {}}', "these lists are missing: annotations, categories."),
        (b"{", "it is not valid JSON: "),
        (b"", "it is not valid JSON: "),
    ],
)
def test_a_file_of_neither_form_is_refused_with_a_reason(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match="is neither a COCO file") as error:
        read(content, None)
    assert words in str(error.value)


# --- Ground Truth ----------------------------------------------------------------------------------------------------


def adjusted(left: int, date: str, **metadata: str) -> dict[str, Any]:
    """A line of a labelling job with the boxes of an adjustment job of ``date``."""
    other = line(**{"creation-date": date, "adjustment-status": "adjusted"} | metadata)
    other["boxes"]["annotations"][0]["left"] = left
    return {"again": other["boxes"], "again-metadata": other["boxes-metadata"]} | line()


def test_the_newest_adjustment_counts() -> None:
    # Given a line that was adjusted twice, the newer adjustment first
    newest = adjusted(40, "2026-03-02T03:04:05+00:00")
    older = adjusted(25, "2026-02-02T03:04:05")
    both = newest | {"first": older["again"], "first-metadata": older["again-metadata"]}
    # When read; Then the newest boxes count
    entries, problems = read(manifest(both), {"1.jpg": WIDE})
    assert (frames(entries["1.jpg"]), problems) == ([(40, 20, 100, 60)], [])


def test_two_labelling_jobs_are_not_mixed() -> None:
    one = adjusted(40, "2026-03-02T03:04:05")
    del one["again-metadata"]["adjustment-status"]
    _, [problem] = read(manifest(one), {"1.jpg": WIDE})
    assert (problem.code, "'again' and 'boxes'" in problem.reason) == ("SeveralAttributes", True)


@pytest.mark.parametrize(
    ("verdict", "date", "kept"),
    [
        ("good", "2026-02-02T03:04:05", True),
        ("OK", "2026-02-02T03:04:05", True),
        ("bad", "2026-02-02T03:04:05", False),
        ("too loose", "2026-02-02T03:04:05", False),
        ("bad", "2025-12-02T03:04:05", True),  # of labels that were made anew since
    ],
)
def test_labels_that_a_verifier_called_bad_are_left_out(verdict: str, date: str, kept: bool) -> None:
    verified = line() | {
        "check": "1",
        "check-metadata": {
            "class-name": verdict,
            "confidence": 0.9,
            "type": "groundtruth/label-verification",
            "creation-date": date,
        },
    }
    entries, problems = read(manifest(verified), {"1.jpg": WIDE})
    assert problems == []
    labelled = entries["1.jpg"].labels
    assert (labelled.code if not isinstance(labelled, Labelled) else "") == ("" if kept else "VerifiedAsBad")


@pytest.mark.parametrize("dated", [{"creation-date": "2026-02-02T03:04:05"}, {}])
def test_of_two_verdicts_of_one_date_the_bad_one_counts(dated: dict[str, str]) -> None:
    # Given two verifications of one date, or of none, of which the first by name is bad
    verified = line()
    for name, verdict in (("first", "bad"), ("second", "good")):
        verified[f"{name}-metadata"] = {"class-name": verdict, "type": "groundtruth/label-verification"} | dated
    entries, problems = read(manifest(verified), {"1.jpg": WIDE})
    # Then the labels are left out
    labelled = entries["1.jpg"].labels
    assert (labelled.code if not isinstance(labelled, Labelled) else "", problems) == ("VerifiedAsBad", [])


@pytest.mark.parametrize("last", [False, True])
def test_a_line_without_a_type_is_a_problem_wherever_it_is(last: bool) -> None:
    lines = [line("2.jpg"), line("3.jpg")]
    untyped = line("1.jpg")
    del untyped["boxes-metadata"]["type"]
    lines.insert(2 if last else 0, untyped)
    entries, [problem] = read(manifest(*lines), {f"{number}.jpg": WIDE for number in (1, 2, 3)})
    assert problem.code == "InvalidMetadata"
    assert problem.reason.endswith("; it has no type")
    assert sorted(entries) == ["2.jpg", "3.jpg"]


# --- Document types --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ID_KTP", "a", "passport-2", "x" * 255, "0"])
def test_a_document_type_is_letters_digits_and_two_signs(name: str) -> None:
    assert fault_of_type(name) is None


@pytest.mark.parametrize(
    "name",
    ["", " ", "ID_KTP ", "a/b", "..", "<b>x</b>", "Führerschein", "Dear operator, call us", "x" * 256, "a\n", None, 5],
)
def test_a_document_type_of_anything_else_is_refused(name: Any) -> None:
    fault = fault_of_type(name)
    assert fault
    assert len(fault) < 220
    assert "\n" not in fault
