"""The rules of Custom Labels manifests, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from specimens import Photo, manifest_line

from ekyc.localaws.services.custom_labels_manifest import (
    ManifestRefused,
    Size,
    check_line,
    check_sets,
    label_counts,
    read_dataset,
)

PHOTO = Photo(b"", "ID_CARD", (10, 20, 100, 60))


def line(key: str = "a.jpg", **changes: Any) -> dict[str, Any]:
    return manifest_line(key, PHOTO, **changes)


def manifest(*lines: Any) -> bytes:
    return "".join((text if isinstance(text, str) else json.dumps(text)) + "\n" for text in lines).encode()


def lines(count: int) -> list[dict[str, Any]]:
    return [line(f"{n}.jpg") for n in range(count)]


def test_a_good_line_is_used_whole() -> None:
    # Given a line with an unknown key
    good = line() | {"image-hash": "abc"}

    # When it is checked
    checked = check_line(good)

    # Then its box is usable and nothing is marked
    assert checked.boxes == [("ID_CARD", 10, 20, 100, 60)]
    assert checked.for_validation() == good


# Each case: what is done to a good line, the codes in the order found, and where the first of them is noted.
CASES: dict[str, tuple[Any, list[str], list[str | int]]] = {
    "no attribute": (lambda v: v.pop("doctype"), ["ERROR_NO_LABEL_ATTRIBUTES"], []),
    "no metadata": (lambda v: v.pop("doctype-metadata"), ["ERROR_NO_LABEL_ATTRIBUTES"], []),
    "a failed object": (
        lambda v: (v.pop("doctype"), v.update({"doctype-metadata": {"failure-reason": "x"}})),
        ["ERROR_NO_LABEL_ATTRIBUTES"],
        [],
    ),
    "no image size": (
        lambda v: v["doctype"].pop("image_size"),
        ["ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype"],
    ),
    "an edge that is no whole number": (
        lambda v: v["doctype"]["annotations"][0].update(left=1.5),
        ["ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype"],
    ),
    "no creation date": (
        lambda v: v["doctype-metadata"].pop("creation-date"),
        ["ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype-metadata"],
    ),
    "another type": (
        lambda v: v["doctype-metadata"].update(type="groundtruth/wrong"),
        ["ERROR_UNSUPPORTED_USE_CASE_TYPE", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype-metadata"],
    ),
    "no confidence": (
        lambda v: v["doctype-metadata"].update(objects=[]),
        ["ERROR_MISSING_BOUNDING_BOX_CONFIDENCE", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype-metadata"],
    ),
    "a class id without a name": (
        lambda v: v["doctype"]["annotations"][0].update(class_id=7),
        ["ERROR_MISSING_CLASS_MAP_ID", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype-metadata"],
    ),
    "a label of 257 characters": (
        lambda v: v["doctype-metadata"].update({"class-map": {"0": "x" * 257}}),
        ["ERROR_INVALID_LABEL_NAME_LENGTH", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype-metadata"],
    ),
    "51 boxes": (
        lambda v: (
            v["doctype"].update(annotations=v["doctype"]["annotations"] * 51),
            v["doctype-metadata"].update(objects=[{"confidence": 1}] * 51),
        ),
        ["ERROR_TOO_MANY_BOUNDING_BOXES", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype"],
    ),
    "an image of 63 pixels": (
        lambda v: v["doctype"]["image_size"][0].update(width=63),
        ["ERROR_INVALID_IMAGE_DIMENSION", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype"],
    ),
    "a box beyond the frame": (
        lambda v: v["doctype"]["annotations"][0].update(left=221),
        ["ERROR_INVALID_BOUNDING_BOX", "ERROR_NO_VALID_ANNOTATIONS", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype", "annotations", 0],
    ),
    "a box of one pixel": (
        lambda v: v["doctype"]["annotations"][0].update(width=1, height=1),
        ["ERROR_BOUNDING_BOX_TOO_SMALL", "ERROR_NO_VALID_ANNOTATIONS", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype", "annotations", 0],
    ),
    "a box that is too small once the image is downsized": (
        lambda v: (
            v["doctype"]["image_size"][0].update(width=4000, height=3000),
            v["doctype"]["annotations"][0].update(width=3),
        ),
        ["ERROR_BOUNDING_BOX_TOO_SMALL", "ERROR_NO_VALID_ANNOTATIONS", "ERROR_NO_VALID_LABEL_ATTRIBUTES"],
        ["doctype", "annotations", 0],
    ),
    "no boxes": (
        lambda v: (v["doctype"].update(annotations=[]), v["doctype-metadata"].update(objects=[])),
        ["WARNING_NO_ATTRIBUTE_ANNOTATIONS", "WARNING_NO_ANNOTATIONS"],
        ["doctype"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_line_is_noted_where_it_is(case: str) -> None:
    # Given a line that one thing is wrong with
    corrupt, codes, place = CASES[case]
    bad = line()
    corrupt(bad)

    # When it is checked
    checked = check_line(bad)

    # Then it has AWS's codes, in its place, and gives nothing to train with; only errors make it invalid
    assert [problem.code for problem in checked.problems] == codes
    assert checked.boxes == []
    assert checked.is_invalid == codes[0].startswith("ERROR")
    marked: Any = checked.for_validation()
    for key in place:
        marked = marked[key]
    assert marked["errors" if checked.is_invalid else "warnings"][0]["code"] == codes[0]


def test_one_bad_box_costs_only_that_box() -> None:
    # Given a line with a good box and one beyond the frame
    mixed = line()
    mixed["doctype"]["annotations"].append({"class_id": 0, "left": -1, "top": 0, "width": 50, "height": 50})
    mixed["doctype-metadata"]["objects"].append({"confidence": 1})

    # When it is checked
    checked = check_line(mixed)

    # Then the good one is used, the bad one is marked, and the line is valid
    assert len(checked.boxes) == 1
    assert checked.has_errors
    assert not checked.is_invalid
    assert "cl-errors" in checked.for_listing()["doctype"]["annotations"][1]


def test_boxes_are_measured_against_the_true_image_in_training() -> None:
    # Given a line that says 320 x 240 of an image that has 100 x 100
    # When it is checked against the image
    checked = check_line(line(), Size(100, 100))

    # Then the box is beyond the frame
    assert checked.problems[0].code == "ERROR_INVALID_BOUNDING_BOX"


@pytest.mark.parametrize(
    "dropped",
    [
        "",
        "no json",
        '{"doctype": 1}',
        json.dumps({"source-ref": "https://example.com/a.jpg"}),
        json.dumps(line("0.jpg")),
        json.dumps(line("long.jpg") | {"x": "y" * 100_000}),
    ],
    ids=["blank", "unreadable", "no source-ref", "no s3 uri", "source-ref twice", "too long"],
)
def test_content_errors_drop_up_to_a_fifth_of_the_lines(dropped: str) -> None:
    # Given manifests in which one line of five, and one of four, has a terminal content error
    # When datasets are created from them, then the first does without the line
    entries = read_dataset("train.manifest", manifest(*lines(4), dropped))
    assert [entry.source_ref for entry in entries] == [one["source-ref"] for one in lines(4)]
    assert not any(entry.problems for entry in entries)

    # And the second is refused
    with pytest.raises(ManifestRefused, match=r"The manifest file has too many terminal errors\."):
        read_dataset("train.manifest", manifest(*lines(3), dropped))


@pytest.mark.parametrize(
    ("key", "content", "code"),
    [
        ("train", manifest(line()), "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"),
        ("train.manifest", b"", "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"),
        ("train.manifest", b"\xff\xfe\x00", "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"),
        ("train.manifest", b"not a manifest", "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"),
        ("train.manifest", b"\n" * 250_001, "ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM"),
    ],
    ids=["no extension", "empty", "no text", "other contents", "too many rows"],
)
def test_terminal_file_errors_refuse_the_file(key: str, content: bytes, code: str) -> None:
    # When a dataset is made of a file that cannot be used, then it is refused with AWS's code
    with pytest.raises(ManifestRefused) as refused:
        read_dataset(key, content)
    assert refused.value.code == code


def test_more_than_250_labels_refuse_the_file() -> None:
    # Given 251 lines with a label each
    many = [manifest_line(f"{n}.jpg", Photo(b"", f"TYPE_{n}", PHOTO.box)) for n in range(251)]

    # When datasets are made, then 250 labels are taken and 251 are not
    assert len(label_counts(read_dataset("train.manifest", manifest(*many[:250])))) == 250
    with pytest.raises(ManifestRefused, match="too many labels"):
        read_dataset("train.manifest", manifest(*many))


def errors_of(training: list[dict[str, Any]], testing: list[dict[str, Any]]) -> list[str]:
    _, errors = check_sets([check_line(one) for one in training], [check_line(one) for one in testing])
    return [error["code"] for error in errors]


def test_the_limit_for_invalid_lines_is_a_fifth() -> None:
    # Given a set with one invalid line of five, and with two of six
    bad = [line(f"bad-{n}.jpg", left=-5) for n in range(2)]

    # When both are checked as wholes, then only the second is beyond the limit
    assert errors_of([*lines(4), bad[0]], lines(1)) == []
    assert errors_of([*lines(4), *bad], lines(1)) == ["ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST"]


def test_ignored_lines_do_not_count_as_invalid() -> None:
    # Given a set most of whose lines have no boxes at all
    empty = [line(f"empty-{n}.jpg") for n in range(6)]
    for one in empty:
        one["doctype"]["annotations"], one["doctype-metadata"]["objects"] = [], []

    # When it is checked as a whole
    summary, errors = check_sets([check_line(one) for one in [*lines(2), *empty]], [check_line(line())])

    # Then it can be trained with, and the summary counts them apart
    assert errors == []
    assert summary["statistics"]["training"] == {
        "use_case": "OBJECT_LOCALIZATION",
        "total_json_lines": 8,
        "valid_json_lines": 2,
        "invalid_json_lines": 0,
        "ignored_json_lines": 6,
        "error_json_line_indices": [],
        "errors": [],
    }


def test_the_sets_must_share_half_of_the_labels() -> None:
    # Given a training set of three types and a testing set of one
    def of_types(*types: str) -> list[dict[str, Any]]:
        return [manifest_line(f"{name}.jpg", Photo(b"", name, PHOTO.box)) for name in types]

    # When they are checked, then that is too little; two of four is enough
    assert errors_of(of_types("A", "B", "C"), of_types("A")) == ["ERROR_INSUFFICIENT_LABEL_OVERLAP"]
    assert errors_of(of_types("A", "B", "C", "D"), of_types("A", "B")) == []


def test_images_must_be_in_one_bucket() -> None:
    # Given a set with an image of another bucket
    elsewhere = line() | {"source-ref": "s3://another/a.jpg"}

    # When it is checked, then the whole set is in error
    assert errors_of([*lines(3), elsewhere], lines(1)) == ["ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS"]


def test_image_level_labels_are_discarded_beside_boxes() -> None:
    # Given a classification line among lines with boxes
    classified = {
        "source-ref": "s3://specimens/class.jpg",
        "kind": 0,
        "kind-metadata": {
            "confidence": 1,
            "class-name": "ID_CARD",
            "type": "groundtruth/image-classification",
            "human-annotated": "yes",
            "creation-date": "2026-11-24T01:02:03.456789",
        },
    }

    # When the set is checked as a whole
    summary, errors = check_sets([check_line(one) for one in [*lines(2), classified]], [check_line(line())])

    # Then the use case is object localization and that line is ignored
    assert errors == []
    assert summary["statistics"]["training"]["use_case"] == "OBJECT_LOCALIZATION"
    assert summary["statistics"]["training"]["ignored_json_lines"] == 1
