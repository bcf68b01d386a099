"""The bars that a model must reach to go live."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bars:
    """The lowest F1 of the model and of each document type, and the largest drop below the live model's F1; 0 to 1."""

    min_f1: float
    min_label_f1: float
    max_f1_drop: float

    def raised_to(self, other: "Bars") -> "Bars":
        """The stricter value of each bar."""
        return Bars(
            min_f1=max(self.min_f1, other.min_f1),
            min_label_f1=max(self.min_label_f1, other.min_label_f1),
            max_f1_drop=min(self.max_f1_drop, other.max_f1_drop),
        )
