"""List prices in USD of us-east-1 (Rekognition and Step Functions pricing pages)."""

TRAINING_HOUR = 1.0
INFERENCE_UNIT_HOUR = 4.0
THOUSAND_TRANSITIONS = 0.025
TRANSITION = THOUSAND_TRANSITIONS / 1000
