"""The dates of a job, over HTTP: on one clock, the client's at first, and none before its cause."""

import time
from datetime import UTC, datetime

from deployed import Pipeline

from ekyc.localaws.clock import clock


def created(pipeline: Pipeline) -> tuple[float, float]:
    """Of a new job, in epoch seconds: `startTime`, and the time in its id, which has whole seconds."""
    job = pipeline.http.post("create").json()
    in_id = datetime.strptime(job["id"].split("-")[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return job["startTime"] / 1000, in_id.timestamp()


def test_a_new_job_has_the_clients_time(pipeline: Pipeline) -> None:
    # Given a local AWS that has been idle for some time
    time.sleep(0.5)
    # When a job is created
    before = time.time()
    start_time, in_id = created(pipeline)
    after = time.time()
    # Then its dates are the client's: one in milliseconds, the one in the id in whole seconds
    assert before - 0.1 <= start_time <= after + 0.1
    assert before - 1.1 <= in_id <= after + 0.1


def test_after_a_job_an_idle_local_aws_runs_in_real_time(pipeline: Pipeline) -> None:
    # Given a job that is done
    job_id = pipeline.uploaded()
    pipeline.start(job_id)
    pipeline.reaches(job_id, "Ready")
    # When two jobs are created a second apart
    began_real = time.monotonic()
    first, _ = created(pipeline)
    time.sleep(1)
    second, _ = created(pipeline)
    # Then their dates are about as far apart
    assert 0.7 < second - first <= time.monotonic() - began_real + 0.1


def test_no_date_of_a_job_is_before_its_cause(pipeline: Pipeline) -> None:
    # Given a Ready job with a live model, after a job that left the clock ahead
    clock.sleep(1200)
    job_id = pipeline.uploaded()
    pipeline.start(job_id)
    job = pipeline.reaches(job_id, "Ready")
    # When its dates are read where clients read them
    listed = pipeline.aws.client("s3").list_objects_v2(Bucket=pipeline.outputs["BucketName"])["Contents"]
    written = {one["Key"]: one["LastModified"].timestamp() for one in listed if job_id in one["Key"]}
    uploaded = [date for key, date in written.items() if key.startswith(f"images/{job_id}/")]
    execution, history = pipeline.execution(job_id), pipeline.history(job_id)
    events = [event["timestamp"].timestamp() for event in history]
    published = next(
        event["timestamp"].timestamp()
        for event in history
        if event.get("stateEnteredEventDetails", {}).get("name") == "Publish model"
    )
    live_since = pipeline.http.get("model").json()["since"] / 1000
    # Then each time is at or after its cause's time. S3's times have whole seconds.
    assert uploaded
    created, started = job["startTime"] / 1000, execution["startDate"].timestamp()
    assert created - 1 <= min(uploaded)
    assert max(uploaded) <= started
    assert started <= events[0] + 0.001  # Step Functions' times have milliseconds
    assert events == sorted(events)
    assert events[-1] <= execution["stopDate"].timestamp() + 0.001
    assert published - 0.001 <= live_since <= execution["stopDate"].timestamp() + 0.001
    assert created - 1 <= min(written.values())
    assert max(written.values()) <= clock.now()
