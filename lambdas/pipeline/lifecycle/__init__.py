"""What people ask of a job or the live model: start, stop, resume, erase, and take the labels that a job waits for.

Each raises a `Refusal` that says why not, and what to do.
"""

from pipeline.lifecycle.erasing import erase
from pipeline.lifecycle.execution import check_not_erased, describe_execution
from pipeline.lifecycle.live_model import start_model, stop_model
from pipeline.lifecycle.refusals import NotAllowed, NotBegun, NotThere, Refusal
from pipeline.lifecycle.resuming import resume
from pipeline.lifecycle.starting import is_uploaded, start
from pipeline.lifecycle.stopping import stop
from pipeline.lifecycle.supplying import supply_labels

__all__ = [
    "NotAllowed",
    "NotBegun",
    "NotThere",
    "Refusal",
    "check_not_erased",
    "describe_execution",
    "erase",
    "is_uploaded",
    "resume",
    "start",
    "start_model",
    "stop",
    "stop_model",
    "supply_labels",
]
