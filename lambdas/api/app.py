"""The routes of the HTTP API. Existing clients rely on the exact responses of `create`, `url`, `start` and `list`."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response

from api import answers, audit, problems, progress, serving, uploads, validation, views
from pipeline import labelling, lifecycle
from pipeline.clients import clients
from pipeline.executions import StateMachine
from pipeline.jobs import Job, JobNotFound, jobs, public_attributes
from pipeline.lifecycle import NotAllowed, NotBegun, NotThere
from pipeline.page.tasks import Tasks
from pipeline.settings import Settings as BaseSettings
from rules import advice
from rules.states import Status
from rules.subjects import subject_hash
from rules.uploads import is_labels

UPLOAD_SECONDS = 15 * 60
ANONYMOUS = "anonymous"  # the caller of an unsigned request, which only the local AWS accepts
DESCRIPTION = Path(__file__).parent / "openapi.json"  # generated from openapi.yaml when the code is packaged


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_index: str
    bucket: str
    state_machine_arn: str
    document_types: tuple[str, ...]
    label_provider: str
    min_f1: float
    min_label_f1: float
    max_f1_drop: float
    stop_previous_model: bool
    work_team_arn: str
    labelling_page: bool
    project_parameter: str
    model_parameter: str
    inference_units: int
    erase_function: str
    audit_bucket: str
    export_function: str
    tasks_table: str
    tasks_index: str
    web_origins: tuple[str, ...]


settings = Settings.from_env()
machine = StateMachine(settings.state_machine_arn)
tasks = Tasks(settings.tasks_table, settings.tasks_index)
logger = Logger()
app = serving.new_app(settings.web_origins)


@app.post("/api/training/create")
def create() -> Response[str]:
    return serving.as_json(public_attributes(jobs.create()))


@app.get("/api/training/url")
def upload_url() -> Response[str]:
    job_id, given_name = validation.parameters(_query(), "JobId", "S3Key")
    name = validation.file_name(given_name)
    job = _job(job_id)
    _check_takes_uploads(job, [name])
    key = validation.object_key(job.id, name)
    if not _awaits_correction(job) and lifecycle.uploaded_etag(key, settings.bucket):
        raise problems.conflict("A file of this name is already uploaded for the job. Upload it under another name.")
    return _text(_presigned(key))


@app.post("/api/training/start")
def start() -> Response[str]:
    (job_id,) = validation.parameters(_query(), "JobId")
    defaults = validation.StartDefaults(
        provider=settings.label_provider,
        document_types=settings.document_types,
        min_f1=settings.min_f1,
        min_label_f1=settings.min_label_f1,
        max_f1_drop=settings.max_f1_drop,
        stop_previous_model=settings.stop_previous_model,
    )
    execution_input = validation.start_input(job_id, serving.body(app), defaults)
    arn = lifecycle.start(
        _valid_id(job_id),
        execution_input,
        machine,
        bucket=settings.bucket,
        work_team=settings.work_team_arn,
        has_page=settings.labelling_page,
        started_by=_caller() or ANONYMOUS,
    )
    answer = arn
    if execution_input["labels"]["provider"] == labelling.GROUND_TRUTH:
        answer = labelling.job_arn(machine.arn, job_id)
    return _text(answer, {"X-Execution-Arn": arn})


@app.get("/api/training/list")
def list_jobs() -> Response[str]:
    query = _query()
    limit = validation.page_limit(query.get("limit"))
    page, token = jobs.list_newest(settings.jobs_index, limit, query.get("nextToken"))
    return serving.as_json([public_attributes(job) for job in page], {"X-Next-Token": token} if token else {})


@app.get("/api/training/jobs/<job_id>")
def show(job_id: str) -> Response[str]:
    return serving.as_json(views.job_view(views.with_end_recorded(_job(job_id), machine), settings.bucket, tasks))


@app.delete("/api/training/jobs/<job_id>")
def erase(job_id: str) -> Response[str]:
    caller = _caller()
    if not caller:
        raise problems.unknown_caller()
    delete_model = validation.flag(_query().get("deleteModel"), "deleteModel")
    job = views.with_end_recorded(_job(job_id), machine)
    requested = lifecycle.erase(
        job,
        caller,
        machine,
        delete_model=delete_model,
        model_parameter=settings.model_parameter,
        erase_function=settings.erase_function,
    )
    return serving.as_json(views.job_view(requested, settings.bucket, tasks), status=HTTPStatus.ACCEPTED)


@app.post("/api/training/jobs/<job_id>/urls")
def upload_urls(job_id: str) -> Response[str]:
    document = serving.body(app)
    names, hashes = validation.file_names(document), validation.content_hashes(document)
    sizes, subjects = validation.content_sizes(document), validation.photo_subjects(document)
    job = _job(job_id)
    _check_takes_uploads(job, names)
    once = not _awaits_correction(job)
    targets = {}
    for name in names:
        subject = subject_hash(job.id, subjects[name]) if name in subjects else None
        signed, headers = uploads.conditions(
            name, once=once, sha256=hashes.get(name), size=sizes.get(name), subject=subject
        )
        targets[name] = {"url": _presigned(validation.object_key(job.id, name), **signed), "headers": headers}
    answer = serving.as_json(targets)
    if answers.size(answer.body or "") > answers.LARGEST:
        raise problems.answer_too_large(answers.LARGEST)
    return answer


@app.get("/api/training/jobs/<job_id>/uploads")
def list_uploads(job_id: str) -> Response[str]:
    job = _job(job_id)
    page, token = uploads.page(job.id, _query().get("nextToken"), UPLOAD_SECONDS, settings.bucket)
    return serving.as_json(page, {"X-Next-Token": token} if token else {})


@app.get("/api/training/jobs/<job_id>/states")
def show_states(job_id: str) -> Response[str]:
    return serving.as_json(progress.view(_job(job_id), machine))


@app.post("/api/training/jobs/<job_id>/labels")
def supply_labels(job_id: str) -> Response[str]:
    name = validation.labels_name(serving.body(app))
    job_id = _valid_id(job_id)
    key = validation.object_key(job_id, name)
    return serving.as_json(
        public_attributes(lifecycle.supply_labels(job_id, key, _caller() or ANONYMOUS, bucket=settings.bucket))
    )


@app.post("/api/training/jobs/<job_id>/stop")
def stop(job_id: str) -> Response[str]:
    job, stopped, remaining = lifecycle.stop(
        _job(job_id), _caller() or ANONYMOUS, machine, model_parameter=settings.model_parameter, tasks=tasks
    )
    return serving.as_json(views.job_view(job, settings.bucket, tasks) | {"stopped": stopped, "remaining": remaining})


@app.post("/api/training/jobs/<job_id>/resume")
def resume(job_id: str) -> Response[str]:
    job = lifecycle.resume(_job(job_id), _caller() or ANONYMOUS, machine)
    return serving.as_json(views.job_view(job, settings.bucket, tasks))


@app.get("/api/training/jobs/<job_id>/audit")
def show_audit(job_id: str) -> Response[str]:
    return audit.answer(
        _job(job_id),
        app.current_event.headers.get("Accept") or "",
        machine,
        audit_bucket=settings.audit_bucket,
        export_function=settings.export_function,
    )


@app.get("/api/training/model")
def show_model() -> Response[str]:
    return serving.as_json(views.model_view(settings.project_parameter, settings.model_parameter))


@app.post("/api/training/model/start")
def start_model() -> Response[str]:
    return serving.as_json(lifecycle.start_model(settings.inference_units, settings.model_parameter))


@app.post("/api/training/model/stop")
def stop_model() -> Response[str]:
    return serving.as_json(lifecycle.stop_model(settings.model_parameter))


@app.get("/api/training/openapi.json")
def describe() -> Response[str]:
    return Response(200, "application/json", DESCRIPTION.read_text(encoding="utf-8"))


@app.exception_handler(NotAllowed)
def answer_not_allowed(refusal: NotAllowed) -> Response[str]:
    return problems.conflict(str(refusal)).response()


@app.exception_handler(NotThere)
def answer_not_there(refusal: NotThere) -> Response[str]:
    return problems.unmet(str(refusal)).response()


@app.exception_handler(NotBegun)
def answer_not_begun(refusal: NotBegun) -> Response[str]:
    return problems.not_begun(str(refusal)).response()


@app.exception_handler(JobNotFound)
def answer_unknown_job(error: JobNotFound) -> Response[str]:
    return problems.unknown_job(error.job_id).response()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return serving.answer(app, event, context)


def _valid_id(text: str) -> str:
    """Check the form of a job's id and add it to the log context. Does not check that the job exists."""
    job_id = validation.job_id(text)
    logger.append_keys(job_id=job_id)
    return job_id


