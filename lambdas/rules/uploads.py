"""The rules for an upload, by its file name: media type, largest size in bytes, and the headers of the PUT."""

# Custom Labels guide, "Guidelines and quotas in Amazon Rekognition Custom Labels". A megabyte is 2**20 bytes: the
# guides' 5 MB is 5,242,880 bytes in the API model.
LARGEST_PHOTO = 15 * 1024 * 1024
LARGEST_LABELS = 1024 * 1024 * 1024  # of a manifest
PHOTOS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
LABELS = {".json": "application/json", ".jsonl": "application/jsonl", ".manifest": "application/jsonl"}
"""The media type for each ending of a file name, in lower case."""
HASH_METADATA = "sha256"
HASH_HEADER = f"x-amz-meta-{HASH_METADATA}"
"""Metadata with the content's SHA-256 in hex, which a HEAD request returns."""
CHECKSUM_HEADER = "x-amz-checksum-sha256"
"""The content's SHA-256 in base64. S3 refuses an upload with another content."""
SUBJECT_METADATA = "subject"
SUBJECT_HEADER = f"x-amz-meta-{SUBJECT_METADATA}"
"""Metadata with the hash of the photo's subject."""
HEADERS = ("Content-Type", "If-None-Match", CHECKSUM_HEADER, HASH_HEADER, SUBJECT_HEADER)
"""The headers that a client sends with a PUT.

S3 refuses other ``x-amz-`` headers, because the URL does not sign them.
"""


def is_labels(name: str) -> bool:
    """Whether a file of this name is a labels file; otherwise it is a photo."""
    return _ending(name) in LABELS


def media_type(name: str) -> str:
    """Return the media type for the ending of ``name``.

    Raises:
        KeyError: the ending is neither a photo's nor a labels file's.
    """
    return (PHOTOS | LABELS)[_ending(name)]


def largest(name: str) -> int:
    """Return the largest allowed size, in bytes, of a file of this name."""
    return LARGEST_LABELS if is_labels(name) else LARGEST_PHOTO


def _ending(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}"
