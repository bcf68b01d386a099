"""Is this audit report genuine? ``python -m pipeline.audit.verify FILE`` prints what was looked at, as JSON.

First what the report says of itself: its seal, the hashes of its parts, and whether the answers follow from the events.
Then what AWS still knows, with the caller's own credentials: the kept report, the report before, the job's files, the
history. AWS forgets a history 90 days after the end, and the files go with the job's retention: what is gone or may not
be read is told as not checked.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import aws
from pipeline.audit import answers, facts, history, inputs, page, report
from pipeline.audit.redaction import Redactor
from pipeline.errors import error_code

PARTS = ("earlier", "execution", "files", "history", "job", "rejected", "stateMachine", "workers")
MEMBERS = frozenset(
    {
        "schema",
        "version",
        "jobId",
        "execution",
        "provisional",
        "answers",
        "facts",
        "inputs",
        "hashes",
        "stored",
        "previous",
        "sha256",
    }
)
OK, WRONG, UNKNOWN = "ok", "wrong", "not checked"
GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "ExecutionDoesNotExist"})
MOST_BEFORE = 100  # reports of one job that are followed back


class NoReport(ValueError):
    """The file is no audit report of a version that this code knows."""


class Finding(NamedTuple):
    """What was looked at, and whether it is ok, wrong or not checked; in words."""

    part: str
    result: str
    words: str


def read(body: bytes) -> dict[str, Any]:
    """The report in a file.

    Raises:
        NoReport: says why it is none.
    """
    try:
        document = json.loads(body)
    except ValueError:
        raise NoReport("The file is no JSON. The page (.html) cannot be verified: give the JSON report.") from None
    if not isinstance(document, dict) or document.get("schema") != report.SCHEMA:
        raise NoReport("The file is JSON, and no audit report.")
    if document.get("version") != report.VERSION:
        raise NoReport(f"The report has the version {document.get('version')!r}, and {report.VERSION} is known here.")
    missing = sorted(MEMBERS - document.keys())
    if missing or not isinstance(document["inputs"], dict) or document["inputs"].keys() != set(PARTS):
        raise NoReport(f"The report is not whole: {', '.join(missing) or 'its inputs are not those of a report'}.")
    return document


def check_itself(body: bytes) -> Iterator[Finding]:
    """What the file alone can tell.

    Raises:
        NoReport: it is no report.
    """
    document = read(body)
    yield _verdict(
        "bytes", body == report.canonical(document), "The file is in canonical form.", "It is not canonical."
    )
    yield _verdict(
        "seal",
        document["sha256"] == report.seal(document),
        "The seal fits the report.",
        "The seal does not fit: something outside the inputs was changed.",
    )
    for part in PARTS:
        same = document["hashes"].get(part) == report.sha256(document["inputs"][part])
        yield _verdict(f"inputs.{part}", same, "The hash fits.", "It was changed: its hash does not fit.")
    try:
        yield from _derived(document)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        yield Finding("facts", WRONG, f"The inputs are not those of a report: {type(error).__name__}: {error}")


def _derived(document: Mapping[str, Any]) -> Iterator[Finding]:
    found = json.loads(json.dumps(facts.derive(document["inputs"])))
    different = sorted(name for name in found if found[name] != document["facts"].get(name))
    different += sorted(document["facts"].keys() - found.keys())
    yield _verdict(
        "facts", not different, "They follow from the inputs.", f"Not from the inputs: {', '.join(different)}."
    )
    said = answers.answer_all(found)
    yield _verdict("answers", said == document["answers"], "They follow from the facts.", "They are other words.")
    yield _history_is_whole(document)


def _history_is_whole(document: Mapping[str, Any]) -> Finding:
    events, execution = document["inputs"]["history"], document["inputs"]["execution"]
    faults = []
    if [event["id"] for event in events] != list(range(1, len(events) + 1)):
        faults.append("its events are not numbered from 1 without a gap")
    if any(later["time"] < earlier["time"] for earlier, later in pairwise(events)):
        faults.append("its times go backwards")
    if not events or events[0]["type"] != "ExecutionStarted":
        faults.append("it does not begin with the start")
    end = facts.ENDS.get(events[-1]["type"]) if events else None
    if not document["provisional"] and end != execution["status"]:
        faults.append(f"it ends with {events[-1]['type'] if events else 'nothing'}, and the status is another")
    if document["execution"] != execution["name"]:
        faults.append("it is of another execution")
    return _verdict("history", not faults, f"It is whole: {len(events)} events.", f"{'; '.join(faults)}.")


def check_against_aws(body: bytes, *, s3: Any, stepfunctions: Any) -> Iterator[Finding]:
    """What AWS still knows of what the report says."""
    document = read(body)
    yield _asked("kept report", lambda: _kept(document, body, s3))
    yield _asked("kept page", lambda: _kept_page(document, s3))
    yield from _chain(document, s3)
    for entry in document["inputs"]["files"]:
        yield _asked(f"file {entry['object']}", lambda entry=entry: _file(entry, s3))  # type: ignore[misc]
    redactor = Redactor()
    arn = document["inputs"]["execution"]["executionArn"]
    yield _asked("history at AWS", lambda: _history(document, arn, stepfunctions, redactor))
    yield _asked("execution at AWS", lambda: _execution(document, arn, stepfunctions, redactor))
    if document["inputs"]["earlier"]:
        yield _asked("earlier executions at AWS", lambda: _earlier(document, arn, stepfunctions, redactor))


def _kept(document: Mapping[str, Any], body: bytes, s3: Any) -> Finding:
    bucket, key = _place(document["stored"])
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
    versions = [one["VersionId"] for listing in pages for one in listing.get("Versions", ()) if one["Key"] == key]
    if not versions:
        return Finding("kept report", UNKNOWN, f"There is none at {document['stored']}.")
    same = any(_body(bucket, key, s3, version) == body for version in versions)
    return _verdict(
        "kept report", same, "The file is the report that is kept.", f"No version of {document['stored']} is this file."
    )


def _kept_page(document: Mapping[str, Any], s3: Any) -> Finding:
    bucket, key = _place(document["stored"])
    key = key.removesuffix("json") + "html"
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
    versions = [one["VersionId"] for listing in pages for one in listing.get("Versions", ())]
    if not versions:
        return Finding("kept page", UNKNOWN, "There is none.")
    expected = page.render(document).encode()
    same = any(_body(bucket, key, s3, version) == expected for version in versions)
    return _verdict("kept page", same, "It shows what the report says.", "It is not the page of this report.")


def _chain(document: Mapping[str, Any], s3: Any) -> Iterator[Finding]:
    """From report to report back to the job's first."""
    previous = document["previous"]
    for number in range(1, MOST_BEFORE + 1):
        if previous is None:
            return
        bucket, key = _place(previous["object"])
        part = f"report before ({number})"
        try:
            body = _body(bucket, key, s3, previous["versionId"])
        except (ClientError, BotoCoreError) as error:
            yield _not_asked(part, error)
            return
        if hashlib.sha256(body).hexdigest() != previous["sha256"]:
            yield Finding(part, WRONG, f"{previous['object']} is not the report that this one follows.")
            return
        yield Finding(part, OK, f"{previous['object']} is the one that is named.")
        previous = read(body)["previous"]


