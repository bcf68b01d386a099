"""What a deployment may choose: the keys of the CDK context (``cdk.json``, or ``cdk synth -c key=value``)."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

DAY = 24 * 60 * 60

HISTORY_EVENTS_FOR_POLLING = 20_000
"""What the three loops together may take of an execution's 25,000 history events, at which Step Functions fails it.

The rest is for a redrive, the labelling heartbeats and the retries of tasks that wait for a training slot or for a
running model to stop. Source: Step Functions guide, 'Service quotas'.
"""

EVENTS_PER_POLL = 9
"""A Wait (2 history events), a Lambda task (5) and a Choice (2)."""


class SettingsError(Exception):
    """The CDK context lacks a key, holds one that is unknown or a value that cannot be; names them all."""


@dataclass(frozen=True)
class Poll:
    """When a loop of the state machine looks again, in seconds.

    ``first`` is the first wait; each later one is ``growth`` times as long, up to ``ceiling``; ``deadline`` is when the
    loop gives up.
    """

    first: float
    growth: float
    ceiling: float
    deadline: int

    def count(self) -> int:
        """How often the loop looks until its deadline."""
        looks, waited, wait = 0, 0.0, self.first
        while waited < self.deadline:
            waited += wait
            looks += 1
            wait = min(self.ceiling, wait * self.growth)
        return looks


@dataclass(frozen=True)
class Settings:
    """One deployment's choices, checked."""

    stack_name: str
    document_types: tuple[str, ...]
    label_provider: str
    work_team_arn: str
    workers_per_image: int
    min_images: int
    max_rejected_share: float
    min_f1: float
    min_label_f1: float
    max_f1_drop: float
    stop_previous_model: bool
    inference_units: int
    datasets: Poll
    training: Poll
    model: Poll
    labelling_heartbeat: int
    labelling_deadline: int

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """Read every setting; the keys of the CDK itself (they hold ``:``, ``@`` or ``/``) are passed over.

        ``cdk -c key=value`` gives each value as text: text that is JSON is read as such.

        Raises:
            SettingsError: names every missing key, unknown key and impossible value at once.
        """
        given = dict(_flat({key: value for key, value in context.items() if not re.search("[:@/]", key)}))
        faults = {key: "is unknown" for key in given if key not in RULES}
        for key, rule in RULES.items():
            if key not in given:
                faults[key] = f"is missing: give {rule.wording}"
            elif not rule.holds(given[key]):
                faults[key] = f"is {json.dumps(given[key])}: give {rule.wording}"
        usable = {key: value for key, value in given.items() if key not in faults}
        sentences = [f"{key} {fault}" for key, fault in faults.items()] + list(_contradictions(usable))
        if sentences:
            raise SettingsError("The CDK context (cdk.json) is wrong:\n" + "\n".join(f"- {one}" for one in sentences))
        return cls(
            stack_name=given["stackName"],
            document_types=tuple(given["documentTypes"]),
            label_provider=given["labelProvider"],
            work_team_arn=given["workTeamArn"],
            workers_per_image=given["workersPerImage"],
            min_images=given["minImages"],
            max_rejected_share=given["maxRejectedShare"],
            min_f1=given["minF1"],
            min_label_f1=given["minLabelF1"],
            max_f1_drop=given["maxF1Drop"],
            stop_previous_model=given["stopPreviousModel"],
            inference_units=given["inferenceUnits"],
            datasets=_poll(given, "datasets"),
            training=_poll(given, "training"),
            model=_poll(given, "model"),
            labelling_heartbeat=given["labelling.heartbeat"],
            labelling_deadline=given["labelling.deadline"],
        )


@dataclass(frozen=True)
class _Rule:
    holds: Callable[[Any], bool]
    wording: str


def _whole(low: int, high: int) -> _Rule:
    return _Rule(lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}")


def _number(low: float, high: float) -> _Rule:
    return _Rule(lambda value: type(value) in (int, float) and low <= value <= high, f"a number from {low} to {high}")


def _text(pattern: str, wording: str) -> _Rule:
    return _Rule(lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, wording)


def _is_document_types(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= 50
        and all(isinstance(name, str) and re.fullmatch("[A-Za-z0-9_-]{1,64}", name) for name in value)
        and len(set(value)) == len(value)
    )


LOOPS = ("datasets", "training", "model")
POLL_PARTS = ("first", "growth", "ceiling", "deadline")

RULES: dict[str, _Rule] = {
    "stackName": _text("[A-Za-z][A-Za-z0-9-]{0,63}", "up to 64 letters, digits and '-', the first a letter"),
    # 50 is what Ground Truth takes of bounding-box categories. Source: SageMaker guide, 'Input Data Quotas'.
    "documentTypes": _Rule(_is_document_types, "a list of 1 to 50 different names of letters, digits, '_' and '-'"),
    "labelProvider": _text("ground-truth|supplied", '"ground-truth" or "supplied"'),
    # Identity documents are personal data: a public workforce may not see them.
    "workTeamArn": _text(
        r"|arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:workteam/(?!public-crowd/).+",
        "the ARN of a private or vendor work team (arn:aws:sagemaker:REGION:ACCOUNT:workteam/...), or nothing",
    ),
    "workersPerImage": _whole(1, 9),
    "minImages": _whole(1, 250_000),
    "maxRejectedShare": _number(0, 1),
    "minF1": _number(0, 1),
    "minLabelF1": _number(0, 1),
    "maxF1Drop": _number(0, 1),
    "stopPreviousModel": _Rule(lambda value: isinstance(value, bool), "true or false"),
    "inferenceUnits": _whole(1, 100),
    **{
        f"polls.{loop}.{part}": rule
        for loop in LOOPS
        for part, rule in zip(
            POLL_PARTS, (_number(1, DAY), _number(1, 10), _number(1, DAY), _whole(1, 30 * DAY)), strict=True
        )
    },
    "labelling.heartbeat": _whole(60, 365 * DAY),
    "labelling.deadline": _whole(60, 365 * DAY),
}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested objects with their path as key, such as ``polls.training.first``."""
    for key, value in values.items():
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _poll(given: Mapping[str, Any], loop: str) -> Poll:
    return Poll(**{part: given[f"polls.{loop}.{part}"] for part in POLL_PARTS})


def _contradictions(usable: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with values that are each possible but not together; looks only at those that are usable."""
    looks = 0
    for loop in LOOPS:
        if not all(f"polls.{loop}.{part}" in usable for part in POLL_PARTS):
            continue
        poll = _poll(usable, loop)
        looks += poll.count()
        if poll.first > poll.ceiling:
            yield f"polls.{loop}.first ({poll.first}) is above polls.{loop}.ceiling ({poll.ceiling})"
        if poll.ceiling > poll.deadline:
            yield f"polls.{loop}.ceiling ({poll.ceiling}) is above polls.{loop}.deadline ({poll.deadline})"
    if looks * EVENTS_PER_POLL > HISTORY_EVENTS_FOR_POLLING:
        yield (
            f"polls would look {looks} times until their deadlines, which is {looks * EVENTS_PER_POLL} history events, "
            f"and an execution has room for {HISTORY_EVENTS_FOR_POLLING}: wait longer or give up sooner"
        )
    if {"labelling.heartbeat", "labelling.deadline"} <= usable.keys():
        heartbeat, deadline = usable["labelling.heartbeat"], usable["labelling.deadline"]
        if heartbeat >= deadline:
            yield f"labelling.heartbeat ({heartbeat}) is not below labelling.deadline ({deadline})"
