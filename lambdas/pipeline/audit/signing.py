"""Signs a report and its page: a DSSE envelope around an in-toto statement, signed by the stack's key in KMS.

The signed file has the envelope, the report and the page. So an auditor needs only this file and the public key.
`pipeline.audit.signature` verifies it. Sources: DSSE protocol 1.0.2, in-toto Statement 1.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.audit.report import canonical
from pipeline.audit.store import REPORT, WEB_PAGE, place
from pipeline.clients import clients

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "urn:ekyc:audit-report:1"


class SignedFile(NamedTuple):
    """The envelope, and the report and the page as signed, as bytes by their file names."""

    envelope: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def report(self) -> bytes:
        """The report; empty if the file has none."""
        return next(self._of_form(REPORT), b"")

    @property
    def pages(self) -> Iterator[bytes]:
        """The pages. A genuine file has one."""
        return self._of_form(WEB_PAGE)

    def _of_form(self, form: str) -> Iterator[bytes]:
        return (content for name, content in self.files.items() if name.endswith(f".{form}"))


def read(body: bytes) -> SignedFile | None:
    """Parse a signed file; returns None for any other file."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.keys() != {"envelope", "files"}:
        return None
    envelope, files = content["envelope"], content["files"]
    if not isinstance(envelope, dict) or not isinstance(files, dict):
        return None
    if not all(isinstance(text, str) for text in files.values()):
        return None
    return SignedFile(envelope, {name: text.encode("utf-8", "surrogatepass") for name, text in files.items()})


def sign(report: Mapping[str, Any], files: Mapping[str, bytes], key_arn: str) -> bytes:
    """Sign the stored files of a report; returns the signed file.

    Args:
        report: the report, parsed.
        files: the stored bytes of the report and of its page, by their form, as in `make_statement`.
        key_arn: the KMS key, ECC_NIST_P256. It becomes the ``keyid`` of the signature.
    """
    payload = canonical(make_statement(report, files, key_arn))
    answer = clients.kms.sign(
        KeyId=key_arn,
        Message=encode(PAYLOAD_TYPE, payload),
        MessageType="RAW",  # a statement has less than 4,096 bytes, KMS's limit
        SigningAlgorithm="ECDSA_SHA_256",
    )
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_arn, "sig": base64.b64encode(answer["Signature"]).decode()}],
    }
    texts = {file_name(report, form): content.decode() for form, content in files.items()}
    return canonical({"envelope": envelope, "files": texts})


def make_statement(report: Mapping[str, Any], files: Mapping[str, bytes], key_arn: str) -> dict[str, Any]:
    """The statement: the names and hashes of the files, the end of the execution that they describe, and the key.

    The bytes of ``files`` are by their form, `REPORT` and `WEB_PAGE`.
    """
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": file_name(report, form), "digest": {"sha256": hashlib.sha256(files[form]).hexdigest()}}
            for form in (REPORT, WEB_PAGE)
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "jobId": report["jobId"],
            "execution": report["execution"],
            "stopDate": report["inputs"]["execution"]["stopDate"],
            "stored": report["stored"],
            "key": key_arn,
        },
    }


def file_name(report: Mapping[str, Any], form: str) -> str:
    """The name of a report's file, without its folder."""
    return place(report, form).rpartition("/")[2]


def encode(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
