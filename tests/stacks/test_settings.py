"""The settings of a deployment, read from the CDK context."""

import json
from pathlib import Path
from typing import Any

import pytest

from rules.names import JOB_TAG
from stacks import definition
from stacks import settings as module
from stacks.settings import LEAVES, Poll, Settings, SettingsError

PROJECT = Path(__file__).parents[2]
TEAM = "arn:aws:sagemaker:eu-west-1:111122223333:workteam/private-crowd/checkers"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
POOL = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_aB3dE5gH7"
WEB_ACL = "arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/kyc/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def context() -> dict[str, Any]:
    return json.loads((PROJECT / "cdk.json").read_text())["context"]


def faults(context: dict[str, Any], region: str = "") -> list[str]:
    with pytest.raises(SettingsError) as error:
        Settings.from_context(context, region=region)
    return [line.removeprefix("- ") for line in str(error.value).splitlines()[1:]]


def test_the_defaults_of_cdk_json_are_valid(context: dict[str, Any]) -> None:
    # Given the context as committed
    # When it is read
    settings = Settings.from_context(context)
    # Then it holds the eight document types and the schedules of the three loops
    assert len(settings.document_types) == 8
    assert settings.polls.training == Poll(first=30, growth=1.01, ceiling=300, deadline=72 * 3600)
    assert settings.stop_previous_model is False


def test_values_may_come_as_text_from_the_command_line(context: dict[str, Any]) -> None:
    # Given `cdk synth -c minImages=20 ...`, which gives text
    context |= {"minImages": "20", "stopPreviousModel": "true", "documentTypes": '["A", "B"]', "stackName": "mine"}
    # When it is read
    settings = Settings.from_context(context)
    # Then each value has its type
    assert (settings.min_images, settings.stop_previous_model, settings.document_types, settings.stack_name) == (
        20,
        True,
        ("A", "B"),
        "mine",
    )


def test_everything_that_is_wrong_is_named_at_once(context: dict[str, Any]) -> None:
    # Given an unknown key, a missing one, values out of range, a public work team, a first wait above its ceiling, and
    # photos that expire while people still label them
    del context["minF1"]
    context |= {
        "minImage": 10,
        "colour": "blue",
        "workersPerImage": 0,
        "labelProvider": "mturk",
        "workTeam": "arn:aws:sagemaker:us-east-1:394669845002:workteam/public-crowd/default",
        "webOrigins": ["https://kyc.example.com/app"],
        "retentionDays": 30,
    }
    context["polls"]["model"] |= {"first": 60, "ceiling": 30}
    context["polls"]["training"]["celing"] = 30
    # When it is read
    problems = faults(context)
    # Then each has a line that says what to give
    team = context["workTeam"]
    assert problems == [
        "polls.training.celing is unknown: did you mean polls.training.ceiling?",
        "minImage is unknown: did you mean minImages?",
        "colour is unknown",
        'labelProvider is "mturk": give "page", "ground-truth" or "supplied"',
        f'workTeam is "{team}" (a public workforce may not see identity documents, which are personal data): give the '
        'ARN of a private or vendor work team (arn:aws:sagemaker:REGION:ACCOUNT:workteam/...), "create", or nothing',
        "workersPerImage is 0: give a whole number from 1 to 9",
        "minF1 is missing: give a number from 0 to 1",
        'webOrigins is ["https://kyc.example.com/app"]: give a list of up to 20 different origins such as '
        "https://kyc.example.com or http://localhost:3000, without a path and without '*'",
        "polls.model.first (60) is above polls.model.ceiling (30)",
        "retentionDays (30) is shorter than the longest job: labelling.deadline, the polls' deadlines, and one "
        "week each of waiting for datasets and for a training slot are 49 days",
    ]


POSSIBLE: list[tuple[str, Any]] = [
    ("stage", "v1"),
    ("region", "ap-southeast-1"),
    ("region", "us-gov-west-1"),
    ("documentTypes", ["A"]),
    ("workTeam", "create"),
    ("workTeam", TEAM),
    ("workTeam", TEAM.replace("arn:aws:", "arn:aws-cn:").replace("private", "vendor")),
    ("minF1", 1),
    ("inferenceUnits", 5),
    ("labellingUserPool", "create"),
    ("apiAuthorization", POOL),
    ("apiLogRole", "create"),
    ("webOrigins", ["https://kyc.example.com", "https://kyc.example.com:8443", "http://localhost:3000"]),
    ("webAclArn", WEB_ACL),
    ("kmsKeyArn", KEY),
    ("kmsKeyArn", KEY.replace("1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab")),
    ("retentionDays", 49),
    ("longRunningModels", "stop"),
    ("notificationEmail", "ops+kyc@example.co.id"),
    ("tags", {"Cost Centre": "4711", "équipe": "kyc/ops+1@x", "empty": ""}),
    ("executionHours", 744),
]


