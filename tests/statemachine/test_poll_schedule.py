"""When the loops look again: the state machine's own expressions, evaluated over any settings of a deployment."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ekyc.localaws.moto_patches.asl import evaluate_jsonata
from stacks import definition
from stacks.settings import Poll
from stacks.training import numbers

LOOPS = {
    "Create datasets": "Wait for datasets",
    "Start training": "Wait for training",
    "Start model": "Wait for model",
}
MOST_LOOKS = 150  # what takes longer is the same, later


@st.composite
def polls(draw: st.DrawFn) -> Poll:
    """A loop's settings as a deployment takes them: the first wait up to the ceiling, that up to the deadline."""
    first, ceiling, deadline = sorted(draw(st.tuples(*[st.integers(1, 5000)] * 3)))
    growth = draw(st.sampled_from([1, 1.01, 1.05, 1.1, 1.5, 10]) | st.floats(1, 10).map(lambda value: round(value, 3)))
    poll = Poll.model_construct(first=first, growth=growth, ceiling=ceiling, deadline=deadline)
    assume(poll.count() <= MOST_LOOKS)
    return poll


def deployed(poll: Poll) -> dict[str, Any]:
    """The machine's states with the settings put in as CloudFormation puts them in."""
    polled = SimpleNamespace(datasets=poll, training=poll, model=poll)
    values = numbers(
        SimpleNamespace(polls=polled, photo_concurrency=1, labelling=SimpleNamespace(heartbeat=1, deadline=1))
    )  # type: ignore[arg-type]
    text = re.sub(r"\$\{(\w+)\}", lambda name: values.get(name[1], name[0]), definition.as_json())
    states: dict[str, Any] = json.loads(text)["States"]
    return states


def evaluated(expression: str, **variables: float) -> Any:
    """What ``{% ... %}`` comes to, with Step Functions' variables set."""
    said = "".join(f"${name} := {value!r}; " for name, value in variables.items())
    return evaluate_jsonata(f"({said}{expression.removeprefix('{%').removesuffix('%}')})")


@pytest.mark.parametrize(("starts", "waiting"), LOOPS.items())
@given(poll=polls())
@settings(max_examples=12, deadline=None)
def test_waits_grow_to_the_ceiling_until_the_deadline(starts: str, waiting: str, poll: Poll) -> None:
    # Given a deployment's settings of the loop
    states = deployed(poll)
    wait, waited, slept = evaluated(states[starts]["Assign"]["wait"]), 0.0, 0
    seconds = []
    # When it goes on until its deadline
    while waited < poll.deadline:
        seconds.append(evaluated(states[waiting]["Seconds"], wait=wait))
        waited, slept = waited + wait, slept + seconds[-1]
        wait = evaluated(states[waiting]["Assign"]["wait"], wait=wait)
    # Then it first waits as long as is set, then ever longer, never longer than the ceiling, and in whole seconds
    assert seconds[0] == poll.first
    assert seconds == sorted(seconds)
    assert seconds[-1] <= poll.ceiling
    assert all(isinstance(second, int) for second in seconds)
    # And it has looked as often as the settings reckon with; rounded up, waits only make it less
    assert len(seconds) == poll.count()
    assert slept >= waited
