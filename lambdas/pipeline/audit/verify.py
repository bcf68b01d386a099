"""Verifies an audit report: ``python -m pipeline.audit.verify FILE BUCKET MACHINE WHY`` prints the findings as JSON.

The first checks need only the file: its seal, the hashes of its inputs, and that facts and answers follow from the
inputs. A forger can compute all of them. So the proof is the report bucket: the file must be the first version for the
execution's end, with an active COMPLIANCE lock. The caller, not the file, names the bucket and the state machine. The
place that the file names is compared with the place for its job and execution.

The other checks call AWS with the caller's credentials: earlier and later reports, the job's files, the history. Step
Functions deletes a history 90 days after the end, and the job's files expire. What was deleted or cannot be read is
reported as not checked.

``BUCKET`` may be empty. ``WHY`` then says why the bucket is unknown. ``MACHINE``, the ARN of the stack's state machine,
may be empty, too: then the state machine of the report is not checked.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import executions
from pipeline.audit import answers, facts, history, inputs, page, report, signing
from pipeline.audit.redaction import NAME, Redactor
from pipeline.audit.report import MALFORMED
from pipeline.audit.store import FINAL, PROVISIONAL, REPORT, WEB_PAGE, Store, Version, VersionList, key, place
from pipeline.errors import error_code
from rules.words import counted

PARTS = ("earlier", "execution", "failedBatch", "files", "history", "job", "rejected", "stateMachine", "workers")
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
OK, WRONG, UNKNOWN, NOTED = "ok", "wrong", "not checked", "noted"
GENUINE, ALONE, FORGED, UNPROVEN = "genuine", "genuine by its lock alone", "wrong", "not proven"
STORED, STORED_PAGE, PAGE = "stored report", "stored page", "page"
SIGNATURE, SIGNED_PAGE = "signature", "signed page"
HISTORY, EXECUTION, EARLIER = (f"{part} in Step Functions" for part in ("history", "execution", "earlier executions"))
BATCH, DEFINITION = "failed batch in Step Functions", "definition in Step Functions"
MACHINE = "state machine"
LATER_REPORTS, LATER_ENDS = "later reports", "later executions in Step Functions"
LATER = frozenset({LATER_REPORTS, LATER_ENDS})
CHANGING = frozenset({"status", "stopDate", "redriveCount", "redriveDate", "error", "cause"})
"""The fields of an execution that change when it ends or is redriven."""
NOT_LAST = "The verified report does not describe the last end of the job."
PROOF = frozenset({STORED, STORED_PAGE})
"""The checks that prove that the pipeline made the report. The others show only that the report is consistent."""

GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket"})
EXECUTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")  # Source: Step Functions API reference, StartExecution
MOST_EARLIER = 100  # earlier reports of a job that are checked
MOST_FOLDER_FILES, MOST_FOLDER_BYTES = 1000, 1024**3
"""How much of a folder with redacted names is read. Uploads can add any number of files to it."""

DELETED = "Step Functions does not have the execution. It deletes an execution 90 days after its end."
NO_CONTENT = "The file was deleted, or S3 refuses its content."
TOO_LARGE = "The file is too large to be the file of the report, so it was not read. The report stays valid."
GREW = "A file in the folder changed while it was read."
CHANGED = "The file was changed or deleted after the report, for example to correct the labels. The report stays valid."


class NotAReport(ValueError):
    """The file is not an audit report, or its version is not supported."""


class Finding(NamedTuple):
    """The checked part, the result (ok, wrong, not checked or noted), and an explanation.

    ``noted`` is a fact that an auditor should know, such as a later version or a changed file, but that does not make
    the report wrong.
    """

    part: str
    result: str
    words: str


def read(body: bytes) -> dict[str, Any]:
    """Parse a report.

    Raises:
        NotAReport: the file is not a report. The message says why.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAReport("The file is neither the JSON nor the HTML of an audit report.") from None
    if not isinstance(document, dict) or document.get("schema") != report.SCHEMA:
        raise NotAReport("The file is JSON, but not an audit report.")
    if document.get("version") != report.VERSION:
        raise NotAReport(
            f"The report has version {document.get('version')!r}. The supported version is {report.VERSION}."
        )
    missing = sorted(MEMBERS - document.keys())
    if missing or not isinstance(document["inputs"], dict) or document["inputs"].keys() != set(PARTS):
        fault = f"lacks {', '.join(missing)}" if missing else "does not have the inputs of a report"
        raise NotAReport(f"The report is incomplete: it {fault}.")
    return document


