"""Outlines of documents in photos: learned from labelled boxes, found inside the boxes that a detector returns.

SIFT key points of a type's training photos are registered to one another. The outline is the four corners whose boxes,
in each photo, are the labelled ones. In a new photo, the key points inside the box are matched with the type's, and the
outline follows from a homography. The confidence also compares the picture inside the outline with the training
photos, so that a similar document of another type gets a low confidence. No neural network. Pure: no AWS, no files.
"""

from outlines.artefact import UnusableOutlines, load, save
from outlines.comparison import Compared, Summary, compare, summarize
from outlines.finding import CERTAIN, Outline, find
from outlines.learning import Box, Learned, Photos, join, learn, learn_type
from outlines.model import Outlines
from outlines.parts import pack, unpack
from outlines.pictures import decode, straighten

__all__ = [
    "CERTAIN",
    "Box",
    "Compared",
    "Learned",
    "Outline",
    "Outlines",
    "Photos",
    "Summary",
    "UnusableOutlines",
    "compare",
    "decode",
    "find",
    "join",
    "learn",
    "learn_type",
    "load",
    "pack",
    "save",
    "straighten",
    "summarize",
    "unpack",
]
