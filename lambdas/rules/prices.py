"""List prices in USD of us-east-1 (Rekognition and Step Functions pricing pages)."""

TRAINING_HOUR = 1.0
INFERENCE_UNIT_HOUR = 4.0
THOUSAND_TRANSITIONS = 0.025
TRANSITION = THOUSAND_TRANSITIONS / 1000


def model_hour(inference_units: int | None) -> float:
    """USD for an hour of a running model. A model has at least one inference unit, also when a record has no number."""
    return (inference_units or 1) * INFERENCE_UNIT_HOUR
