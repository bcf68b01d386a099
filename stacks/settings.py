"""The settings of a deployment: keys of the CDK context (``cdk.json``, or ``cdk synth -c key=value``).

The class ``Settings`` describes them once, for the checks at synthesis, the error messages and ``docs/settings.md``.
The defaults are in ``cdk.json``, which has every key.
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

from rules.ground_truth_regions import FUNCTION_ACCOUNTS
from rules.names import JOB_TAG
from rules.types import MOST_TYPES, TYPE_PATTERN, TYPE_RULE

CDK_JSON = Path(__file__).resolve().parent.parent / "cdk.json"

HOUR = 60 * 60
DAY = 24 * HOUR

HISTORY_EVENTS_FOR_WAITING = 18_000
"""The most history events that the three polling loops and the labelling heartbeats may use together.

Step Functions fails an execution at 25,000 events. The rest is for the retries of the three tasks that wait for a quota
(680 retries of 3 events each), for all other states and for a redrive. Source: Step Functions guide, 'Service quotas'.
"""

EVENTS_PER_POLL = 9
"""History events of one poll: a Wait state has 2, a Lambda task 5 and a Choice 2."""

EVENTS_PER_HEARTBEAT = 4
"""History events of a callback task whose heartbeat times out: scheduled, started, submitted, timed out."""

WAIT_FOR_A_QUOTA = 7 * DAY
"""How long, in seconds, a task retries while a quota is used up: 680 retries with at most 900 s between them."""

LONGEST_EXECUTION_HOURS = 1440
"""The state machine's ``TimeoutSeconds`` in hours: 60 days."""


class SettingsError(Exception):
    """The CDK context has missing keys, unknown keys, invalid values or contradictions. The message names them all."""


@dataclass(frozen=True)
class Takes:
    """The allowed values of a setting, in words that complete the sentence 'give ...'."""

    words: str


def _listed(value: Any) -> Any:
    """Return a JSON list as a tuple, because the settings are immutable."""
    return tuple(value) if isinstance(value, list) else value


