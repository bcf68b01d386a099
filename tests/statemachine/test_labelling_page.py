"""The label provider `page`: people label and review photos through the HTTP calls of the labelling page."""

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from deployed import TYPES, Pipeline, deployed, eventually
from jsonschema import Draft202012Validator
from people import Json, Person, box, person, small_photos

from ekyc.localaws import faults
from ekyc.localaws.clock import clock
from ekyc.localaws.faults import Fault, Lasts, What
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

PROJECT = Path(__file__).parents[2]
BARS = {"minF1": 0, "minLabelF1": 0, "maxF1Drop": 1, "minImages": 2}


@pytest.fixture(scope="session")
def page_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stack with bars that every model passes, and without checks by a second person."""
    settings = {**LOCAL_SETTINGS, **BARS, "labelPage.blindShare": 0}
    return synthesize(tmp_path_factory.mktemp("page"), settings)


@pytest.fixture
def pipeline(local_aws: LocalAws, page_assembly: Path, photos: Path) -> Iterator[Pipeline]:
    """The pipeline, and people who sign in. The clock runs as a real one while people have leases."""
    with deployed(local_aws, page_assembly, photos) as pipeline:
        yield pipeline


def labelled_on_the_page(pipeline: Pipeline, folder: Path, count: int) -> str:
    """A job of so many small photos that waits for people."""
    job_id = pipeline.uploaded(*small_photos(folder, count))
    response = pipeline.start(job_id, labels={"provider": "page"}, deploy=False)
    assert response.status_code == 200, response.text
    pipeline.reaches(job_id, "Labelling")
    clock.speed = 1
    return job_id


def people(pipeline: Pipeline, *subjects: str) -> list[Person]:
    return [person(pipeline, subject) for subject in subjects]


def pass_time(seconds: float) -> None:
    """Let exactly so many seconds of service time pass."""
    with clock.computing():
        clock.speed = math.inf
        clock.sleep(seconds)
        clock.speed = 1


def by_place(task: Json) -> list[Json]:
    """Boxes that differ from photo to photo."""
    return [box(TYPES[task["place"] % 2], left=task["place"] % 30)]


def manifest(pipeline: Pipeline, job_id: str) -> list[Json]:
    """The lines of the labelled manifest with which the token was answered."""
    output = token_output(pipeline, job_id)
    return [json.loads(line) for line in pipeline.read(output["manifest"].split("/", 3)[3]).splitlines()]


def token_output(pipeline: Pipeline, job_id: str) -> Any:
    exits = (event.get("stateExitedEventDetails", {}) for event in pipeline.history(job_id))
    return next(json.loads(details["output"]) for details in exits if details.get("name") == "Request labels")


def audit_report(pipeline: Pipeline, job_id: str) -> Any:
    """The job's audit report, which fits its schema."""

    def made() -> Any:
        redirect = pipeline.http.get(f"jobs/{job_id}/audit", headers={"Accept": "application/json"})
        return redirect.headers["Location"] if redirect.status_code == 303 else None

    report = httpx.get(eventually(made)).json()
    Draft202012Validator(json.loads((PROJECT / "docs" / "audit-schema.json").read_text())).validate(report)
    return report


def wait_for_end(pipeline: Pipeline, job_id: str) -> None:
    """Wait until the job has ended. Few photos may be too few for the datasets, which is not what is tested here."""
    clock.speed = 600
    eventually(lambda: pipeline.job(job_id)["status"] in ("Ready", "Failed"))


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["type"].rpartition(":")[2]


