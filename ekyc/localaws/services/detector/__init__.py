"""A document detector that learns from labelled boxes: what the local Rekognition trains.

No neural network: SIFT key points of a few labelled photos of each document type, registered to one another, become
the type's model; a photo is searched by matching its key points and fitting a homography per type. Training needs
seconds, a few photos a type and no weights, and a detection is an outline that a crop can be straightened by.
What it cannot do: a type that it was never shown but that looks much like a trained one is taken for that one.
"""

from ekyc.localaws.services.detector.evaluation import (
    Evaluation,
    JudgedDetection,
    LabelEvaluation,
    PhotoEvaluation,
    evaluate,
)
from ekyc.localaws.services.detector.model import Box, Detection, Detector, LabelledPhoto
from ekyc.localaws.services.detector.training import train

__all__ = [
    "Box",
    "Detection",
    "Detector",
    "Evaluation",
    "JudgedDetection",
    "LabelEvaluation",
    "LabelledPhoto",
    "PhotoEvaluation",
    "evaluate",
    "train",
]
