"""Carries out requests about a job or the live model: start, stop, resume, erase, and supply labels.

A refused request raises a `Refusal`, which says why and what to do.
"""

from pipeline.lifecycle.erasing import erase
from pipeline.lifecycle.execution import check_not_erased, describe_execution
from pipeline.lifecycle.live_model import start_model, stop_model
from pipeline.lifecycle.refusals import NotAllowed, NotBegun, NotThere, Refusal
from pipeline.lifecycle.resuming import resume
from pipeline.lifecycle.starting import start, uploaded_etag
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
    "resume",
    "start",
    "start_model",
    "stop",
    "stop_model",
    "supply_labels",
    "uploaded_etag",
]
