"""The rules that the state machine's definition keeps, asserted over the ASL itself."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline import errors
from stacks import definition

MACHINE: dict[str, Any] = definition.read()
STATES: dict[str, dict[str, Any]] = MACHINE["States"]
MAPS = {name: state for name, state in STATES.items() if state["Type"] == "Map"}
TASKS = {
    name: state
    for states in (STATES, *(state["ItemProcessor"]["States"] for state in MAPS.values()))
    for name, state in states.items()
    if state["Type"] == "Task"
}
CHOICES = {name: state for name, state in STATES.items() if state["Type"] == "Choice"}
TRANSIENT = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Throttled",
}


def successors(state: dict[str, Any]) -> Iterator[str]:
    """Every state that ``state`` can lead to."""
    yield from (rule["Next"] for rule in state.get("Choices", []))
    yield from (catcher["Next"] for catcher in state.get("Catch", []))
    yield from (state[key] for key in ("Next", "Default") if key in state)


def cycles() -> Iterator[list[str]]:
    """Every simple cycle of the machine, as the states on it."""

    def walk(path: list[str]) -> Iterator[list[str]]:
        for following in successors(STATES[path[-1]]):
            if following == path[0]:
                yield path
            elif following not in path:
                yield from walk([*path, following])

    for name in STATES:
        yield from walk([name])


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_time_limit_and_retries_what_passes(name: str) -> None:
    # Given a Task state
    state = TASKS[name]
    # Then it cannot hang, and a transient error of Lambda or of a service is retried, ever slower and scattered
    assert state["TimeoutSeconds"]
    retry = next(retry for retry in state["Retry"] if set(retry["ErrorEquals"]) >= TRANSIENT)
    assert retry["BackoffRate"] > 1
    assert retry["JitterStrategy"] == "FULL"
    assert retry["MaxAttempts"] >= 3


@pytest.mark.parametrize("name", TASKS)
def test_a_function_that_died_is_tried_again(name: str) -> None:
    retried = {error for retry in TASKS[name]["Retry"] for error in retry["ErrorEquals"]}
    assert retried >= {"Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory", "Lambda.Unknown"}


@pytest.mark.parametrize("name", sorted(TASKS.keys() - {"Learn outlines"}))
def test_no_task_catches_so_that_a_redrive_resumes_at_it(name: str) -> None:
    assert "Catch" not in TASKS[name]


def test_only_the_outlines_may_fail_and_the_job_then_says_so() -> None:
    # Given the one task that is not needed for a model
    state = TASKS["Learn outlines"]
    # Then after any error the job goes on as after a success, and later states get the error's name
    (catcher,) = state["Catch"]
    assert catcher["ErrorEquals"] == ["States.ALL"]
    assert catcher["Next"] == state["Next"] == "Wait for training"
    assert catcher["Assign"] == {"outlines": {"error": "{% $states.errorOutput.Error %}"}}
    assert TASKS["Evaluate model"]["Arguments"]["Payload"]["outlines"] == "{% $outlines %}"
    # And a run that has no time left is continued at once
    left = next(retry for retry in state["Retry"] if retry["ErrorEquals"] == ["OutlinesLeft"])
    assert (left["IntervalSeconds"], left["MaxAttempts"]) == (1, 1000)


@pytest.mark.parametrize("name", MAPS)
def test_a_map_repeats_only_failed_items(name: str) -> None:
    # Given a Map state; Then each item is an execution of its own, which a redrive repeats alone
    state = MAPS[name]
    assert state["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    # And the state itself neither retries, which would start all items again, nor tolerates a failed item
    assert not {"Retry", "Catch", "ToleratedFailureCount", "ToleratedFailurePercentage"} & state.keys()
    # And no execution gets a whole item, which names photos
    assert all(not text.endswith("Item.Value %}") for text in state["ItemSelector"].values())


def test_retries_name_only_errors_that_the_pipeline_raises() -> None:
    # Given the errors that the Retry blocks name, less those of AWS, which have a dot
    retried = {error for task in TASKS.values() for retry in task["Retry"] for error in retry["ErrorEquals"]}
    ours = {error for error in retried if "." not in error}
    # Then each is a class of the error tree
    assert all(issubclass(getattr(errors, error), errors.PipelineError) for error in ours)
    assert {"TrainingSlotsBusy", "RunningModelsLimit", "Throttled"} <= ours


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("Create datasets", "DatasetSlotsBusy"),
        ("Start training", "TrainingSlotsBusy"),
        ("Start model", "RunningModelsLimit"),
    ],
)
def test_a_quota_in_use_is_asked_for_a_week(name: str, error: str) -> None:
    # Given the retries of a task that a quota may refuse
    retry = next(retry for retry in TASKS[name]["Retry"] if retry["ErrorEquals"] == [error])
    # When all of them are used up
    first, growth, most = retry["IntervalSeconds"], retry["BackoffRate"], retry["MaxDelaySeconds"]
    delays = [min(most, first * growth**attempt) for attempt in range(retry["MaxAttempts"])]
    # Then a week has passed, and the history has room for them: three events each
    assert 7 * 86400 <= sum(delays) < 8 * 86400
    assert 3 * retry["MaxAttempts"] < 5000


def test_every_loop_waits_and_has_a_deadline() -> None:
    # When all cycles are walked
    found = list(cycles())
    # Then there are some, and each waits on its way and asks a check that knows the loop's deadline
    assert found
    for cycle in found:
        assert any(STATES[name]["Type"] == "Wait" for name in cycle), cycle
        checks = [STATES[name]["Arguments"]["Payload"] for name in cycle if name in TASKS]
        assert any({"waitingSince", "deadlineSeconds"} <= payload.keys() for payload in checks), cycle


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_nothing_matches_cannot_mean_success(name: str) -> None:
    # Given the state that a Choice falls through to
    default = CHOICES[name]["Default"]
    # Then it is neither the end nor the publication of a model
    assert STATES[default]["Type"] != "Succeed"
    assert default != "Publish model"


@pytest.mark.parametrize("name", CHOICES)
def test_every_rule_of_a_choice_says_in_words_when_it_holds(name: str) -> None:
    # Given the comments of a Choice's rules, which the picture shows
    words = [rule["Comment"] for rule in CHOICES[name]["Choices"]]
    # Then each is a few words, unlike the others
    assert all(re.fullmatch(r"[a-z ]{4,20}", one) for one in words)
    assert len(set(words)) == len(words)


def test_the_machines_time_limit_exceeds_all_deadlines() -> None:
    labelling, training, quotas = 31 * 86400, 3 * 86400, 3 * 7 * 86400
    assert MACHINE["TimeoutSeconds"] > labelling + training + quotas
    assert MACHINE["TimeoutSeconds"] < 365 * 86400


@pytest.mark.parametrize("name", STATES)
def test_every_state_explains_itself_and_can_be_reached(name: str) -> None:
    assert len(STATES[name]["Comment"]) > 15
    reached = {MACHINE["StartAt"]}
    while more := {following for here in reached for following in successors(STATES[here])} - reached:
        reached |= more
    assert name in reached


def test_the_callbacks_heartbeat_is_below_its_limit_and_retried() -> None:
    # Given the one task that waits for a token
    callbacks = [state for state in TASKS.values() if state["Resource"].endswith(".waitForTaskToken")]
    (callback,) = callbacks
    # Then a lost event is found by a heartbeat, whose miss runs the task again
    assert callback["HeartbeatSeconds"] == "{% ${LabellingHeartbeat} %}"
    assert callback["TimeoutSeconds"] == "{% ${LabellingDeadline} %}"
    assert any(
        {"States.HeartbeatTimeout", "States.Timeout"} <= set(retry["ErrorEquals"]) for retry in callback["Retry"]
    )


def test_only_the_payload_of_a_task_names_what_the_stage_takes() -> None:
    # Then no state hands its whole input on to a function: each names its arguments, and none is a list of images
    for task in TASKS.values():
        payload = task["Arguments"]["Payload"]
        assert isinstance(payload, dict)
        assert "{% $states.input %}" not in payload.values()
