"""Says in words which outlines a model has. The status, the notices and the audit report use the same words."""

from collections.abc import Mapping
from typing import Any

from rules.words import counted


def in_words(outlines: Mapping[str, Any]) -> str:
    """Sentences about the result of Learn outlines: its figures, or its ``error``."""
    if error := outlines.get("error"):
        return f"The model has no outlines, because Learn outlines failed with {error}. Crops are the model's boxes."
    learned, types = outlines["learned"], outlines["types"]
    if not learned:
        return "The model has no outlines, because none could be learned from the photos. Crops are the model's boxes."
    sentence = f"The model has outlines of {learned} of {counted(types, 'document type')}."
    sentence += f" {outlines['outlined']} of {counted(outlines['testDocuments'], 'test document')} have an outline"
    if outlines["polygons"]:
        polygons = counted(outlines["polygons"], "labelled polygon")
        return (
            f"{sentence}: mean IoU {outlines['polygonIou']:.3f} with {polygons}, "
            f"median error of the corners {outlines['cornerError']:.1%} of the diagonal."
        )
    if outlines["outlined"]:
        return f"{sentence}: mean IoU of their boxes with the labelled boxes {outlines['boxIou']:.3f}."
    return f"{sentence}."
