"""The subject of a photo: what several photos of one person or document have in common, such as a customer's number.

The uploader names it, and photos of one subject stay on one side of the split into training and test. As a subject may
be personal, the API keeps only its hash, in the photo's metadata.
"""

import hashlib
import re
from collections.abc import Mapping

from rules.uploads import SUBJECT_METADATA

LONGEST_SUBJECT = 128
SUBJECT = re.compile(rf"[0-9A-Za-z._:@+-]{{1,{LONGEST_SUBJECT}}}")
SUBJECT_RULE = f"1 to {LONGEST_SUBJECT} letters (A-Z, a-z), digits and characters of ._:@+-"
HASH = re.compile(r"[0-9a-f]{64}")


def is_subject(text: object) -> bool:
    """Whether ``text`` can be a subject. A refusal shows `SUBJECT_RULE` and not the text, which may be personal."""
    return isinstance(text, str) and SUBJECT.fullmatch(text) is not None


def subject_hash(job_id: str, subject: str) -> str:
    """The SHA-256 of a subject in hex. It differs from job to job, so that it links no photos of two jobs."""
    return hashlib.sha256(f"{job_id} {subject}".encode()).hexdigest()


def subject_of(metadata: Mapping[str, str]) -> str | None:
    """The hash of a photo's subject in the metadata of its S3 object, or None if the photo has no subject."""
    value = metadata.get(SUBJECT_METADATA, "")
    return value if HASH.fullmatch(value) else None
