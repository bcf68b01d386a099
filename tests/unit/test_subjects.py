"""The subjects of photos: which texts can be one, and how a photo's metadata says its subject."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekyc.cli.errors import CommandError
from ekyc.cli.subjects import subjects
from rules.names import JOB_PREFIX
from rules.subjects import SUBJECT, is_subject, subject_hash, subject_of
from rules.uploads import SUBJECT_METADATA

JOB = f"{JOB_PREFIX}20261124034524-0ac337ddb8d23c1c"


@given(st.from_regex(SUBJECT, fullmatch=True), st.from_regex(SUBJECT, fullmatch=True))
def test_only_photos_of_one_subject_have_one_hash(first: str, second: str) -> None:
    hashes = [subject_of({SUBJECT_METADATA: subject_hash(JOB, subject)}) for subject in (first, second)]
    assert None not in hashes
    assert (hashes[0] == hashes[1]) == (first == second)


@pytest.mark.parametrize("metadata", [{}, {"sha256": "0" * 64}, {"subject": "jane"}, {"subject": "0" * 64 + "\n"}])
def test_other_metadata_is_no_subject(metadata: dict[str, str]) -> None:
    assert subject_of(metadata) is None


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("0017_front.jpg", "0017"),
        ("scan 0018_back.jpg", "0018"),
        ("front.jpg", None),
        ("_front.jpg", None),
    ],
)
def test_the_first_group_in_the_name_is_the_subject(name: str, subject: str | None) -> None:
    assert subjects([name], re.compile(r"(\d*)_")).get(name) == subject


def test_an_optional_group_that_is_not_found_is_no_subject() -> None:
    assert subjects(["a.jpg", "7-a.jpg"], re.compile(r"(\d-)?a")) == {"7-a.jpg": "7-"}


def test_a_name_with_a_subject_that_is_not_allowed_is_named() -> None:
    assert not is_subject("jäne")
    with pytest.raises(CommandError, match=r"in the name of jäne_1\.jpg and of 1 more files is not allowed"):
        subjects(["anna_1.jpg", "jäne_1.jpg", "jäne_2.jpg"], re.compile("(.+)_"))
