"""The labelling page's HTTP contract: who gets which photo, what is kept, what is refused, and what the job becomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from labelling_jobs import BUCKET, HEIGHT, LABELS, WIDTH, begin, box, page_opened

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import groundtruth
from ekyc.localaws.services.labelling_tasks import Tasks


@pytest.fixture(autouse=True)
def no_simulated_workers(local_aws: LocalAws) -> Iterator[None]:
    yield
    local_aws.workforce.stop_answering()


def test_a_worker_labels_a_job_to_its_end(empty_aws: LocalAws) -> None:
    # Given a job of three photos, as a worker sees it
    job = begin(empty_aws, 3)
    ana = job.worker("Ana Šimić")
    seen = ana.http.get(job.url).json()
    assert seen["labels"] == LABELS
    assert seen["title"] == "Draw a box around each identity document"
    assert "Box every identity document" in seen["instructions"]["short"]
    assert seen["progress"] == {"total": 3, "labelled": 0, "failed": 0, "mine": 0}
    assert [one["id"] for one in ana.http.get(job.url.removesuffix("/job-1")).json()["jobs"]] == ["job-1"]

    # When she labels the first photo, finds nothing on the second, and boxes two documents on the third
    first = ana.claim()
    assert first
    assert (first["photo"]["width"], first["photo"]["height"], first["boxes"]) == (WIDTH, HEIGHT, [])
    picture = ana.http.get(f"{job.url}/{first['photo']['url']}")
    assert (picture.headers["Content-Type"], picture.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    after = ana.answer(first, box("AU_PASSPORT")).json()
    assert after["progress"] == {"total": 3, "labelled": 1, "failed": 0, "mine": 1}
    for boxes in ([], [box(), box("AU_PASSPORT", 0, 0, WIDTH, HEIGHT)]):
        turn = ana.claim()
        assert turn
        assert ana.answer(turn, *boxes).status_code == 200

    # Then the job completes, and its manifest has her boxes to the pixel
    output = job.output()
    assert job.describe()["LabelCounters"]["HumanLabeled"] == 3
    annotations = [line["doctype"]["annotations"] for line in output]
    assert annotations == [
        [{"class_id": 1, "left": 100, "top": 80, "width": 300, "height": 200}],
        [],
        [
            {"class_id": 0, "left": 100, "top": 80, "width": 300, "height": 200},
            {"class_id": 1, "left": 0, "top": 0, "width": WIDTH, "height": HEIGHT},
        ],
    ]
    assert output[0]["doctype"]["image_size"] == [{"width": WIDTH, "height": HEIGHT, "depth": 3}]

    # And the answers say who gave them, in the crowd element's own shape
    (answer,) = job.responses()[0]["answers"]
    assert answer["workerMetadata"]["identityData"]["sub"] == "Ana Šimić"
    assert answer["answerContent"]["boundingBox"]["boundingBoxes"] == [box("AU_PASSPORT")]
    assert answer["answerContent"]["boundingBox"]["inputImageProperties"] == {"width": WIDTH, "height": HEIGHT}

    # And a late answer is refused
    late = ana.answer(first, box())
    assert (late.status_code, late.headers["Content-Type"]) == (410, "application/problem+json")
    assert "ended" in late.json()["detail"]


def test_two_workers_never_have_the_same_photo(empty_aws: LocalAws) -> None:
    # Given two workers and two photos
    job = begin(empty_aws, 2)
    ana, budi = job.worker("Ana"), job.worker("Budi")

    # When both ask, each gets another photo, and asking again gives the same one
    hers, his = ana.claim(), budi.claim()
    assert hers
    assert his
    assert hers["photo"]["number"] != his["photo"]["number"]
    assert ana.claim() == hers

    # Then there is none for a third worker, and no worker may use another's assignment
    assert job.worker("Citra").claim() is None
    assert budi.answer(hers, box()).status_code == 404
    assert budi.http.get(f"/assignments/{hers['id']}").status_code == 404


def test_a_photo_whose_worker_went_away_comes_back(empty_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker with a draft whose time has run out
    job = begin(empty_aws, 1)
    ana, budi = job.worker("Ana"), job.worker("Budi")
    monkeypatch.setattr(Tasks, "lease_seconds", 0.0)
    hers = ana.claim()
    assert hers
    assert ana.draft(hers, box()).status_code == 204

    # When no other worker has taken the photo, she still has it, with her draft
    again = ana.claim()
    assert again
    assert (again["id"], again["boxes"], again["draft"]) == (hers["id"], [box()], True)

    # When another worker takes it, her answer is refused with a reason and his is taken
    monkeypatch.setattr(Tasks, "lease_seconds", 60.0)
    his = budi.claim()
    assert his
    assert his["boxes"] == []
    refused = ana.answer(hers, box())
    assert refused.status_code == 409
    assert "another worker has it" in refused.json()["detail"]
    assert budi.answer(his, box("AU_PASSPORT")).status_code == 200
    assert job.output()[0]["doctype"]["annotations"][0]["class_id"] == 1


def test_a_draft_outlives_a_reload_and_an_answer_can_be_changed(empty_aws: LocalAws) -> None:
    # Given an answered photo and a draft on the next
    job = begin(empty_aws, 2)
    ana = job.worker("Ana")
    first = ana.claim()
    assert first
    ana.answer(first, box())
    second = ana.claim()
    assert second
    ana.draft(second, box(left=1))

    # When the page is loaded again, then both are as they were
    assert ana.claim() == second | {"boxes": [box(left=1)], "draft": True}
    listed = ana.http.get("/assignments").json()["assignments"]
    assert listed == [{"id": first["id"], "answered": True}, {"id": second["id"], "answered": False}]
    assert ana.see(first) == first | {"boxes": [box()], "answered": True}

    # When she goes back and answers anew, twice, and then finishes
    for _ in range(2):
        assert ana.answer(first, box("AU_PASSPORT", width=200)).json()["progress"]["labelled"] == 1
    ana.answer(second, box())

    # Then the last word counts, once
    assert job.output()[0]["doctype"]["annotations"] == [
        {"class_id": 1, "left": 100, "top": 80, "width": 200, "height": 200}
    ]
    assert [len(one["answers"]) for one in job.responses()] == [1, 1]


def test_answers_of_several_workers_are_consolidated(empty_aws: LocalAws) -> None:
    # Given a photo that three workers are to label, of whom one sees a document more
    job = begin(empty_aws, 1, workers=3)
    answers = {
        "Ana": [box(left=100)],
        "Budi": [box(left=103)],
        "Citra": [box(left=106), box("AU_PASSPORT", 5, 5, 50, 50)],
    }
    for name, boxes in answers.items():
        worker = job.worker(name)
        turn = worker.claim()
        assert turn
        # When each has answered, there is nothing more for them
        worker.answer(turn, *boxes)
        if name != "Citra":
            assert worker.claim() is None

    # Then the box is the mean of what they drew, and what one of three drew is left out
    (line,) = job.output()
    assert line["doctype"]["annotations"] == [{"class_id": 0, "left": 103, "top": 80, "width": 300, "height": 200}]
    assert line["doctype-metadata"]["objects"] == [{"confidence": 1.0}]
    (response,) = job.responses()
    assert [one["workerMetadata"]["identityData"]["sub"] for one in response["answers"]] == list(answers)
    assert len({one["workerId"] for one in response["answers"]}) == 3


def test_a_declined_photo_gets_no_label(empty_aws: LocalAws) -> None:
    # Given two photos
    job = begin(empty_aws, 2)
    ana = job.worker("Ana")
    first = ana.claim()
    assert first

    # When she declines one and labels the other
    declined = ana.http.delete(f"/assignments/{first['id']}/answer")
    assert declined.json()["progress"] == {"total": 2, "labelled": 0, "failed": 1, "mine": 0}
    second = ana.claim()
    assert second
    ana.answer(second, box())

    # Then the job completes, and the manifest says of the one why it has no label
    lines = job.output()
    assert "doctype" not in lines[0]
    assert "no worker answered" in lines[0]["doctype-metadata"]["failure-reason"]
    assert "doctype" in lines[1]


def test_a_photo_that_cannot_be_read_is_passed_over(empty_aws: LocalAws) -> None:
    # Given a first photo that is none
    job = begin(empty_aws, 2)
    empty_aws.client("s3").put_object(Bucket=BUCKET, Key="images/0.jpg", Body=b"<script>alert(1)</script>")

    # When a worker asks, they get the second
    turn = job.worker("Ana").claim()
    assert turn
    assert turn["photo"]["number"] == 2
    assert job.describe()["LabelCounters"]["FailedNonRetryableError"] == 1


def test_people_and_simulated_workers_label_one_job_together(empty_aws: LocalAws, tmp_path: Any) -> None:
    # Given a person who has a photo, and simulated workers who know them all and come to work
    job = begin(empty_aws, 4)
    ana = job.worker("Ana")
    hers = ana.claim()
    assert hers
    coco = tmp_path / "annotations.json"
    coco.write_text(
        '{"categories": [{"id": 0, "name": "ID_KTP"}], "annotations": [], "images": ['
        + ", ".join(f'{{"id": {n}, "file_name": "{n}.jpg"}}' for n in range(4))
        + "]}"
    )
    empty_aws.workforce.answer_from(coco, unanswered_share=0)

    # When she answers, then the job completes with her photo and theirs
    ana.answer(hers, box())
    lines = job.output()
    assert [len(line["doctype"]["annotations"]) for line in lines] == [1, 0, 0, 0]


@pytest.mark.parametrize("end", ["Completed", "Stopped"])
def test_a_job_ends_at_once_however_slow_the_clock(
    empty_aws: LocalAws, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    # Given a job on a clock that hardly moves, which so never looks by itself whether it is over
    job = begin(empty_aws, 1)
    groundtruth.current().stop_seconds = 0
    monkeypatch.setattr(clock, "speed", 0.001)
    ana = job.worker("Ana")
    turn = ana.claim()
    assert turn

    # When the last photo is labelled or the job is stopped, then it ends
    if end == "Completed":
        ana.answer(turn, box())
    else:
        empty_aws.client("sagemaker").stop_labeling_job(LabelingJobName=job.name)
    assert job.ended()["LabelingJobStatus"] == end


BAD_BODIES = [
    (b"", 422, "body"),
    (b"[1]", 422, "body"),
    (b'{"boxes": 1}', 422, "boxes"),
    (b'{"boxes": [], "more": 1}', 422, "more"),
    (b'{"boxes": [{"label": "ID_KTP", "left": 1.5, "top": 0, "width": 9, "height": 9}]}', 422, "boxes.0.left"),
    (b'{"boxes": [{"label": "ID_KTP", "left": -1, "top": 0, "width": 9, "height": 9}]}', 422, "boxes.0.left"),
    (b'{"boxes": [{"label": "ID_KTP", "left": 1, "top": 0, "width": 0, "height": 9}]}', 422, "boxes.0.width"),
    (b'{"boxes": [{"label": "ID_KTP", "left": 600, "top": 0, "width": 41, "height": 9}]}', 422, "640 x 480"),
    (
        b'{"boxes": [{"label": "<b>", "left": 1, "top": 0, "width": 9, "height": 9}]}',
        422,
        "not one of the job's labels",
    ),
]


def test_bad_requests_are_refused_in_words_and_lose_nothing(empty_aws: LocalAws) -> None:
    # Given a photo with a draft
    job = begin(empty_aws, 1)
    ana = job.worker("Ana")
    turn = ana.claim()
    assert turn
    ana.draft(turn, box())

    # When a body is wrong, then it is refused with its place
    for body, status, words in BAD_BODIES:
        for place in ("draft", "answer"):
            refused = ana.http.put(
                f"/assignments/{turn['id']}/{place}", content=body, headers={"Content-Type": "application/json"}
            )
            assert refused.status_code == status, (body, refused.text)
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert words in refused.json()["detail"], refused.text
    form = ana.http.put(f"/assignments/{turn['id']}/answer", data={"boxes": "[]"})
    assert form.status_code == 415

    # And so is who does not say who they are, a job, a photo, a file and a call that are not there
    anonymous = page_opened(empty_aws.labelling_url)
    assert anonymous.post(f"{job.url}/assignments").status_code == 401
    assert anonymous.post(f"{job.url}/assignments", headers={"X-Worker": "x" * 41}).status_code == 400
    assert ana.http.get(job.url.replace("job-1", "nothing")).status_code == 404
    assert ana.http.get("/assignments/nothing").status_code == 404
    assert anonymous.get(f"{job.url}/assignments/nothing/photo").status_code == 404
    for path in ("nothing.js", "__init__.py", "..%2f..%2fpyproject.toml", "annotorious/..%2fpage.js"):
        assert anonymous.get(f"{empty_aws.endpoint}/labelling/{path}").status_code == 404, path
    assert ana.http.patch("/assignments").status_code == 405

    # And the draft is still there
    assert ana.see(turn)["boxes"] == [box()]


def test_a_stopped_job_keeps_what_is_labelled(empty_aws: LocalAws) -> None:
    # Given one of two photos labelled
    job = begin(empty_aws, 2)
    ana = job.worker("Ana")
    first = ana.claim()
    assert first
    ana.answer(first, box())

    # When the job is stopped
    empty_aws.client("sagemaker").stop_labeling_job(LabelingJobName=job.name)

    # Then its output has the one label, and the other photo as it came
    assert ["doctype" in line for line in job.output()] == [True, False]
    assert ana.http.post("/assignments").status_code == 410


def test_the_page_runs_no_script_but_its_own(empty_aws: LocalAws) -> None:
    # When the page is asked for
    http = page_opened(empty_aws.labelling_url)
    page = http.get(f"{empty_aws.endpoint}/labelling/")

    # Then its policy allows scripts and connections of its own origin only, and it has none inline
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" not in page.text
    assert "://" not in page.text
    script = http.get(f"{empty_aws.endpoint}/labelling/page.js")
    assert script.headers["Content-Type"].startswith("text/javascript")


def test_the_address_without_its_slash_leads_to_the_page(empty_aws: LocalAws) -> None:
    answer = page_opened(empty_aws.labelling_url).get(f"{empty_aws.endpoint}/labelling", follow_redirects=True)
    assert answer.status_code == 200
    assert "Label documents" in answer.text
