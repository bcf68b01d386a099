"""Generates the parts of the documentation that follow from code: ``python -m stacks.docs``; ``--check`` only compares.

A page calls a function of this module between cog's marks, and cog writes the function's text below them::

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
from rules.ground_truth_regions import FUNCTION_ACCOUNTS
from rules.states import MOVES, RESUMABLE, RUNNING, Status, Task
from stacks import definition
from stacks.combinations import COMBINATIONS, synthesize
from stacks.openapi import Access, Description
from stacks.permissions import WHY, WITHOUT_SID
from stacks.runtime import check_environment
from stacks.settings import CONTRADICTIONS, Settings, committed, takes

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("statemachine/*.md")])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with the header ``head`` and one line for each of ``rows``."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def deep_checks(checks: Mapping[str, Any]) -> str:
    """Return a table of the doctor's deep checks, which ``checks`` has by title."""
    rows = [[title, check.question, check.makes or "nothing", f"`{check.by_hand}`"] for title, check in checks.items()]
    return table(["Check", "What AWS does not document", "What it creates", "How to check by hand"], rows)


def settings_table() -> str:
    """Return a table of the settings."""
    return table(["Key", "Default", "Values", "What it does"], _rows(Settings, committed()))


def settings_rules() -> str:
    """Return the rules between settings, and the Regions with Ground Truth's built-in functions."""
    sentences = [*(rule.__doc__ for _, rule in CONTRADICTIONS), check_environment.__doc__]
    rules = dict.fromkeys(sentence for sentence in sentences if sentence)
    return "".join(f"- {rule}\n" for rule in rules) + (
        f"\nGround Truth's built-in functions exist in {', '.join(sorted(FUNCTION_ACCOUNTS))}. The Region is the "
        "setting `region`, or else the Region of the credentials. If neither is known, rules about the Region are not "
        "checked.\n"
    )


def combinations() -> str:
    """Return the deploy command of each combination of settings."""
    return "\n".join(
        f"### {name.replace('-', ' ').capitalize()}\n\n```\n{command(settings)}\n```\n"
        for name, settings in COMBINATIONS.items()
    )


def command(settings: Mapping[str, Any]) -> str:
    """Return the ``make`` command that deploys with ``settings``."""
    arguments = " ".join(f"{key}={_text(value)}" for key, value in settings.items())
    return f"make deploy SETTINGS='{arguments}'" if arguments else "make deploy"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _rows(group: type[BaseModel], defaults: Mapping[str, Any], path: str = "", before: str = "") -> Iterator[list[str]]:
    for field in group.model_fields.values():
        name = str(field.alias)
        key = f"{path}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            # The description of a nested group begins the description of each of its settings. The settings of a
            # top-level group describe themselves.
            about = f"{field.description} " if path else ""
            yield from _rows(field.annotation, defaults[name], f"{key}.", about)
        else:
            yield [f"`{key}`", f"`{json.dumps(defaults[name])}`", takes(key), f"{before}{field.description}"]


def states() -> str:
    """Return a table of the state machine's states."""
    rows = []
    for name, state in definition.read()["States"].items():
        kind = "Callback" if state.get("Resource", "").endswith(".waitForTaskToken") else state["Type"]
        exits = [f"{rule['Next']} ({rule['Comment']})" for rule in state.get("Choices", [])]
        exits += [f"{state['Default']} (otherwise)"] if "Default" in state else []
        exits += [state["Next"]] if "Next" in state else []
        tasks = state["ItemProcessor"]["States"].values() if kind == "Map" else [state]
        retries = [retry for task in tasks for retry in task.get("Retry", [])]
        retried = [error for retry in retries for error in retry["ErrorEquals"] if "." not in error]
        rows.append([name, kind, state["Comment"], "; ".join(exits) or "—", ", ".join(retried) or "—"])
    return table(["State", "Kind", "What it does", "Leads to", "Retried by name"], rows)


STATUS_IN_WORDS = {
    Status.CREATED: "accepts photos and labels files",
    Status.CHECKING_IMAGES: "was started; its photos are being checked",
    Status.WAITING_FOR_LABELLING: "waits for a labels file, see [labels](#post-jobsidlabels)",
    Status.LABELLING: "waits for people at the labelling page, has a Ground Truth labelling job, or imports labels",
    Status.CREATING_DATASET: "splits the labels and creates the datasets",
    Status.TRAINING: "trains, or waits for a free training slot",
    Status.EVALUATING: "compares the model's metrics with the minimum requirements",
    Status.DEPLOYING: "starts and publishes the model",
    Status.READY: "has a model that passed the evaluation; it is live if the job was to deploy it",
    Status.REJECTED: "has a model that did not pass the evaluation; `metrics.reasons` says why",
    Status.FAILED: "failed; `error` and `cause` say why",
    Status.STOPPED: "was stopped",
}
"""The end of a sentence that begins with "The job", for each status."""


