"""List prices in USD of us-east-1 (Rekognition and Step Functions pricing pages)."""

TRAINING_HOUR = 1.0
INFERENCE_UNIT_HOUR = 4.0
THOUSAND_TRANSITIONS = 0.025
TRANSITION = THOUSAND_TRANSITIONS / 1000
POOL_USER_MONTH = 0.02  # an active user of a user pool with the Plus plan (Cognito pricing page)
# Of functions on Arm, and of requests to S3 (Lambda and S3 pricing pages).
LAMBDA_GB_SECOND = 0.0000133334
LAMBDA_CALL = 0.20 / 1_000_000
S3_PUT = 0.005 / 1000
S3_GET = 0.0004 / 1000


def model_hour(inference_units: int | None) -> float:
    """The price of a running model in USD an hour. None or 0 inference units count as one, the minimum."""
    return (inference_units or 1) * INFERENCE_UNIT_HOUR