def _job(text: str) -> Job:
    job = jobs.get(_valid_id(text))
    logger.append_keys(execution=machine.last_execution_arn(job).rpartition(":")[2])
    return job


def _query() -> Mapping[str, str]:
    return app.current_event.query_string_parameters or {}


def _caller() -> str | None:
    """The caller that API Gateway authenticated: an IAM principal's ARN or a Cognito user's subject, or None."""
    context = app.current_event.raw_event["requestContext"]
    claims = (context.get("authorizer") or {}).get("claims") or {}
    caller = claims.get("sub") or (context.get("identity") or {}).get("userArn")
    return str(caller) if caller else None


def _check_takes_uploads(job: Job, names: list[str]) -> None:
    """Check that the job accepts these files.

    A job accepts photos and labels files until its start. While it waits for labels or for corrected labels, it accepts
    labels files only.

    Raises:
        NotAllowed: the job was erased, or does not read a file of this name.
        Problem: 409 if the job accepts no more files, or labels files only.
    """
    lifecycle.check_not_erased(job)
    if job.status is Status.CREATED:
        return
    awaits_correction = _awaits_correction(job)
    awaits_labels = job.status is Status.WAITING_FOR_LABELLING and job["LabelProvider"] == labelling.SUPPLIED
    takes_labels = awaits_labels or awaits_correction
    if takes_labels and all(is_labels(name) for name in names):
        if awaits_correction:
            uploads.check_replaces_labels(job.id, names, settings.bucket)
        return
    takes = "it accepts only labels files, no photos" if takes_labels else "it accepts no more files"
    raise problems.conflict(f"The job is {job.status}: {takes}. Create a new job for new photos.")


def _awaits_correction(job: Job) -> bool:
    """Whether the job failed because of its labels file. A resume reads the corrected file that replaces it."""
    if job.status is not Status.FAILED:
        return False
    return advice.for_job(job.status, job["Error"], job["LabelProvider"]).resume is advice.Resume.AFTER_LABELS


def _presigned(key: str, **signed: Any) -> str:
    """A URL that accepts a PUT to ``key`` for 15 minutes."""
    url: str = clients.s3.generate_presigned_url(
        "put_object", Params={"Bucket": settings.bucket, "Key": key, **signed}, ExpiresIn=UPLOAD_SECONDS
    )
    return url


def _text(text: str, headers: Mapping[str, str] | None = None) -> Response[str]:
    return Response(200, "text/plain", text, headers=dict(headers or {}))