@pytest.mark.parametrize(("key", "value"), POSSIBLE)
def test_a_possible_value_is_taken(context: dict[str, Any], key: str, value: Any) -> None:
    context |= {"labelProvider": "supplied"}
    settings = Settings.from_context(context | {key: value})
    (name,) = (name for name, field in Settings.model_fields.items() if field.alias == key)
    read_value = getattr(settings, name)
    assert (list(read_value) if isinstance(read_value, tuple) else read_value) == value


IMPOSSIBLE: list[tuple[str, Any]] = [
    ("stackName", "1-stack"),
    ("stackName", "a" * 65),
    ("stackName", "stack\n"),
    ("stage", ""),
    ("stage", "v1/beta"),
    ("region", "Ireland"),
    ("region", "eu-west-1a"),
    ("documentTypes", []),
    ("documentTypes", ["ID_KTP", "ID_KTP"]),
    ("documentTypes", ["ID, KTP"]),
    ("documentTypes", ["ID_KTP "]),
    ("documentTypes", ["Führerschein"]),
    ("documentTypes", ["x" * 256]),
    ("maxUnmatchedShare", 1.5),
    ("documentTypes", "ID_KTP"),
    ("documentTypes", [1]),
    ("documentTypes", [f"T{number}" for number in range(51)]),
    ("labelProvider", None),
    ("workTeam", "arn:aws:sagemaker:us-east-1:394669845002:workteam/public-crowd/default"),
    ("workTeam", "arn:aws:sagemaker:us-east-1:1234:workteam/private-crowd/team"),
    ("workTeam", "arn:aws:iam::111122223333:workteam/private-crowd/team"),
    ("workersPerImage", 1.5),
    ("minImages", True),
    ("minImages", 0),
    ("minImages", 250_001),
    ("minF1", "high"),
    ("minF1", True),
    ("minF1", -0.1),
    ("maxRejectedShare", 1.5),
    ("maxF1Drop", [0.1]),
    ("stopPreviousModel", 1),
    ("stopPreviousModel", "yes"),
    ("inferenceUnits", 6),
    ("polls", 30),
    ("polls.training", 30),
    ("polls.trainings.first", 30),
    ("labelling", {"heartbeat": 30, "deadline": 2678400}),
    ("apiAuthorization", "none"),
    ("apiAuthorization", "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/pool"),
    ("apiLogRole", "arn:aws:iam::111122223333:role/api"),
    ("webOrigins", ["*"]),
    ("webOrigins", ["https://*.example.com"]),
    ("webOrigins", ["http://kyc.example.com"]),
    ("webOrigins", ["https://kyc.example.com/"]),
    ("webOrigins", ["http://localhost.example.com"]),
    ("webOrigins", ["https://kyc.example.com"] * 2),
    ("webOrigins", "https://kyc.example.com"),
    ("webAclArn", WEB_ACL.replace("regional", "global")),
    ("kmsKeyArn", "alias/kyc"),
    ("auditSigningKeyArn", "alias/kyc"),
    ("kmsKeyArn", KEY.replace("key/1234abcd-12ab-34cd-56ef-1234567890ab", "alias/kyc")),
    ("retentionDays", 0),
    ("modelHours", 0),
    ("longRunningModels", "kill"),
    ("executionHours", 1441),
    ("notificationEmail", "ops"),
    ("notificationEmail", "ops@example.com, dev@example.com"),
    ("tags", ["team"]),
    ("tags", {"team": 1}),
    ("tags", {"a=b": "c"}),
    ("tags", {"a": "b,c"}),
    ("tags", {"": "b"}),
    ("tags", {"aws:team": "kyc"}),
    ("tags", {JOB_TAG: "kyc"}),
    ("tags", {f"tag{number}": "x" for number in range(41)}),
]


