"""What a deployment may choose: the keys of the CDK context (``cdk.json``, or ``cdk synth -c key=value``).

The class ``Settings`` is the one description: the checks at synth, the words of their messages and ``docs/settings.md``
all come from it. Its defaults are in ``cdk.json``, which holds every key.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from rules.types import MOST_TYPES, TYPE_PATTERN, TYPE_RULE

CDK_JSON = Path(__file__).resolve().parent.parent / "cdk.json"

HOUR = 60 * 60
DAY = 24 * HOUR

HISTORY_EVENTS_FOR_WAITING = 18_000
"""What the three loops and the labelling heartbeats together may take of an execution's history.

At 25,000 events Step Functions fails the execution. The rest is for the retries of the three tasks that wait for a
quota (680 times 3 events each), for all other states and for a redrive. Source: Step Functions guide, 'Service quotas'.
"""

EVENTS_PER_POLL = 9
"""A Wait (2 history events), a Lambda task (5) and a Choice (2)."""

EVENTS_PER_HEARTBEAT = 4
"""Of a task with a token that is run again: scheduled, started, submitted, timed out."""

WAIT_FOR_A_QUOTA = 7 * DAY
"""How long a task asks again while a quota is in use, such as all training slots: 680 times, after 900 s at most."""

LONGEST_EXECUTION_HOURS = 1440
"""When the state machine gives up on any execution: its ``TimeoutSeconds``, 60 days."""

JOB_TAG = "ekyc-job"
"""The tag by which the pipeline says to which job a project, a model or a labelling job belongs."""

GROUND_TRUTH_REGIONS = frozenset(
    {
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ca-central-1",
        "eu-central-1",
        "eu-west-1",
        "eu-west-2",
        "us-east-1",
        "us-east-2",
        "us-west-2",
    }
)
"""Where AWS has the built-in functions for bounding boxes, without which there is no labelling job.

