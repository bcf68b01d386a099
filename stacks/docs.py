"""The text of the pages that follows from code: ``python -m stacks.docs``, and with ``--check`` it only compares.

A page names a function of this module between cog's marks, and cog writes below them what the function returns::

    <!-- [[[cog cog.out(docs.settings_table()) ]]] -->
    <!-- [[[end]]] -->
"""

import functools
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cogapp import Cog
from pydantic import BaseModel

from rules import advice
from rules.states import Task
from stacks import definition
from stacks.combinations import COMBINATIONS, synthesize
from stacks.openapi import Description
from stacks.permissions import WHY, WITHOUT_SID
from stacks.runtime import check_environment
from stacks.settings import CONTRADICTIONS, GROUND_TRUTH_REGIONS, Settings, committed, takes

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("statemachine/*.md")])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with a line for ``head`` and one for each of ``rows``."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def deep_checks(checks: Mapping[str, Any]) -> str:
    """A row for each deep check of the doctor, by its title."""
    rows = [[title, one.question, one.makes or "nothing", f"`{one.by_hand}`"] for title, one in checks.items()]
    return table(["Check", "What no document settles", "What it makes", "The same by hand"], rows)


def settings_table() -> str:
    """A row for each setting."""
    return table(["Key", "Default", "Values", "What it does"], _rows(Settings, committed()))


def settings_rules() -> str:
    """The rules between settings, and where Ground Truth has the functions that some of them are about."""
    sentences = [*(rule.__doc__ for _, rule in CONTRADICTIONS), check_environment.__doc__]
    rules = dict.fromkeys(sentence for sentence in sentences if sentence)
    return "".join(f"- {rule}\n" for rule in rules) + (
        f"\nGround Truth's built-in functions are in {', '.join(sorted(GROUND_TRUTH_REGIONS))}. The Region is the "
        "setting `region`, else that of the credentials; when neither is known, what depends on it is not checked.\n"
    )


def combinations() -> str:
    """The command that deploys each combination of settings."""
    return "\n".join(
        f"### {name.replace('-', ' ').capitalize()}\n\n```\n{command(settings)}\n```\n"
        for name, settings in COMBINATIONS.items()
    )


def command(settings: Mapping[str, Any]) -> str:
    """The ``make`` line that deploys with ``settings``."""
    given = " ".join(f"{key}={_text(value)}" for key, value in settings.items())
    return f"make deploy SETTINGS='{given}'" if given else "make deploy"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _rows(group: type[BaseModel], defaults: Mapping[str, Any], path: str = "", before: str = "") -> Iterator[list[str]]:
    for field in group.model_fields.values():
        name = str(field.alias)
        key = f"{path}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            # what a group is about comes before each of its parts, except where the parts say it themselves
            about = f"{field.description} " if path else ""
            yield from _rows(field.annotation, defaults[name], f"{key}.", about)
        else:
            yield [f"`{key}`", f"`{json.dumps(defaults[name])}`", takes(key), f"{before}{field.description}"]


def states() -> str:
    """A row for each state of the state machine."""
    rows = []
    for name, state in definition.read()["States"].items():
        kind = "Callback" if state.get("Resource", "").endswith(".waitForTaskToken") else state["Type"]
        exits = [f"{rule['Next']} ({rule['Comment']})" for rule in state.get("Choices", [])]
        exits += [f"{state['Default']} (otherwise)"] if "Default" in state else []
        exits += [state["Next"]] if "Next" in state else []
        retried = [error for retry in state.get("Retry", []) for error in retry["ErrorEquals"] if "." not in error]
        rows.append([name, kind, state["Comment"], "; ".join(exits) or "—", ", ".join(retried) or "—"])
    return table(["State", "Kind", "What it does", "Leads to", "Retried by name"], rows)


def errors() -> str:
    """A row for each named error, with what to do about it."""
    entries = [(f"`{error}`", entry) for error, entry in advice.BY_ERROR.items()]
    entries += [("any other", advice.UNNAMED), ("stopped", advice.STOPPED)]
    rows = [
        [name, _names(entry.tasks) or "any", entry.means, entry.text, RESUME_IN_WORDS[entry.resume]]
        for name, entry in entries
    ]
    return table(["Error", "From", "What it means", "What to do", "Resume"], rows)


def _names(tasks: Iterable[Task]) -> str:
    return ", ".join(task.name for task in tasks)


RESUME_IN_WORDS = {
    advice.Resume.POSSIBLE: "yes",
    advice.Resume.AFTER_LABELS: "once corrected labels are there; no, if Ground Truth made them",
    advice.Resume.IMPOSSIBLE: "no: refused",
}


