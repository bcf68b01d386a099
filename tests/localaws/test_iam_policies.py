"""IAM's rules: which statements match, what conditions hold, and what wins."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import pytest

from ekyc.localaws.calls import Call
from ekyc.localaws.iam.needs import list_needs
from ekyc.localaws.iam.policies import Need, UnknownCondition, parse, why_denied

ROLE = "arn:aws:iam::123456789012:role/reader"
ROOT = "arn:aws:iam::123456789012:root"
PHOTO = "arn:aws:s3:::photos/images/a.jpg"


def policy(action: Any, resource: Any, effect: str = "Allow", **more: Any) -> str:
    return json.dumps({"Statement": [{"Effect": effect, "Action": action, "Resource": resource, **more}]})


def denied(identity: str, need: Need, resource: str = '{"Statement": []}') -> str | None:
    return why_denied(parse(identity), parse(resource), need, ROLE)


@pytest.mark.parametrize(
    ("action", "resource", "is_allowed"),
    [
        ("s3:GetObject", "arn:aws:s3:::photos/images/*", True),
        ("S3:getobject", "arn:aws:s3:::photos/images/?.jpg", True),
        (["s3:List*", "s3:Get*"], ["*"], True),
        ("s3:PutObject", "*", False),
        ("s3:GetObject", "arn:aws:s3:::photos/labels/*", False),
        ("s3:GetObject", "arn:aws:s3:::photos/images/[a].jpg", False),
    ],
)
def test_actions_and_resources_match_by_wildcards(action: Any, resource: Any, is_allowed: bool) -> None:
    assert (denied(policy(action, resource), Need("s3:GetObject", PHOTO)) is None) is is_allowed


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"events:source": "ekyc"}}, {"events:source": ["ekyc"]}, True),
        ({"StringEquals": {"events:source": ["a", "b"]}}, {"events:source": ["b"]}, True),
        ({"StringEquals": {"events:source": "ekyc"}}, {}, False),
        ({"StringEqualsIfExists": {"events:source": "ekyc"}}, {}, True),
        ({"StringNotEquals": {"aws:PrincipalArn": "x"}}, {}, True),
        ({"StringNotEquals": {"aws:PrincipalArn": ["x", "y"]}}, {"aws:PrincipalArn": ["y"]}, False),
        ({"StringLike": {"s3:prefix": "images/*"}}, {"s3:prefix": ["images/job/"]}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/r*"}}, {"aws:PrincipalArn": [ROLE]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"k": "a"}}, {"k": ["a", "b"]}, False),
        ({"ForAllValues:StringEquals": {"k": "a"}}, {}, True),
        ({"ForAllValues:StringEquals": {"k": "a"}, "Null": {"k": "false"}}, {}, False),
        ({"ForAnyValue:StringEquals": {"k": "a"}}, {"k": ["a", "b"]}, True),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": ["true"]}, False),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, {"s3:TlsVersion": ["1.1"]}, True),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, {"s3:TlsVersion": ["1.3"]}, False),
    ],
)
def test_each_condition_holds_as_iam_says(condition: Any, context: dict[str, list[str]], holds: bool) -> None:
    allowed = denied(policy("s3:GetObject", "*", Condition=condition), Need("s3:GetObject", PHOTO, context)) is None
    assert allowed is holds


def test_an_unknown_condition_is_refused_by_name() -> None:
    identity = policy("s3:GetObject", "*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    with pytest.raises(UnknownCondition, match="IpAddress"):
        denied(identity, Need("s3:GetObject", PHOTO))


def test_an_explicit_denial_wins() -> None:
    everything = policy("*", "*")
    of_bucket = policy("s3:*", "*", "Deny", Principal={"AWS": "*"})
    need = Need("s3:GetObject", PHOTO)
    assert denied(everything, need, of_bucket) == "with an explicit deny in a resource-based policy"
    both = json.dumps({"Statement": [*json.loads(everything)["Statement"], *json.loads(of_bucket)["Statement"]]})
    assert denied(both.replace('"Principal": {"AWS": "*"}, ', "").replace(', "Principal": {"AWS": "*"}', ""), need) == (
        "with an explicit deny in an identity-based policy"
    )


def test_either_kind_of_policy_allows_within_an_account() -> None:
    no_statements, need = '{"Statement": []}', Need("s3:GetObject", PHOTO)
    # Given a bucket policy that names the role
    assert denied(no_statements, need, policy("s3:GetObject", "*", Principal={"AWS": ROLE})) is None
    # And a policy that names the account, which delegates to the identity's policies
    assert denied(no_statements, need, policy("s3:GetObject", "*", Principal={"AWS": ROOT})) == (
        "because no identity-based policy allows the s3:GetObject action"
    )
    # And one for another role
    assert denied(no_statements, need, policy("s3:GetObject", "*", Principal={"AWS": f"{ROLE}2"}))


def test_a_key_needs_its_own_policys_word() -> None:
    identity, need = policy("kms:Decrypt", "*"), Need("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/k")
    assert denied(identity, need) == "because no resource-based policy allows the kms:Decrypt action"
    assert denied(identity, need, policy("kms:*", "*", Principal={"AWS": ROOT})) is None


def test_a_call_about_a_map_run_needs_that_map_run() -> None:
    # Given what a function asks of a Map Run
    map_run = "arn:aws:states:us-east-1:123456789012:mapRun:Machine/Label:1"
    for operation in ("DescribeMapRun", "ListExecutions"):
        call = Call("look", "states", operation, {"mapRunArn": map_run}, 1, Mock())
        # Then it needs that action on the Map Run
        assert list(list_needs(call)) == [Need(f"states:{operation}", map_run)]
