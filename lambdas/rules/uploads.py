"""What an upload of a name may be: its media type, its size in bytes, and the headers that its PUT may carry."""

# Custom Labels guide, "Guidelines and quotas in Amazon Rekognition Custom Labels". Its megabytes are taken as 2**20
# bytes, as the API model writes what the guides call 5 MB as 5,242,880 bytes.
LARGEST_PHOTO = 15 * 1024 * 1024
LARGEST_LABELS = 1024 * 1024 * 1024  # of a manifest
PHOTOS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
LABELS = {".json": "application/json", ".jsonl": "application/jsonl", ".manifest": "application/jsonl"}
"""Endings of file names, in lower case, with the media type of such a file."""
HASH_METADATA = "sha256"
HASH_HEADER = f"x-amz-meta-{HASH_METADATA}"
"""Keeps the content's hash, in hex, where a HEAD tells it."""
CHECKSUM_HEADER = "x-amz-checksum-sha256"
"""Has S3 check the content; the hash in base64."""
HEADERS = ("Content-Type", "If-None-Match", CHECKSUM_HEADER, HASH_HEADER)
"""What the API asks a client to send with a PUT; S3 refuses other ``x-amz-`` headers, as the URL does not sign them."""


def is_labels(name: str) -> bool:
    """Whether a file of this name holds labels; otherwise it is a photo."""
    return _ending(name) in LABELS


def media_type(name: str) -> str:
    """The media type that the ending of ``name`` stands for.

    Raises:
        KeyError: the ending is neither a photo's nor that of labels.
    """
    return (PHOTOS | LABELS)[_ending(name)]


def largest(name: str) -> int:
    """How many bytes a file of this name may have."""
    return LARGEST_LABELS if is_labels(name) else LARGEST_PHOTO


def _ending(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}"
