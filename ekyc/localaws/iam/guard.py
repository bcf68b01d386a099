"""Denies what IAM would deny: calls of functions, and requests to the presigned URLs that functions created.

A function acts as its role in the template, with the policies that the stack deployed. The policies of buckets, topics,
queues and keys apply too. moto does not enforce most of them, so they are read from the stack's template. Calls with
other access keys are treated as an administrator's.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws, calls, faults, presigned
from ekyc.localaws.calls import Call
from ekyc.localaws.iam.needs import UnknownCall, list_needs
from ekyc.localaws.iam.policies import Need, Statement, parse, why_denied

# Condition keys of every request. AWS's endpoints use TLS; the local AWS uses HTTP over loopback.
EVERY_REQUEST = {"aws:SecureTransport": ["true"], "s3:TlsVersion": ["1.3"], "aws:PrincipalAccount": [aws.account]}

POLICIES = {
    "AWS::S3::BucketPolicy": ("Bucket", "PolicyDocument"),
    "AWS::SNS::TopicPolicy": ("Topics", "PolicyDocument"),
    "AWS::SQS::QueuePolicy": ("Queues", "PolicyDocument"),
    "AWS::KMS::Key": (None, "KeyPolicy"),
}
"""Resource types with a policy: the property with the resources' names (None: the resource itself) and the property
with the policy."""


def refuse_call(call: Call) -> Response | None:
    """The service's AccessDenied response to a function's call, or None when IAM allows the call.

    A call without a rule in ``needs`` is denied too. The message names the missing rule.

    Raises:
        UnknownCondition: ``policies`` cannot evaluate a policy.
    """
    role = _role_of(call.function)
    if role is None:
        return None
    try:
        return _refuse(call.service, call.function, role, list(list_needs(call)))
    except UnknownCall as error:
        return faults.denial(call.service, str(error))


def refuse_signed_url(request: Request) -> Response | None:
    """S3's AccessDenied response to a request to a URL that a function signed, or None."""
    function = presigned.find_signer(request.query_string.decode("latin-1"))
    role = _role_of(function)
    if role is None or request.method == "OPTIONS":  # a preflight has no signature
        return None
    read = "s3:GetObjectVersion" if "versionId" in request.args else "s3:GetObject"
    action = {"PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}.get(request.method, read)
    need = Need(action, f"arn:aws:s3:::{request.path.lstrip('/')}", {"s3:authType": ["REST-QUERY-STRING"]})
    return _refuse("s3", function, role, [need])


def why_caller_denied(access_key: str, api_id: str, stage: str, method: str, path: str) -> str | None:
    """AWS's message when the IAM user with this access key may not call the REST API's method, else None.

    An access key that belongs to no IAM user is treated as an administrator's.
    """
    user = find_user(access_key) if _is_enforced else None
    if user is None:
        return None
    identity = [statement for document in _documents_of_user(user) for statement in parse(document)]
    arn = f"arn:aws:execute-api:{aws.region}:{aws.account}:{api_id}/{stage}/{method}{path}"
    need = Need("execute-api:Invoke", arn, {**EVERY_REQUEST, "aws:PrincipalArn": [user.arn]})
    why = why_denied(identity, (), need, user.arn)
    return why and f"User: {user.arn} is not authorized to perform: execute-api:Invoke on resource: {arn} {why}"


def why_role_denied(role_arn: str, session: str, *needs: Need) -> str | None:
    """Why a service that acts as the role may not do all of this, in AWS's words, or None.

    A role that this IAM does not have may do everything.
    """
    from moto.iam.models import iam_backends

    roles = iam_backends[aws.account]["aws"].roles.values() if _is_enforced else ()
    role = next((role for role in roles if role.arn == role_arn), None)
    return role and _why_denied(role, session, needs)


def find_user(access_key: str) -> Any:
    """The IAM user that has this access key, or None."""
    from moto.iam.models import iam_backends

    return iam_backends[aws.account]["aws"].get_user_from_access_key_id(access_key)


def _documents_of_user(user: Any) -> list[str]:
    """The inline and managed policies of the user and of its groups, as JSON."""
    from moto.iam.models import iam_backends

    groups = iam_backends[aws.account]["aws"].get_groups_for_user(user.name)
    return [document for holder in (user, *groups) for document in _documents(holder)]


def _refuse(service: str, function: str, role: Any, needs: Sequence[Need]) -> Response | None:
    why = _why_denied(role, function, needs)
    return faults.denial(service, why) if why else None


def _why_denied(role: Any, session: str, needs: Sequence[Need]) -> str | None:
    """Why the role may not do all of this, in AWS's words, or None."""
    identity = [statement for document in _documents(role) for statement in parse(document)]
    for need in needs:
        context = {**EVERY_REQUEST, "aws:PrincipalArn": [role.arn], **need.context}
        request = Need(need.action, need.resource, context)
        why = why_denied(identity, _resource_policy(need.resource), request, role.arn)
        if why:
            user = f"arn:aws:sts::{aws.account}:assumed-role/{role.name}/{session}"
            return f"User: {user} is not authorized to perform: {need.action} on resource: {need.resource} {why}"
    return None


def _role_of(function: str) -> Any:
    """The deployed role of a function, or None when there is no such function."""
    from moto.awslambda.models import lambda_backends
    from moto.iam.models import iam_backends

    functions = lambda_backends[aws.account][aws.region].list_functions()
    deployed = next((candidate for candidate in functions if candidate.function_name == function), None)
    return deployed and iam_backends[aws.account]["aws"].get_role(deployed.role.rpartition("/")[2])


def _documents(holder: Any) -> list[str]:
    """The inline and managed policies of a role, user or group, as JSON."""
    inline = [policy if isinstance(policy, str) else json.dumps(policy) for policy in holder.policies.values()]
    return inline + [policy.document for policy in holder.managed_policies.values()]


def _resource_policy(arn: str) -> Sequence[Statement]:
    """The policy of a bucket, topic, queue or key. ``arn`` may also name an object in the bucket."""
    owner = arn.partition("/")[0] if arn.startswith("arn:aws:s3:::") else arn
    return [
        statement
        for stack in _stacks()
        for document in _resource_policies(stack).get(owner, ())
        for statement in parse(document)
    ]


def _stacks() -> list[Any]:
    from moto.cloudformation.models import cloudformation_backends

    return list(cloudformation_backends[aws.account][aws.region].stacks.values())


@functools.lru_cache(maxsize=8)
def _resource_policies(stack: Any) -> dict[str, list[str]]:
    """The stack's resource policies by the resources' ARNs, as JSON with every reference resolved."""
    from moto.cloudformation.parsing import clean_json

    policies: dict[str, list[str]] = {}
    for name, resource in stack.template_dict["Resources"].items():
        if resource["Type"] not in POLICIES:
            continue
        owners, document = POLICIES[resource["Type"]]
        properties = clean_json(resource["Properties"], stack.resource_map)
        names = properties[owners] if owners else stack.resource_map[name].physical_resource_id
        for owner in names if isinstance(names, list) else [names]:
            policies.setdefault(_arn(resource["Type"], owner), []).append(json.dumps(properties[document]))
    return policies


def _arn(kind: str, owner: str) -> str:
    """The resource's ARN. ``owner`` is the value in the policy's property: bucket name, queue URL, topic ARN, key."""
    match kind:
        case "AWS::S3::BucketPolicy":
            return f"arn:aws:s3:::{owner}"
        case "AWS::SQS::QueuePolicy":
            return f"arn:aws:sqs:{aws.region}:{aws.account}:{owner.rpartition('/')[2]}"
        case "AWS::KMS::Key":
            return f"arn:aws:kms:{aws.region}:{aws.account}:key/{owner}"
    return owner


def install(is_enforced: bool) -> None:
    """Turn the checks of functions' and IAM users' calls on or off."""
    global _is_enforced
    _is_enforced = is_enforced
    calls.set_guard(refuse_call if is_enforced else None, refuse_signed_url if is_enforced else None)


_is_enforced = False
