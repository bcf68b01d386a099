"""Verifies an audit report: ``python -m pipeline.audit.verify FILE BUCKET WHY`` prints the findings as JSON.

The first checks need the file alone: its seal, the hashes of its parts, and whether the answers follow from the events.
A forger can compute these too, so the proof is the bucket of reports, which the caller names and never the file: the
file must be the first version of the report's end, under a COMPLIANCE lock that still runs. The place that the file
claims to be stored at is compared with the place that follows from job and execution.

The last checks ask AWS with the caller's credentials: earlier reports, the job's files, the history. Step Functions
deletes a history 90 days after the end, and the job's files expire: what is gone or cannot be read is reported as not
checked.

``BUCKET`` may be empty; ``WHY`` then says why the bucket is not known.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import executions
from pipeline.audit import answers, facts, history, inputs, page, report
from pipeline.audit.redaction import Redactor
from pipeline.audit.store import FINAL, PROVISIONAL, Kept, Store, Stored, key, place
from pipeline.clients import clients
from pipeline.errors import error_code
from rules.words import counted

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
OK, WRONG, UNKNOWN, NOTED = "ok", "wrong", "not checked", "noted"
GENUINE, ALONE, FORGED, UNPROVEN = "genuine", "genuine by its lock alone", "wrong", "not proven"
KEPT, KEPT_PAGE, PAGE, HISTORY = "kept report", "kept page", "page", "history at AWS"
PROOF = frozenset({KEPT, KEPT_PAGE})
"""The checks that prove that the pipeline made the report. The others show only that it is consistent."""

NO_DOCUMENT = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, OSError, RecursionError)
"""The errors of reading a document that has another structure."""

GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket"})
EXECUTION_NAME = re.compile(
    r"[A-Za-z0-9_-]{1,80}"
)  # that CloudWatch can log too. Source: StartExecution, API reference
MOST_BEFORE = 100  # the most earlier reports of a job that are checked


class NoReport(ValueError):
    """The file is not an audit report, or has a version that this code does not support."""


class Finding(NamedTuple):
    """The check, its result (ok, wrong, not checked or noted), and the result in words.

    Noted is what an auditor should know but does not make a report wrong, such as a later version.
    """

    part: str
    result: str
    words: str


def read(body: bytes) -> dict[str, Any]:
    """The report in a file.

    Raises:
        NoReport: the file is not a report, and why.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise NoReport("The file is neither the JSON of an audit report nor its page.") from None
    if not isinstance(document, dict) or document.get("schema") != report.SCHEMA:
        raise NoReport("The file is JSON, and no audit report.")
    if document.get("version") != report.VERSION:
        raise NoReport(f"The report has the version {document.get('version')!r}, and {report.VERSION} is known here.")
    missing = sorted(MEMBERS - document.keys())
    if missing or not isinstance(document["inputs"], dict) or document["inputs"].keys() != set(PARTS):
        raise NoReport(f"The report is not whole: {', '.join(missing) or 'its inputs are not those of a report'}.")
    return document


def check_itself(body: bytes) -> Iterator[Finding]:
    """The checks that need the file alone.

    Raises:
        NoReport: the file is not a report.
    """
    document = read(body)
    try:
        yield from _seals(document, body)
        yield from _derived(document)
    except NO_DOCUMENT as error:
        yield Finding("facts", WRONG, f"The inputs are not those of a report: {type(error).__name__}: {error}")


def _seals(document: Mapping[str, Any], body: bytes) -> Iterator[Finding]:
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


def verdict(findings: Sequence[Finding]) -> str:
    """`FORGED` when something is wrong, `UNPROVEN` without the kept report under its lock, otherwise `GENUINE`.

    `ALONE` stands for `GENUINE` when the history could not be compared, such as after 90 days.
    """
    if any(one.result == WRONG for one in findings):
        return FORGED
    proven = {one.part for one in findings if one.result == OK}
    if not proven >= PROOF:
        return UNPROVEN
    return GENUINE if HISTORY in proven else ALONE


def is_page(body: bytes) -> bool:
    """Whether the file is HTML, by its first bytes."""
    return body.lstrip()[:9].lower() == b"<!doctype"