def _file(entry: Mapping[str, Any], s3: Any) -> Finding:
    part = f"file {entry['object']}"
    bucket, key = _place(entry["object"])
    if key.endswith("/…"):  # people gave the name, which the report does not have: any file of the folder may be it
        folder = key.removesuffix("…")
        names = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", ())]
        hashes = [inputs.file_sha256(bucket, name, s3) for name in names]
    else:
        hashes = [found for found in [inputs.file_sha256(bucket, key, s3)] if found]
    if not hashes:
        return Finding(part, UNKNOWN, "It is gone.")
    return _verdict(part, entry["sha256"] in hashes, "It is as it was.", "It was changed since.")


def _history(document: Mapping[str, Any], arn: str, stepfunctions: Any, redactor: Redactor) -> Finding:
    told = json.loads(json.dumps(history.read(arn, stepfunctions, redactor)))
    events = document["inputs"]["history"]
    different = next((own["id"] for own, theirs in zip(events, told, strict=False) if own != theirs), None)
    if different is None and len(told) < len(events):
        different = len(told) + 1
    more = len(told) - len(events)
    return _verdict(
        "history at AWS",
        different is None,
        f"It is the same{f', and goes on for {more} events' if more > 0 else ''}.",
        f"Event {different} is another one.",
    )


def _execution(document: Mapping[str, Any], arn: str, stepfunctions: Any, redactor: Redactor) -> Finding:
    own, told = document["inputs"]["execution"], redactor.value(inputs.read_execution(arn, stepfunctions))
    changing = {"status", "stopDate", "redriveCount", "redriveDate", "error", "cause"}
    if told.get("stopDate") != own.get("stopDate"):  # it went on since
        own, told = ({name: one[name] for name in one.keys() - changing} for one in (own, told))
    return _verdict("execution at AWS", own == told, "It is the same.", "Step Functions says otherwise.")


def _earlier(document: Mapping[str, Any], arn: str, stepfunctions: Any, redactor: Redactor) -> Finding:
    part, own = "earlier executions at AWS", document["inputs"]["earlier"]
    told = redactor.value(inputs.read_earlier(arn, stepfunctions))
    known = [one for one in told if "status" in one]
    if not known:
        return Finding(part, UNKNOWN, "They are gone.")
    same = len(told) == len(own) and all(one in own for one in known)
    return _verdict(part, same, "They are the same.", "Step Functions says otherwise.")


def _asked(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (ClientError, BotoCoreError) as error:
        return _not_asked(part, error)


def _not_asked(part: str, error: ClientError | BotoCoreError) -> Finding:
    if isinstance(error, ClientError):
        code = error_code(error)
        return Finding(part, UNKNOWN, "It is gone." if code in GONE else f"AWS answered {code}.")
    return Finding(part, UNKNOWN, f"AWS cannot be asked: {str(error).rstrip('.')}.")


def _body(bucket: str, key: str, s3: Any, version: str) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read()
    return content


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _verdict(part: str, is_so: bool, words: str, otherwise: str) -> Finding:
    return Finding(part, OK, words) if is_so else Finding(part, WRONG, otherwise)


def main(file: str) -> int:
    """Print the findings about ``file``; 0, also when something is wrong, and 2 for a file that is no report."""
    try:
        body = Path(file).read_bytes()
        findings = list(check_itself(body))
    except (OSError, NoReport) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        findings += check_against_aws(body, s3=aws.client("s3"), stepfunctions=aws.client("stepfunctions"))
    except BotoCoreError as error:  # no Region, for one
        findings.append(_not_asked("AWS", error))
    print(json.dumps([finding._asdict() for finding in findings]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
