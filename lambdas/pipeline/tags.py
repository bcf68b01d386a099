"""Tags of what a job makes at AWS: the deployment's cost tags, and the job that it belongs to."""

from collections.abc import Sequence

JOB_TAG = "ekyc-job"


def tags(job_id: str, cost_tags: Sequence[str]) -> dict[str, str]:
    """``cost_tags``, each written ``key=value``, and the job's own tag; 41 at most, and SageMaker takes 50."""
    return {key: value for key, _, value in (tag.partition("=") for tag in cost_tags)} | {JOB_TAG: job_id}
