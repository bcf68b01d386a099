"""Stops everything that a job runs."""

from pipeline import errors, outcomes, stopping
from pipeline.jobs import Job, now_ms
from pipeline.lifecycle.execution import UP, describe_execution
from pipeline.lifecycle.refusals import NotAllowed
from pipeline.services import Services
from rules.states import RUNNING


def stop(job: Job, caller: str, services: Services) -> tuple[Job, list[str], list[str]]:
    """Stop all that the job runs; returns the job, the names of what was stopped, and sentences about what still runs.

    The execution is stopped first, as it would fail if its labelling job were stopped. A published model is not
    stopped. May be called again at any time. The record keeps ``caller`` for the audit report.

    Raises:
        NotAllowed: the job was never started.
    """
    execution = describe_execution(job, services)
    if execution is None:
        raise NotAllowed("The job was never started.")
    if job.status in RUNNING:
        services.jobs.note_call(job.id, "StoppedBy", caller, StopRequested=now_ms())
    else:
        services.jobs.note_first(job.id, StopRequested=now_ms())
    stopped: list[str] = []
    if execution["status"] in UP:
        services.stepfunctions.stop_execution(
            executionArn=execution["executionArn"],
            error=errors.STOPPED,
            cause="The job was stopped through the API.",
        )
        stopped.append("execution")
    recorded = outcomes.record(execution["executionArn"], jobs=services.jobs, stepfunctions=services.stepfunctions)
    ended = recorded or services.jobs.get(job.id)
    also_stopped, remaining = stopping.stop_what_runs(
        ended,
        jobs=services.jobs,
        sagemaker=services.sagemaker,
        rekognition=services.rekognition,
        ssm=services.ssm,
        model_parameter=services.model_parameter,
    )
    if stopping.MODEL in also_stopped:  # the record has changed since
        ended = services.jobs.get(job.id)
    return ended, stopped + also_stopped, remaining