def check_itself(body: bytes) -> Iterator[Finding]:
    """Check what needs only the file.

    Raises:
        NotAReport: the file is not a report.
    """
    document = read(body)
    try:
        yield from _check_hashes(document, body)
        yield from _check_derivation(document)
    except MALFORMED as error:
        yield Finding("facts", WRONG, f"The inputs are malformed: {type(error).__name__}: {error}")


def _check_hashes(document: Mapping[str, Any], body: bytes) -> Iterator[Finding]:
    is_canonical = body == report.canonical(document)
    yield judge("bytes", is_canonical, "The file is in canonical form.", "The file is not in canonical form.")
    yield judge(
        "seal",
        document["sha256"] == report.seal(document),
        "The seal matches the report.",
        "The seal does not match: a part other than the inputs was changed.",
    )
    for part in PARTS:
        is_same = document["hashes"].get(part) == report.sha256(document["inputs"][part])
        yield judge(f"inputs.{part}", is_same, "The hash matches.", "The hash does not match: the part was changed.")


def _check_derivation(document: Mapping[str, Any]) -> Iterator[Finding]:
    derived, answered = report.derive(document["inputs"])
    derived = json.loads(json.dumps(derived))
    different = sorted(name for name in derived if derived[name] != document["facts"].get(name))
    different += sorted(document["facts"].keys() - derived.keys())
    yield judge(
        "facts",
        not different,
        "The facts follow from the inputs.",
        f"These do not follow from the inputs: {', '.join(different)}.",
    )
    yield judge(
        "answers",
        answered == document["answers"],
        "The answers follow from the facts.",
        "The answers do not follow from the facts.",
    )
    yield _check_history(document)


def _check_history(document: Mapping[str, Any]) -> Finding:
    events, execution = document["inputs"]["history"], document["inputs"]["execution"]
    faults = []
    if [event["id"] for event in events] != list(range(1, len(events) + 1)):
        faults.append("its events are not numbered from 1 without gaps")
    if any(later["time"] < earlier["time"] for earlier, later in pairwise(events)):
        faults.append("its times are not in order")
    if not events or events[0]["type"] != "ExecutionStarted":
        faults.append("it does not begin with ExecutionStarted")
    end = facts.ENDS.get(events[-1]["type"]) if events else None
    if not document["provisional"] and end != execution["status"]:
        last = events[-1]["type"] if events else "no event"
        faults.append(f"it ends with {last}, but the execution's status is {execution['status']}")
    if document["provisional"] != ("stopDate" not in execution):
        faults.append("the report does not have the end that it claims")
    if not document["provisional"] and events and not _is_end(execution, events[-1]["details"]):
        faults.append("it ends with another error or cause than the execution")
    if document["execution"] != execution["name"]:
        faults.append("it is the history of another execution")
    batch = document["inputs"]["failedBatch"]
    runs = [event["details"]["mapRunArn"] for event in events if event["type"] == "MapRunStarted"]
    if batch and (execution.get("error") != executions.BATCH_FAILED or batch["mapRunArn"] not in runs):
        faults.append("it did not end because of the failed batch")
    return judge(
        "history",
        not faults,
        f"The history is complete: {counted(len(events), 'event')}.",
        f"The history is wrong: {'; '.join(faults)}.",
    )