def test_people_label_a_job_to_its_model(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job of twelve photos that waits for people
    job_id = labelled_on_the_page(pipeline, tmp_path, 12)
    ann, ben = people(pipeline, "ann", "ben")
    (listed,) = ann.call("GET", "jobs").json()["jobs"]
    assert (listed["id"], listed["phase"]) == (job_id, "labelling")
    assert listed["progress"] == {"total": 12, "labelled": 0, "toReview": 0}
    # When two people label the photos
    places = []
    while len(places) < 12:
        for one in (ann, ben):
            for task in one.take(job_id):
                assert one.answer(job_id, task, by_place(task)).status_code == 200
                places.append(task["place"])
        assert pipeline.job(job_id)["progress"]["labelled"] == len(places) or len(places) == 12
    assert sorted(places) == list(range(1, 13))
    # Then the job ends with a model, and its labels are their boxes
    clock.speed = 600
    pipeline.reaches(job_id, "Ready")
    lines = manifest(pipeline, job_id)
    assert len(lines) == 12
    for place, line in enumerate(lines, 1):
        (annotation,) = line["doctype"]["annotations"]
        assert line["doctype-metadata"]["class-map"] == {str(annotation["class_id"]): TYPES[place % 2]}
        assert annotation["left"] == place % 30
    output = token_output(pipeline, job_id)
    assert (output["provider"], output["labelled"], output["unlabelled"]) == ("page", 12, 0)
    assert [(one["person"], one["answers"]) for one in output["people"]] == [("ann", 6), ("ben", 6)]
    # And the audit report names them by their subjects, with their figures from the history
    report = audit_report(pipeline, job_id)
    labelling = report["facts"]["labelling"]
    assert {name: labelling[name] for name in ("provider", "labelled", "people")} == {
        name: output[name] for name in ("provider", "labelled", "people")
    }
    (answer,) = (one["answer"] for one in report["answers"] if one["question"] == "Who labelled the photos?")
    assert "2 signed-in users labelled 12 photos" in answer
    assert "ann 6 answers, 4.0 s a photo (median)" in answer


def test_twenty_people_label_every_photo_once(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job of 300 photos and twenty people
    job_id = labelled_on_the_page(pipeline, tmp_path, 300)
    crowd = people(pipeline, *(f"person-{number:02d}" for number in range(20)))

    def label(one: Person) -> list[int]:
        """Label until there is nothing left, and send each fifth answer again, as after a lost response."""
        places = []
        while tasks := one.take(job_id, count=1 + int(one.subject[-1]) % 3):
            for task in tasks:
                response = one.answer(job_id, task, by_place(task))
                assert response.status_code == 200, response.text
                places.append(task["place"])
                if task["place"] % 5 == 0:
                    again = one.answer(job_id, task, by_place(task))
                    assert again.is_success or problem(again) == (409, "labelling-over")
        return places

    # When they label at the same time
    with ThreadPoolExecutor(len(crowd)) as pool:
        done = list(pool.map(label, crowd))
    # Then each photo was labelled once, by one person, and the labels are that person's boxes
    assert sorted(place for places in done for place in places) == list(range(1, 301))
    clock.speed = 600
    pipeline.reaches(job_id, "Ready")
    lines = manifest(pipeline, job_id)
    assert [line["doctype"]["annotations"][0]["left"] for line in lines] == [place % 30 for place in range(1, 301)]
    counted = {one["person"]: one["answers"] for one in token_output(pipeline, job_id)["people"]}
    assert counted == {one.subject: len(places) for one, places in zip(crowd, done, strict=True) if places}


def test_an_expired_lease_goes_to_another_person(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given three photos that a person has taken, so that there is none for another person
    job_id = labelled_on_the_page(pipeline, tmp_path, 3)
    ann, ben = people(pipeline, "ann", "ben")
    tasks = ann.take(job_id, 3)
    assert len(tasks) == 3
    assert ben.take(job_id) == []
    # When the leases are renewed after two minutes, then they last three more minutes
    pass_time(120)
    leases = [{"place": task["place"], "leaseId": task["leaseId"]} for task in tasks]
    renewed = ann.call("POST", f"jobs/{job_id}/leases", {"leases": leases}).json()
    assert [task["place"] for task in renewed["tasks"]] == [task["place"] for task in tasks]
    assert renewed["lost"] == []
    pass_time(120)
    assert ben.take(job_id) == []
    # When they expire, another person gets a photo
    pass_time(120)
    (taken,) = ben.take(job_id)
    late = next(task for task in tasks if task["place"] == taken["place"])
    # Then the first person's answer to that photo is refused in words, and those to the others count
    refused = ann.answer(job_id, late, by_place(late))
    assert problem(refused) == (409, "lease-lost")
    assert "another person has it" in refused.json()["detail"]
    again = ann.call("POST", f"jobs/{job_id}/leases", {"leases": leases}).json()
    assert again["lost"] == [taken["place"]]
    for task in tasks:
        if task is not late:
            assert ann.answer(job_id, task, by_place(task)).status_code == 200
    assert ben.answer(job_id, taken, by_place(taken)).status_code == 200


def test_answers_are_corrected_until_all_are_given(pipeline: Pipeline, tmp_path: Path) -> None:
    job_id = labelled_on_the_page(pipeline, tmp_path, 3)
    ann, ben = people(pipeline, "ann", "ben")
    # Given an answer that was sent twice, and an answer that was corrected later
    first, second = ann.take(job_id, 2)
    for _ in range(2):
        assert ann.answer(job_id, first, [box(left=1)]).status_code == 200
    assert ann.answer(job_id, second, [box(left=2)]).status_code == 200
    own = ann.call("GET", f"jobs/{job_id}/answers/{second['place']}").json()
    assert own["boxes"] == [box(left=2)]
    assert httpx.get(own["url"]).content.startswith(b"\x89PNG")
    assert ann.answer(job_id, {"place": second["place"]}, [box(left=22)]).status_code == 200
    # And a page that still shows the photo as it was leased does not overwrite the correction
    assert problem(ann.answer(job_id, second, [box(left=3)])) == (409, "lease-lost")
    # Then the list has each once, and only for the person who gave them
    listed = ann.call("GET", f"jobs/{job_id}/answers").json()["answers"]
    assert {entry["place"] for entry in listed} == {first["place"], second["place"]}
    assert ben.call("GET", f"jobs/{job_id}/answers").json()["answers"] == []
    shown = ann.call("GET", f"jobs/{job_id}").json()
    assert shown["own"] == {"photos": 2, "secondsPerPhoto": 4.0, "isReviewer": False}
    assert shown["guide"]
    # And nobody else can see, answer or correct them
    assert problem(ben.call("GET", f"jobs/{job_id}/answers/{first['place']}")) == (404, "unknown-photo")
    assert problem(ben.answer(job_id, {"place": first["place"]}, [box()])) == (409, "lease-lost")
    assert problem(ben.answer(job_id, {**first}, [box()])) == (409, "lease-lost")
    # When the last photo has no document, and a correction comes at the same time
    (third,) = ben.take(job_id)
    assert ben.answer(job_id, third).status_code == 200
    late = ann.answer(job_id, {"place": first["place"]}, [box(left=9)])
    assert late.is_success or problem(late) == (409, "labelling-over")
    # Then the job continues with the boxes that were accepted. A correction that was refused, because the labelling
    # ended while it was written, may count too
    wait_for_end(pipeline, job_id)
    lefts = {line["source-ref"][-8:-4]: line["doctype"]["annotations"] for line in manifest(pipeline, job_id)}
    of_first, of_second = sorted(boxes[0]["left"] for boxes in lefts.values() if boxes)
    assert of_second == 22
    assert of_first in ({9} if late.is_success else {1, 9})


def test_what_is_wrong_is_refused_in_words(pipeline: Pipeline, tmp_path: Path) -> None:
    job_id = labelled_on_the_page(pipeline, tmp_path, 2)
    (ann,) = people(pipeline, "ann")
    (task,) = ann.take(job_id)
    answers = f"jobs/{job_id}/answers"
    good = {"leaseId": task["leaseId"], "outcome": "labelled", "boxes": [box()], "seconds": 1}
    place = task["place"]
    for method, path, body, expected in (
        ("PUT", f"{answers}/{place}", good | {"boxes": [box(left=90)]}, (409, "answer-refused")),
        ("PUT", f"{answers}/{place}", good | {"boxes": [box("PASSPORT")]}, (409, "answer-refused")),
        ("PUT", f"{answers}/{place}", good | {"boxes": []}, (400, "bad-request")),
        ("PUT", f"{answers}/{place}", good | {"outcome": "skipped", "boxes": []}, (400, "bad-request")),
        ("PUT", f"{answers}/{place}", good | {"seconds": -1}, (400, "bad-request")),
        ("PUT", f"{answers}/{place}", good | {"leaseId": "0" * 32}, (409, "lease-lost")),
        ("PUT", f"{answers}/3", good, (404, "unknown-photo")),
        ("PUT", f"{answers}/x", good, (404, "unknown-photo")),
        ("POST", f"jobs/{job_id}/next", {"count": 4}, (400, "bad-request")),
        ("POST", "jobs/ekyc-20200101000000-0000000000000000/next", {"count": 1}, (404, "not-labelled")),
        ("GET", "jobs/nothing", None, (404, "unknown-job")),
        ("GET", f"{answers}?nextToken=x", None, (400, "bad-request")),
        ("POST", f"jobs/{job_id}/review/next", {"count": 1}, (403, "not-in-group")),
        ("PUT", f"jobs/{job_id}/review/1", {"leaseId": "0" * 32, "decision": "accept"}, (403, "not-in-group")),
    ):
        response = ann.call(method, path, body)
        assert problem(response) == expected, (path, body, response.text)
    # And a call without a person's token is refused
    anonymous = httpx.get(f"{pipeline.aws.api_url}/api/labelling/jobs")
    assert anonymous.status_code == 401


def test_a_skipped_photo_goes_to_another_person(pipeline: Pipeline, tmp_path: Path) -> None:
    job_id = labelled_on_the_page(pipeline, tmp_path, 2)
    ann, ben = people(pipeline, "ann", "ben")
    skip = {"outcome": "skipped", "reason": "unreadable"}
    # Given that a person skips both photos
    for task in ann.take(job_id, 2):
        assert ann.answer(job_id, task, **skip).status_code == 200
    # When another person labels one and skips the other, which is then not offered again
    first, second = ben.take(job_id, 2)
    assert ben.answer(job_id, first, [box()]).status_code == 200
    assert ben.answer(job_id, second, **skip).status_code == 200
    # Then the labels have one photo, and the other is unlabelled
    wait_for_end(pipeline, job_id)
    output = token_output(pipeline, job_id)
    assert (output["labelled"], output["unlabelled"]) == (1, 1)
    assert [one["skipped"] for one in output["people"]] == [2, 1]
    reasons = [line["doctype-metadata"].get("failure-reason") for line in manifest(pipeline, job_id)]
    assert sorted(reason is None for reason in reasons) == [False, True]


def test_a_person_alone_sees_skipped_photos_last(pipeline: Pipeline, tmp_path: Path) -> None:
    job_id = labelled_on_the_page(pipeline, tmp_path, 3)
    (ann,) = people(pipeline, "ann")
    skip = {"outcome": "skipped", "reason": "other"}
    (first,) = ann.take(job_id)
    assert ann.answer(job_id, first, **skip).status_code == 200
    others = ann.take(job_id, 2)
    assert first["place"] not in {task["place"] for task in others}
    for task in others:
        assert ann.answer(job_id, task, [box()]).status_code == 200
    (again,) = ann.take(job_id)
    assert again["place"] == first["place"]
    assert ann.answer(job_id, again, [box()]).status_code == 200
    clock.speed = 600
    pipeline.reaches(job_id, "Ready")


def test_a_stopped_job_refuses_and_a_resumed_one_keeps(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job of six photos, of which two are labelled and one is taken
    job_id = labelled_on_the_page(pipeline, tmp_path, 6)
    (ann,) = people(pipeline, "ann")
    done = ann.take(job_id, 2)
    for task in done:
        assert ann.answer(job_id, task, by_place(task)).status_code == 200
    (held,) = ann.take(job_id)
    # When the job is stopped
    stopped = pipeline.http.post(f"jobs/{job_id}/stop").json()
    assert stopped["stopped"] == ["execution", "labelling job"]
    # Then nothing is offered or accepted any more, in words
    assert ann.call("GET", "jobs").json() == {"jobs": []}
    for response in (
        ann.call("POST", f"jobs/{job_id}/next", {"count": 1}),
        ann.answer(job_id, held, by_place(held)),
        ann.call("POST", f"jobs/{job_id}/leases", {"leases": [{"place": held["place"], "leaseId": held["leaseId"]}]}),
        ann.call("GET", f"jobs/{job_id}/answers/{done[0]['place']}"),
    ):
        assert problem(response) == (409, "labelling-over")
        assert "stopped" in response.json()["detail"]
    # When it is resumed
    clock.speed = 600
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    pipeline.reaches(job_id, "Labelling")
    clock.speed = 1
    # Then the person's photo is still taken, and only what is missing is asked for
    assert ann.wait_for(job_id)["progress"]["labelled"] == 2
    assert ann.answer(job_id, held, by_place(held)).status_code == 200
    rest = ann.label_all(job_id, by_place)
    assert sorted([*rest, held["place"], *(task["place"] for task in done)]) == list(range(1, 7))
    clock.speed = 600
    pipeline.reaches(job_id, "Ready")
    assert [line["doctype"]["annotations"][0]["left"] for line in manifest(pipeline, job_id)] == [1, 2, 3, 4, 5, 6]


def test_the_deadline_closes_the_job_for_people(local_aws: LocalAws, photos: Path, tmp_path: Path) -> None:
    deadline = {"heartbeat": 21600, "deadline": 172800}
    with with_settings(local_aws, tmp_path / "cdk", photos, {"labelling": deadline}, blindShare=0) as pipeline:
        # Given a job of three photos, of which a person has labelled one and has taken another
        job_id = labelled_on_the_page(pipeline, tmp_path / "photos", 3)
        (ann,) = people(pipeline, "ann")
        done, held = ann.take(job_id, 2)
        assert ann.answer(job_id, done, by_place(done)).status_code == 200
        # When two days pass
        clock.speed = 6000
        job = eventually(lambda: (job := pipeline.job(job_id))["status"] == "Failed" and job)
        assert (job["error"], job["stage"]) == ("LabellingTimedOut", "Request labels")
        # Then people find the job closed, in words
        eventually(lambda: ann.call("GET", "jobs").json() == {"jobs": []})
        clock.speed = 1
        late = ann.answer(job_id, held, by_place(held))
        assert problem(late) == (409, "labelling-over")
        assert problem(ann.call("POST", f"jobs/{job_id}/next", {"count": 1})) == (409, "labelling-over")
        # And a resumed job keeps the answer and asks for the others
        clock.speed = 600
        assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
        pipeline.reaches(job_id, "Labelling")
        clock.speed = 1
        ann.wait_for(job_id)
        assert sorted([done["place"], *ann.label_all(job_id, by_place)]) == [1, 2, 3]
        wait_for_end(pipeline, job_id)
        assert [line["doctype"]["annotations"][0]["left"] for line in manifest(pipeline, job_id)] == [1, 2, 3]


def test_a_lost_start_of_the_merge_is_found(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given that the function which merges the answers is never invoked
    job_id = labelled_on_the_page(pipeline, tmp_path, 4)
    (ann,) = people(pipeline, "ann")
    names = {one["Handler"]: one["FunctionName"] for one in pipeline.aws.client("lambda").list_functions()["Functions"]}
    lost = Fault(What.DENIED, names["api.labelling.handler"], (job_id,), operation="Invoke", lasts=Lasts.ALWAYS)
    with faults.injected(lost) as happened:
        ann.label_all(job_id, by_place)
    assert happened
    # When the heartbeat of the task times out, then its retry finds all photos labelled
    clock.speed = 6000
    pipeline.reaches(job_id, "Ready")
    assert len(manifest(pipeline, job_id)) == 4


def test_an_erased_job_leaves_no_task(pipeline: Pipeline, tmp_path: Path) -> None:
    job_id = labelled_on_the_page(pipeline, tmp_path, 4)
    (ann,) = people(pipeline, "ann")
    (task, _) = ann.take(job_id, 2)
    assert ann.answer(job_id, task, by_place(task)).status_code == 200
    assert items(pipeline, job_id) == 6  # the job, four photos, a person
    pipeline.http.post(f"jobs/{job_id}/stop")
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/execute-api/aws4_request"}
    clock.speed = 600
    assert pipeline.http.delete(f"jobs/{job_id}", headers=signed).status_code == 202
    eventually(lambda: pipeline.job(job_id)["erasure"]["status"] == "Erased")
    assert items(pipeline, job_id) == 0
    assert problem(ann.call("GET", f"jobs/{job_id}")) == (404, "not-labelled")


def items(pipeline: Pipeline, job_id: str) -> int:
    """How many labelling tasks the table has for the job."""
    dynamodb = pipeline.aws.client("dynamodb")
    (table,) = (name for name in dynamodb.list_tables()["TableNames"] if "Tasks" in name)
    query = {"KeyConditionExpression": "JobId = :id", "ExpressionAttributeValues": {":id": {"S": job_id}}}
    return dynamodb.query(TableName=table, **query)["Count"]


@contextmanager
def with_settings(
    aws: LocalAws, folder: Path, photos: Path, more: Json | None = None, **label_page: Any
) -> Iterator[Pipeline]:
    """The pipeline, deployed with these settings of the labelling page, and ``more``."""
    settings = {
        **LOCAL_SETTINGS,
        **BARS,
        **(more or {}),
        **{f"labelPage.{name}": value for name, value in label_page.items()},
    }
    with deployed(aws, synthesize(folder, settings), photos) as pipeline:
        yield pipeline


def test_reviewers_decide_about_the_most_doubtful(local_aws: LocalAws, photos: Path, tmp_path: Path) -> None:
    with with_settings(local_aws, tmp_path / "cdk", photos, blindShare=1, reviewShare=0.25) as pipeline:
        job_id = labelled_on_the_page(pipeline, tmp_path / "photos", 8)
        (ann, ben), rita = people(pipeline, "ann", "ben"), person(pipeline, "rita", "labellers", "reviewers")
        # Given photos that all are drawn for the check, so that nothing is proposed
        taken = [task for count in (3, 3, 1) for task in ann.take(job_id, count)]
        assert [task["proposals"] for task in taken] == [None] * 7
        for task in taken:
            assert ann.answer(job_id, task, by_place(task)).status_code == 200
        # When a second person agrees about one and disagrees about another
        agreed, disputed = ben.take(job_id, 2)
        assert {agreed["place"], disputed["place"]} <= {task["place"] for task in taken}
        assert ben.answer(job_id, agreed, by_place(agreed)).status_code == 200
        assert ben.answer(job_id, disputed, [box("THAI_ID_BACK", 2, 2, 9, 9)]).status_code == 200
        # And the last photo is labelled, while other checks are missing
        (last,) = ann.take(job_id)
        while last["place"] in {task["place"] for task in taken}:
            (last,) = ann.take(job_id)
        assert ann.answer(job_id, last, by_place(last)).status_code == 200
        eventually(lambda: ann.call("GET", f"jobs/{job_id}").json().get("phase") == "review")
        # Then a quarter of the photos is to be reviewed, by reviewers only, the disputed one first
        assert ann.call("GET", f"jobs/{job_id}").json()["progress"] == {"total": 8, "labelled": 8, "toReview": 2}
        assert problem(ann.call("POST", f"jobs/{job_id}/review/next", {"count": 1})) == (403, "not-in-group")
        (task,) = rita.call("POST", f"jobs/{job_id}/review/next", {"count": 1}).json()["tasks"]
        assert task["place"] == disputed["place"]
        assert task["doubts"][0] == "disagreement"
        assert task["labels"] == by_place(task)
        assert [answer["boxes"] for answer in task["answers"]] == [by_place(task), [box("THAI_ID_BACK", 2, 2, 9, 9)]]
        # And no answer is corrected any more
        assert problem(ann.answer(job_id, {"place": agreed["place"]}, [box()])) == (409, "labelling-over")

        def decide(task: Json, **decision: Any) -> httpx.Response:
            body = {"leaseId": task["leaseId"], **decision}
            return rita.call("PUT", f"jobs/{job_id}/review/{task['place']}", body)

        # When the reviewer returns it with a note, a call that is repeated
        for _ in range(2):
            assert decide(task, decision="return", note="The back, not the front.").status_code == 200
        (again,) = ann.take(job_id)
        assert (again["place"], again["note"]) == (task["place"], "The back, not the front.")
        assert ann.answer(job_id, again, [box("THAI_ID_BACK")]).status_code == 200
        # Then the reviewer gets it again, accepts it, and corrects the other one
        (returned,) = rita.call("POST", f"jobs/{job_id}/review/next", {"count": 1}).json()["tasks"]
        assert returned["labels"] == [box("THAI_ID_BACK")]
        assert decide(returned, decision="accept").status_code == 200
        (other,) = rita.call("POST", f"jobs/{job_id}/review/next", {"count": 3}).json()["tasks"]
        assert decide(other, decision="correct", boxes=[box(left=33)]).status_code == 200
        # And the job has the labels as they were reviewed
        wait_for_end(pipeline, job_id)
        labels = {
            place: (line["doctype-metadata"]["class-map"], line["doctype"]["annotations"][0]["left"])
            for place, line in enumerate(manifest(pipeline, job_id), 1)
        }
        assert labels[disputed["place"]] == ({"2": "THAI_ID_BACK"}, 20)
        assert labels[other["place"]] == ({"0": "AU_PASSPORT"}, 33)
        output = token_output(pipeline, job_id)
        assert output["reviews"] == {"accept": 1, "correct": 1, "return": 1}
        assert output["checks"]["photos"] == 2
        assert output["disagreements"] >= 1
        assert {one["person"]: one["reviews"] for one in output["people"]} == {"ann": 0, "ben": 0, "rita": 3}


def test_the_live_model_proposes_boxes(local_aws: LocalAws, photos: Path, tmp_path: Path) -> None:
    with with_settings(local_aws, tmp_path / "cdk", photos, blindShare=0.3) as pipeline:
        # Given a live model that was trained with the photos' labels
        rekognition.current().learns = True
        files = sorted(photos.glob("*.jpg"))
        first = pipeline.uploaded(*files, photos / "annotations.json")
        assert pipeline.start(first, labels={"provider": "supplied", "key": "annotations.json"}).status_code == 200
        pipeline.reaches(first, "Ready")
        # When a person labels the same photos in another job
        job_id = pipeline.uploaded(*files)
        assert pipeline.start(job_id, labels={"provider": "page"}, deploy=False).status_code == 200
        pipeline.reaches(job_id, "Labelling")
        clock.speed = 1
        (ann,) = people(pipeline, "ann")
        tasks = []
        while taken := ann.take(job_id, 3):
            for task in taken:
                proposals = task["proposals"] or []
                boxes = [{name: one[name] for name in box()} for one in proposals] or by_place(task)
                facts = {"shown": len(proposals), "accepted": len(proposals), "changed": 0}
                assert ann.answer(job_id, task, boxes, proposal=facts).status_code == 200
            tasks += taken
        # Then the model's boxes are proposed, except for the photos that were drawn for the check
        proposed = [task["proposals"] for task in tasks]
        assert len(tasks) == len(files)
        assert proposed.count(None) > 0
        shown = [one for boxes in proposed for one in boxes or ()]
        assert len(shown) > len(files) / 3
        assert {one["type"] for one in shown} <= set(TYPES)
        assert all(0 < one["confidence"] <= 1 for one in shown)
        # And the answer to the token counts what people did with them
        wait_for_end(pipeline, job_id)
        assert token_output(pipeline, job_id)["proposals"] == {
            "shown": len(shown),
            "accepted": len(shown),
            "changed": 0,
        }