def find_report(body: bytes, store: Store) -> tuple[Finding, bytes | None]:
    """The result of the search for the stored report whose page is ``body``, and that report or None.

    The execution that the page names is only a claim: each report of that execution is rendered, and one of them must
    give exactly this page.

    Raises:
        NoReport: the file is not a page of a report.
    """
    name = _execution_of(body)
    job_id, tried = executions.parse(name)[0], 0
    for folder in (FINAL, PROVISIONAL):
        kept = store.kept(key(job_id, name, "json", folder=folder))
        for one in kept.versions if folder == PROVISIONAL else _firsts(kept):
            content, tried = store.body(one), tried + 1
            try:
                is_it = page.render(read(content)).encode() == body
            except (NoReport, *NO_DOCUMENT):  # ExportAudit did not write this version
                continue
            if is_it:
                return Finding(PAGE, OK, f"It shows what version {one.version} of {_uri(store, one)} says."), content
    where = _uri(store, key(job_id, name, "json"))
    if not tried:
        return Finding(PAGE, UNKNOWN, f"No report is kept at {where} to compare the page with."), None
    return Finding(PAGE, WRONG, f"It shows none of the reports that are kept at {where}."), None


class _Title(HTMLParser):
    """Reads a page's title: the first one, as drawings have titles too."""

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
        raise NoReport("The file is a page, and not that of an audit report.")
    return name


def _firsts(kept: Kept) -> list[Stored]:
    """The first version of each end."""
    return [one for one in kept.versions if kept.first(one.ended) is one]


def check_against_aws(body: bytes, *, store: Store) -> Iterator[Finding]:
    """The checks against the bucket of reports, and against what AWS still has of the job.

    ``store`` is the stack's bucket of reports. ``s3`` reads the job's files at the places that a proven report names.
    """
    document = read(body)
    yield _placed(document, store)
    proof = _asked(KEPT, lambda: _kept(document, body, store))
    yield proof
    yield _asked("versions", lambda: _versions(document, store))
    yield _asked(KEPT_PAGE, lambda: _kept_page(document, store))
    yield from _chain(document, store)
    if proof.result == OK:
        for entry in document["inputs"]["files"]:
            yield _asked(f"file {entry['object']}", lambda entry=entry: _file(entry))  # type: ignore[misc]
    else:
        yield Finding("files", UNKNOWN, "A report that is not proven does not say where the job's files are.")
    redactor = Redactor()
    arn = document["inputs"]["execution"]["executionArn"]
    yield _asked(HISTORY, lambda: _history(document, arn, redactor))
    yield _asked("execution at AWS", lambda: _execution(document, arn, redactor))
    if document["inputs"]["earlier"]:
        yield _asked("earlier executions at AWS", lambda: _earlier(document, arn, redactor))


def _placed(document: Mapping[str, Any], store: Store) -> Finding:
    expected = _uri(store, place(document, "json"))
    is_so = document["stored"] == expected and executions.parse(document["execution"])[0] == document["jobId"]
    return _verdict(
        "place",
        is_so,
        "It names the place at which the stack keeps it.",
        f"It names {document['stored']}, and the stack keeps the report on this execution at {expected}.",
    )


def _kept(document: Mapping[str, Any], body: bytes, store: Store) -> Finding:
    kept, where = store.kept(place(document, "json")), _uri(store, place(document, "json"))
    if not kept.versions:
        return Finding(KEPT, UNKNOWN, f"Nothing is kept at {where}.")
    if document["provisional"]:
        # It has no end, so no version is the first of it, and a forged one on top looks like the others.
        return Finding(KEPT, UNKNOWN, "A provisional report proves nothing. Ask again when the execution has ended.")
    first = kept.first(_ended(document))
    if first is None:
        return Finding(KEPT, WRONG, f"None of the {len(kept.versions)} versions of {where} is of this end.")
    if store.body(first) != body:
        later = next((one.version for one in kept.versions if one is not first and store.body(one) == body), None)
        words = f"The first version of this end at {where} is another report."
        return Finding(KEPT, WRONG, f"{words} The file is the version {later}, which was put there later." if later
                       else words)  # fmt: skip
    return _locked(
        KEPT,
        first,
        f"The file is the first version of this end, stored at {answers.moment(history.milliseconds(first.written))}",
    )