def _is_end(execution: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Whether the execution has the error and the cause of its last event.

    DescribeExecution has neither for an execution that timed out, its last event may.
    """
    is_timeout = execution["status"] == "TIMED_OUT"
    return all(
        (execution.get(name) or None) == (last.get(name) or None) or (is_timeout and not execution.get(name))
        for name in ("error", "cause")
    )


def verdict(findings: Sequence[Finding]) -> str:
    """`FORGED` if a part is wrong, `UNPROVEN` without the stored report and its lock, otherwise `GENUINE`.

    `ALONE` instead of `GENUINE` if the history could not be compared with that of the stack's state machine, for
    example after 90 days.
    """
    if any(finding.result == WRONG for finding in findings):
        return FORGED
    proven = {finding.part for finding in findings if finding.result == OK}
    if not proven >= PROOF:
        return UNPROVEN
    return GENUINE if proven >= {HISTORY, MACHINE} else ALONE


def is_page(body: bytes) -> bool:
    """Whether the file begins as HTML."""
    return body.lstrip()[:9].lower() == b"<!doctype"


def find_report(body: bytes, store: Store) -> tuple[Finding, bytes | None]:
    """Search for the stored report whose page is ``body``; returns the finding, and the report or None.

    Renders each stored report on the execution that the page names. One of them must give exactly this page.

    Raises:
        NotAReport: the file is not the page of a report.
    """
    name = _execution_of(body)
    job_id, tried = executions.parse(name)[0], 0
    for folder in (FINAL, PROVISIONAL):
        stored = store.list_versions(key(job_id, name, REPORT, folder=folder))
        for version in stored.versions if folder == PROVISIONAL else _firsts(stored):
            content, tried = store.body(version), tried + 1
            try:
                is_same = page.render(read(content)).encode() == body
            except (NotAReport, *MALFORMED):  # ExportAudit did not write this version
                continue
            if is_same:
                return Finding(
                    PAGE, OK, f"It is the page of {_uri(store, version.key)}, version {version.id}."
                ), content
    where = _uri(store, key(job_id, name, REPORT))
    if not tried:
        return Finding(PAGE, UNKNOWN, f"No report is stored at {where}."), None
    return Finding(PAGE, WRONG, f"It is not the page of a report that is stored at {where}."), None


class _Title(HTMLParser):
    """Reads the title of a page: the first title, because drawings have titles too."""

    def __init__(self) -> None:
        super().__init__()
        self._titles = 0
        self._inside = False
        self.text = ""

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self._titles += tag == "title"
        self._inside = tag == "title" and self._titles == 1

    def handle_endtag(self, _tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        self.text += data if self._inside else ""


def _execution_of(body: bytes) -> str:
    title = _Title()
    title.feed(body.decode("utf-8", "replace"))
    name = title.text.removeprefix(page.TITLE)
    if name == title.text or not EXECUTION_NAME.fullmatch(name):
        raise NotAReport("The file is HTML, but not the page of an audit report.")
    return name


def _firsts(stored: VersionList) -> list[Version]:
    """The first version for each end."""
    return [version for version in stored.versions if stored.first(version.ended) is version]


def check_against_aws(body: bytes, *, store: Store, machine: str) -> Iterator[Finding]:
    """Compare the report with the report bucket, the job's files and Step Functions.

    ``machine`` is the ARN of the stack's state machine, or empty.

    The job's files are read only if the report is proven, because the report says where they are.
    """
    document = read(body)
    yield _check_place(document, store)
    proof = _try(STORED, lambda: _check_stored(document, body, store))
    yield proof
    yield _try("versions", lambda: _check_versions(document, store))
    yield _try(STORED_PAGE, lambda: _check_stored_page(document, store))
    yield from _check_earlier_reports(document, store)
    yield from _check_later(document, store)
    if proof.result == OK:
        yield from check_files(document["inputs"]["files"])
    else:
        yield Finding("files", UNKNOWN, "The report is not proven, so its list of the job's files is not trusted.")
    redactor = Redactor()
    arn = document["inputs"]["execution"]["executionArn"]
    yield _check_machine(document, machine)
    yield _try(DEFINITION, lambda: _compare_definition(document, arn))
    yield _try(HISTORY, lambda: _compare_history(document, arn, redactor))
    yield _try(EXECUTION, lambda: _compare_execution(document, arn, redactor))
    if document["inputs"]["execution"].get("error") == executions.BATCH_FAILED:
        yield _try(BATCH, lambda: _compare_batch(document, redactor))
    if document["inputs"]["earlier"]:
        yield _try(EARLIER, lambda: _compare_earlier(document, arn, redactor))


def _check_place(document: Mapping[str, Any], store: Store) -> Finding:
    expected = _uri(store, place(document, REPORT))
    is_expected = document["stored"] == expected and executions.parse(document["execution"])[0] == document["jobId"]
    return judge(
        "place",
        is_expected,
        "The report names the place at which the stack stores it.",
        f"The report names {document['stored']}, but the stack stores the report on this execution at {expected}.",
    )


def _check_machine(document: Mapping[str, Any], machine: str) -> Finding:
    """Check that the execution is one of the stack. A forger can run another state machine of the same name."""
    execution = document["inputs"]["execution"]
    if not machine:
        return Finding(MACHINE, UNKNOWN, "The stack's state machine is unknown. Give --stack instead of --bucket.")
    job_id, attempt = executions.parse(document["execution"])
    expected = executions.StateMachine(machine).execution_arn(job_id, attempt)
    return judge(
        MACHINE,
        (execution["stateMachineArn"], execution["executionArn"]) == (machine, expected),
        "The execution is one of the stack's state machine.",
        f"The report describes {execution['executionArn']}, but the stack's execution is {expected}.",
    )


def _check_stored(document: Mapping[str, Any], body: bytes, store: Store) -> Finding:
    stored, where = store.list_versions(place(document, REPORT)), _uri(store, place(document, REPORT))
    if not stored.versions:
        return Finding(STORED, UNKNOWN, f"No report is stored at {where}.")
    if document["provisional"]:
        # Without an end there is no first version for it, so a forged later version cannot be recognized.
        return Finding(
            STORED, UNKNOWN, "A provisional report proves nothing. Verify the report after the execution's end."
        )
    first = stored.first(_ended(document))
    if first is None:
        count = counted(len(stored.versions), "version")
        return Finding(STORED, WRONG, f"{where} has {count}, but none for this end of the execution.")
    if store.body(first) != body:
        others = (version for version in stored.versions if version is not first)
        later = next(
            (f" The file is the later version {other.id}." for other in others if store.body(other) == body), ""
        )
        return Finding(STORED, WRONG, f"The first version for this end at {where} is another report.{later}")
    written = answers.moment(history.milliseconds(first.written))
    return _check_lock(STORED, first, f"The file is the first version for this end, stored at {written}")


def _check_lock(part: str, version: Version, words: str) -> Finding:
    if version.is_locked:
        return Finding(part, OK, f"{words}, with an active COMPLIANCE lock.")
    return Finding(
        part,
        UNKNOWN,
        f"{words}, but S3 shows no active COMPLIANCE lock, so it proves nothing. Your credentials need "
        "s3:GetObjectRetention to see locks.",
    )


def _check_versions(document: Mapping[str, Any], store: Store) -> Finding:
    """Look for later versions and delete markers that hide the report or its page."""
    if not store.list_versions(place(document, REPORT)).versions:
        return Finding("versions", UNKNOWN, "No version is stored.")
    faults, counts = [], []
    for form, words in ((REPORT, "the report"), (WEB_PAGE, "the page")):
        stored = store.list_versions(place(document, form))
        of_end = [version for version in stored.versions if version.ended == _ended(document)]
        counts.append(f"{words} has {counted(len(of_end), 'version')}")
        # After a duplicate event, ExportAudit may store the same content twice.
        if not document["provisional"] and len({store.body(version) for version in of_end}) > 1:
            faults.append(f"{words} has {len(of_end)} versions for this end, of which only the first counts")
        if stored.delete_markers:
            faults.append(f"{words} is hidden by {counted(stored.delete_markers, 'delete marker')}")
    if faults:
        return Finding(
            "versions", NOTED, f"The pipeline did not do this; CloudTrail has the caller: {'; '.join(faults)}."
        )
    return Finding("versions", OK, f"For this end, {' and '.join(counts)} with the same content. None is hidden.")


def _check_stored_page(document: Mapping[str, Any], store: Store) -> Finding:
    first = None if document["provisional"] else store.list_versions(place(document, REPORT)).first(_ended(document))
    stored = store.find_form(first, WEB_PAGE) if first else None
    if stored is None:
        return Finding(STORED_PAGE, UNKNOWN, "No page is stored for this report.")
    try:
        expected = page.render(document).encode()
    except MALFORMED as error:
        return Finding(STORED_PAGE, WRONG, f"The report cannot be rendered as a page: {type(error).__name__}.")
    if store.body(stored) != expected:
        return Finding(STORED_PAGE, WRONG, "The stored page is not the page of this report.")
    return _check_lock(STORED_PAGE, stored, "The stored page is the page of this report")


def _ended(document: Mapping[str, Any]) -> int:
    """The end in the report (Unix ms), or 0 if it has none."""
    ended = document["inputs"]["execution"].get("stopDate", 0)
    return ended if isinstance(ended, int) else 0


def _check_earlier_reports(document: Mapping[str, Any], store: Store) -> Iterator[Finding]:
    """Check each earlier report of the job, from the newest to the first."""
    previous = document["previous"]
    for number in range(1, MOST_EARLIER + 1):
        if previous is None:
            return
        part = f"earlier report ({number})"
        try:
            finding, body = _check_earlier_report(part, document["jobId"], previous, store)
        except (ClientError, BotoCoreError) as error:
            finding, body = _not_checked(part, error), None
        yield finding
        if body is None:
            return
        previous = read(body)["previous"]


def _check_earlier_report(
    part: str, job_id: str, previous: Mapping[str, Any], store: Store
) -> tuple[Finding, bytes | None]:
    """Check the earlier report ``previous``; returns the finding, and the content if the check passes."""
    uri, version_id = str(previous["object"]), previous["versionId"]
    object_key = uri.removeprefix(f"s3://{store.bucket}/")
    if object_key == uri or not object_key.startswith(f"{FINAL}/{job_id}/"):
        return Finding(part, WRONG, f"The stack does not store reports on this job at {uri}."), None
    stored = store.list_versions(object_key)
    version = next((version for version in stored.versions if version.id == version_id), None)
    if version is None:
        return Finding(part, UNKNOWN, f"{uri} has no version {version_id}."), None
    body = store.body(version)
    if hashlib.sha256(body).hexdigest() != previous["sha256"] or stored.first(version.ended) is not version:
        return Finding(part, WRONG, f"{uri} is not the earlier report with this hash."), None
    return _check_lock(part, version, f"{uri} is the earlier report with this hash"), body


def _check_later(document: Mapping[str, Any], store: Store) -> Iterator[Finding]:
    """Look for ends of the job after the end in the report: in the report bucket and in Step Functions."""
    try:
        reports = store.reports(document["jobId"])
    except (ClientError, BotoCoreError) as error:
        yield _not_checked(LATER_REPORTS, error)
        reports = []
    else:
        yield from _find_later_reports(document, reports, store)
    try:
        yield from _find_later_ends(document, reports)
    except (ClientError, BotoCoreError) as error:
        yield _not_checked(LATER_ENDS, error)


def _find_later_reports(document: Mapping[str, Any], reports: Iterable[Version], store: Store) -> Iterator[Finding]:
    # A provisional report has no end, and describes the job up to its last event.
    until = _ended(document) or document["inputs"]["history"][-1]["time"]
    later = [stored for stored in reports if stored.ended > until]
    for stored in later:
        written = answers.moment(history.milliseconds(stored.written))
        words = f"{_uri(store, stored.key)}, version {stored.id}, stored at {written}, describes a later end."
        yield Finding(LATER_REPORTS, NOTED, f"{words} {NOT_LAST}")
    if not later:
        yield Finding(LATER_REPORTS, OK, "No report on a later end of the job is stored.")


def _find_later_ends(document: Mapping[str, Any], reports: Iterable[Version]) -> Iterator[Finding]:
    """Search Step Functions for executions of the job that began, continued or ended without a stored report."""
    arns, _, own_name = document["inputs"]["execution"]["executionArn"].rpartition(":")
    job_id, own = executions.parse(own_name)
    ends = {own: {_ended(document)}}  # Unix ms, by the number of the execution; 0 while it runs
    for stored in reports:
        name = stored.key.rpartition("/")[2].removesuffix(".json")
        if EXECUTION_NAME.fullmatch(name) and (number := executions.parse(name)[1]) >= own:
            ends.setdefault(number, set()).add(stored.ended)
    numbers, statuses, is_last = sorted(ends), [], True
    for number in numbers:
        name = executions.name(job_id, number)
        status, ended = _describe_end(f"{arns}:{name}")
        statuses.append(status)
        if status and ended not in ends.get(number, ()):
            is_last = False
            words = f"The execution {name} has the status {status}, and no report on this is stored."
            yield Finding(LATER_ENDS, NOTED, f"{words} {NOT_LAST}")
        # The numbers have no gaps. An execution that Step Functions has deleted has a report.
        following = number + 1
        is_known = status or number in ends
        if is_known and following not in numbers and executions.parse(executions.name(job_id, following))[0] == job_id:
            numbers.append(following)
    if not any(statuses):
        yield Finding(LATER_ENDS, UNKNOWN, DELETED)
    elif is_last:
        yield Finding(LATER_ENDS, OK, "Step Functions has no later end of the job without a report.")


def _describe_end(arn: str) -> tuple[str, int]:
    """The status of the execution and its end (Unix ms, 0 while it runs). No status if the execution does not exist."""
    try:
        execution = inputs.read_execution(arn)
    except ClientError as error:
        if error_code(error) != "ExecutionDoesNotExist":
            raise
        return "", 0
    status: str = execution["status"]
    return status, 0 if status == "RUNNING" else execution["stopDate"]


class _Folder(NamedTuple):
    """The SHA-256 of the files that were read in a folder; ``unread`` says why others were not, if there are others."""

    hashes: frozenset[str]
    unread: str


def check_files(entries: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Compare the job's files with the report. A file whose name is redacted may be any file in its folder."""
    folders: dict[str, _Folder] = {}
    for entry in entries:
        uri, expected = str(entry["object"]), entry["sha256"]
        part = f"file {uri}"
        if expected is None:
            yield Finding(part, UNKNOWN, "The report has no hash of the file.")
        elif uri.endswith(f"/{NAME}"):
            if uri not in folders:
                folders[uri] = _read_folder(uri.removesuffix(NAME))
            yield _find_file(part, expected, folders[uri])
        else:
            yield _check_file(part, uri, expected, entry["bytes"])


def _check_file(part: str, uri: str, expected: str, size: int) -> Finding:
    """Compare a file with its hash and its size in bytes in the report. A larger file is not read."""
    try:
        found = inputs.file_sha256(*_place(uri), size)
    except inputs.FileTooLarge:
        return Finding(part, NOTED, TOO_LARGE)
    except FileNotFoundError:
        found = None
    except (ClientError, BotoCoreError) as error:
        return _not_checked(part, error)
    return _find_file(part, expected, _Folder(frozenset({found} if found else ()), ""))


def _find_file(part: str, expected: str, folder: _Folder) -> Finding:
    if expected in folder.hashes:
        return Finding(part, OK, "The file is unchanged.")
    if folder.unread or not folder.hashes:
        return Finding(part, UNKNOWN, folder.unread or NO_CONTENT)
    return Finding(part, NOTED, CHANGED)


def _read_folder(uri: str) -> _Folder:
    bucket, prefix = _place(uri)
    hashes: set[str] = set()
    unread, left = "", MOST_FOLDER_BYTES
    try:
        for number, entry in enumerate(inputs.list_objects(prefix, bucket), 1):
            left -= entry["Size"]
            if number > MOST_FOLDER_FILES or left < 0:
                unread = f"The folder has more than {MOST_FOLDER_FILES} files or 1 GB, and the others were not read."
                break
            try:
                found = inputs.file_sha256(bucket, entry["Key"], entry["Size"])
            except (FileNotFoundError, inputs.FileTooLarge):
                unread = GREW
            else:
                hashes.update({found} if found else ())
                unread = unread if found else NO_CONTENT
    except (ClientError, BotoCoreError) as error:
        unread = _not_checked(uri, error).words
    return _Folder(frozenset(hashes), unread)


def _compare_definition(document: Mapping[str, Any], arn: str) -> Finding:
    is_same = inputs.read_machine(arn) == document["inputs"]["stateMachine"]
    return judge(DEFINITION, is_same, "The definition is the same.", "The definition is different.")


def _compare_history(document: Mapping[str, Any], arn: str, redactor: Redactor) -> Finding:
    at_aws = json.loads(json.dumps(history.read(arn, redactor)))
    events = document["inputs"]["history"]
    different = next((own["id"] for own, theirs in zip(events, at_aws, strict=False) if own != theirs), None)
    if different is None and len(at_aws) < len(events):
        different = len(at_aws) + 1
    later = len(at_aws) - len(events)
    return judge(
        HISTORY,
        different is None,
        f"The history is the same{f', with {later} later events' if later > 0 else ''}.",
        f"Event {different} is different.",
    )


def _compare_execution(document: Mapping[str, Any], arn: str, redactor: Redactor) -> Finding:
    own, at_aws = document["inputs"]["execution"], redactor.value(inputs.read_execution(arn))
    is_same = _is_same_execution(own, at_aws)
    return judge(EXECUTION, is_same, "The execution is the same.", "The execution is different.")


def _is_same_execution(own: Mapping[str, Any], at_aws: Mapping[str, Any]) -> bool:
    """Whether the execution in the report is the one at AWS, which may have continued after the report."""
    if "stopDate" not in own or at_aws.get("redriveCount", 0) > own.get("redriveCount", 0):
        own, at_aws = ({name: fields[name] for name in fields.keys() - CHANGING} for fields in (own, at_aws))
    return own == at_aws


def _compare_batch(document: Mapping[str, Any], redactor: Redactor) -> Finding:
    """Compare the failed batch with the same batch, because other batches may have failed too."""
    own = document["inputs"]["failedBatch"]
    if own is None:
        return Finding(BATCH, UNKNOWN, "The report does not know the error of the failed batch.")
    at_aws = redactor.value(inputs.read_batch(own["executionArn"]))
    is_redriven = at_aws.get("redriveCount", 0) > own.get("redriveCount", 0) or at_aws["status"] == "PENDING_REDRIVE"
    if is_redriven and at_aws.get("mapRunArn") == own["mapRunArn"]:
        return Finding(BATCH, UNKNOWN, "The batch was redriven after the report, so its error cannot be compared.")
    return judge(BATCH, own == at_aws, "The batch is the same.", "The batch is different.")


def _compare_earlier(document: Mapping[str, Any], arn: str, redactor: Redactor) -> Finding:
    own = document["inputs"]["earlier"]
    at_aws = redactor.value(inputs.read_earlier(arn))
    remaining = [execution for execution in at_aws if "status" in execution]
    if not remaining:
        return Finding(EARLIER, UNKNOWN, "Step Functions has deleted them.")
    by_name = {execution["name"]: execution for execution in own}
    is_same = [execution["name"] for execution in at_aws] == list(by_name) and all(
        _is_same_execution(by_name[execution["name"]], execution) for execution in remaining
    )
    return judge(EARLIER, is_same, "The executions are the same.", "The executions are different.")


def _try(part: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (ClientError, BotoCoreError) as error:
        return _not_checked(part, error)


def _not_checked(part: str, error: ClientError | BotoCoreError) -> Finding:
    if isinstance(error, ClientError):
        code = error_code(error)
        if code == "ExecutionDoesNotExist":
            return Finding(part, UNKNOWN, DELETED)
        return Finding(part, UNKNOWN, "It does not exist." if code in GONE else f"AWS returned {code}.")
    return Finding(part, UNKNOWN, f"The call to AWS failed: {str(error).rstrip('.')}.")


def _uri(store: Store, object_key: str) -> str:
    return f"s3://{store.bucket}/{object_key}"


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def judge(part: str, is_ok: bool, words: str, otherwise: str) -> Finding:
    """`OK` with ``words``, or `WRONG` with the words ``otherwise``."""
    return Finding(part, OK, words) if is_ok else Finding(part, WRONG, otherwise)


def examine(body: bytes, *, bucket: str, machine: str, why: str) -> Iterator[Finding]:
    """Verify a file that is a report, its page, or a signed file, with AWS. The signature is not checked.

    Raises:
        NotAReport: the file is neither a report nor a page nor a signed file.
    """
    signed = signing.read(body)
    if signed:
        yield Finding(SIGNATURE, UNKNOWN, "Give the public key with --key to check the signature.")
        yield _check_signed_page(signed)
        body = signed.report
    is_report = not is_page(body)
    if is_report:
        yield from check_itself(body)
    else:
        _execution_of(body)
    if not bucket:
        yield Finding(STORED if is_report else PAGE, UNKNOWN, f"The report bucket is unknown: {why}")
        return
    try:
        store = Store(bucket)
        if not is_report:
            finding, content = find_report(body, store)
            yield finding
            if content is None:
                return
            body = content
            yield from check_itself(body)
        yield from check_against_aws(body, store=store, machine=machine)
    except (ClientError, BotoCoreError) as error:  # such as no Region
        yield _not_checked("AWS", error)
    except MALFORMED as error:
        yield Finding("report", WRONG, f"The report is malformed: {type(error).__name__}: {error}")


def _check_signed_page(signed: signing.SignedFile) -> Finding:
    try:
        is_same = list(signed.pages) == [page.render(read(signed.report)).encode()]
    except MALFORMED:
        is_same = False
    return judge(
        SIGNED_PAGE,
        is_same,
        "The page in the file is the page of the report.",
        "The page in the file is not the page of the report.",
    )


def main(file: str, bucket: str, machine: str, why: str) -> int:
    """Print the verdict and the findings about ``file``. Returns 0 for any verdict, 2 if the file is not a report."""

    def find() -> list[Finding]:
        return list(examine(Path(file).read_bytes(), bucket=bucket, machine=machine, why=why))

    return print_verdict(find, verdict)


def print_verdict(find: Callable[[], list[Finding]], judge_all: Callable[[Sequence[Finding]], str]) -> int:
    """Print the verdict and the findings of ``find``. Returns 0 for any verdict, 2 if the file is not a report."""
    try:
        findings = find()
    except (OSError, NotAReport) as error:
        print(error, file=sys.stderr)
        return 2
    answer = {
        "verdict": judge_all(findings),
        "hasLater": any(finding.result == NOTED and finding.part in LATER for finding in findings),
        "findings": [finding._asdict() for finding in findings],
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
