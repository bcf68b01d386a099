"""Starts, stops and resumes a job's execution, hands it the labels that it waits for, and has the job erased."""

import json
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from api import uploads
from api.problems import conflict, not_begun, unmet
from api.services import Services
from pipeline import errors, executions, labelling, models, outcomes, stopping
from pipeline.errors import error_code
from pipeline.jobs import Job, MoveRefused, erasures, model_hours, now_ms, resumes, tokens
from pipeline.labelling import FUNCTION_ACCOUNTS, GROUND_TRUTH, SUPPLIED
from pipeline.publishing import read_parameter
from rules import advice
from rules.states import RESUMABLE, RUNNING, Status

LABELLING_UP = ("Initializing", "InProgress", "Stopping")
MODEL_IN_USE = (*models.UP, "STOPPING")
UP = ("RUNNING", "PENDING_REDRIVE")  # statuses of an execution
# No execution comes before its claim, and one that succeeded cannot be redriven: nothing need be asked about these.
AT_REST = (Status.CREATED, Status.READY)
ERASURE_TRIES = 3  # against a record that changes all the time
MOST_ERASURES = 100  # requests in a record, which may have 400 KB

logger = Logger(child=True)


def exists(key: str, services: Services) -> bool:
    """Whether the bucket has this object. A listing shows it without permission to read the object.

    The key itself is the first of the keys that begin with it: S3 lists in the order of UTF-8 bytes (S3 API reference,
    ListObjectsV2).
    """
    listed = services.s3.list_objects_v2(Bucket=services.bucket, Prefix=key, MaxKeys=1)
    return any(entry["Key"] == key for entry in listed.get("Contents", ()))


def describe_execution(job: Job, services: Services) -> dict[str, Any] | None:
    """The job's last execution, or None when it has none.

    A resume that got no further than the record has named one that does not exist: then it is the one before.
    """
    _, last = executions.parse(services.last_execution_arn(job).rpartition(":")[2])
    for attempt in (last, last - 1)[: 1 if last == 1 else 2]:
        try:
            execution: dict[str, Any] = services.stepfunctions.describe_execution(
                executionArn=services.execution_arn(job.id, attempt)
            )
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
        else:
            return execution
    return None


def start(job_id: str, execution_input: dict[str, Any], *, work_team: str, started_by: str, services: Services) -> str:
    """Start the job's execution; answers its ARN.

    The record is claimed first, so only one start wins; it is read only when something is missing or the claim is lost.
    A start that claimed the record and got no further (a crash, a throttle) leaves no execution, and the next start
    goes on from there.

    Raises:
        JobNotFound: no job has this id.
        Problem: 409 when it was started before, 422 when photos, labels file or Ground Truth are not there.
    """
    labels = execution_input["labels"]
    if missing := _missing_for(job_id, labels, work_team, services):
        job = services.jobs.get(job_id)  # of a job that is not there, or was started or erased, that is told instead
        check_not_erased(job)
        if job.status not in (Status.CREATED, Status.CHECKING_IMAGES):
            raise _started_before(job)
        raise unmet(missing)
    arn = services.execution_arn(job_id)
    try:
        services.jobs.move(
            job_id,
            Status.CHECKING_IMAGES,
            only_from=(Status.CREATED,),
            DetailedStatus="Starting",
            ExecutionArn=arn,
            ExecutionStartTime=now_ms(),
            StartedBy=started_by,
            LabelProvider=labels["provider"],
        )
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
        if refusal.job.status is not Status.CHECKING_IMAGES or describe_execution(refusal.job, services):
            raise _started_before(refusal.job) from None
        _claim_again(refusal.job, services)
    try:
        services.stepfunctions.start_execution(
            stateMachineArn=services.state_machine_arn, name=job_id, input=json.dumps(execution_input)
        )
    except ClientError as error:
        if error_code(error) == "ExecutionAlreadyExists":
            raise _started_before(services.jobs.get(job_id)) from None
        raise
    return arn