def _locked(part: str, one: Stored, words: str) -> Finding:
    if one.is_locked:
        return Finding(part, OK, f"{words}, and a COMPLIANCE lock runs on it.")
    return Finding(
        part,
        UNKNOWN,
        f"{words}, but S3 shows no COMPLIANCE lock that still runs on it: it proves nothing. To see locks, your "
        "credentials need s3:GetObjectRetention.",
    )


def _versions(document: Mapping[str, Any], store: Store) -> Finding:
    """Whether later versions or delete markers hide the report or its page."""
    if not store.kept(place(document, "json")).versions:
        return Finding("versions", UNKNOWN, "There is none.")
    faults, counts = [], []
    for form, words in (("json", "the report"), ("html", "its page")):
        kept = store.kept(place(document, form))
        of_end = [one for one in kept.versions if one.ended == _ended(document)]
        counts.append(f"{words} has {counted(len(of_end), 'version')}")
        # After a duplicate event two exporters may store the same content twice.
        if not document["provisional"] and len({store.body(one) for one in of_end}) > 1:
            faults.append(f"of this end {words} has {len(of_end)} versions, of which the first alone counts")
        if kept.delete_markers:
            faults.append(f"{words} is hidden by {counted(kept.delete_markers, 'delete marker')}")
    if faults:
        return Finding("versions", NOTED, f"The pipeline does neither, so look for who did: {'; '.join(faults)}.")
    return Finding(
        "versions", OK, f"Of this end {' and '.join(counts)}, all with the same content; nothing hides them."
    )


def _kept_page(document: Mapping[str, Any], store: Store) -> Finding:
    first = None if document["provisional"] else store.kept(place(document, "json")).first(_ended(document))
    shown = store.page_of(first) if first else None
    if shown is None:
        return Finding(KEPT_PAGE, UNKNOWN, "None is kept for this report.")
    try:
        expected = page.render(document).encode()
    except NO_DOCUMENT as error:
        return Finding(KEPT_PAGE, WRONG, f"The report cannot be shown as a page: {type(error).__name__}.")
    if store.body(shown) != expected:
        return Finding(KEPT_PAGE, WRONG, "It is not the page of this report.")
    return _locked(KEPT_PAGE, shown, "It shows what the report says")


def _ended(document: Mapping[str, Any]) -> int:
    """The end in the report, in Unix ms; 0, which no execution has, without an end."""
    ended = document["inputs"]["execution"].get("stopDate", 0)
    return ended if isinstance(ended, int) else 0


def _chain(document: Mapping[str, Any], store: Store) -> Iterator[Finding]:
    """Check each earlier report of the job, back to the first."""
    previous = document["previous"]
    for number in range(1, MOST_BEFORE + 1):
        if previous is None:
            return
        part = f"report before ({number})"
        try:
            finding, body = _before(part, document["jobId"], previous, store)
        except (ClientError, BotoCoreError) as error:
            finding, body = _not_asked(part, error), None
        yield finding
        if body is None:
            return
        previous = read(body)["previous"]


def _before(part: str, job_id: str, previous: Mapping[str, Any], store: Store) -> tuple[Finding, bytes | None]:
    """Check the earlier report that a report names; its content too, if the check passes."""
    named, version = str(previous["object"]), previous["versionId"]
    object_key = named.removeprefix(f"s3://{store.bucket}/")
    if object_key == named or not object_key.startswith(f"{FINAL}/{job_id}/"):
        return Finding(part, WRONG, f"{named} is no place at which the stack keeps reports of this job."), None
    kept = store.kept(object_key)
    one = next((one for one in kept.versions if one.version == version), None)
    if one is None:
        return Finding(part, UNKNOWN, f"{named} has no version {version}."), None
    body = store.body(one)
    if hashlib.sha256(body).hexdigest() != previous["sha256"] or kept.first(one.ended) is not one:
        return Finding(part, WRONG, f"{named} is not the report that this one follows."), None
    return _locked(part, one, f"{named} is the one that is named"), body


