"""Stops everything that a job runs."""

from pipeline import errors, outcomes, stopping
from pipeline.jobs import Job, now_ms
from pipeline.lifecycle.execution import UP, describe_execution
from pipeline.lifecycle.refusals import NotAllowed
from pipeline.services import Services
from rules.states import RUNNING


def stop(job: Job, caller: str, services: Services) -> tuple[Job, list[str], list[str]]:
    """Stop everything that the job runs: the job then, what was stopped, and what goes on by itself, in words.

    The execution goes first: a labelling job that is stopped under it would make it fail. A published model is not
    touched. May be called again at any time. ``caller`` is kept for the audit report.

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
    if stopping.MODEL in also_stopped:  # which the record tells
        ended = services.jobs.get(job.id)
    return ended, stopped + also_stopped, remaining
