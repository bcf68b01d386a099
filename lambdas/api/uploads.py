"""The uploads of a job, and how a client verifies their content.

S3 checks the content of a PUT against the SHA-256 in its headers (S3 User Guide, "Checking object integrity in Amazon
S3"). The same hash is stored as metadata, which HeadObject returns without access to the KMS key. The checksum itself
would need `kms:Decrypt`, and with KMS the ETag is not a hash of the content.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from api import answers
from pipeline.clients import clients
from pipeline.jobs import PageTokenInvalid
from pipeline.lifecycle.refusals import NotAllowed
from rules.names import LONGEST_NAME_BYTES
from rules.uploads import (
    CHECKSUM_HEADER,
    HASH_HEADER,
    HASH_METADATA,
    SUBJECT_HEADER,
    SUBJECT_METADATA,
    media_type,
)

PAGE = 1000
FOLDERS = ("images", "labels")


def conditions(
    name: str, *, once: bool, sha256: str | None, size: int | None, subject: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The signed parameters of a PUT of this file, and the headers that the client must send.

    A signed size adds no header, because every HTTP client sends Content-Length.

    Args:
        once: whether S3 refuses an upload if the file exists already.
        sha256: the SHA-256 of the content in hex, which S3 then checks.
        size: in bytes; S3 then refuses any other size.
        subject: the hash of the photo's subject.
    """
    kind = media_type(name)
    metadata: dict[str, str] = {}
    signed: dict[str, Any] = {"ContentType": kind, "Metadata": metadata}
    headers = {"Content-Type": kind}
    if once:
        signed["IfNoneMatch"] = headers["If-None-Match"] = "*"
    if sha256 is not None:
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        signed["ChecksumSHA256"] = checksum
        metadata[HASH_METADATA] = sha256
        headers |= {CHECKSUM_HEADER: checksum, HASH_HEADER: sha256}
    if subject is not None:
        metadata[SUBJECT_METADATA] = headers[SUBJECT_HEADER] = subject
    if size is not None:
        signed["ContentLength"] = size
    return signed, headers


def page(job_id: str, token: str | None, seconds: int, bucket: str) -> tuple[list[dict[str, Any]], str | None]:
    """Up to 1,000 photos by name, then up to 1,000 labels files, and the token of the next page or None.

    A page is shorter if long names would make the response too large. Each entry has a URL for HEAD, valid for
    ``seconds``.

    Raises:
        PageTokenInvalid: ``token`` was not returned by this function.
    """
    folder, after = _read_token(token) if token else (FOLDERS[0], "")
    prefix = f"{folder}/{job_id}/"
    start: dict[str, Any] = {"StartAfter": prefix + after} if after else {}
    listed = clients.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=PAGE, **start)
    entries: list[dict[str, Any]] = []
    bytes_left = answers.LARGEST - answers.size("[]")
    for entry in listed.get("Contents", ()):
        url = clients.s3.generate_presigned_url(
            "head_object", Params={"Bucket": bucket, "Key": entry["Key"]}, ExpiresIn=seconds
        )
        entry_view = {"name": entry["Key"].removeprefix(prefix), "size": entry["Size"], "head": url}
        bytes_left -= answers.size(json.dumps(entry_view))
        if bytes_left < 0:
            break
        entries.append(entry_view)
    if listed["IsTruncated"] or bytes_left < 0:
        return entries, _token(folder, entries[-1]["name"])
    return entries, None if folder == FOLDERS[-1] else _token(FOLDERS[-1], "")


def check_replaces_labels(job_id: str, names: Sequence[str], bucket: str) -> None:
    """Check that a corrected labels file has the name under which the job reads its labels.

    Raises:
        NotAllowed: the job would not find a file of this name.
    """
    prefix = f"{FOLDERS[-1]}/{job_id}/"
    listed = clients.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=PAGE)
    uploaded = [entry["Key"].removeprefix(prefix) for entry in listed.get("Contents", ())]
    if uploaded and not set(names) <= set(uploaded):
        raise NotAllowed(f"Upload the corrected labels under the name that the job reads: {', '.join(uploaded)}.")


def _token(folder: str, after: str) -> str:
    return base64.urlsafe_b64encode(f"{folder}/{after}".encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    try:
        folder, slash, after = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition("/")
    except (binascii.Error, ValueError) as error:
        raise PageTokenInvalid("The page token was not returned by this list.") from error
    if folder not in FOLDERS or not slash or len(after.encode()) > LONGEST_NAME_BYTES:
        raise PageTokenInvalid("The page token was not returned by this list.")
    return folder, after
