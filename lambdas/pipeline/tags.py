"""The tags of the AWS resources that a job creates: the deployment's cost tags, and the job's id."""

from collections.abc import Sequence

from rules.names import JOB_TAG


def tags(job_id: str, cost_tags: Sequence[str]) -> dict[str, str]:
    """``cost_tags``, each written ``key=value``, and the job's own tag. These are at most 41; SageMaker allows 50."""
    return {key: value for key, _, value in (tag.partition("=") for tag in cost_tags)} | {JOB_TAG: job_id}
