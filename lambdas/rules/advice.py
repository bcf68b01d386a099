"""The table of errors: for each named error, what it means and what to do about it.

The table feeds the API's job view, the API's refusals of a resume, the command line, the notices and the error table in
statemachine/README.md. A unit test requires an entry for every error of the pipeline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rules.states import (
    CHECK_DATASETS,
    CHECK_MODEL,
    CHECK_PHOTOS,
    CHECK_TRAINING,
    COLLECT_PHOTOS,
    CREATE_DATASETS,
    EVALUATE_MODEL,
    IMPORT_LABELS,
    PLAN_PHOTOS,
    PREPARE_DATASETS,
    PUBLISH_MODEL,
    REQUEST_LABELS,
    START_MODEL,
    START_TRAINING,
    Status,
    Task,
)


class Resume(StrEnum):
    """Whether a resume can help."""

    POSSIBLE = "possible"
    AFTER_LABELS = "afterLabels"  # only after a corrected labels file was uploaded
    IMPOSSIBLE = "impossible"  # the job would fail again


@dataclass(frozen=True)
class Advice:
    """The tasks that raise an error (empty: any task), what the error means, and what to do about it.

    ``anew``: a redrive would fail again, so a resume starts the job's next execution. ``again_from`` is the first task
    that the next execution repeats; None means the task that failed.
    """

    tasks: tuple[Task, ...]
    means: str
    text: str
    resume: Resume = Resume.POSSIBLE
    anew: bool = False
    again_from: Task | None = None


ANY: tuple[Task, ...] = ()
CORRECT_LABELS = "Correct the labels file, upload it under the same name, then resume the job."
LABEL_ANEW = "Start a new job and have its photos labelled again."
WAIT_AGAIN = "Resume the job. It waits again, with a new deadline."
DEFINITION_FAULT = Advice(
    ANY,
    "An expression in the state machine's definition failed, or the execution exceeded a limit of Step Functions.",
    "Ask the operator to deploy a corrected state machine, then resume the job. It continues with the new definition.",
    anew=True,
)

BY_ERROR: Mapping[str, Advice] = {
    "TooManyImages": Advice(
        (PLAN_PHOTOS,),
        "The job has more photos than one job can check.",
        "Start a new job for each part of the photos.",
        Resume.IMPOSSIBLE,
    ),
    "ImagesNotFound": Advice(
        (PLAN_PHOTOS,),
        "No photo was uploaded for the job.",
        "Start a new job with photos. A started job accepts no more photos.",
        Resume.IMPOSSIBLE,
    ),
    "NotEnoughImages": Advice(
        (COLLECT_PHOTOS,),
        "The job has fewer usable photos than the setting `minImages` requires. The cause says how many are usable; "
        "`rejected.jsonl` says why each other photo was rejected.",
        "Start a new job with more usable photos. A started job accepts no more photos.",
        Resume.IMPOSSIBLE,
    ),
    "TooManyBadImages": Advice(
        (COLLECT_PHOTOS,),
        "The share of rejected photos exceeds the setting `maxRejectedShare`. `rejected.jsonl` says why each photo was "
        "rejected.",
        "Start a new job without the rejected photos. If you uploaded the wrong folder, upload the right one to the "
        "new job.",
        Resume.IMPOSSIBLE,
    ),
    "PhotosLeft": Advice(
        (CHECK_PHOTOS,),
        "A batch has more photos than one run has time for. The state machine runs it again at once, as long as each "
        "run checks some photos.",
        "Resume the job. It continues with the remaining photos.",
    ),
    "LabelsInvalid": Advice(
        (IMPORT_LABELS,),
        "The supplied labels cannot be read or do not fit the photos. The cause says where the first problem is; "
        "`label-problems.jsonl` lists all problems.",
        CORRECT_LABELS,
        Resume.AFTER_LABELS,
    ),
    "LabelsDoNotMatch": Advice(
        (IMPORT_LABELS,),
        "The share of labelled photos that were not uploaded, or of uploaded photos without labels, exceeds the "
        "setting `maxUnmatchedShare`. `label-problems.jsonl` names these photos.",
        CORRECT_LABELS + " The file must name the photos as they were uploaded. If photos were not uploaded, start a "
        "new job with all photos.",
        Resume.AFTER_LABELS,
    ),
    "LabellingUnavailable": Advice(
        (REQUEST_LABELS,),
        "Ground Truth cannot be used: no work team is set, the account has reached its limit of labelling jobs, or the "
        "Region or account has no Ground Truth.",
        "Set the setting `workTeam`, or wait until other labelling jobs have ended. Then resume the job. Where Ground "
        "Truth is not available, start a new job with supplied labels.",
    ),
    "TooManyPhotosToLabel": Advice(
        (REQUEST_LABELS,),
        "The job has more photos than people can label on the labelling page in one job.",
        "Start a new job for each part of the photos, or start a new job with supplied labels.",
        Resume.IMPOSSIBLE,
    ),
    "LabellingFailed": Advice(
        (REQUEST_LABELS,),
        "The labelling job failed, or no photo was labelled.",
        "Correct what the cause names, then resume the job. It creates a new labelling job.",
    ),
    "LabellingStopped": Advice(
        (REQUEST_LABELS,),
        "The labelling job was stopped.",
        "Resume the job. It creates a new labelling job.",
    ),
    "LabellingTimedOut": Advice(
        (REQUEST_LABELS,),
        "No labels arrived before the labelling deadline.",
        WAIT_AGAIN,
    ),
    "NoUsableLabels": Advice(
        (PREPARE_DATASETS,),
        "No labelled photo can be used for training. `dropped.jsonl` gives the reason for each photo.",
        CORRECT_LABELS,
        Resume.AFTER_LABELS,
        again_from=IMPORT_LABELS,
    ),
    "TooFewImagesPerLabel": Advice(
        (PREPARE_DATASETS,),
        "A document type has too few different photos to be in both the training and the test set. `dropped.jsonl` "
        "says which photos were left out and why.",
        CORRECT_LABELS + " If too few photos show the type, start a new job with more photos that show it.",
        Resume.AFTER_LABELS,
        again_from=IMPORT_LABELS,
    ),
    "PhotosChanged": Advice(
        (PREPARE_DATASETS, EVALUATE_MODEL),
        "After the check, more than `maxRejectedShare` of the photos were replaced or deleted, or at least one photo "
        "of the training or test set was replaced or deleted. No model goes live.",
        "Find out what writes to the bucket, then start a new job with the photos.",
        Resume.IMPOSSIBLE,
    ),
    "ManifestChanged": Advice(
        (IMPORT_LABELS, PREPARE_DATASETS, EVALUATE_MODEL),
        "A manifest's SHA-256 or last-modified time is not the one that its stage returned. No model goes live.",
        "Find out what writes to the bucket, then start a new job with the photos.",
        Resume.IMPOSSIBLE,
    ),
    "DatasetFailed": Advice(
        (CREATE_DATASETS, CHECK_DATASETS),
        "Rekognition refused a manifest, or the account has reached its limit of projects. The cause says how to read "
        "Rekognition's message.",
        "Correct what the cause names, then resume the job. It creates both datasets again.",
        anew=True,
        again_from=CREATE_DATASETS,
    ),
    "DatasetSlotsBusy": Advice(
        (CREATE_DATASETS,),
        "The account has reached its limit of datasets. The cause has Rekognition's message. The task retried for a "
        "week.",
        "Delete projects of old jobs or request a higher quota, then resume the job.",
    ),
    "DatasetTimedOut": Advice(
        (CHECK_DATASETS,),
        "The datasets were not ready before the deadline.",
        WAIT_AGAIN,
    ),
    "TrainingSlotsBusy": Advice(
        (START_TRAINING,),
        "The account has reached its limit of concurrent trainings. The task retried for a week.",
        "Resume the job after another training has ended.",
    ),
    "TrainingFailed": Advice(
        (CHECK_TRAINING,),
        "The training failed, or the model was deleted. The cause has the codes of the manifest's errors and says how "
        "to read Rekognition's message.",
        "Correct what the cause names, then resume the job. It trains again, and the new training is billed. If the "
        "photos or labels are the problem, start a new job with corrected photos or labels.",
    ),
    "TrainingTimedOut": Advice(
        (CHECK_TRAINING,),
        "The training did not end before its deadline. A training cannot be cancelled.",
        WAIT_AGAIN,
    ),
    "EvaluationMissing": Advice(
        (EVALUATE_MODEL,),
        "The trained model has no evaluation result.",
        "Resume the job to read the result again. If the result is still missing, start a new job.",
    ),
    "ModelRejected": Advice(
        (EVALUATE_MODEL,),
        "The model missed a bar. The cause says which figures missed it. A resume would reject the same model again.",
        "Start a new job with more photos of the document types that missed the bar.",
        Resume.IMPOSSIBLE,
    ),
    "RunningModelsLimit": Advice(
        (START_MODEL,),
        "The account has reached its limit of running models. The task retried for a week.",
        "Stop a model that you do not need, then resume the job.",
    ),
    "EvaluationOutdated": Advice(
        (PUBLISH_MODEL,),
        "Another model went live, or the deployment's bars were raised, after the evaluation of the job's model.",
        "Resume the job. It evaluates its model again, with the model that is live now.",
        anew=True,
    ),
    "ModelFailed": Advice(
        (CHECK_MODEL,),
        "Rekognition could not start the model, or the model was deleted. The cause says how to read Rekognition's "
        "message.",
        "Correct what the cause names, then resume the job. It trains a new model, because a failed model cannot be "
        "started. The new training is billed.",
    ),
    "ModelTimedOut": Advice(
        (CHECK_MODEL,),
        "The model was not running before the deadline.",
        WAIT_AGAIN,
    ),
    "Throttled": Advice(
        ANY,
        "A service throttled the calls or could not be reached, and all retries failed.",
        "Resume the job in a few minutes.",
    ),
    "AccessDenied": Advice(
        ANY,
        "The function's role lacks a permission. The cause names the operation and the request ID. To find the call in "
        "CloudTrail, search for the request ID.",
        "Ask the operator to add the permission to the role, then resume the job.",
    ),
    "SettingsInvalid": Advice(
        ANY,
        "The environment of the stage's function lacks a variable or has a malformed one. The cause names it.",
        "Ask the operator to deploy the stack again, then resume the job.",
    ),
    "UnexpectedAnswer": Advice(
        ANY,
        "A service returned an error that no stage handles. The cause has the error code.",
        "Ask the operator to correct what the cause names, then resume the job.",
    ),
    "StageFault": Advice(
        ANY,
        "The stage's code has a bug. The cause names the exception; the stage's log has the details.",
        "Report the bug. After a corrected version is deployed, resume the job.",
    ),
    "States.Timeout": Advice(
        ANY,
        "A stage exceeded its time limit at each attempt, or the execution ran for longer than 60 days.",
        "Resume the job. Its time limits start again. If the job ends with this error again, send the execution's ARN "
        "to the operator.",
    ),
    "States.Runtime": DEFINITION_FAULT,
    "States.QueryEvaluationError": DEFINITION_FAULT,
    "States.DataLimitExceeded": DEFINITION_FAULT,
}
UNNAMED = Advice(
    ANY,
    "The pipeline has no name for this error. For example, a function crashed.",
    "Send the execution's ARN to the operator, who finds details in its history and in the function's log. After the "
    "problem is corrected, resume the job.",
)
STOPPED = Advice(ANY, "The job was stopped.", "Resume the job to continue where it was stopped.")


@dataclass(frozen=True)
class JobAdvice:
    """The advice for one job: the text, and whether a resume can help."""

    text: str
    resume: Resume


def for_error(error: str | None) -> Advice:
    """Return the advice for the error of a failed or rejected execution."""
    return BY_ERROR.get(error or "", UNNAMED)


def for_job(status: Status, error: str | None, label_provider: str | None) -> JobAdvice:
    """Return the advice for a job whose ``status`` is Failed, Rejected or Stopped."""
    advice = STOPPED if status is Status.STOPPED else for_error(error)
    # Ground Truth's labels are in no file that a user could correct.
    if advice.resume is Resume.AFTER_LABELS and label_provider != "supplied":
        return JobAdvice(LABEL_ANEW, Resume.IMPOSSIBLE)
    return JobAdvice(advice.text, advice.resume)