@functools.cache
def everything() -> Mapping[str, Any]:
    """The resources of the template that every setting adds something to."""
    with tempfile.TemporaryDirectory() as outdir:
        resources = json.loads(synthesize("everything", Path(outdir)).read_text(encoding="utf-8"))["Resources"]
        return dict(resources)


def permissions(resources: Mapping[str, Any]) -> str:
    """What each role may do, on what and why, and what is denied to all.

    Raises:
        ReasonMissingError: a statement does not say why it is there.
    """
    functions = {
        one["Properties"]["Role"]["Fn::GetAtt"][0]: one["Properties"]
        for one in resources.values()
        if one["Type"] == "AWS::Lambda::Function"
    }
    parts = []
    for id, role in resources.items():
        if role["Type"] != "AWS::IAM::Role":
            continue
        properties = role["Properties"]
        (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
        service = trust["Principal"]["Service"]
        title, about = SERVICE_ROLES.get(service, (id, ""))
        if id in functions:
            title, about = (
                functions[id]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"],
                functions[id]["Description"],
            )
        condition = _conditions(trust.get("Condition", {}))
        parts.append(f"## {title}\n\n{about} Taken on by `{service}`{condition}.\n")
        rows = [
            [f"managed policy `{name}`", "", WITHOUT_SID[name]]
            for name in (_written(arn).rpartition("/")[2] for arn in properties.get("ManagedPolicyArns", []))
        ]
        for policy in resources.values():
            if policy["Type"] == "AWS::IAM::Policy" and {"Ref": id} in policy["Properties"]["Roles"]:
                for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                    rows += _permission_rows(title, statement, policy.get("Metadata", {}).get(WHY, {}), resources)
        parts.append(table(["May", "On", "Why"], rows))
    for policy in resources.values():
        reasons = policy.get("Metadata", {}).get(WHY, {})
        if policy["Type"] == "AWS::S3::BucketPolicy" and reasons:
            statements = policy["Properties"]["PolicyDocument"]["Statement"]
            rows = [
                row
                for statement in statements
                if statement.get("Sid") in reasons
                for row in _permission_rows("Nobody", statement, reasons, resources)
            ]
            is_of_reports = policy["Properties"]["Bucket"]["Ref"].startswith("AuditBucket")
            parts.append(DENIED.format(content="audit reports" if is_of_reports else "photos and manifests"))
            parts.append(table(["Denied", "On", "Why"], rows))
    return "\n".join(parts)


DENIED = """## Denied on the bucket of {content}

The bucket's own policy, which no permission of a role overrules.
"""

SERVICE_ROLES = {
    "apigateway.amazonaws.com": (
        "API Gateway",
        "The account's role for logs, with the setting `apiLogRole` = `create`.",
    ),
    "sagemaker.amazonaws.com": ("Ground Truth", "What a labelling job works with."),
    "states.amazonaws.com": ("State machine", "What an execution works with."),
}
"""The roles that are no function's: their titles and what they are for."""


class ReasonMissingError(ValueError):
    """A statement of a policy does not say why it is there."""


def _permission_rows(
    title: str, statement: Mapping[str, Any], reasons: Mapping[str, str], resources: Mapping[str, Any]
) -> Iterator[list[str]]:
    by_reason: dict[str, list[str]] = {}
    for action in _listed(statement["Action"]):
        why = reasons.get(statement.get("Sid", "")) or WITHOUT_SID.get(action)
        if why is None:
            raise ReasonMissingError(
                f"{title} may {action}, and nothing says why: make the statement by stacks.permissions.Allowed."
            )
        by_reason.setdefault(why, []).append(f"`{action}`")
    parts: dict[str, list[str]] = {}
    for resource in _listed(statement["Resource"]):
        thing, part = _readable(resource, resources)
        parts.setdefault(thing, []).append(part)
    things = ", ".join(
        f"{', '.join(f'`{part}`' for part in found if part)} of {thing}" if any(found) else thing
        for thing, found in parts.items()
    )
    for why, actions in by_reason.items():
        yield [", ".join(actions), things + _conditions(statement.get("Condition", {})), why]


def _readable(resource: Any, resources: Mapping[str, Any]) -> tuple[str, str]:
    """What a resource of a statement is, in words, and which part of it, if not the whole."""
    written = _written(resource)
    if made := re.search(r"<(\w+?)(\.Arn)?>(.*)", written):
        one = resources.get(made[1], {"Type": ""})
        words = MADE.get(one["Type"])
        if words:
            properties = one["Properties"]
            variables = properties.get("Environment", {}).get("Variables", {})
            name = variables.get("POWERTOOLS_SERVICE_NAME") or properties.get("Name")
            return words.format(name=name), made[3].lstrip("/").removesuffix("*")
    for pattern, words in NAMED.items():
        if re.search(pattern, written):
            return words, ""
    return f"`{written}`", ""


MADE = {
    "AWS::DynamoDB::Table": "the table of jobs",
    "AWS::IAM::Role": "the role of Ground Truth",
    "AWS::KMS::Key": "the topic's key",
    "AWS::Lambda::Function": "the function {name}",
    "AWS::Logs::LogGroup": "its log group",
    "AWS::S3::Bucket": "the bucket",
    "AWS::SNS::Topic": "the topic of messages",
    "AWS::SQS::Queue": "its queue of what it failed at",
    "AWS::SSM::Parameter": "the parameter `{name}`",
}
"""What the stack makes, in words, by type."""

NAMED = {
    r":rekognition:.*:project/ekyc-\*/\*$": "projects `ekyc-*` of jobs",
    r":sagemaker:.*:labeling-job/ekyc-\*$": "labelling jobs `ekyc-*` of jobs",
    r":states:.*:stateMachine:[\w-]+$": "the state machine",
    r":states:.*:execution:[\w-]+:\*$": "executions of the state machine",
    r":kms:.*:key/": "the key",
    r":events:.*:event-bus/default$": "the account's event bus",
    r":log-group:/aws/sagemaker/LabelingJobs$": "the log group `/aws/sagemaker/LabelingJobs`",
    r":log-group:/aws/sagemaker/LabelingJobs:\*$": "its streams",
}
"""What has a name that is known beforehand, in words."""


PRINCIPALS = {
    r"^<(\w+)Role[0-9A-F]{8}\.Arn>$": r"the role of \1",
    r":role/cdk-.*-cfn-exec-role-": "CloudFormation's role in the CDK's bootstrap stack",
    r":iam::<AWS::AccountId>:root$": "the account's root user",
}
"""Who conditions name, in words."""


def _conditions(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    words = [
        f"`{key}` is given"
        if operator == "Null"
        else f"`{key}` is `{value}`"
        if operator == "BoolIfExists"
        else f"`{key}` is {'not ' if operator == 'ArnNotEquals' else ''}{_value(value)}"
        for operator, pairs in conditions.items()
        for key, value in pairs.items()
    ]
    return f", if {' and '.join(words)}" if words else ""


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " or ".join(map(_value, value))
    written = _written(value)
    if written == "<AWS::AccountId>":
        return "this account"
    for pattern, words in PRINCIPALS.items():
        if found := re.search(pattern, written):
            return found.expand(words)
    if isinstance(value, list):
        return " or ".join(f"`{one}`" for one in value)
    return f"`{re.sub(r'[.][^.]+[.]<AWS::URLSuffix>$', '', written)}`"


def _written(value: Any) -> str:
    """A value of the template with its references in angle brackets."""
    match value:
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": path}:
            return f"<{'.'.join(path)}>"
        case {"Fn::Join": [separator, parts]}:
            return str(separator.join(map(_written, parts)))
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{(.*?)\}", r"<\1>", text)
    return str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def calls() -> str:
    """A row for each call of the API."""
    rows = []
    for call in Description.read().operations():
        path = call.path.removeprefix("/api/training")
        anchor = f"{call.method} {path}".lower().replace(" ", "-")
        rows.append([f"[`{call.method} {path}`](#{re.sub('[^a-z-]', '', anchor)})", call.summary])
    return table(["Call", "Does"], rows)


def measured(name: str, previous: str) -> str:
    """The figures NAME.md of the folder that the environment's FIGURES names, or ``previous`` when it has none."""
    folder = os.environ.get("FIGURES")
    if not folder or not (file := Path(folder, f"{name}.md")).exists():
        return previous
    return f"\n{file.read_text(encoding='utf-8').strip()}\n\n"


def main(arguments: list[str]) -> int:
    """Write the pages; with ``--check``, name those that are out of date, and answer something other than 0."""
    check = ["--check", "--check-fail-msg", "Run 'make docs'."]
    how = check if arguments == ["--check"] else ["-r"]
    pages = [os.path.relpath(page) for page in PAGES]
    sources = "from stacks import citations, docs; from ekyc.cli.doctor.deep import examination"
    return int(Cog().main(["cog", "--verbosity=1", "-n", "utf-8", "-p", sources, *how, *pages]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