def _file(entry: Mapping[str, Any]) -> Finding:
    part = f"file {entry['object']}"
    if entry["sha256"] is None:
        return Finding(part, UNKNOWN, "It was not read for the report.")
    bucket, key = _place(entry["object"])
    if key.endswith("/…"):  # the uploader's file name is redacted: compare with each file of the folder
        folder = key.removesuffix("…")
        names = [one["Key"] for one in clients.s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", ())]
    else:
        names = [key]
    hashes = [_hash(bucket, name) for name in names]
    if not any(hashes):
        return Finding(part, UNKNOWN, "It is gone, or S3 does not give its content.")
    return _verdict(part, entry["sha256"] in hashes, "It is as it was.", "It was changed since.")


def _hash(bucket: str, key: str) -> str | None:
    try:
        return inputs.file_sha256(bucket, key)
    except FileNotFoundError:
        return None


def _history(document: Mapping[str, Any], arn: str, redactor: Redactor) -> Finding:
    at_aws = json.loads(json.dumps(history.read(arn, redactor)))
    events = document["inputs"]["history"]
    different = next((own["id"] for own, theirs in zip(events, at_aws, strict=False) if own != theirs), None)
    if different is None and len(at_aws) < len(events):
        different = len(at_aws) + 1
    more = len(at_aws) - len(events)
    return _verdict(
        HISTORY,
        different is None,
        f"It is the same{f', and goes on for {more} events' if more > 0 else ''}.",
        f"Event {different} is another one.",
    )


def _execution(document: Mapping[str, Any], arn: str, redactor: Redactor) -> Finding:
    own, at_aws = document["inputs"]["execution"], redactor.value(inputs.read_execution(arn))
    changing = {"status", "stopDate", "redriveCount", "redriveDate", "error", "cause"}
    if at_aws.get("stopDate") != own.get("stopDate"):  # the execution continued after the report
        own, at_aws = ({name: one[name] for name in one.keys() - changing} for one in (own, at_aws))
    return _verdict("execution at AWS", own == at_aws, "It is the same.", "Step Functions says otherwise.")


def _earlier(document: Mapping[str, Any], arn: str, redactor: Redactor) -> Finding:
    part, own = "earlier executions at AWS", document["inputs"]["earlier"]
    at_aws = redactor.value(inputs.read_earlier(arn))
    known = [one for one in at_aws if "status" in one]
    if not known:
        return Finding(part, UNKNOWN, "They are gone.")
    same = len(at_aws) == len(own) and all(one in own for one in known)
    return _verdict(part, same, "They are the same.", "Step Functions says otherwise.")


def _asked(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (ClientError, BotoCoreError) as error:
        return _not_asked(part, error)


def _not_asked(part: str, error: ClientError | BotoCoreError) -> Finding:
    if isinstance(error, ClientError):
        code = error_code(error)
        if code == "ExecutionDoesNotExist":
            words = (
                "Step Functions keeps an execution for 90 days and has none of this name: the report alone tells of it."
            )
            return Finding(part, UNKNOWN, words)
        return Finding(part, UNKNOWN, "It is gone." if code in GONE else f"AWS answered {code}.")
    return Finding(part, UNKNOWN, f"AWS cannot be asked: {str(error).rstrip('.')}.")


def _uri(store: Store, one: Stored | str) -> str:
    return f"s3://{store.bucket}/{one.key if isinstance(one, Stored) else one}"


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _verdict(part: str, is_so: bool, words: str, otherwise: str) -> Finding:
    return Finding(part, OK, words) if is_so else Finding(part, WRONG, otherwise)


def examine(body: bytes, *, bucket: str, why: str) -> Iterator[Finding]:
    """All findings about a file that is a report or its page.

    Raises:
        NoReport: the file is neither.
    """
    is_report = not is_page(body)
    if is_report:
        yield from check_itself(body)
    else:
        _execution_of(body)
    if not bucket:
        yield Finding(KEPT if is_report else PAGE, UNKNOWN, f"The bucket of reports is not known: {why}")
        return
    try:
        store = Store(bucket)
        if not is_report:
            finding, found = find_report(body, store)
            yield finding
            if found is None:
                return
            body = found
            yield from check_itself(body)
        yield from check_against_aws(body, store=store)
    except (ClientError, BotoCoreError) as error:  # such as no Region
        yield _not_asked("AWS", error)
    except NO_DOCUMENT as error:
        yield Finding("report", WRONG, f"Its values are not those of a report: {type(error).__name__}: {error}")


def main(file: str, bucket: str, why: str) -> int:
    """Print verdict and findings about ``file``; the exit code is 0 for any verdict, 2 when the file is no report."""
    try:
        findings = list(examine(Path(file).read_bytes(), bucket=bucket, why=why))
    except (OSError, NoReport) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"verdict": verdict(findings), "findings": [finding._asdict() for finding in findings]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
