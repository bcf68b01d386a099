"""Bad input gets the answer that `cases` says, through real parts, and harms nothing that was there."""

import pytest

from tests.bad_input.cases import CASES, Call, Case, LabelsFile, Line, Lines, Name, Photo, Photos
from tests.bad_input.conftest import Api

PLACES = {
    Photo: "check_photos_cases",
    Photos: "check_photos_cases",
    Line: "prepare_datasets",
    Lines: "prepare_datasets",
    LabelsFile: "import_labels",
    Name: "api",
    Call: "api",
}


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_bad_input_is_answered_in_words_and_harms_nothing(case: Case, request: pytest.FixtureRequest) -> None:
    # Given the place where it goes in, and all that is there
    place = request.getfixturevalue(PLACES[type(case)])
    before = place.everything()
    # When it comes
    answer, words = place.give(case)
    # Then the answer says what was wrong, to a program and to a person
    assert answer == case.answer, words
    assert case.words in words
    # And all is as it was
    assert place.everything() == before


def test_no_log_line_names_what_was_sent_or_has_a_stack_trace(api: Api) -> None:
    # Given all the calls above; Then the logs have neither names, which may be those of people, nor insides
    logs = api.pipeline.logs()
    assert "Answered" in logs
    assert not [leak for leak in ("jane", "X-Amz-Signature", "Traceback", "The API failed") if leak in logs]


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 80
