"""The audit report and the bucket's files: what others wrote there is not believed, and stops no report."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.response import StreamingBody
from jsonschema import Draft202012Validator

from pipeline.audit import inputs, page, verify
from rules.photos import CODES
from tests.unit.aws_fakes import functions_use, store
from tests.unit.conftest import BUCKET
from tests.unit.histories import JOB, REJECTED, live_model
from tests.unit.test_audit import SCHEMA, Report, made, put_files

LIST = f"manifests/{JOB}/rejected.jsonl"
ANSWERS = f"labelling/{JOB}/output/{JOB}-1/annotations/worker-response/iteration-1"


def checked(document: Report) -> Report:
    """The report, if it is as the schema says and can be shown."""
    Draft202012Validator(SCHEMA).validate(document)
    page.render(document)
    return document


def said(document: Report) -> str:
    return " ".join(one["answer"] for one in document["answers"])


def put(s3: Any, key: str, body: str | bytes, **options: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, **options)


@pytest.mark.parametrize(
    "forged",
    [
        '{"code":"Anna Schmidt"}\n',
        '{"code":["Duplicate"]}\n',
        "no json\n",
        "[" * 100_000,
        "\n",
        "",
        '{"code":"Duplicate"}\n' * 5,
        REJECTED + " ",
    ],
)
def test_a_list_of_rejected_photos_that_was_replaced_is_not_believed(s3: Any, forged: str) -> None:
    # Given a job with three rejected photos, whose list another principal has replaced
    put_files(s3)
    put(s3, LIST, forged)
    # When the report is made
    document = checked(made(s3, live_model()))
    # Then the counts and the hash are those of the history, no photo is listed, and the words say why
    photos = document["facts"]["photos"]
    assert (photos["rejectedCodes"], photos["rejectedPhotos"]) == ({"SideTooLong": 2, "Duplicate": 1}, [])
    assert "The list was replaced, so this report lists no rejected photos." in said(document)
    assert "Schmidt" not in json.dumps(document)


def test_lines_of_the_list_that_cannot_be_read_are_counted(s3: Any) -> None:
    # Given a list with the hash of the history, and lines without a known code
    text = REJECTED + '{"code":"Anna Schmidt"}\nno json\n'
    history = live_model()
    for event in history.events:
        for details in event.values():
            if isinstance(details, dict) and "output" in details:
                details["output"] = details["output"].replace(sha256(REJECTED), sha256(text))
    put_files(s3)
    put(s3, LIST, text)
    # When the report is made; Then they are counted, and their texts are not in it
    photos = checked(made(s3, history))["facts"]["photos"]
    assert (len(photos["rejectedPhotos"]), photos["unreadableLines"]) == (3, 2)
    assert {one["code"] for one in photos["rejectedPhotos"]} <= CODES


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_all_codes_of_rejected_photos_are_in_the_schema() -> None:
    assert set(SCHEMA["$defs"]["rejectionCode"]["enum"]) == CODES


def answers(**changed: Any) -> str:
    answer = {"workerId": "w-9", "timeSpentInSeconds": 4, "workerMetadata": {"identityData": {"sub": "s-9"}}}
    return json.dumps({"answers": [{**answer, **changed}]})


@pytest.mark.parametrize(
    "content",
    [
        answers(timeSpentInSeconds="x"),
        answers(timeSpentInSeconds=None),
        answers(timeSpentInSeconds=float("inf")),
        answers(timeSpentInSeconds=float("nan")),
        answers(timeSpentInSeconds=1e300),
        answers(timeSpentInSeconds=-1),
        answers(timeSpentInSeconds=True),
        answers(timeSpentInSeconds=10**400),
        answers(workerId=None),
        answers(workerId='Anna "Schmidt"'),
        answers(workerId="w" * 5000),
        answers(workerMetadata="x"),
        answers(workerMetadata={"identityData": {"sub": {"name": "Anna"}}}),
        '{"answers":7}',
        '{"answers":[7]}',
        '{"answers":[{}]}',
        "[]",
        "",
        "[" * 100_000,
        b"\xff\xfe",
        '{"answers":[' + " " * inputs.MOST_ANSWER + "]}",
        f'{{"answers":[{{"workerId":"w","timeSpentInSeconds":{"9" * 5000}}}]}}',
    ],
)
def test_an_answer_that_no_worker_gave_is_counted_and_no_more(s3: Any, content: str | bytes) -> None:
    # Given the answers of two workers, and a file beside them that is none
    put_files(s3)
    put(s3, f"{ANSWERS}/9/2026-11-24_02:00:00.json", content)
    # When the report is made
    document = checked(made(s3, live_model(), LabelProvider="ground-truth"))
    # Then it has the workers, counts the file, and says so
    (job,) = document["facts"]["labelling"]["labellingJobs"]
    assert (job["answers"], job["unreadable"], len(job["workers"])) == (4, 1, 2)
    assert "Left out because they cannot be read: 1 file." in said(document)
    assert "Anna" not in json.dumps(document)


def test_an_answer_that_came_after_the_labelling_is_left_out(s3: Any) -> None:
    # Given a history in which the labelling ended long before the answers were written
    put_files(s3)
    history = live_model(labelling_ended=0)
    # When the report is made; Then it counts the files, and takes no worker from them
    document = checked(made(s3, history, LabelProvider="ground-truth"))
    (job,) = document["facts"]["labelling"]["labellingJobs"]
    assert (job["answers"], job["late"], job["workers"]) == (0, 4, [])
    assert "Left out because they were written after the labelling ended: 4 files." in said(document)


def test_answers_of_a_job_that_is_none_of_its_own_are_left_out(s3: Any) -> None:
    put(s3, f"labelling/{JOB}/output/Anna Schmidt/annotations/worker-response/iteration-1/1/a.json", answers())
    document = checked(made(s3, live_model(), LabelProvider="ground-truth"))
    assert document["facts"]["labelling"]["labellingJobs"] == []
    assert "Anna" not in json.dumps(document)


@pytest.mark.parametrize("key", [LIST, f"labels/{JOB}/a.json", f"{ANSWERS}/9/a.json", f"training/{JOB}/summary.json"])
def test_an_object_that_s3_does_not_give_does_not_stop_the_report(s3: Any, key: str) -> None:
    # Given an object in an archive
    put_files(s3)
    put(s3, key, answers(), StorageClass="GLACIER")
    # When the report is made; Then it tells the file without a hash
    document = checked(made(s3, live_model(), LabelProvider="ground-truth"))
    unread = [one["object"] for one in document["inputs"]["files"] if one["sha256"] is None]
    if key == LIST:
        assert "The list cannot be read, so this report lists no rejected photos." in said(document)
    assert len(unread) == (key != f"{ANSWERS}/9/a.json")


def test_no_number_of_files_stops_the_report(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given limits that the job's files reach
    put_files(s3)
    monkeypatch.setattr(inputs, "MOST_FILES", 2)
    monkeypatch.setattr(inputs, "MOST_HASHED", 3)
    # When the report is made; Then it lists so many, and hashes so much
    files = checked(made(s3, live_model()))["inputs"]["files"]
    assert [(one["object"].rpartition("/")[2], bool(one["sha256"])) for one in files] == [
        ("input.manifest", True),
        ("rejected.jsonl", False),
    ]


def test_each_list_is_compared_with_the_history(s3: Any) -> None:
    # Given a bucket with the list of rejected photos as it was, another list of photos, and no other
    put(s3, LIST, REJECTED)
    put(s3, f"manifests/{JOB}/input.manifest", "another")
    # When the report is made
    document = checked(made(s3, live_model()))
    # Then it says what each is
    found = {one["list"]: (one["is"], one["found"] == one["sha256"]) for one in document["facts"]["manifests"]}
    assert found == {
        "photos": ("replaced", False),
        "rejected photos": ("equal", True),
        "labels": ("missing", False),
        "training photos": ("missing", False),
        "test photos": ("missing", False),
        "outlines": ("missing", False),
    }
    (answer,) = (one["answer"] for one in document["answers"] if "lists changed" in one["question"])
    assert "The list of photos was replaced." in answer
    assert "The list of rejected photos is unchanged." in answer
    assert "The list of labels no longer exists." in answer


# --- The job's files when a report is verified -----------------------------------------------------------------------

LABELS = f"labels/{JOB}/"


def verified(s3: Any, document: Report) -> list[tuple[str, str]]:
    """The result and the words for each labels file in the report."""
    with functions_use(s3=s3):
        findings = list(verify.check_files(document["inputs"]["files"]))
    return [(found.result, found.words) for found in findings if f"/{LABELS}" in found.part]


@pytest.mark.parametrize(
    ("files", "result"),
    [
        ({"anna.schmidt.json": "[1]"}, verify.NOTED),
        ({"anna.schmidt.json": None, "corrected.json": "[1]"}, verify.NOTED),
        ({"a.json": "[1]", "z.json": "[2]"}, verify.OK),
        ({"anna.schmidt.json": None}, verify.UNKNOWN),
    ],
)
def test_labels_that_change_after_the_report_are_not_wrong(s3: Any, files: dict[str, Any], result: str) -> None:
    # Given a report, and a labels file that was corrected, renamed, joined by others, or deleted later
    put_files(s3)
    document = made(s3, live_model())
    for name, content in files.items():
        if content is None:
            s3.delete_object(Bucket=BUCKET, Key=LABELS + name)
        else:
            put(s3, LABELS + name, content)
    # When the files are compared; Then the finding says so, and none is wrong
    ((found, words),) = verified(s3, document)
    assert found == result
    assert ("changed or deleted after the report" in words) == (result == verify.NOTED)


def test_a_file_after_a_page_of_others_is_not_wrong(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given more files in the folder than one page lists, all before the labels file
    put_files(s3)
    document = made(s3, live_model())
    for number in range(1001):
        store(BUCKET, f"{LABELS}0{number:04}", b"x")
    # When the files are compared; Then the finding says that the folder is too large
    ((result, words),) = verified(s3, document)
    assert result == verify.UNKNOWN
    assert "more than 1000 files or 1 GB" in words
    # And with a higher limit, the file on the second page is found
    monkeypatch.setattr(verify, "MOST_FOLDER_FILES", 1002)
    ((result, _),) = verified(s3, document)
    assert result == verify.OK


def test_a_folder_of_labels_is_read_once(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a report with many labels files
    put_files(s3)
    for number in range(20):
        put(s3, f"{LABELS}{number}.json", str(number))
    document = made(s3, live_model())
    # When the files are compared
    hashed: list[str] = []
    read = inputs.file_sha256
    monkeypatch.setattr(inputs, "file_sha256", lambda bucket, key, most: hashed.append(key) or read(bucket, key, most))
    results = [result for result, _ in verified(s3, document)]
    # Then all are found, and each was read once
    assert results == [verify.OK] * 21
    assert sum(key.startswith(LABELS) for key in hashed) == 21
    # And files beyond the limit of bytes are not read
    monkeypatch.setattr(verify, "MOST_FOLDER_BYTES", 5)
    limited = [result for result, _ in verified(s3, document)]
    assert sorted(set(limited)) == [verify.UNKNOWN, verify.OK]
    assert verify.WRONG not in limited


def test_a_file_larger_than_in_the_report_is_not_read(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a report, and files that were replaced after it: one by a larger file, one by a smaller file
    put_files(s3)
    document = made(s3, live_model())
    put(s3, f"manifests/{JOB}/input.manifest", b"x" * 10_000_000)
    put(s3, LIST, "{}")
    # When the files are compared
    read: list[int] = []
    chunks = StreamingBody.iter_chunks

    def count(body: StreamingBody, size: int) -> Iterator[bytes]:
        for chunk in chunks(body, size):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr(StreamingBody, "iter_chunks", count)
    with functions_use(s3=s3):
        findings = {found.part.rpartition("/")[2]: found for found in verify.check_files(document["inputs"]["files"])}
    # Then both differ from the report, and the content of the larger file was not read
    assert findings["input.manifest"].result == findings["rejected.jsonl"].result == verify.NOTED
    assert "too large to be the file of the report" in findings["input.manifest"].words
    assert sum(read) < 10_000


def test_a_list_that_is_too_large_to_hash_is_not_read(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a list of rejected photos that was replaced by more than a report reads
    put_files(s3)
    put(s3, LIST, b"\n" * 100_000)
    monkeypatch.setattr(inputs, "MOST_HASHED", 10_000)
    keys: list[str] = []
    s3.meta.events.register("before-parameter-build.s3.GetObject", lambda params, **_: keys.append(params["Key"]))
    # When the report is made; Then the list is not read
    document = checked(made(s3, live_model()))
    assert LIST not in keys
    assert "The list cannot be read, so this report lists no rejected photos." in said(document)