def statuses() -> str:
    """Return a table of a job's statuses."""
    rows = [[f"`{status}`", STATUS_IN_WORDS[status], _next(status)] for status in Status]
    return table(["Status", "The job", "Next"], rows)


def _next(status: Status) -> str:
    if status in RUNNING:
        return ""  # the page describes the moves of running jobs below the table
    if status in RESUMABLE:
        return "any running status by a resume"
    return " or ".join(f"`{following}` by a start" for following in MOVES[status]) or "none"


def errors() -> str:
    """Return a table of the named errors and what to do about each."""
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
    advice.Resume.AFTER_LABELS: "after you upload corrected labels; no, if Ground Truth made them",
    advice.Resume.IMPOSSIBLE: "no: refused",
}


@functools.cache
def everything() -> Mapping[str, Any]:
    """Return the resources of the template of the combination `everything`."""
    with tempfile.TemporaryDirectory() as outdir:
        resources = json.loads(synthesize("everything", Path(outdir)).read_text(encoding="utf-8"))["Resources"]
        return dict(resources)


def permissions(resources: Mapping[str, Any]) -> str:
    """Return tables of each role's permissions with their reasons, and of what bucket policies deny.

    Raises:
        ReasonMissingError: a statement has no reason.
    """
    functions = {
        resource["Properties"]["Role"]["Fn::GetAtt"][0]: resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::Function"
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
        parts.append(f"## {title}\n\n{about} `{service}` assumes this role{condition}.\n")
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
                for row in _permission_rows("A bucket policy", statement, reasons, resources)
            ]
            is_of_reports = policy["Properties"]["Bucket"]["Ref"].startswith("AuditBucket")
            parts.append(DENIED.format(content="audit reports" if is_of_reports else "photos and manifests"))
            parts.append(table(["Denied", "On", "Why"], rows))
    return "\n".join(parts)


DENIED = """## Denied on the bucket of {content}

The bucket policy denies these actions. No permission of a role overrides it.
"""

SERVICE_ROLES = {
    "apigateway.amazonaws.com": (
        "API Gateway",
        "The account's role for API Gateway's logs. Created only if the setting `apiLogRole` is `create`.",
    ),
    "sagemaker.amazonaws.com": ("Ground Truth", "The role of the labelling jobs."),
    "states.amazonaws.com": ("State machine", "The role of the executions."),
}
"""The title and description of each role that belongs to a service and not to a function."""


class ReasonMissingError(ValueError):
    """A statement of a policy has no reason."""


def _permission_rows(
    title: str, statement: Mapping[str, Any], reasons: Mapping[str, str], resources: Mapping[str, Any]
) -> Iterator[list[str]]:
    by_reason: dict[str, list[str]] = {}
    for action in _listed(statement["Action"]):
        why = reasons.get(statement.get("Sid", "")) or WITHOUT_SID.get(action)
        if why is None:
            raise ReasonMissingError(
                f"{title} may {action}, and no reason is given: create the statement with stacks.permissions.Allowed."
            )
        by_reason.setdefault(why, []).append(f"`{action}`")
    parts: dict[str, list[str]] = {}
    for resource in _listed(statement["Resource"]):
        thing, part = _readable(resource, resources)
        parts.setdefault(thing, []).append(part)
    things = ", ".join(
        f"{', '.join(f'`{part}`' for part in of_thing if part)} of {thing}" if any(of_thing) else thing
        for thing, of_thing in parts.items()
    )
    for why, actions in by_reason.items():
        yield [", ".join(actions), things + _conditions(statement.get("Condition", {})), why]


def _readable(resource: Any, resources: Mapping[str, Any]) -> tuple[str, str]:
    """Return the resource of a statement in words, and the part of it that the statement names, or empty text."""
    written = _written(resource)
    if reference := re.search(r"<(\w+?)(\.Arn)?>(.*)", written):
        referenced = resources.get(reference[1], {"Type": ""})
        words = RESOURCE_TYPES.get(referenced["Type"])
        if words:
            properties = referenced["Properties"]
            variables = properties.get("Environment", {}).get("Variables", {})
            name = variables.get("POWERTOOLS_SERVICE_NAME") or properties.get("Name") or _table_name(properties)
            return words.format(name=name), reference[3].lstrip("/").removesuffix("*")
    for pattern, words in ARN_PATTERNS.items():
        if re.search(pattern, written):
            return words, ""
    return f"`{written}`", ""


