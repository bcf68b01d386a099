"""The conditions that must hold after every job, whatever failed in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from deployment import Bench, Job

from ekyc.localaws.services import groundtruth, rekognition

STATUS_OF = {"SUCCEEDED": {"Ready"}, "FAILED": {"Failed", "Rejected"}, "TIMED_OUT": {"Failed"}, "ABORTED": {"Stopped"}}
# The pipeline's error names have no full stop, unlike States.Runtime, Lambda.Unknown and Runtime.ExitError.
NAMED_ERROR = re.compile(r"[A-Z][A-Za-z]+")
UNNAMED = frozenset({"UnexpectedAnswer", "Exception", "ClientError", "KeyError", "TypeError", "ValueError"})


def violations(bench: Bench, job: Job, *, labelling_jobs: int = 1) -> Iterator[str]:
    """Yield each violated condition in words. ``labelling_jobs`` is the most that the job may have had."""
    yield from _ends(bench, job)
    yield from _work(bench, job, labelling_jobs)
    yield from _live_model(bench, job)
    yield from bench.leaks(job)


def _work(bench: Bench, job: Job, labelling_jobs: int) -> Iterator[str]:
    all_jobs = list(groundtruth.current()._jobs.values())
    jobs = [labelling_job for labelling_job in all_jobs if job.id in labelling_job.name]
    if len(jobs) > labelling_jobs:
        yield f"{len(jobs)} labelling jobs"
    if running := [labelling_job for labelling_job in jobs if labelling_job.status in ("Initializing", "InProgress")]:
        yield f"{len(running)} labelling jobs still running"
    projects = [project for project in list(rekognition.current()._projects.values()) if job.id in project.name]
    if len(projects) > 1:
        yield f"{len(projects)} projects"
    # Datasets need no check: Rekognition and the local AWS refuse a second dataset of a type in a project.
    for project in projects:
        if len(project.versions) > 1:
            yield f"{len(project.versions)} model versions"


def _ends(bench: Bench, job: Job) -> Iterator[str]:
    record, execution = bench.record(job), bench.execution(job)
    if execution is None:
        yield "no execution"
        return
    if record["Status"] not in STATUS_OF.get(execution.status, set()):
        yield f"the job is {record['Status']}, the execution {execution.status}"
    if execution.status == "FAILED" and record.get("Error") not in (error := bench.errors(job)):
        yield f"the job's error is {record.get('Error')}, the execution's {error}"
    if "TaskToken" in record:
        yield "the record still holds a task token"


def _live_model(bench: Bench, job: Job) -> Iterator[str]:
    project, live = bench.live()
    models = {
        version.arn: version
        for any_project in list(rekognition.current()._projects.values())
        for version in list(any_project.versions.values())
    }
    for arn, version in models.items():
        if f"/{job.id}/" in arn and version.status in ("STARTING", "RUNNING") and arn != live:
            yield f"the job's model is {version.status} and not published"
    if live != "default" and live not in models:
        yield "the model parameter names a model that does not exist"
    if live != "default" and project.split("/")[1] != live.split("/")[1]:
        yield "the two parameters name different projects"


def failed_cleanly(bench: Bench, job: Job, stages: Collection[str]) -> list[str]:
    """Return why a person could not act on the job's failure; empty if a person can.

    ``stages``: the states of which one must have failed. Empty: any.
    """
    record: dict[str, Any] = bench.record(job)
    execution = bench.execution(job)
    problems = []
    if execution.status != "FAILED" or record["Status"] != "Failed":
        problems.append(f"execution {execution.status}, job {record['Status']}")
    error = record.get("Error") or ""
    if not NAMED_ERROR.fullmatch(error) or error in UNNAMED:
        problems.append(f"error {error or 'none'}: {(record.get('Cause') or '')[:200]}")
    if len(record.get("Cause") or "") < 20:
        problems.append(f"cause {record.get('Cause')!r}")
    if stages and record.get("Stage") not in stages:
        problems.append(f"stage {record.get('Stage')}, not {' or '.join(stages)}")
    return problems