def _missing_for(job_id: str, labels: dict[str, Any], work_team: str, services: Services) -> str | None:
    """What a start needs and is not there, in words; None when all is."""
    if labels["provider"] == GROUND_TRUTH and (not work_team or services.region not in FUNCTION_ACCOUNTS):
        return (
            "Ground Truth cannot label here: the stack has no work team, or its Region no Ground Truth functions. "
            'Deploy it with the setting workTeam, or start with {"labels": {"provider": "supplied"}}.'
        )
    if "key" in labels and not exists(labels["key"], services):
        return f"The labels file {labels['key'].rpartition('/')[2]!r} is not uploaded."
    photos = services.s3.list_objects_v2(Bucket=services.bucket, Prefix=f"images/{job_id}/", MaxKeys=1)
    return None if photos["KeyCount"] else "The job has no photos. Upload some, then start it."


def supply_labels(job_id: str, key: str, caller: str, services: Services) -> Job:
    """Resume the execution that waits for supplied labels; ``caller`` is kept for the audit report.

    Raises:
        JobNotFound: no job has this id.
        Problem: 409 when it does not wait for any, 422 when the file is not uploaded.
    """
    try:
        is_there = exists(key, services)
        job = tokens.post_labels(services.jobs, job_id, key, caller) if is_there else services.jobs.get(job_id)
    except MoveRefused as refusal:
        job = refusal.job
    check_not_erased(job)
    if job["LabelProvider"] != SUPPLIED or not job["TaskToken"]:
        raise conflict(f"The job does not wait for supplied labels; it is {job.status}.")
    if not is_there:
        raise unmet(f"The labels file {key.rpartition('/')[2]!r} is not uploaded.")
    if not labelling.supply(job, key, stepfunctions=services.stepfunctions):
        raise conflict("The job does not wait for labels now. Look at its status, and post again if it still waits.")
    return job