def _table_name(properties: Mapping[str, Any]) -> str:
    has_photos = len(properties.get("KeySchema", ())) > 1
    return "labelling tasks" if has_photos else "jobs"


RESOURCE_TYPES = {
    "AWS::DynamoDB::Table": "the table of {name}",
    "AWS::IAM::Role": "the role of Ground Truth",
    "AWS::KMS::Key": "the topic's key",
    "AWS::Lambda::Function": "the function {name}",
    "AWS::Logs::LogGroup": "its log group",
    "AWS::S3::Bucket": "the bucket",
    "AWS::SNS::Topic": "the notifications topic",
    "AWS::SQS::Queue": "its dead-letter queue",
    "AWS::SSM::Parameter": "the parameter `{name}`",
}
"""The resources of the stack in words, by type."""

ARN_PATTERNS = {
    r":s3:::[a-z0-9.-]+/\*$": "the buckets of the setting `detectBuckets`",
    r":rekognition:.*:project/ekyc-\*/\*$": "projects `ekyc-*` of jobs",
    r":sagemaker:.*:labeling-job/ekyc-\*$": "labelling jobs `ekyc-*` of jobs",
    r":states:.*:stateMachine:[\w-]+$": "the state machine",
    r":states:.*:execution:[\w-]+:\*$": "executions of the state machine",
    r":states:.*:execution:[\w-]+/\w+:\*$": "executions for batches of photos",
    r":states:.*:mapRun:[\w-]+/\w+:\*$": "map runs of the state machine",
    r":kms:.*:key/": "the key",
    r":events:.*:event-bus/default$": "the account's event bus",
    r":log-group:/aws/sagemaker/LabelingJobs$": "the log group `/aws/sagemaker/LabelingJobs`",
    r":log-group:/aws/sagemaker/LabelingJobs:\*$": "its streams",
}
"""The resources outside the stack in words, by a pattern of their ARN."""


PRINCIPALS = {
    r"^<(\w+)Role[0-9A-F]{8}\.Arn>$": r"the role of \1",
    r":role/cdk-.*-cfn-exec-role-": "CloudFormation's role in the CDK's bootstrap stack",
    r":iam::<AWS::AccountId>:root$": "the account's root user",
}
"""The principals in conditions in words, by a pattern of their ARN."""


def _conditions(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    words = [
        f"`{key}` is present"
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
        if match := re.search(pattern, written):
            return match.expand(words)
    if isinstance(value, list):
        return " or ".join(f"`{item}`" for item in value)
    return f"`{re.sub(r'[.][^.]+[.]<AWS::URLSuffix>$', '', written)}`"


def _written(value: Any) -> str:
    """Return a value of the template as text, with references in angle brackets."""
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
    """Return a table of the API's calls, except those of the labelling page."""
    rows = []
    for call in Description.read().operations():
        if call.access is not Access.CALLERS:
            continue
        path = call.path.removeprefix("/api/training")
        anchor = f"{call.method} {path}".lower().replace(" ", "-")
        rows.append([f"[`{call.method} {path}`](#{re.sub('[^a-z-]', '', anchor)})", call.summary])
    return table(["Call", "Does"], rows)


def calls_of_people() -> str:
    """Return a table of the calls of the labelling page."""
    rows = [
        [f"`{call.method} {call.path}`", call.summary]
        for call in Description.read().operations()
        if call.access is not Access.CALLERS
    ]
    return table(["Call", "Does"], rows)


def source(name: str) -> str:
    """Return the file ``name`` of the project as a block of Python."""
    return f"\n```python\n{(PROJECT / name).read_text(encoding='utf-8')}```\n\n"


def measured(name: str, previous: str) -> str:
    """Return the figures in the file NAME.md of the folder $FIGURES, or ``previous`` if there is no such file."""
    folder = os.environ.get("FIGURES")
    if not folder or not (file := Path(folder, f"{name}.md")).exists():
        return previous
    return f"\n{file.read_text(encoding='utf-8').strip()}\n\n"


def main(arguments: list[str]) -> int:
    """Write the pages.

    With ``--check``, only name the outdated pages, and return a nonzero exit code if there are any.
    """
    check = ["--check", "--check-fail-msg", "Run 'make docs'."]
    mode = check if arguments == ["--check"] else ["-r"]
    pages = [os.path.relpath(page) for page in PAGES]
    sources = "from stacks import citations, docs; from ekyc.cli.doctor.deep import examination"
    return int(Cog().main(["cog", "--verbosity=1", "-n", "utf-8", "-p", sources, *mode, *pages]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
