"""A document detector trained on labelled boxes. The local Rekognition trains it.

It is not a neural network. The SIFT key points of a few labelled photos of each document type, registered to one
another, are the model of the type. Detection matches the key points of a photo and fits a homography for each type.
Training takes seconds, needs a few photos of each type and no pretrained weights. A detection has an outline, from
which a crop can be straightened. Limit: a type that is similar to a trained one, but was not trained itself, is
detected as the trained one.
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
