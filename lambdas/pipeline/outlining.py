"""The outlines of a job's document types, which the stage `Learn outlines` keeps in one file for each model version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import error_code

if TYPE_CHECKING:
    from outlines import Outlines


def artefact_key(job_id: str, version_name: str) -> str:
    """The key of the model version's file of outlines. `models` reads both names from the version's ARN."""
    return f"outlines/{job_id}/{version_name}.outlines"


def read_outlines(bucket: str, key: str) -> Outlines | None:
    """Read a file of outlines; None if it does not exist. The caller needs the permission to list the bucket.

    Raises:
        outlines.UnusableOutlines: `outlines.save` did not write this file.
    """
    try:
        content = clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        return None
    # Imported here, because OpenCV and NumPy need longer than all other imports of a function.
    from outlines import load

    return load(content)
