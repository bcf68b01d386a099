"""A document detector trained on labelled boxes. The local Rekognition trains it.

It is not a neural network. It finds the documents by an index of the key points that the package `outlines` learns for
each type. Training takes seconds, needs a few photos of each type and no pretrained weights. The outline of a detection
and its confidence are those of `outlines`, from which a crop can be straightened.
"""

from ekyc.localaws.services.detector.evaluation import (
    Evaluation,
    JudgedDetection,
    LabelEvaluation,
    PhotoEvaluation,
    evaluate,
)
from ekyc.localaws.services.detector.model import Detection, Detector, LabelledPhoto, train
from outlines import Box

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