@pytest.mark.parametrize(("key", "value"), IMPOSSIBLE)
def test_an_impossible_value_is_refused(context: dict[str, Any], key: str, value: Any) -> None:
    # Given one invalid value
    # Then the error names only this setting, with its allowed values
    (fault,) = faults(context | {key: value})
    assert fault.startswith(key)
    assert ": give " in fault or "did you mean" in fault


@pytest.mark.parametrize("key", LEAVES)
def test_every_setting_must_be_given(context: dict[str, Any], key: str) -> None:
    # Given a context without one key
    *groups, last = key.split(".")
    inner = context
    for group in groups:
        inner = inner[group]
    del inner[last]
    # Then it is named with what to give
    (fault,) = faults(context)
    assert fault.startswith(f"{key} is missing: give ")


def test_a_part_of_a_group_may_be_given_by_its_path(context: dict[str, Any]) -> None:
    # Given `cdk synth -c polls.training.deadline=7200` without the group's other settings
    settings = Settings.from_context({"polls.training.deadline": "7200", **context})
    # Then only that setting changes
    assert settings.polls.training == Poll(first=30, growth=1.01, ceiling=300, deadline=7200)


def test_the_keys_of_the_cdk_itself_are_passed_over(context: dict[str, Any]) -> None:
    context |= {"aws:cdk:bundling-stacks": ["**"], "availability-zones:account=1:region=eu-west-1": ["a"], "a/b": 1}
    assert Settings.from_context(context).stack_name == "ekyc-training"


def test_settings_do_not_change(context: dict[str, Any]) -> None:
    settings = Settings.from_context(context)
    with pytest.raises(ValueError, match="frozen"):
        settings.min_f1 = 0  # type: ignore[misc]


def test_polls_that_would_fill_the_history_are_refused(context: dict[str, Any]) -> None:
    # Given a poll every 10 seconds for 72 hours: 25,920 polls of 9 events each; an execution may have 25,000 events
    context["polls"]["training"] |= {"first": 10, "growth": 1, "ceiling": 10}
    # Then it is refused, with the figures
    (fault,) = faults(context)
    assert "history events" in fault
    assert "room for 18000" in fault


def test_heartbeats_that_would_fill_the_history_are_refused(context: dict[str, Any]) -> None:
    # Given a heartbeat every minute for 31 days: 44,640 heartbeats of 4 events each
    context["labelling"] |= {"heartbeat": 60, "deadline": 31 * 86400}
    # Then it is refused, with the figures
    (fault,) = faults(context)
    assert "labelling.heartbeat 44640 times until their deadlines" in fault
    assert "room for 18000" in fault
    # And a heartbeat every hour is accepted
    context["labelling"]["heartbeat"] = 3600
    assert Settings.from_context(context).labelling.heartbeat == 3600


