"""Evaluates IAM policies within one account: actions, resources, principals and conditions. Pure.

moto's own engine (``moto.iam.access_control``) supports neither resources nor conditions.

Sources: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ekyc.localaws.errors import LocalAwsError


class UnknownCondition(LocalAwsError):
    """A policy has an element or condition operator that this module does not support."""


class Verdict(Enum):
    """The result of a policy for a need."""

    DENIES = "denies"
    ALLOWS = "allows"
    DELEGATES = "delegates"  # allows the account: its identity policies decide
    IS_SILENT = "is silent"


@dataclass(frozen=True)
class Need:
    """An action on a resource (an ARN, or ``*``) and the condition keys of the request, each with its values."""

    action: str
    resource: str
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """A statement of a policy. ``principals`` is None in an identity policy; conditions are operator, key, values."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    principals: tuple[str, ...] | None = None

    def applies(self, need: Need) -> bool:
        """Whether action, resource and every condition match, for any principal."""
        return (
            any(is_like(pattern.lower(), need.action.lower()) for pattern in self.actions)
            and any(is_like(pattern, need.resource) for pattern in self.resources)
            and all(_holds(operator, wanted, need.context.get(key)) for operator, key, wanted in self.conditions)
        )


@functools.lru_cache(maxsize=1024)
def parse(document: str) -> tuple[Statement, ...]:
    """The statements of a policy document, given as JSON.

    Raises:
        UnknownCondition: a statement has ``NotAction``, ``NotResource`` or ``NotPrincipal``.
    """
    return tuple(map(_statement, _listed(json.loads(document)["Statement"])))


def _statement(document: Mapping[str, Any]) -> Statement:
    for element in ("NotAction", "NotResource", "NotPrincipal"):
        if element in document:
            raise UnknownCondition(
                f"The local AWS does not support {element}: use {element.removeprefix('Not')} instead."
            )
    principal = document.get("Principal")
    if isinstance(principal, dict):
        principal = [name for kind in principal.values() for name in _listed(kind)]
    return Statement(
        document["Effect"],
        tuple(_listed(document["Action"])),
        tuple(_listed(document.get("Resource", "*"))),
        tuple(
            (operator, key, tuple(map(str, _listed(values))))
            for operator, keys in document.get("Condition", {}).items()
            for key, values in keys.items()
        ),
        None if principal is None else tuple(_listed(principal)),
    )


def evaluate(statements: Iterable[Statement], need: Need, principal: str) -> Verdict:
    """The policy's result for ``need``. ``principal`` is a role's ARN. An explicit deny wins."""
    root = f"arn:aws:iam::{principal.split(':')[4]}:root"
    verdict = Verdict.IS_SILENT
    for statement in statements:
        if statement.principals is not None and not {"*", principal, root} & set(statement.principals):
            continue
        if not statement.applies(need):
            continue
        if statement.effect == "Deny":
            return Verdict.DENIES
        is_own = statement.principals is None or {"*", principal} & set(statement.principals)
        if is_own:
            verdict = Verdict.ALLOWS
        elif verdict is Verdict.IS_SILENT:
            verdict = Verdict.DELEGATES
    return verdict


def why_denied(identity: Iterable[Statement], resource: Iterable[Statement], need: Need, principal: str) -> str | None:
    """The reason in AWS's wording when IAM denies ``need`` to ``principal``, or None when IAM allows it.

    Within an account, either an identity-based or a resource-based policy is enough. A KMS key's own policy must allow
    the action in any case (KMS guide, "Key policies").
    """
    own, its = evaluate(identity, need, principal), evaluate(resource, need, principal)
    for verdict, kind in ((own, "an identity-based"), (its, "a resource-based")):
        if verdict is Verdict.DENIES:
            return f"with an explicit deny in {kind} policy"
    if need.action.startswith("kms:") and its is Verdict.IS_SILENT:
        return f"because no resource-based policy allows the {need.action} action"
    if Verdict.ALLOWS in (own, its):
        return None
    return f"because no identity-based policy allows the {need.action} action"


@functools.lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def is_like(pattern: str, text: str) -> bool:
    """Whether ``text`` matches ``pattern``. ``*`` matches any characters, ``?`` matches one character."""
    return _pattern(pattern).fullmatch(text) is not None


COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.lower() == given.lower(),
    "StringLike": is_like,
    "ArnEquals": is_like,
    "ArnLike": is_like,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
    "NumericEquals": lambda wanted, given: float(given) == float(wanted),
    "NumericLessThan": lambda wanted, given: float(given) < float(wanted),
    "NumericLessThanEquals": lambda wanted, given: float(given) <= float(wanted),
    "NumericGreaterThan": lambda wanted, given: float(given) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, given: float(given) >= float(wanted),
}
"""Condition operators: each compares a value of the policy with a value of the request."""

NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}
"""Operators that are true when no value of the policy matches or the request lacks the key."""


def _holds(operator: str, wanted: Sequence[str], given: Sequence[str] | None) -> bool:
    """Whether a condition is true. ``given`` holds the request's values of the key, None without the key."""
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    if name == "Null":
        return (given is None) == (wanted[0].lower() == "true")
    if name not in COMPARE and name not in NEGATED:
        raise UnknownCondition(f"The local AWS does not support the condition operator {operator}.")
    if given is None:
        return quantifier == "ForAllValues" or rest.endswith("IfExists") or name in NEGATED
    compare = COMPARE[NEGATED.get(name, name)]

    def matches(value: str) -> bool:
        return any(compare(pattern, value) for pattern in wanted) != (name in NEGATED)

    return all(map(matches, given)) if quantifier == "ForAllValues" else any(map(matches, given))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
