"""Stops everything that a job runs."""

from pipeline import errors, outcomes, stopping
from pipeline.clients import clients
from pipeline.executions import StateMachine
from pipeline.jobs import Job, jobs, now_ms
from pipeline.lifecycle.execution import UP, describe_execution
from pipeline.lifecycle.refusals import NotAllowed
from pipeline.page.tasks import Tasks
from rules.states import RUNNING


def stop(
    job: Job, caller: str, machine: StateMachine, *, model_parameter: str, tasks: Tasks
) -> tuple[Job, list[str], list[str]]:
    """Stop all that the job runs; returns the job, the names of what was stopped, and sentences about what still runs.

    Stops the execution first, because it would fail if its labelling job were stopped before. Does not stop a published
    model. Can be called again at any time. The record keeps ``caller`` for the audit report.

    Raises:
        NotAllowed: the job was never started.
    """
    execution = describe_execution(job, machine)
    if execution is None:
        raise NotAllowed("The job was never started.")
    # Record the caller only if this stop can take effect: the execution may have been stopped without the API.
    if job.status in RUNNING and execution["status"] in UP:
        jobs.note_call(job.id, "StoppedBy", caller, StopRequested=now_ms())
    else:
        jobs.note_first(job.id, StopRequested=now_ms())
    stopped: list[str] = []
    if execution["status"] in UP:
        clients.stepfunctions.stop_execution(
            executionArn=execution["executionArn"],
            error=errors.STOPPED,
            cause=errors.STOP_CAUSE,
        )
        stopped.append("execution")
    recorded = outcomes.record(execution["executionArn"])
    ended = recorded or jobs.get(job.id)
    also_stopped, remaining = stopping.stop_what_runs(ended, model_parameter=model_parameter, tasks=tasks)
    if stopping.MODEL in also_stopped:  # the record has changed since
        ended = jobs.get(job.id)
    return ended, stopped + also_stopped, remaining