def test_a_loop_looks_until_its_deadline() -> None:
    # Given waits of 10, 20, 30, 30, ... seconds
    # Then a deadline of 100 seconds has polls after 10, 30, 60, 90 and 120 seconds
    assert Poll(first=10, growth=2, ceiling=30, deadline=100).count() == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"polls.datasets.ceiling": 8000},
            "polls.datasets.ceiling (8000) is above polls.datasets.deadline (7200)",
        ),
        (
            {"labelling.heartbeat": 7200, "labelling.deadline": 3600},
            "labelling.heartbeat (7200) is not below labelling.deadline (3600)",
        ),
        (
            {"executionHours": 700},
            "executionHours (700) is shorter than labelling.deadline (2678400 seconds, 744 hours): labelling in "
            "time would raise an alarm",
        ),
        (
            {"retentionDays": 48},
            "retentionDays (48) is shorter than the longest job: labelling.deadline, the polls' deadlines, and one "
            "week each of waiting for datasets and for a training slot are 49 days",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    context: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    assert faults(context | change) == [words]


def test_rules_between_settings_skip_invalid_values(context: dict[str, Any]) -> None:
    assert faults(context | {"labelling.deadline": "soon"}) == [
        'labelling.deadline is "soon": give a whole number from 60 to 31536000'
    ]


def test_settings_for_ground_truth_need_a_region_that_has_it(context: dict[str, Any]) -> None:
    # Given a Region without Ground Truth's bounding box functions, and a work team
    context |= {"region": "eu-west-3", "workTeam": "create", "labelProvider": "ground-truth"}
    # Then the error names both settings that require Ground Truth, and the Regions that have it
    problems = faults(context)
    assert [problem.split(" requires ")[0] for problem in problems] == ['labelProvider "ground-truth"', "workTeam"]
    assert "eu-west-1, eu-west-2, us-east-1" in problems[0]
    # And supplied labels are accepted in any Region
    settings = Settings.from_context(context | {"labelProvider": "supplied", "workTeam": ""})
    assert settings.region == "eu-west-3"


def test_the_region_of_the_credentials_counts_when_none_is_set(context: dict[str, Any]) -> None:
    # Given credentials of a Region without Ground Truth
    truth = context | {"labelProvider": "ground-truth"}
    assert faults(truth, region="sa-east-1")[0].startswith('labelProvider "ground-truth" requires Ground Truth')
    # Then the setting takes precedence, and the Region of the credentials does not become the setting
    assert Settings.from_context(truth | {"region": "eu-west-1"}, region="sa-east-1").region == "eu-west-1"
    assert Settings.from_context(context, region="eu-west-1").region == ""


def test_a_resource_of_another_region_is_refused(context: dict[str, Any]) -> None:
    # Given resources of eu-west-1 for a stack in us-east-1
    elsewhere = {"workTeam": TEAM, "kmsKeyArn": KEY, "webAclArn": WEB_ACL, "apiAuthorization": POOL}
    elsewhere |= {"auditSigningKeyArn": KEY}
    elsewhere |= {"labellingUserPool": POOL + "2", "labellingSignInUrl": "https://sign-in.example.com"}
    # Then the error names each resource
    assert faults(context | elsewhere | {"region": "us-east-1"}) == [
        f"{key} is in eu-west-1, but the stack is deployed to us-east-1: give an ARN in that Region"
        for key in ("workTeam", "labellingUserPool", "apiAuthorization", "webAclArn", "kmsKeyArn", "auditSigningKeyArn")
    ]
    # And they are accepted if the stack is deployed to eu-west-1 or if the Region is not known
    for region in ("eu-west-1", ""):
        assert Settings.from_context(context | elsewhere, region=region).kms_key_arn == KEY


def test_the_provider_page_needs_a_user_pool(context: dict[str, Any]) -> None:
    # Given the defaults, then people of the stack's own pool label
    settings = Settings.from_context(context)
    assert (settings.label_provider, settings.labelling_user_pool) == ("page", "create")
    # When there is no pool, then the default provider is refused in words, and the others are not
    (fault,) = faults(context | {"labellingUserPool": ""})
    assert fault.startswith('labelProvider is "page", but labellingUserPool is empty, so there is no labelling page')
    for provider in ("ground-truth", "supplied"):
        assert not Settings.from_context(
            context | {"labellingUserPool": "", "labelProvider": provider}
        ).labelling_user_pool


def test_the_page_and_the_api_do_not_share_a_pool(context: dict[str, Any]) -> None:
    # Given an existing pool for the labelling page, and its domain
    page = {"labellingUserPool": POOL, "labellingSignInUrl": "https://sign-in.example.com"}
    page |= {"labelProvider": "supplied"}
    assert Settings.from_context(context | page).labelling_user_pool == POOL
    # When it is the pool of the API's callers too, then it is refused: labellers could make every call
    (fault,) = faults(context | page | {"apiAuthorization": POOL})
    assert fault.startswith(f"labellingUserPool and apiAuthorization are the same pool ({POOL})")
    # And an existing pool needs its domain, and only such a pool
    (fault,) = faults(context | page | {"labellingSignInUrl": ""})
    assert fault.startswith("labellingUserPool is an existing pool, but labellingSignInUrl is empty")
    for pool in ("", "create"):
        (fault,) = faults(context | page | {"labellingUserPool": pool})
        assert fault.startswith("labellingSignInUrl is given, but labellingUserPool is not the ARN")


def test_the_settings_facts_about_the_pipeline_are_true() -> None:
    # Given the state machine's definition, which the settings do not read
    machine = definition.read()
    waits = [
        retry
        for name, error in (("Create datasets", "DatasetSlotsBusy"), ("Start training", "TrainingSlotsBusy"))
        for retry in machine["States"][name]["Retry"]
        if retry["ErrorEquals"] == [error]
    ]
    # Then the settings know how long an execution and its waits for quotas may take
    assert machine["TimeoutSeconds"] == module.LONGEST_EXECUTION_HOURS * 3600
    for wait in waits:
        assert wait["MaxAttempts"] * wait["MaxDelaySeconds"] == pytest.approx(module.WAIT_FOR_A_QUOTA, rel=0.02)
    assert len(waits) == 2