def stop(job: Job, caller: str, services: Services) -> tuple[Job, list[str], list[str]]:
    """Stop everything that the job runs: the job then, what was stopped, and what goes on by itself, in words.

    The execution goes first: a labelling job that is stopped under it would make it fail. A published model is not
    touched. May be called again at any time. ``caller`` is kept for the audit report.

    Raises:
        Problem: 409 when the job was never started.
    """
    execution = describe_execution(job, services)
    if execution is None:
        raise conflict("The job was never started.")
    if job.status in RUNNING:
        services.jobs.note_call(job.id, "StoppedBy", caller, StopRequested=now_ms())
    else:
        services.jobs.note_first(job.id, StopRequested=now_ms())
    stopped: list[str] = []
    if execution["status"] in UP:
        services.stepfunctions.stop_execution(
            executionArn=execution["executionArn"],
            error=errors.STOPPED,
            cause="Somebody stopped the job through the API.",
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


def stop_model(services: Services) -> dict[str, Any]:
    """Stop the live model; its ARN and status.

    Raises:
        Problem: 409 when no model is live or it does not run, 422 when it was deleted.
    """
    arn = _live_model(services)
    try:
        status = services.rekognition.stop_project_version(ProjectVersionArn=arn)["Status"]
    except ClientError as error:
        raise _refused_by_model(error, "stopped") from error
    model_hours.record_stop(services.jobs, models.job_id(arn))
    return {"projectVersionArn": arn, "status": status}


def start_model(inference_units: int, services: Services) -> dict[str, Any]:
    """Start the live model again; its ARN and status.

    Raises:
        Problem: 409 when no model is live, it is up already or the account runs as many as it may; 422 when it was
            deleted.
    """
    arn = _live_model(services)
    try:
        status = services.rekognition.start_project_version(ProjectVersionArn=arn, MinInferenceUnits=inference_units)
    except ClientError as error:
        raise _refused_by_model(error, "started") from error
    services.jobs.note_first(models.job_id(arn), ModelStartTime=now_ms(), InferenceUnits=inference_units)
    return {"projectVersionArn": arn, "status": status["Status"]}


def _live_model(services: Services) -> str:
    arn = read_parameter(services.model_parameter, services.ssm)
    if arn is None:
        raise conflict("No model is live yet.")
    return arn


def _refused_by_model(error: ClientError, done: str) -> Exception:
    """What Rekognition's refusal means for the caller. Source: Rekognition API reference, Start- and
    StopProjectVersion."""
    match error_code(error):
        case "ResourceInUseException" | "ResourceNotReadyException":
            return conflict(f"The live model cannot be {done} in the state that it is in. GET model tells its state.")
        case "LimitExceededException":
            return conflict("The account runs as many models as it may: stop another one first.")
        case "ResourceNotFoundException":
            return unmet("The live model was deleted.")
    return error


def resume(job: Job, caller: str, services: Services) -> Job:
    """Go on with the job where its execution ended, and return it; ``caller`` is kept for the audit report.

    That is a redrive from the state that it ended in. Where Step Functions allows none any more (14 days after the end,
    or a history that is too long), or that state can only fail again, a new execution goes on with what is done.

    Raises:
        Problem: 409 when there is nothing to resume, or somebody else is resuming it.
    """
    check_not_erased(job)
    execution = describe_execution(job, services)
    if execution is None and job.status in RESUMABLE:
        raise conflict("Step Functions keeps an execution for 90 days, and has forgotten this one. Start a new job.")
    if execution is None:
        raise conflict("The job was never started: start it instead.")
    if execution["status"] in UP:
        raise conflict("The job is running.")
    if execution["status"] == "SUCCEEDED":
        raise conflict("The job is done: there is nothing to resume.")
    _check_can_help(execution, job)
    is_told = job.status in RESUMABLE and job["EndTime"] == int(execution["stopDate"].timestamp() * 1000)
    ended = _claim_resume(job.id, caller, services) if is_told else None
    if ended is None:  # no event has told the end, or a stage that was at work then has spoken after it
        outcomes.record(execution["executionArn"], jobs=services.jobs, stepfunctions=services.stepfunctions)
        ended = _claim_resume(job.id, caller, services)
    if ended is None:
        raise conflict("The job is running.")
    if (
        execution.get("redriveStatus") == "NOT_REDRIVABLE"
        or _needs_another(execution)
        or _is_lost(ended["ProjectVersionArn"], ended, services)
        or execution["executionArn"] != services.last_execution_arn(ended)  # a resume that got no further
    ):
        return _start_anew(ended, execution, services)
    try:
        services.stepfunctions.redrive_execution(executionArn=execution["executionArn"])
    except ClientError as error:
        if error_code(error) != "ExecutionNotRedrivable":
            raise
        # It ran out of time in this moment, or somebody has redriven it in the console.
        now = services.stepfunctions.describe_execution(executionArn=execution["executionArn"])
        if now["status"] in UP:
            raise conflict("The job is running.") from None
        return _start_anew(ended, now, services)
    return _reopen(ended, Status(ended["RunningStatus"] or Status.CHECKING_IMAGES), services)


def _check_can_help(execution: dict[str, Any], job: Job) -> None:
    """Refuse a resume that could only fail again.

    Raises:
        Problem: 409, which says what to do instead.
    """
    if execution["status"] == "ABORTED":
        return
    error = execution.get("error")
    told = advice.on(Status.FAILED, error, job["LabelProvider"])
    if told.resume is advice.Resume.IMPOSSIBLE:
        raise conflict(f"The job ended with {error}, and a resume would end so again. {told.text}")


def _needs_another(execution: dict[str, Any]) -> bool:
    """Whether a redrive would meet the same fault again, which another execution does not."""
    if execution["status"] == "ABORTED":
        return False
    found = advice.of(execution.get("error"))
    return found.anew or found.again_from is not None


def check_replaces_labels(job: Job, names: list[str], services: Services) -> None:
    """A corrected labels file takes the place of the one that the job reads.

    Raises:
        Problem: 409 when another name is given, under which the job would not find it.
    """
    there = uploads.labels_names(job.id, services)
    if there and not set(names) <= set(there):
        raise conflict(f"Upload the corrected labels under the name that the job reads: {', '.join(there)}.")


def _claim_resume(job_id: str, caller: str, services: Services) -> Job | None:
    """The job, which nobody else may resume now; None when its record says that it runs.

    A caller whose claim is there already is one that asks again after a failure, or is the SDK that does so.
    """
    try:
        return resumes.claim(services.jobs, job_id, caller)
    except MoveRefused as refusal:
        job = refusal.job
    check_not_erased(job)
    if job.status not in RESUMABLE:
        return None
    try:
        if job["ResumedBy"][-1]["By"] == caller:
            return resumes.renew(services.jobs, job)
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
    raise conflict("Somebody else is resuming the job, or has tried to. Ask again in half a minute.")


def _is_lost(project_version_arn: str | None, job: Job, services: Services) -> bool:
    """Whether the model's training failed, or it is deleted or about to be."""
    if project_version_arn is None:
        return False
    version = models.describe(job["ProjectArn"], models.version_name(project_version_arn), services.rekognition)
    return version is None or version["Status"] in models.NOT_TRAINED or job["DiscardedModel"] == project_version_arn


def _start_anew(job: Job, execution: dict[str, Any], services: Services) -> Job:
    """Start the job's next execution, which skips what ``execution`` has done.

    The record names it first, so that a late word about the one before is none about the job. A crash in between leaves
    an execution that does not exist, and the next resume goes on from the one before it.
    """
    _, attempt = executions.parse(execution["executionArn"].rpartition(":")[2])
    again_from = advice.of(execution.get("error")).again_from
    execution_input = executions.next_input(execution, services.stepfunctions, again_from=again_from)
    model = execution_input["resumed"].get("model")
    if model and _is_lost(model["projectVersionArn"], job, services):
        del execution_input["resumed"]["model"]
    attributes: dict[str, Any] = {}
    if "model" not in execution_input["resumed"]:
        trained = (job["EarlierTrainingSeconds"] or 0) + (job["TrainingSeconds"] or 0)
        attributes = {"ProjectVersionArn": None, "TrainingStartTime": None, "TrainingSeconds": None}
        attributes |= {"EarlierTrainingSeconds": trained or None}
    try:
        resumes.name_execution(services.jobs, job, services.execution_arn(job.id, attempt + 1), **attributes)
    except MoveRefused:
        raise conflict("Another request has resumed the job meanwhile.") from None
    try:
        services.stepfunctions.start_execution(
            stateMachineArn=services.state_machine_arn,
            name=executions.name(job.id, attempt + 1),
            input=json.dumps(execution_input),
        )
    except ClientError as error:
        if error_code(error) == "ExecutionAlreadyExists":
            raise conflict("The job is running.") from None
        raise
    return _reopen(job, Status.CHECKING_IMAGES, services)


def _reopen(job: Job, status: Status, services: Services) -> Job:
    try:
        return resumes.reopen(services.jobs, job, status)
    except MoveRefused as refusal:
        return refusal.job  # the resumed stage has told where it is already


def check_not_erased(job: Job) -> None:
    """Nothing is added to a job that is to be erased, and nothing runs for it.

    Raises:
        Problem: 409 when somebody has asked to erase it.
    """
    if job.is_erased:
        raise conflict("The job was erased: its photos and labels are gone. Create a new job.")


def erase(job: Job, requested_by: str, services: Services, *, delete_model: bool = False) -> Job:
    """Record that ``requested_by`` wants the job erased, and have that done in the background; the job as it is then.

    ``delete_model``: the job's model is deleted too.

    May be called again, each call is recorded. The work does not depend on how many photos the job has.

    Raises:
        Problem: 409 while the job, its labelling or its training runs, for they add objects, and for a model that is
            to be deleted and is live or runs; 503 when the request is
            recorded but its work not begun.
    """
    if delete_model:
        _check_model_unused(job, services)
    requested = _request_erasure(job, requested_by, services, delete_model=delete_model)
    try:
        services.functions.invoke(
            FunctionName=services.erase_function, InvocationType="Event", Payload=json.dumps({"jobId": job.id})
        )
    except (ClientError, BotoCoreError) as error:
        logger.error("Erasure not begun", extra={"error": type(errors.named(error)).__name__})
        raise not_begun() from None
    return requested


def _check_model_unused(job: Job, services: Services) -> None:
    """A model that documents are checked with is not deleted.

    Raises:
        Problem: 409 when one of the job's models is live or runs.
    """
    if not job["ProjectArn"]:
        return
    live = read_parameter(services.model_parameter, services.ssm)
    for version in models.versions(job["ProjectArn"], services.rekognition):
        if version["ProjectVersionArn"] == live:
            raise conflict(
                "The job's model is live, so it cannot be deleted. Publish the model of another job first, or erase "
                "this job and keep its model."
            )
        if version["Status"] in MODEL_IN_USE:
            raise conflict(
                f"The job's model is {version['Status']}, so it cannot be deleted. Stop it first (aws rekognition "
                f"stop-project-version --project-version-arn {version['ProjectVersionArn']}), or erase the job and "
                "keep its model."
            )


def _request_erasure(job: Job, requested_by: str, services: Services, *, delete_model: bool) -> Job:
    for _ in range(ERASURE_TRIES):
        never_ran = job.status not in AT_REST and _check_at_rest(job, services)
        end = {"Status": Status.STOPPED, "DetailedStatus": "Stopped: never ran", "EndTime": now_ms()}
        try:
            return erasures.request(
                services.jobs, job, requested_by, MOST_ERASURES, delete_model=delete_model, **(end if never_ran else {})
            )
        except MoveRefused as refusal:
            job = refusal.job
        if job.is_erased:
            raise conflict(f"The job was asked to be erased {MOST_ERASURES} times: the record holds no more.")
    raise conflict("The job has just changed. Ask again.")


def _check_at_rest(job: Job, services: Services) -> bool:
    """Nothing may add to what the job has in the bucket; True for a job that was to be started and never ran.

    Raises:
        Problem: 409 when something may.
    """
    execution = describe_execution(job, services)
    if execution and execution["status"] in UP:
        raise conflict("The job is running. Stop it first, then erase it.")
    claimed = max(job["ResumedTime"] or 0, (not execution and job["ExecutionStartTime"]) or 0)
    if now_ms() - claimed < resumes.CLAIM_MS:
        raise conflict("The job is being started or resumed. Ask again in a minute, or stop it first.")
    if job["LabellingJobArn"]:
        status = labelling.status(job["LabellingJobArn"].rpartition("/")[2], services.sagemaker)
        if status in LABELLING_UP:
            raise conflict(f"The labelling job is {status}. Stop the job first, and erase it once that is done.")
    if job["ProjectVersionArn"]:
        name = models.version_name(job["ProjectVersionArn"])
        version = models.describe(job["ProjectArn"], name, services.rekognition)
        if version and version["Status"] == "TRAINING_IN_PROGRESS":
            raise conflict(
                "The training goes on: Rekognition cannot cancel one, and it writes to the bucket when it ends. Erase "
                "the job after that."
            )
    return execution is None and job.status in RUNNING


def _claim_again(job: Job, services: Services) -> None:
    """Take over a start that got no further than the record."""
    try:
        services.jobs.move(
            job.id, Status.CHECKING_IMAGES, only_from=(Status.CHECKING_IMAGES,), ExecutionStartTime=now_ms()
        )
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
        raise _started_before(refusal.job) from None


def _started_before(job: Job) -> Exception:
    return conflict(f"The job was started before; it is {job.status}. Resume it, or create a new job.")
