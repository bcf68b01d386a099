"""What to do about a job that ended without a model: there is advice for every error, and it leads out."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import pipeline
from ekyc.cli import watch
from pipeline import erasure
from pipeline.errors import OutlinesLeft, PipelineError
from rules import advice
from rules.advice import BY_ERROR, STOPPED, UNNAMED, Resume
from rules.states import Status
from stacks import definition

STATES = definition.read()["States"]
# Errors that end no job: of a function that no execution calls, and of the task whose failure is caught.
OF_NO_JOB = {erasure.NotErased.__name__, OutlinesLeft.__name__}


def tree(base: type[Exception]) -> Iterator[type[Exception]]:
    for kind in base.__subclasses__():
        yield kind
        yield from tree(kind)


for module in pkgutil.iter_modules(pipeline.__path__):
    importlib.import_module(f"pipeline.{module.name}")
NAMED = {kind.__name__ for kind in tree(PipelineError) if kind.__module__.startswith("pipeline")} - OF_NO_JOB
NAMED |= {state["Error"] for state in STATES.values() if state["Type"] == "Fail"}
ENTRIES = {**BY_ERROR, "any other": UNNAMED, "stopped": STOPPED}


@pytest.mark.parametrize("error", sorted(NAMED))
def test_there_is_advice_for_every_error(error: str) -> None:
    assert error in BY_ERROR, f"Say in lambdas/rules/advice.py what to do about {error}, then run 'make docs'."


def test_there_is_no_advice_for_an_error_that_is_gone() -> None:
    # Given the entries, but those of errors that Step Functions itself has
    ours = {error for error in BY_ERROR if not error.startswith("States.")}
    assert ours - NAMED == set()


@pytest.mark.parametrize("error", ENTRIES)
def test_advice_says_what_a_resume_can_do(error: str) -> None:
    # Given an entry
    entry = ENTRIES[error]
    # Then its text says to resume exactly if that can help
    assert ("resume the job" in entry.text.lower()) is (entry.resume is not Resume.IMPOSSIBLE)
    assert ("start a new job" in entry.text.lower()) or entry.resume is not Resume.IMPOSSIBLE
    assert ("labels file" in entry.text) is (entry.resume is Resume.AFTER_LABELS)


@pytest.mark.parametrize("error", [name for name, entry in BY_ERROR.items() if entry.resume is Resume.AFTER_LABELS])
def test_labels_of_ground_truth_are_in_no_file_to_correct(error: str) -> None:
    assert advice.for_job(Status.FAILED, error, "supplied").resume is Resume.AFTER_LABELS
    for_ground_truth = advice.for_job(Status.FAILED, error, "ground-truth")
    assert for_ground_truth.resume is Resume.IMPOSSIBLE
    assert "Start a new job" in for_ground_truth.text


@pytest.mark.parametrize("error", ["KeyError", "Lambda.Unknown", "Sandbox.Timedout", None])
def test_an_error_without_a_name_has_advice_too(error: str | None) -> None:
    assert advice.for_job(Status.FAILED, error, None).text == UNNAMED.text


def test_a_stopped_job_can_be_resumed_whatever_its_error() -> None:
    assert advice.for_job(Status.STOPPED, "NotEnoughImages", None).resume is Resume.POSSIBLE


@pytest.mark.parametrize("status", ["Failed", "Rejected", "Stopped"])
@pytest.mark.parametrize("resume", list(Resume))
def test_the_command_line_says_what_the_api_says(status: str, resume: Resume) -> None:
    # Given a job as the API shows it
    job = {"id": "ekyc-1", "status": status, "error": "E", "cause": "c.", "advice": {"text": "Do.", "resume": resume}}
    # Then the command line prints that advice and the commands for it
    text = watch.conclusion(job)
    assert " Do. " in text
    assert ("ekyc resume ekyc-1" in text) is (resume is not Resume.IMPOSSIBLE)
    assert ("ekyc labels FILE ekyc-1" in text) is (resume is Resume.AFTER_LABELS)
    # And for an erased job, which has no advice, it prints only how the job ended
    del job["advice"]
    assert "ekyc resume" not in watch.conclusion(job)
