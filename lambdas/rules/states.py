"""The statuses of a job and the tasks of the state machine.

The stages' progress, the API's plan, the input of a later execution, the audit report, the advice on errors and the
deployed functions all read this table. A test compares it with the state machine's definition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The status of a job."""

    CREATED = "Created"
    CHECKING_IMAGES = "CheckingImages"
    WAITING_FOR_LABELLING = "WaitingForLabelling"
    LABELLING = "Labelling"
    CREATING_DATASET = "CreatingDataset"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    DEPLOYING = "Deploying"
    READY = "Ready"
    REJECTED = "Rejected"
    FAILED = "Failed"
    STOPPED = "Stopped"


RUNNING = (
    Status.CHECKING_IMAGES,
    Status.WAITING_FOR_LABELLING,
    Status.LABELLING,
    Status.CREATING_DATASET,
    Status.TRAINING,
    Status.EVALUATING,
    Status.DEPLOYING,
)
ENDED = (Status.READY, Status.REJECTED, Status.FAILED, Status.STOPPED)
RESUMABLE = (Status.FAILED, Status.STOPPED)

# A running job moves forward only. It may skip stages that it does not need, and may end at any stage. A resumed job
# continues at any stage, or ends again before a stage has recorded a status.
MOVES: Mapping[Status, frozenset[Status]] = {
    Status.CREATED: frozenset({Status.CHECKING_IMAGES}),
    **{status: frozenset((*RUNNING[place:], *ENDED)) for place, status in enumerate(RUNNING)},
    **{status: frozenset((*RUNNING, *ENDED)) for status in RESUMABLE},
    Status.REJECTED: frozenset(),
    Status.READY: frozenset(),
}
"""The statuses to which a job may move from each status."""


@dataclass(frozen=True)
class Task:
    """A task of the state machine.

    ``status`` is the job's status while the task runs. ``result`` is the state machine's variable for the task's
    result, if the job's later executions receive that result in their input.
    """

    name: str
    status: Status
    result: str | None = None

    @property
    def module(self) -> str:
        """The handler's module in ``stages``: ``check_datasets``."""
        return self.name.lower().replace(" ", "_")

    @property
    def function(self) -> str:
        """The Lambda function's name in the stack and in the definition: ``CheckDatasets``."""
        return self.name.title().replace(" ", "")


PLAN_PHOTOS = Task("Plan photos", Status.CHECKING_IMAGES)
CHECK_PHOTOS = Task("Check photos", Status.CHECKING_IMAGES)
COLLECT_PHOTOS = Task("Collect photos", Status.CHECKING_IMAGES, result="images")
REQUEST_LABELS = Task("Request labels", Status.WAITING_FOR_LABELLING, result="labels")
IMPORT_LABELS = Task("Import labels", Status.LABELLING, result="labels")
PREPARE_DATASETS = Task("Prepare datasets", Status.CREATING_DATASET, result="manifests")
CREATE_DATASETS = Task("Create datasets", Status.CREATING_DATASET, result="datasets")
CHECK_DATASETS = Task("Check datasets", Status.CREATING_DATASET)
START_TRAINING = Task("Start training", Status.TRAINING, result="model")
LEARN_OUTLINES = Task("Learn outlines", Status.TRAINING, result="outlines")
CHECK_TRAINING = Task("Check training", Status.TRAINING)
EVALUATE_MODEL = Task("Evaluate model", Status.EVALUATING)
START_MODEL = Task("Start model", Status.DEPLOYING)
CHECK_MODEL = Task("Check model", Status.DEPLOYING)
PUBLISH_MODEL = Task("Publish model", Status.DEPLOYING)

TASKS = (
    PLAN_PHOTOS,
    CHECK_PHOTOS,
    COLLECT_PHOTOS,
    REQUEST_LABELS,
    IMPORT_LABELS,
    PREPARE_DATASETS,
    CREATE_DATASETS,
    CHECK_DATASETS,
    START_TRAINING,
    LEARN_OUTLINES,
    CHECK_TRAINING,
    EVALUATE_MODEL,
    START_MODEL,
    CHECK_MODEL,
    PUBLISH_MODEL,
)
"""The tasks in the order of the state machine."""

LOOPS: Mapping[str, Task] = {
    task.name.replace("Check", "Wait for"): task for task in (CHECK_DATASETS, CHECK_TRAINING, CHECK_MODEL)
}
"""The Wait states, each with the task that follows."""