def _different(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("an item is repeated")
    return values


def _allow_own_keys(tags: Mapping[str, str]) -> Mapping[str, str]:
    for key in tags:
        if key.lower().startswith("aws:") or key == JOB_TAG:
            raise ValueError(f"{'AWS' if key != JOB_TAG else 'the pipeline'} reserves {key}")
    return tags


def _no_public_workforce(arn: str) -> str:
    if "/public-crowd/" in arn:
        raise ValueError("a public workforce may not see identity documents, which are personal data")
    return arn


PARTITION_REGION = "arn:aws[a-z-]*:{}:[a-z0-9-]+"
USER_POOL_ARN = rf"{PARTITION_REGION.format('cognito-idp')}:\d{{12}}:userpool/[\w-]+_[0-9a-zA-Z]+"

Share = Annotated[int | float, Field(ge=0, le=1), Takes("a number from 0 to 1")]
Seconds = Annotated[int | float, Field(ge=1, le=DAY), Takes(f"a number from 1 to {DAY}")]
Growth = Annotated[int | float, Field(ge=1, le=10), Takes("a number from 1 to 10")]
PollDeadline = Annotated[int, Field(ge=1, le=30 * DAY), Takes(f"a whole number from 1 to {30 * DAY}")]
LabellingSeconds = Annotated[int, Field(ge=60, le=365 * DAY), Takes(f"a whole number from 60 to {365 * DAY}")]
Origin = Annotated[
    str, Field(pattern=r"^(https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|http://localhost)(:\d{1,5})?$")
]
Switch = Annotated[bool, Takes("true or false")]
KeyArn = Annotated[
    str,
    Field(pattern=rf"^(|{PARTITION_REGION.format('kms')}:\d{{12}}:key/[A-Za-z0-9-]+)$"),
    Takes("the ARN of a KMS key, not of an alias (arn:aws:kms:REGION:ACCOUNT:key/...), or nothing"),
]


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
    """The polling schedule of a loop of the state machine, in seconds."""

    first: Seconds = Field(description="The first wait, in seconds.")
    growth: Growth = Field(description="The factor by which each wait is longer than the previous wait.")
    ceiling: Seconds = Field(description="The longest wait, in seconds.")
    deadline: PollDeadline = Field(description="The time, in seconds, after which the job fails.")

    def count(self) -> int:
        """Return how often the loop polls until its deadline."""
        polls, waited, wait = 0, 0.0, float(self.first)
        while waited < self.deadline:
            waited += wait
            polls += 1
            wait = min(self.ceiling, wait * self.growth)
        return polls


class Polls(_Group):
    """The loops that poll Rekognition, which sends no events."""

    datasets: Poll = Field(description="The loop that polls both datasets.")
    training: Poll = Field(description="The loop that polls the training.")
    model: Poll = Field(description="The loop that polls the start of the model.")


class Labelling(_Group):
    """The time limits of labelling."""

    heartbeat: LabellingSeconds = Field(
        description="The time, in seconds, after which the pipeline asks Ground Truth whether labelling has ended, in "
        "case the event about the end was lost."
    )
    deadline: LabellingSeconds = Field(
        description="The time, in seconds, after which a job without labels fails. Ground Truth ends a labelling job "
        "after 30 days."
    )


class LabelPage(_Group):
    """Labelling on the labelling page, the label provider `page`."""

    answers_per_photo: Annotated[int, Field(ge=1, le=9), Takes("a whole number from 1 to 9")] = Field(
        description="The number of people who label each photo on the labelling page. Their boxes are merged. A job "
        "waits until so many people have answered each photo."
    )
    blind_share: Share = Field(
        description="The share of photos that a second person labels without proposals, to check the labels. A check "
        "does not delay a job: if there is no second person, photos stay unchecked."
    )
    review_share: Share = Field(
        description="The share of photos that a person of the group `reviewers` checks, the most doubtful first. 0 "
        "means no review. A job waits for its review."
    )
    proposals: Switch = Field(
        description="Whether the labelling page shows the boxes of the live model while it runs. Each photo is a call "
        "of Rekognition's DetectCustomLabels."
    )


class Settings(_Group):
    """The settings of one deployment, validated."""

    stack_name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$"),
        Takes("up to 64 letters, digits and '-', the first a letter"),
    ] = Field(
        description="The name of the CloudFormation stack, the state machine, the API and the metrics namespace, and "
        "the first part of the names of the two parameters that name the live model. An account can have several "
        "stacks with different names."
    )
    stage: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$"), Takes("up to 128 letters, digits, '_' and '-'")] = (
        Field(description="The stage of the API: the first part of every path of its URL.")
    )
    region: Annotated[
        str,
        Field(pattern=r"^([a-z]{2}(-[a-z]+)+-\d{1,2})?$"),
        Takes("the code of a Region such as eu-west-1, or nothing"),
    ] = Field(
        description="The Region to deploy to. Empty means the Region of the credentials. Other settings, such as ARNs, "
        "are checked against the Region."
    )
    document_types: Annotated[
        tuple[Annotated[str, Field(pattern=f"^{TYPE_PATTERN}$")], ...],
        Field(min_length=1, max_length=MOST_TYPES),
        BeforeValidator(_listed),
        AfterValidator(_different),
        Takes(f"a list of 1 to {MOST_TYPES} different names of {TYPE_RULE}"),
    ] = Field(description="The document types, which are the labels that workers and the model use.")
    label_provider: Annotated[
        Literal["page", "ground-truth", "supplied"], Takes('"page", "ground-truth" or "supplied"')
    ] = Field(
        description="The label provider of a job that does not name one: `page` for people at the labelling page that "
        "the stack serves, `ground-truth` for people in SageMaker Ground "
        "Truth (which AWS closed to new customers on 2026-07-30), or `supplied` for labels from any other tool, "
        "uploaded as a COCO file or as a Ground Truth manifest."
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
        description="The work team that labels in Ground Truth: the ARN of a private or vendor team, or `create` for a "
        "new private team with its own Cognito user pool and group, to which you invite workers. Empty means that jobs "
        "with Ground Truth are refused. A public workforce is refused, because identity documents are personal data."
    )
    labelling_user_pool: Annotated[
        str,
        Field(pattern=rf"^(|create|{USER_POOL_ARN})$"),
        Takes('"create", the ARN of a Cognito user pool (arn:aws:cognito-idp:REGION:ACCOUNT:userpool/...), or nothing'),
    ] = Field(
        description="The user pool in which people sign in to the labelling page: `create` for a pool of the stack's "
        "own, or the ARN of an existing pool. In either pool, the stack creates an app client and the groups "
        "`labellers` and `reviewers`. Two stacks cannot share a pool. Empty means no labelling page, which the label "
        "provider `page` requires."
    )
    labelling_sign_in_url: Annotated[
        str,
        Field(pattern=r"^(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"),
        Takes("the URL of a user pool's domain, such as https://sign-in.example.com, without a path, or nothing"),
    ] = Field(
        description="The URL of the domain of an existing pool in `labellingUserPool`, where people sign in. A pool "
        "of the stack's own has a domain of its own."
    )
    workers_per_image: Annotated[int, Field(ge=1, le=9), Takes("a whole number from 1 to 9")] = Field(
        description="The number of workers who label each photo in Ground Truth, which merges their boxes. Each "
        "worker's labels are billed."
    )
    label_page: LabelPage = Field(description="Labelling on the labelling page.")
    min_images: Annotated[int, Field(ge=1, le=250_000), Takes("a whole number from 1 to 250000")] = Field(
        description="The minimum number of usable photos of a job. A job with fewer fails before labelling."
    )
    max_rejected_share: Share = Field(
        description="The maximum share of a job's photos that can be unusable (too large, too small, not a JPEG or "
        "PNG). Also the maximum share of the accepted photos that can be replaced or deleted between their check and "
        "the preparation of the datasets. If a share is higher, the job fails."
    )
    # Source: Lambda guide, 'Lambda quotas', concurrent executions; Step Functions guide, 'Map state', concurrency.
    photo_concurrency: Annotated[int, Field(ge=1, le=1000), Takes("a whole number from 1 to 1000")] = Field(
        description="The maximum number of functions that check a job's photos at the same time. Each uses one of the "
        "account's concurrent executions, of which some new accounts have 10 and others 1,000."
    )
    max_unmatched_share: Share = Field(
        description="The maximum share of supplied labels without an uploaded photo, and of photos that are not in the "
        "labels file. If a share is higher, the job fails before training."
    )
    min_f1: Share = Field(
        description="The minimum F1 over all document types. A model with a lower F1 is rejected. A job can set a "
        "higher minimum."
    )
    min_label_f1: Share = Field(
        description="The minimum F1 of each document type. A model with a lower F1 for any type is rejected. A job can "
        "set a higher minimum."
    )
    max_f1_drop: Share = Field(
        description="The maximum drop from the live model's F1. A model with a larger drop is rejected. A job can set "
        "a smaller maximum."
    )
    stop_previous_model: Switch = Field(
        description="Whether the previous live model is stopped after a new model has gone live. A running model is "
        "billed by the hour. A service that still uses the previous model fails when the model stops. If this is true, "
        "a job can still leave the previous model running. If this is false, no job can stop it."
    )
    # Source: AWS General Reference, 'Amazon Rekognition endpoints and quotas', inference units per started model.
    inference_units: Annotated[int, Field(ge=1, le=5), Takes("a whole number from 1 to 5")] = Field(
        description="The inference units with which a model is started. Each unit is billed by the hour while the "
        "model runs."
    )
    polls: Polls = Field(description="The schedules on which the state machine polls Rekognition.")
    labelling: Labelling = Field(description="The time limits of labelling.")
    api_authorization: Annotated[
        str,
        Field(
            pattern=rf"^(iam|{USER_POOL_ARN})$",
        ),
        Takes('"iam" or the ARN of a Cognito user pool (arn:aws:cognito-idp:REGION:ACCOUNT:userpool/...)'),
    ] = Field(
        description="How API calls are authorized: `iam` for signed calls with IAM permissions, or the ARN of a user "
        "pool whose users send their ID token."
    )
    api_log_role: Annotated[Literal["existing", "create"], Takes('"existing" or "create"')] = Field(
        description="API Gateway writes logs with a role that is set once per account and Region. `create` creates the "
        "role and sets it, which replaces a role that is already set. The role is retained when the stack is deleted."
    )
    web_origins: Annotated[
        tuple[Origin, ...],
        Field(max_length=20),
        BeforeValidator(_listed),
        AfterValidator(_different),
        Takes(
            "a list of up to 20 different origins such as https://kyc.example.com or http://localhost:3000, without a "
            "path and without '*'"
        ),
    ] = Field(
        description="The origins of the web pages that may call the API and upload photos from a browser (CORS). An "
        "empty list means no web page."
    )
    web_acl_arn: Annotated[
        str,
        Field(pattern=rf"^(|{PARTITION_REGION.format('wafv2')}:\d{{12}}:regional/webacl/[^/]+/[^/]+)$"),
        Takes("the ARN of a regional web ACL (arn:aws:wafv2:REGION:ACCOUNT:regional/webacl/NAME/ID), or nothing"),
    ] = Field(description="The AWS WAF web ACL that filters the API's calls. Empty means no web ACL.")
    detect_buckets: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")], ...],
        Field(max_length=10),
        BeforeValidator(_listed),
        AfterValidator(_different),
        Takes("a list of up to 10 different names of buckets"),
    ] = Field(
        description="The buckets in which `POST /api/documents/detect` may read photos. Each caller of that route can "
        "have any photo in them examined. An empty list means that callers send the photo itself."
    )
    kms_key_arn: KeyArn = Field(
        description="The key that encrypts the pipeline's stored data, models and labelling jobs. Empty means AWS "
        "owned and AWS managed keys. The key policy must allow the account's IAM policies and CloudWatch Logs to use "
        "the key."
    )
    retention_days: Annotated[int, Field(ge=1, le=3650), Takes("a whole number from 1 to 3650")] = Field(
        description="The number of days after which photos, labels, manifests and training output are deleted. The "
        "job's record, which contains no photo, is kept."
    )
    audit_signing_key_arn: KeyArn = Field(
        description="The key that signs audit reports, of the type ECC_NIST_P256 for signing. Empty means that the "
        "stack creates one. Let the key's policy allow only the function `ExportAudit` to sign."
    )
    audit_retention_years: Annotated[int, Field(ge=1, le=100), Takes("a whole number from 1 to 100")] = Field(
        description="The number of years during which no user, including the account's root user, can delete or "
        "replace an audit report (S3 Object Lock in compliance mode). A shorter period applies to new reports only."
    )
    model_hours: Annotated[int, Field(ge=1, le=8760), Takes("a whole number from 1 to 8760")] = Field(
        description="The number of hours after which a running model is reported or stopped: see longRunningModels."
    )
    long_running_models: Annotated[Literal["report", "stop"], Takes('"report" or "stop"')] = Field(
        description="What happens to a model that runs for longer than modelHours: `report` only reports it, `stop` "
        "stops it, even if it is the live model."
    )
    execution_hours: Annotated[
        int,
        Field(ge=1, le=LONGEST_EXECUTION_HOURS),
        Takes(f"a whole number from 1 to {LONGEST_EXECUTION_HOURS}"),
    ] = Field(description="The number of hours after which a running job raises an alarm, because it may be stuck.")
    notification_email: Annotated[
        str, Field(pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$"), Takes("an e-mail address, or nothing")
    ] = Field(
        description="The e-mail address that gets the outcome of every job, running models and alarms, after its owner "
        "has confirmed the subscription. Empty means no subscription; you can subscribe to the topic yourself."
    )
    # Rekognition's limits of tags. "=" and "," are not allowed because they separate tags in the functions'
    # environment.
    tags: Annotated[
        Mapping[
            Annotated[str, Field(pattern=r"^[\w .:/+@-]+$", max_length=128)],
            Annotated[str, Field(pattern=r"^[\w .:/+@-]*$", max_length=256)],
        ],
        Field(max_length=40),
        AfterValidator(_allow_own_keys),
        Takes(
            "an object of up to 40 tags of letters, digits, spaces and any of _.:/+-@, no "
            "key of which begins with aws: or is ekyc-job"
        ),
    ] = Field(
        description="Cost allocation tags on the stack's resources and on the project, model and labelling job of "
        "every job."
    )

    @classmethod
    def from_context(cls, context: Mapping[str, Any], *, region: str = "") -> Self:
        """Read all settings. Ignores the CDK's own keys, which contain ``:``, ``@`` or ``/``.

        ``cdk -c key=value`` passes each value as text, which is parsed as JSON if possible. A setting of a group may be
        given by its path (``polls.training.deadline``). ``region`` is the Region of the credentials, if known; ARNs are
        checked against it if the setting ``region`` is empty.

        Raises:
            SettingsError: names all missing keys, unknown keys, invalid values and contradictions.
        """
        given = _flat({key: value for key, value in context.items() if not re.search("[:@/]", key)})
        settings: Self | None = None
        faults: Mapping[str, str] = {}
        try:
            settings = cls.model_validate(_nested(given))
        except ValidationError as error:
            faults = _faults(error, given)
        valid = {key: value for key, value in given.items() if key not in faults}
        valid["region"] = valid.get("region") or region
        sentences = [*(f"{key} {fault}" for key, fault in faults.items()), *_contradictions(valid)]
        if sentences or settings is None:
            listed = "\n".join(f"- {sentence}" for sentence in sentences)
            raise SettingsError(f"The CDK context (cdk.json) is wrong:\n{listed}")
        return settings


def committed() -> dict[str, Any]:
    """Return the context in ``cdk.json``: the defaults of all settings, and the CDK's feature flags."""
    return dict(json.loads(CDK_JSON.read_text(encoding="utf-8"))["context"])


def leaves(group: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting with its key in the context, such as ``polls.training.first``, in the order of the class."""
    for field in group.model_fields.values():
        key = f"{prefix}{field.alias}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{key}.")
        else:
            yield key, field


LEAVES: Mapping[str, FieldInfo] = dict(leaves())
GROUPS = frozenset({"polls"} | {key.rpartition(".")[0] for key in LEAVES if "." in key})


def takes(key: str) -> str:
    """Return the allowed values of the setting, in words."""
    return next(mark.words for mark in LEAVES[key].metadata if isinstance(mark, Takes))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return all values by their path. A value that was given by its path overrides the same value in a group."""
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
    """Return the values with groups as objects. Has every group, so that the validation names each missing setting."""
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


def _faults(error: ValidationError, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with each setting that is not valid by itself: unknown keys first, then in the order of
    `LEAVES`."""
    faults: dict[str, str] = {}
    for detail in error.errors():
        key = _key([str(part) for part in detail["loc"]])
        faults.setdefault(key, _fault(key, given, detail))
    order = list(LEAVES)
    return dict(sorted(faults.items(), key=lambda fault: order.index(fault[0]) if fault[0] in order else -1))


def _key(path: list[str]) -> str:
    """Return the setting that a validation error is about. For an error inside a list, this is the list."""
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
"""A rule between settings. Takes their values, each valid by itself, and yields what is wrong with the combination.

``docs/settings.md`` quotes the docstring as the rule.
"""

CONTRADICTIONS: list[tuple[tuple[str, ...], Contradiction]] = []


def _contradictions(valid: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the combinations of these values. A rule applies if it has all its values."""
    for keys, rule in CONTRADICTIONS:
        if all(key in valid for key in keys):
            yield from rule(*(valid[key] for key in keys))


def _together(*keys: str) -> Callable[[Contradiction], Contradiction]:
    """Register a rule between the settings ``keys``. It is checked only if each of these settings is valid."""

    def register(rule: Contradiction) -> Contradiction:
        CONTRADICTIONS.append((keys, rule))
        return rule

    return register


LOOPS = tuple(Polls.model_fields)
POLL_PARTS = tuple(Poll.model_fields)


def _poll_is_in_order(loop: str) -> Contradiction:
    def rule(first: float, ceiling: float, deadline: int) -> Iterator[str]:
        """In each loop of `polls`, `first` is at most `ceiling`, and `ceiling` is at most `deadline`."""
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
    """The loops of `polls` and the heartbeats of `labelling` use at most 18,000 events of the execution history."""
    beats = -(-labelling_deadline // heartbeat)
    parts = len(POLL_PARTS)
    polls = [
        Poll.model_construct(**dict(zip(POLL_PARTS, values[start : start + parts], strict=True)))
        for start in range(0, len(values), parts)
    ]
    count = sum(poll.count() for poll in polls)
    events = count * EVENTS_PER_POLL + beats * EVENTS_PER_HEARTBEAT
    if events > HISTORY_EVENTS_FOR_WAITING:
        yield (
            f"polls would poll {count} times and labelling.heartbeat {beats} times until their deadlines, which needs "
            f"{events} history events; an execution has room for {HISTORY_EVENTS_FOR_WAITING}: set longer waits or "
            "earlier deadlines"
        )


@_together("labelling.heartbeat", "labelling.deadline")
def _heartbeat_comes_before_the_deadline(heartbeat: int, deadline: int) -> Iterator[str]:
    """`labelling.heartbeat` is below `labelling.deadline`."""
    if heartbeat >= deadline:
        yield f"labelling.heartbeat ({heartbeat}) is not below labelling.deadline ({deadline})"


@_together("retentionDays", "labelling.deadline", *(f"polls.{loop}.deadline" for loop in LOOPS))
def _photos_outlive_their_job(retention_days: int, *deadlines: int) -> Iterator[str]:
    """`retentionDays` is at least as long as the longest job: all deadlines and two weeks of waiting for quotas."""
    longest = sum(deadlines) + 2 * WAIT_FOR_A_QUOTA
    if retention_days * DAY < longest:
        yield (
            f"retentionDays ({retention_days}) is shorter than the longest job: labelling.deadline, the polls' "
            f"deadlines, and one week each of waiting for datasets and for a training slot are {-(-longest // DAY)} "
            "days"
        )


@_together("executionHours", "labelling.deadline")
def _an_alarm_waits_for_people(execution_hours: int, deadline: int) -> Iterator[str]:
    """`executionHours` is at least `labelling.deadline`, so that labelling in time raises no alarm."""
    if execution_hours * HOUR < deadline:
        yield (
            f"executionHours ({execution_hours}) is shorter than labelling.deadline ({deadline} seconds, "
            f"{-(-deadline // HOUR)} hours): labelling in time would raise an alarm"
        )


@_together("region", "labelProvider", "workTeam")
def _ground_truth_is_there(region: str, label_provider: str, work_team: str) -> Iterator[str]:
    """The label provider `ground-truth` and a `workTeam` require a Region with Ground Truth's built-in functions."""
    if not region or region in FUNCTION_ACCOUNTS:
        return
    users = {'labelProvider "ground-truth"': label_provider == "ground-truth", "workTeam": bool(work_team)}
    for setting, is_wanted in users.items():
        if is_wanted:
            yield (
                f"{setting} requires Ground Truth, which has no built-in functions in {region}: give one of the "
                "Regions "
                f'{", ".join(sorted(FUNCTION_ACCOUNTS))}, or labelProvider "page" and no workTeam'
            )


@_together("labelProvider", "labellingUserPool")
def _the_page_has_a_sign_in(label_provider: str, pool: str) -> Iterator[str]:
    """The label provider `page` requires a `labellingUserPool`."""
    if label_provider == "page" and not pool:
        yield (
            'labelProvider is "page", but labellingUserPool is empty, so there is no labelling page: give '
            'labellingUserPool "create" or the ARN of a pool, or another labelProvider'
        )


@_together("labellingUserPool", "labellingSignInUrl")
def _an_existing_pool_has_a_domain(pool: str, url: str) -> Iterator[str]:
    """`labellingSignInUrl` is given with the ARN of a pool in `labellingUserPool`, and only then."""
    if pool.startswith("arn:") and not url:
        yield (
            "labellingUserPool is an existing pool, but labellingSignInUrl is empty: give the URL of the pool's domain "
            "(Cognito console, Branding, Domain)"
        )
    if url and not pool.startswith("arn:"):
        yield "labellingSignInUrl is given, but labellingUserPool is not the ARN of an existing pool: leave it empty"


@_together("labellingUserPool", "apiAuthorization")
def _labellers_reach_no_other_call(pool: str, api_authorization: str) -> Iterator[str]:
    """`labellingUserPool` and `apiAuthorization` are different pools, so that labellers can make no other API call."""
    if pool == api_authorization:
        yield (
            f"labellingUserPool and apiAuthorization are the same pool ({pool}): every labeller could make every call "
            'of the API. Give another pool, labellingUserPool "create", or apiAuthorization "iam"'
        )


def _is_in_region(key: str) -> Contradiction:
    def rule(region: str, arn: str) -> Iterator[str]:
        """Every ARN is in the Region to which the stack is deployed."""
        if region and arn.startswith("arn:") and arn.split(":")[3] != region:
            yield f"{key} is in {arn.split(':')[3]}, but the stack is deployed to {region}: give an ARN in that Region"

    return rule


for _key_of_arn in (
    "workTeam",
    "labellingUserPool",
    "apiAuthorization",
    "webAclArn",
    "kmsKeyArn",
    "auditSigningKeyArn",
):
    _together("region", _key_of_arn)(_is_in_region(_key_of_arn))