Source: SageMaker API reference, HumanTaskConfig, PreHumanTaskLambdaArn.
"""


class SettingsError(Exception):
    """The CDK context lacks a key, holds one that is unknown or a value that cannot be; names them all."""


@dataclass(frozen=True)
class Takes:
    """What a value may be, in words that end the sentence 'give ...'."""

    words: str


def _listed(value: Any) -> Any:
    """JSON knows lists, the settings are frozen."""
    return tuple(value) if isinstance(value, list) else value


def _different(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("one of them is there twice")
    return values


def _ours_to_give(tags: Mapping[str, str]) -> Mapping[str, str]:
    for key in tags:
        if key.lower().startswith("aws:") or key == JOB_TAG:
            raise ValueError(f"{key} is {'AWS' if key != JOB_TAG else 'the pipeline'}'s own")
    return tags


def _no_public_workforce(arn: str) -> str:
    if "/public-crowd/" in arn:
        raise ValueError("a public workforce may not see identity documents, which are personal data")
    return arn


PARTITION_REGION = "arn:aws[a-z-]*:{}:[a-z0-9-]+"

Share = Annotated[int | float, Field(ge=0, le=1), Takes("a number from 0 to 1")]
Seconds = Annotated[int | float, Field(ge=1, le=DAY), Takes(f"a number from 1 to {DAY}")]
Growth = Annotated[int | float, Field(ge=1, le=10), Takes("a number from 1 to 10")]
PollDeadline = Annotated[int, Field(ge=1, le=30 * DAY), Takes(f"a whole number from 1 to {30 * DAY}")]
LabellingSeconds = Annotated[int, Field(ge=60, le=365 * DAY), Takes(f"a whole number from 60 to {365 * DAY}")]
Switch = Annotated[bool, Takes("true or false")]


class _Group(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


class Poll(_Group):
    """When a loop of the state machine looks again, in seconds."""

    first: Seconds = Field(description="The first wait, in seconds.")
    growth: Growth = Field(description="Each later wait is so many times as long as the one before.")
    ceiling: Seconds = Field(description="No wait is longer, in seconds.")
    deadline: PollDeadline = Field(description="When the loop gives up and the job fails, in seconds.")

    def count(self) -> int:
        """How often the loop looks until its deadline."""
        looks, waited, wait = 0, 0.0, float(self.first)
        while waited < self.deadline:
            waited += wait
            looks += 1
            wait = min(self.ceiling, wait * self.growth)
        return looks


class Polls(_Group):
    """The loops in which the state machine waits for Rekognition, which sends no event."""

    datasets: Poll = Field(description="While Rekognition reads the training and the test dataset.")
    training: Poll = Field(description="While Rekognition trains.")
    model: Poll = Field(description="While the model starts.")


class Labelling(_Group):
    """How long people may take."""

    heartbeat: LabellingSeconds = Field(
        description="After so many seconds without news the pipeline asks Ground Truth itself whether labelling has "
        "ended, which covers a lost event."
    )
    deadline: LabellingSeconds = Field(
        description="After so many seconds without labels the job fails. A Ground Truth job lives for 30 days."
    )


class Settings(_Group):
    """One deployment's choices, checked."""

    stack_name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$"),
        Takes("up to 64 letters, digits and '-', the first a letter"),
    ] = Field(
        description="The name of the CloudFormation stack, the state machine, the API and the metrics, and the first "
        "part of the names of the two parameters that name the live model. Two stacks of different names live side by "
        "side in an account."
    )
    stage: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$"), Takes("up to 128 letters, digits, '_' and '-'")] = (
        Field(description="The stage of the API: the first part of every path of its URL.")
    )
    region: Annotated[
        str,
        Field(pattern=r"^([a-z]{2}(-[a-z]+)+-\d{1,2})?$"),
        Takes("the code of a Region such as eu-west-1, or nothing"),
    ] = Field(
        description="The Region to deploy to; nothing means the Region of the credentials. Given, it is also what the "
        "other settings are checked against."
    )
    document_types: Annotated[
        tuple[Annotated[str, Field(pattern=f"^{TYPE_PATTERN}$")], ...],
        Field(min_length=1, max_length=MOST_TYPES),
        BeforeValidator(_listed),
        AfterValidator(_different),
        Takes(f"a list of 1 to {MOST_TYPES} different names of {TYPE_RULE}"),
    ] = Field(description="The types of document to be told apart: the labels that people and the model choose from.")
    label_provider: Annotated[Literal["ground-truth", "supplied"], Takes('"ground-truth" or "supplied"')] = Field(
        description="Who labels a job that does not say so itself: people in SageMaker Ground Truth (which AWS closed "
        "to new customers on 2026-07-30), or labels from any other tool, uploaded as a COCO file or as a Ground Truth "
        "manifest."
    )
    work_team: Annotated[
        str,
        Field(pattern=rf"^(|create|{PARTITION_REGION.format('sagemaker')}:\d{{12}}:workteam/[^/]+/[^/]+)$"),
        AfterValidator(_no_public_workforce),
        Takes(
            'the ARN of a private or vendor work team (arn:aws:sagemaker:REGION:ACCOUNT:workteam/...), "create", or '
            "nothing"
        ),
    ] = Field(
        description="Who labels in Ground Truth: a private or vendor team that exists, or `create` for a private team "
        "with a Cognito user pool and group of its own, to which you invite people. Nothing means that jobs with "
        "Ground Truth are refused. A public workforce is refused: identity documents are personal data."
    )
    workers_per_image: Annotated[int, Field(ge=1, le=9), Takes("a whole number from 1 to 9")] = Field(
        description="How many people label each photo in Ground Truth, which merges their boxes. Each is paid for."
    )
    min_images: Annotated[int, Field(ge=1, le=250_000), Takes("a whole number from 1 to 250000")] = Field(
        description="A job with fewer usable photos fails before anything is labelled."
    )
    max_rejected_share: Share = Field(
        description="A job of whose photos a larger share is unusable (too large, too small, not a JPEG or PNG) fails. "
        "So does one of whose accepted photos a larger share is replaced or deleted between their check and training."
    )
    max_unmatched_share: Share = Field(
        description="A job fails before it trains when a larger share of its supplied labels has no uploaded photo, or "
        "a larger share of its photos is not in the labels file."
    )
    min_f1: Share = Field(
        description="The bar: a model with a lower F1 over all document types is rejected. A job may ask for a higher "
        "one."
    )
    min_label_f1: Share = Field(
        description="The floor: a model with a lower F1 for any one document type is rejected. A job may ask for a "
        "higher one."
    )
    max_f1_drop: Share = Field(
        description="A model is rejected when its F1 is lower than the live model's by more than this. A job may ask "
        "for less."
    )
    stop_previous_model: Switch = Field(
        description="Whether the model that was live is stopped once the new one is. Both bill by the hour while they "
        "run; stopped too early, a service that still names the old one fails. A job may leave it running, but not "
        "stop it where this is false."
    )
    # Source: AWS General Reference, 'Amazon Rekognition endpoints and quotas', inference units per started model.
    inference_units: Annotated[int, Field(ge=1, le=5), Takes("a whole number from 1 to 5")] = Field(
        description="The capacity that a model is started with. Each unit bills by the hour while the model runs."
    )
    polls: Polls = Field(description="When the state machine looks again for what Rekognition sends no event about.")
    labelling: Labelling = Field(description="How long people may take.")
    api_authorization: Annotated[
        str,
        Field(
            pattern=rf"^(iam|{PARTITION_REGION.format('cognito-idp')}:\d{{12}}:userpool/[\w-]+_[0-9a-zA-Z]+)$",
        ),
        Takes('"iam" or the ARN of a Cognito user pool (arn:aws:cognito-idp:REGION:ACCOUNT:userpool/...)'),
    ] = Field(
        description="Who may call the API: `iam` for callers whose IAM permissions say so, who sign each call, or the "
        "user pool whose users send their token."
    )
    api_log_role: Annotated[Literal["existing", "create"], Takes('"existing" or "create"')] = Field(
        description="API Gateway writes logs by a role that is set once for an account in a Region. `create` makes and "
        "sets it, for an account that has none; it replaces one that is set, and stays when the stack goes."
    )
    web_origins: Annotated[
        tuple[
            Annotated[
                str, Field(pattern=r"^(https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|http://localhost)(:\d{1,5})?$")
            ],
            ...,
        ],
        Field(max_length=20),
        BeforeValidator(_listed),
        AfterValidator(_different),
        Takes(
            "a list of up to 20 different origins such as https://kyc.example.com or http://localhost:3000, without a "
            "path and without '*'"
        ),
    ] = Field(
        description="The web pages that may call the API and upload photos from a browser (CORS). None means no page."
    )
    web_acl_arn: Annotated[
        str,
        Field(pattern=rf"^(|{PARTITION_REGION.format('wafv2')}:\d{{12}}:regional/webacl/[^/]+/[^/]+)$"),
        Takes("the ARN of a regional web ACL (arn:aws:wafv2:REGION:ACCOUNT:regional/webacl/NAME/ID), or nothing"),
    ] = Field(description="The web ACL of AWS WAF that every call of the API passes. Nothing means none.")
    kms_key_arn: Annotated[
        str,
        Field(pattern=rf"^(|{PARTITION_REGION.format('kms')}:\d{{12}}:key/[A-Za-z0-9-]+)$"),
        Takes("the ARN of a KMS key, not of an alias (arn:aws:kms:REGION:ACCOUNT:key/...), or nothing"),
    ] = Field(
        description="The key that encrypts what the pipeline stores, its models and labelling jobs. Nothing means the "
        "keys that AWS manages. The key's own policy must let the account's IAM policies and CloudWatch Logs use it."
    )
    retention_days: Annotated[int, Field(ge=1, le=3650), Takes("a whole number from 1 to 3650")] = Field(
        description="Photos, labels, manifests and training output are deleted so many days after they were written. "
        "The record of the job, which holds no photo, stays."
    )
    audit_retention_years: Annotated[int, Field(ge=1, le=100), Takes("a whole number from 1 to 100")] = Field(
        description="For so many years no audit report can be deleted or replaced, by nobody, the account's root user "
        "included (S3 Object Lock in compliance mode). A shorter time holds for later reports only."
    )
    model_hours: Annotated[int, Field(ge=1, le=8760), Takes("a whole number from 1 to 8760")] = Field(
        description="A model that runs for more hours is reported, or stopped: see longRunningModels."
    )
    long_running_models: Annotated[Literal["report", "stop"], Takes('"report" or "stop"')] = Field(
        description="What happens to a model that runs for longer than modelHours: `report` tells it and touches "
        "nothing, `stop` stops it, the live model too."
    )
    execution_hours: Annotated[
        int,
        Field(ge=1, le=LONGEST_EXECUTION_HOURS),
        Takes(f"a whole number from 1 to {LONGEST_EXECUTION_HOURS}"),
    ] = Field(description="A job that runs for more hours raises an alarm: something may be stuck.")
    notification_email: Annotated[
        str, Field(pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$"), Takes("an e-mail address, or nothing")
    ] = Field(
        description="Gets the outcome of every job, running models and alarms, once its owner has confirmed AWS's "
        "first e-mail. Nothing means that you subscribe to the topic yourself."
    )
    # Rekognition's own limits of a tag; "=" and "," separate tags in the functions' environment.
    tags: Annotated[
        Mapping[
            Annotated[str, Field(pattern=r"^[\w .:/+@-]+$", max_length=128)],
            Annotated[str, Field(pattern=r"^[\w .:/+@-]*$", max_length=256)],
        ],
        Field(max_length=40),
        AfterValidator(_ours_to_give),
        Takes(
            "an object of up to 40 tags of letters, digits, spaces and any of _.:/+-@, no "
            "key of which begins with aws: or is ekyc-job"
        ),
    ] = Field(
        description="Cost tags on everything that the stack makes and on the project, model and labelling job of every "
        "job."
    )

    @classmethod
    def from_context(cls, context: Mapping[str, Any], *, region: str = "") -> Self:
        """Read every setting; the keys of the CDK itself (they hold ``:``, ``@`` or ``/``) are passed over.

        ``cdk -c key=value`` gives each value as text: text that is JSON is read as such. A part of a group may be given
        by its path (``polls.training.deadline``). ``region`` is the Region of the credentials, if it is known: what the
        setting ``region`` does not say is checked against it.

        Raises:
            SettingsError: names every missing key, unknown key, impossible value and contradiction at once.
        """
        given = _flat({key: value for key, value in context.items() if not re.search("[:@/]", key)})
        faults: dict[str, str] = {}
        read: Self | None = None
        try:
            read = cls.model_validate(_nested(given))
        except ValidationError as error:
            for detail in error.errors():
                key = _key([str(part) for part in detail["loc"]])
                faults.setdefault(key, _fault(key, given, detail))
        usable = {key: value for key, value in given.items() if key not in faults}
        if not usable.get("region"):
            usable["region"] = region
        contradictions = [
            sentence
            for keys, rule in CONTRADICTIONS
            if all(key in usable for key in keys)
            for sentence in rule(*(usable[key] for key in keys))
        ]
        order = list(LEAVES)
        found = sorted(faults, key=lambda key: order.index(key) if key in order else -1)
        sentences = [f"{key} {faults[key]}" for key in found] + contradictions
        if sentences or read is None:
            raise SettingsError("The CDK context (cdk.json) is wrong:\n" + "\n".join(f"- {one}" for one in sentences))
        return read


def committed() -> dict[str, Any]:
    """The context as ``cdk.json`` has it: the defaults of all settings and the CDK's own flags."""
    return dict(json.loads(CDK_JSON.read_text(encoding="utf-8"))["context"])


def leaves(group: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its key in the context, such as ``polls.training.first``, in the order of the class."""
    for field in group.model_fields.values():
        key = f"{prefix}{field.alias}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{key}.")
        else:
            yield key, field


LEAVES: Mapping[str, FieldInfo] = dict(leaves())
GROUPS = frozenset({"polls"} | {key.rpartition(".")[0] for key in LEAVES if "." in key})


def takes(key: str) -> str:
    """What the setting may be, in words."""
    return next(mark.words for mark in LEAVES[key].metadata if isinstance(mark, Takes))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The entries of groups with their path as key; those that were given by their path win."""
    flat: dict[str, Any] = {}
    by_path: dict[str, Any] = {}
    for key, value in values.items():
        path = prefix + key
        if isinstance(value, str):
            value = _parsed(value)
        where = by_path if "." in key else flat
        where |= _flat(value, f"{path}.") if isinstance(value, Mapping) and path in GROUPS else {path: value}
    return flat | by_path


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Groups as objects again, all of them, so that each missing part is named."""
    nested: dict[str, Any] = {}
    groups: dict[str, Any] = {"": nested}
    for group in sorted(GROUPS):
        parent, _, name = group.rpartition(".")
        if parent in groups and group not in flat:
            groups[group] = groups[parent].setdefault(name, {})
    for key, value in flat.items():
        group, _, name = key.rpartition(".")
        if group in groups:
            groups[group][name] = value
        elif group not in GROUPS:
            nested[key] = value
    return nested


def _key(path: list[str]) -> str:
    """The setting that a fault is about: of one inside a list, the list."""
    for length in range(1, len(path) + 1):
        key = ".".join(path[:length])
        if key in LEAVES:
            return key
    return ".".join(path)


def _fault(key: str, given: Mapping[str, Any], detail: Any) -> str:
    if key in GROUPS:
        parts = [name.removeprefix(f"{key}.") for name in LEAVES if name.startswith(f"{key}.")]
        return f"is {json.dumps(given[key])}: give an object with {', '.join(parts)}"
    if key not in LEAVES:
        near = difflib.get_close_matches(key, LEAVES, n=1, cutoff=0.7)
        return f"is unknown: did you mean {near[0]}?" if near else "is unknown"
    if key not in given:
        return f"is missing: give {takes(key)}"
    reason = f" ({detail['ctx']['error']})" if detail["type"] == "value_error" else ""
    return f"is {json.dumps(given[key])}{reason}: give {takes(key)}"


Contradiction = Callable[..., Iterator[str]]
"""Takes the values of its keys as they were given, each possible by itself; says what is wrong with them together.

Its docstring is the rule, in ``docs/settings.md``.
"""

CONTRADICTIONS: list[tuple[tuple[str, ...], Contradiction]] = []


def _together(*keys: str) -> Callable[[Contradiction], Contradiction]:
    """Registers a contradiction between the settings ``keys``; it is looked for when each of them is usable."""

    def register(rule: Contradiction) -> Contradiction:
        CONTRADICTIONS.append((keys, rule))
        return rule

    return register


LOOPS = tuple(Polls.model_fields)
POLL_PARTS = tuple(Poll.model_fields)


def _poll_is_in_order(loop: str) -> Contradiction:
    def rule(first: float, ceiling: float, deadline: int) -> Iterator[str]:
        """A loop's `first` wait is at most its `ceiling`, and that is at most its `deadline`."""
        if first > ceiling:
            yield f"polls.{loop}.first ({first}) is above polls.{loop}.ceiling ({ceiling})"
        if ceiling > deadline:
            yield f"polls.{loop}.ceiling ({ceiling}) is above polls.{loop}.deadline ({deadline})"

    return rule


for _loop in LOOPS:
    _together(*(f"polls.{_loop}.{part}" for part in ("first", "ceiling", "deadline")))(_poll_is_in_order(_loop))


@_together(
    "labelling.heartbeat",
    "labelling.deadline",
    *(f"polls.{loop}.{part}" for loop in LOOPS for part in POLL_PARTS),
)
def _waits_fit_the_history(heartbeat: int, labelling_deadline: int, *values: Any) -> Iterator[str]:
    """The loops of `polls` and the heartbeats of `labelling` take at most 18,000 events of a history."""
    beats = -(-labelling_deadline // heartbeat)
    parts = len(POLL_PARTS)
    polls = [
        Poll.model_construct(**dict(zip(POLL_PARTS, values[start : start + parts], strict=True)))
        for start in range(0, len(values), parts)
    ]
    looks = sum(poll.count() for poll in polls)
    events = looks * EVENTS_PER_POLL + beats * EVENTS_PER_HEARTBEAT
    if events > HISTORY_EVENTS_FOR_WAITING:
        yield (
            f"polls would look {looks} times and labelling.heartbeat {beats} times until their deadlines, which is "
            f"{events} history events, and an execution has room for {HISTORY_EVENTS_FOR_WAITING}: wait longer or give "
            "up sooner"
        )


@_together("labelling.heartbeat", "labelling.deadline")
def _heartbeat_comes_before_the_deadline(heartbeat: int, deadline: int) -> Iterator[str]:
    """`labelling.heartbeat` is below `labelling.deadline`."""
    if heartbeat >= deadline:
        yield f"labelling.heartbeat ({heartbeat}) is not below labelling.deadline ({deadline})"


@_together("retentionDays", "labelling.deadline", *(f"polls.{loop}.deadline" for loop in LOOPS))
def _photos_outlive_their_job(retention_days: int, *deadlines: int) -> Iterator[str]:
    """`retentionDays` outlasts the longest job: all deadlines and two weeks' wait for quotas."""
    longest = sum(deadlines) + 2 * WAIT_FOR_A_QUOTA
    if retention_days * DAY < longest:
        yield (
            f"retentionDays ({retention_days}) is shorter than the longest job: labelling.deadline, the polls' "
            f"deadlines and a week's wait each for datasets and a training slot make {-(-longest // DAY)} days"
        )


@_together("executionHours", "labelling.deadline")
def _an_alarm_waits_for_people(execution_hours: int, deadline: int) -> Iterator[str]:
    """`executionHours` is at least `labelling.deadline`: people who are in time raise no alarm."""
    if execution_hours * HOUR < deadline:
        yield (
            f"executionHours ({execution_hours}) is shorter than labelling.deadline ({deadline} seconds, "
            f"{-(-deadline // HOUR)} hours): people who are in time would raise an alarm"
        )


@_together("region", "labelProvider", "workTeam")
def _ground_truth_is_there(region: str, label_provider: str, work_team: str) -> Iterator[str]:
    """The label provider `ground-truth` and a `workTeam` need a Region with Ground Truth's built-in functions."""
    if not region or region in GROUND_TRUTH_REGIONS:
        return
    wanted = {'labelProvider "ground-truth"': label_provider == "ground-truth", "workTeam": bool(work_team)}
    for setting, is_wanted in wanted.items():
        if is_wanted:
            yield (
                f"{setting} needs Ground Truth, which has no built-in functions in {region}: give a Region out of "
                f'{", ".join(sorted(GROUND_TRUTH_REGIONS))}, or labelProvider "supplied" and no workTeam'
            )


def _is_in_region(key: str) -> Contradiction:
    def rule(region: str, arn: str) -> Iterator[str]:
        """Every ARN is of the Region that the stack goes to."""
        if region and arn.startswith("arn:") and arn.split(":")[3] != region:
            yield f"{key} is in {arn.split(':')[3]}, and the stack goes to {region}: give one of that Region"

    return rule


for _key_of_arn in ("workTeam", "apiAuthorization", "webAclArn", "kmsKeyArn"):
    _together("region", _key_of_arn)(_is_in_region(_key_of_arn))
