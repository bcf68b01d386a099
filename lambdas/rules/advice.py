"""What to do about a job that ended without a model, by its named error: one table.

The API's job view, its refusals of a resume, the command line, the notices and the table of errors in
statemachine/README.md all come from it. A unit test asks for an entry for every error of the pipeline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rules.states import (
    CHECK_DATASETS,
    CHECK_IMAGES,
    CHECK_MODEL,
    CHECK_TRAINING,
    CREATE_DATASETS,
    EVALUATE_MODEL,
    IMPORT_LABELS,
    PREPARE_DATASETS,
    REQUEST_LABELS,
    START_MODEL,
    START_TRAINING,
    Status,
    Task,
)


class Resume(StrEnum):
    """Whether a resume can help."""

    POSSIBLE = "possible"
    AFTER_LABELS = "afterLabels"  # once a corrected labels file has taken the place of the job's
    IMPOSSIBLE = "impossible"  # it could only fail again


@dataclass(frozen=True)
class Advice:
    """An error: the tasks that it comes from (none: any), what it means, and what to do.

    ``anew``: a redrive would meet the same fault, so that a resume starts the job's next execution. ``again_from`` is
    the first task that this execution runs again, if not the one that failed.
    """

    tasks: tuple[Task, ...]
    means: str
    text: str
    resume: Resume = Resume.POSSIBLE
    anew: bool = False
    again_from: Task | None = None


ANY: tuple[Task, ...] = ()
CORRECT_LABELS = "Correct the labels file, upload it under the same name, then resume the job."
LABEL_ANEW = "Start a new job, and have its photos labelled anew."
WAIT_AGAIN = "Resume the job: it waits once more."
DEFINITION_FAULT = Advice(
    ANY,
    "An expression, a result or the history of the execution is not as the state machine expects.",
    "Have the operator deploy a state machine that is put right, then resume the job: it goes on with that one.",
    anew=True,
)

BY_ERROR: Mapping[str, Advice] = {
    "ImagesNotFound": Advice(
        (CHECK_IMAGES,),
        "No photo is uploaded for the job.",
        "Start a new job, with photos: one that was started takes none.",
        Resume.IMPOSSIBLE,
    ),
    "NotEnoughImages": Advice(
        (CHECK_IMAGES,),
        "Fewer photos can be used than the setting `minImages` asks for. The cause says how many; `rejected.jsonl` "
        "says why each other photo was rejected.",
        "Start a new job with more photos that can be used: one that was started takes none.",
        Resume.IMPOSSIBLE,
    ),
    "TooManyBadImages": Advice(
        (CHECK_IMAGES,),
        "A larger share of the photos was rejected than the setting `maxRejectedShare` allows; `rejected.jsonl` says "
        "why each was.",
        "Start a new job without the photos that were rejected, or with the right folder.",
        Resume.IMPOSSIBLE,
    ),
    "PhotosLeft": Advice(
        (CHECK_IMAGES,),
        "More photos are to be turned upright than one run has time for. Retried at once, as long as each run turns "
        "some.",
        "Resume the job: it goes on with the photos that are left.",
    ),
    "LabelsInvalid": Advice(
        (IMPORT_LABELS,),
        "The supplied labels cannot be read or do not fit the photos. The cause says where, "
        "`label-problems.jsonl` what is wrong.",
        CORRECT_LABELS,
        Resume.AFTER_LABELS,
    ),
    "LabelsDoNotMatch": Advice(
        (IMPORT_LABELS,),
        "A larger share of the labelled photos has no upload, or of the uploads no labels, than the setting "
        "`maxUnmatchedShare` allows; `label-problems.jsonl` names them.",
        CORRECT_LABELS + " It must name the photos as they were uploaded. If photos were not uploaded, start a new job "
        "with all of them.",
        Resume.AFTER_LABELS,
    ),
    "LabellingUnavailable": Advice(
        (REQUEST_LABELS,),
        "Ground Truth cannot be used: no work team is set, it takes no further labelling job, or the Region or account "
        "has no Ground Truth.",
        "Set the setting `workTeam`, or wait until other labelling jobs have ended, then resume the job. Where there "
        "is no Ground Truth, start a new job with supplied labels.",
    ),
    "LabellingFailed": Advice(
        (REQUEST_LABELS,),
        "Ground Truth ended the labelling job as failed, or nothing was labelled.",
        "Put right what the cause names, then resume the job: a new labelling job is made.",
    ),
    "LabellingStopped": Advice(
        (REQUEST_LABELS,),
        "The labelling job was stopped.",
        "Resume the job: a new labelling job is made.",
    ),
    "LabellingTimedOut": Advice(
        (REQUEST_LABELS,),
        "No labels came before the labelling deadline.",
        WAIT_AGAIN,
    ),
    "NoUsableLabels": Advice(
        (PREPARE_DATASETS,),
        "Not one labelled photo can be trained on; `dropped.jsonl` says why each cannot.",
        CORRECT_LABELS,
        Resume.AFTER_LABELS,
        again_from=IMPORT_LABELS,
    ),
    "TooFewImagesPerLabel": Advice(
        (PREPARE_DATASETS,),
        "A document type has too few different photos to be in both the training and the test set; `dropped.jsonl` "
        "says which photos were left out and why.",
        CORRECT_LABELS + " If the type is on too few photos, start a new job with more of them.",
        Resume.AFTER_LABELS,
        again_from=IMPORT_LABELS,
    ),
    "PhotosChanged": Advice(
        (PREPARE_DATASETS, EVALUATE_MODEL),
        "More than `maxRejectedShare` of the photos were replaced or deleted after they were checked, or at least one "
        "that the model was trained or tested on was. No model goes live.",
        "Find out what writes to the bucket, then start a new job with the photos.",
        Resume.IMPOSSIBLE,
    ),
    "ManifestChanged": Advice(
        (IMPORT_LABELS, PREPARE_DATASETS, EVALUATE_MODEL),
        "A manifest does not have the SHA-256 or the time of writing that the stage which wrote it returned. No model "
        "goes live.",
        "Find out what writes to the bucket, then start a new job with the photos.",
        Resume.IMPOSSIBLE,
    ),
    "DatasetFailed": Advice(
        (CREATE_DATASETS, CHECK_DATASETS),
        "Rekognition refused a manifest, or takes no further project; the cause says how to read its message.",
        "Put right what the cause names, then resume the job: both datasets are made anew.",
        anew=True,
        again_from=CREATE_DATASETS,
    ),
    "DatasetSlotsBusy": Advice(
        (CREATE_DATASETS,),
        "The account has as many datasets as it may; the cause has Rekognition's words. Retried for a week.",
        "Delete projects of old jobs or have the quota raised, then resume the job.",
    ),
    "DatasetTimedOut": Advice(
        (CHECK_DATASETS,),
        "The datasets were not ready before the deadline.",
        WAIT_AGAIN,
    ),
    "TrainingSlotsBusy": Advice(
        (START_TRAINING,),
        "All concurrent trainings of the account are in use. Retried for a week.",
        "Resume the job when another training has ended.",
    ),
    "TrainingFailed": Advice(
        (CHECK_TRAINING,),
        "Rekognition ended the training as failed, or the model was deleted. The cause has the codes of the manifest's "
        "faults, and says how to read Rekognition's message.",
        "Put right what the cause names, then resume the job: it trains anew, which is billed again. If the cause is "
        "in the photos or labels, start a new job with others.",
    ),
    "TrainingTimedOut": Advice(
        (CHECK_TRAINING,),
        "The training did not end before its deadline; it cannot be cancelled.",
        WAIT_AGAIN,
    ),
    "EvaluationMissing": Advice(
        (EVALUATE_MODEL,),
        "The trained model has no evaluation result.",
        "Resume the job: it looks again. If there is none still, start a new job.",
    ),
    "ModelRejected": Advice(
        (EVALUATE_MODEL,),
        "The model fell short of the bar; the cause says by which figures. The same figures would reject it again.",
        "Start a new job with more photos of the document types that fell short.",
        Resume.IMPOSSIBLE,
    ),
    "RunningModelsLimit": Advice(
        (START_MODEL,),
        "All running models of the account are in use. Retried for a week.",
        "Stop a model that is not needed, then resume the job.",
    ),
    "ModelFailed": Advice(
        (CHECK_MODEL,),
        "Rekognition could not start the model, or it was deleted; the cause says how to read its message.",
        "Put right what the cause names, then resume the job: it trains a model anew, which is billed again, as one "
        "that failed cannot be started.",
    ),
    "ModelTimedOut": Advice(
        (CHECK_MODEL,),
        "The model did not run before the deadline.",
        WAIT_AGAIN,
    ),
    "Throttled": Advice(
        ANY,
        "A service was busy or out of reach for so long that all retries were used up.",
        "Resume the job in a few minutes.",
    ),
    "AccessDenied": Advice(
        ANY,
        "The function's role lacks a permission; the cause names the operation, and the request's id by which "
        "CloudTrail has the rest.",
        "Have the operator give the role that permission, then resume the job.",
    ),
    "UnexpectedAnswer": Advice(
        ANY,
        "A service answered what no stage can act on; the cause holds the answer's code.",
        "Have the operator put right what the cause names, then resume the job.",
    ),
    "StageFault": Advice(
        ANY,
        "The stage has a fault. The cause names the exception; the stage's log has its lines.",
        "Report it. Once a version that is put right is deployed, resume the job.",
    ),
    "States.Timeout": Advice(
        ANY,
        "A stage took longer than it may each time that it was tried, or the execution ran for longer than 60 days.",
        "Resume the job: its time limits count anew. If it ends so again, give the operator the execution's ARN.",
    ),
    "States.Runtime": DEFINITION_FAULT,
    "States.QueryEvaluationError": DEFINITION_FAULT,
    "States.DataLimitExceeded": DEFINITION_FAULT,
}
UNNAMED = Advice(
    ANY,
    "A fault that the pipeline has no name for, such as a function that crashed.",
    "Give the operator the execution's ARN: its history and the function's log say more. Once that is put right, "
    "resume the job.",
)
STOPPED = Advice(ANY, "The job was stopped.", "Resume the job to go on where it was stopped.")


@dataclass(frozen=True)
class JobAdvice:
    """The advice for one job: the text, and whether a resume can help."""

    text: str
    resume: Resume


def for_error(error: str | None) -> Advice:
    """The entry of a failed or rejected execution's error."""
    return BY_ERROR.get(error or "", UNNAMED)


def for_job(status: Status, error: str | None, label_provider: str | None) -> JobAdvice:
    """What to do about a job that ended as ``status``: Failed, Rejected or Stopped.

    Labels that people made at Ground Truth are in no file that could be corrected.
    """
    found = STOPPED if status is Status.STOPPED else for_error(error)
    if found.resume is Resume.AFTER_LABELS and label_provider != "supplied":
        return JobAdvice(LABEL_ANEW, Resume.IMPOSSIBLE)
    return JobAdvice(found.text, found.resume)
