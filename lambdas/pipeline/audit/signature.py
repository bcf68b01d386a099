"""Verifies a signed file without AWS: ``python -m pipeline.audit.signature FILE KEY`` prints the findings as JSON.

`pipeline.audit.signing` makes signed files. ``KEY`` is the file of the public key.

The signature proves that the key's owner made the report and the page. It proves nothing about other reports, so the
checks also say what remains open.
"""

import base64
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # it is not in its __all__

from pipeline.audit import page, signing, verify
from pipeline.audit.report import MALFORMED, canonical
from pipeline.audit.signing import PAYLOAD_TYPE, SignedFile, file_name, make_statement
from pipeline.audit.store import REPORT, WEB_PAGE
from pipeline.audit.verify import NOTED, OK, SIGNATURE, SIGNED_PAGE, UNKNOWN, WRONG, Finding, NotAReport, judge

FORM, STATEMENT = "signed file", "signed statement"
PROOF = frozenset({FORM, SIGNATURE, STATEMENT})
"""The checks that prove who made the report. The others show that the report is consistent."""
SIGNED = "genuine by its signature"


def load_key(pem: bytes) -> EllipticCurvePublicKey:
    """Read a public key.

    Raises:
        NotAReport: it is not a public key in PEM, or not one on the curve P-256.
    """
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise NotAReport("The key is not a public key in PEM. `ekyc audit key` prints the stack's key.") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise NotAReport("The key is not a key of the type ECC_NIST_P256, which signs reports.")
    return key


def check(body: bytes, signed: SignedFile, key: EllipticCurvePublicKey) -> Iterator[Finding]:
    """Check the signature, what it covers, and the report itself. Names what a signature cannot prove.

    Raises:
        NotAReport: the signed file has no report.
    """
    yield _check_form(body, signed)
    yield _check_signature(signed, key)
    report = verify.read(signed.report)
    yield _check_statement(signed, report)
    yield from verify.check_itself(signed.report)
    yield _check_page(signed, report)
    yield Finding(
        "later reports",
        UNKNOWN,
        "Offline, nothing shows whether the job continued after this report. Verify without --key to ask AWS.",
    )
    yield Finding(
        "history in Step Functions",
        UNKNOWN,
        "The signature shows that the pipeline's function read this history, not that Step Functions still has it.",
    )
    yield Finding("time of the signature", UNKNOWN, "The key's owner signed at any time after the execution's end.")


def _check_form(body: bytes, signed: SignedFile) -> Finding:
    """Check that the file is exactly as the pipeline writes it, so that it has no part that nothing covers."""
    try:
        texts = {name: content.decode() for name, content in signed.files.items()}
        payload = signed.envelope["payload"]
        is_exact = (
            body == canonical({"envelope": signed.envelope, "files": texts})
            and payload == base64.b64encode(base64.b64decode(payload)).decode()
            and signed.envelope.keys() == {"payload", "payloadType", "signatures"}
            and all(each.keys() == {"keyid", "sig"} for each in signed.envelope["signatures"])
        )
    except MALFORMED:
        is_exact = False
    return judge(
        FORM,
        is_exact,
        "The file has the form that the pipeline writes.",
        "The file does not have the form that the pipeline writes.",
    )


def _check_signature(signed: SignedFile, key: EllipticCurvePublicKey) -> Finding:
    try:
        (signature,) = signed.envelope["signatures"]
        key_id = signature["keyid"]
        envelope = Envelope.from_dict(json.loads(json.dumps(signed.envelope)))
        envelope.verify([SSlibKey.from_crypto(key, keyid=key_id)], 1)
    except MALFORMED:
        return Finding(SIGNATURE, WRONG, "The file does not have exactly one signature in the DSSE format.")
    except VerificationError:
        return Finding(
            SIGNATURE,
            WRONG,
            f"The signature does not verify with the given key. The file says that it was made with {key_id}.",
        )
    return Finding(SIGNATURE, OK, f"The signature verifies with the given key. The file calls the key {key_id}.")


def _check_statement(signed: SignedFile, report: Mapping[str, Any]) -> Finding:
    """Check that the signed statement is about exactly these files and this end of the execution."""
    try:
        statement = json.loads(base64.b64decode(signed.envelope["payload"]))
        (signature,) = signed.envelope["signatures"]
        names = {form: file_name(report, form) for form in (REPORT, WEB_PAGE)}
        different = [name for name in names.values() if name not in signed.files]
        different += sorted(signed.files.keys() - set(names.values()))
        if not different:
            files = {form: signed.files[name] for form, name in names.items()}
            expected = make_statement(report, files, signature["keyid"])
            different = _differences(statement, expected)
            if signed.envelope["payloadType"] != PAYLOAD_TYPE:
                different.append("payloadType")
    except MALFORMED:
        return Finding(STATEMENT, WRONG, "The signed statement cannot be read.")
    return judge(
        STATEMENT,
        not different,
        "The signed statement has the hashes of the report and of the page, the job, and the execution's end.",
        f"These parts are not what was signed: {', '.join(different)}.",
    )


def _differences(statement: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    hashes = {each["name"]: each["digest"] for each in statement["subject"]}
    different = [each["name"] for each in expected["subject"] if hashes.get(each["name"]) != each["digest"]]
    if not different and statement != expected:
        different = sorted(name for name in statement.keys() | expected if statement.get(name) != expected.get(name))
    return different


def _check_page(signed: SignedFile, report: Mapping[str, Any]) -> Finding:
    try:
        is_same = page.render(report).encode() == signed.files.get(file_name(report, WEB_PAGE))
    except MALFORMED as error:
        return Finding(SIGNED_PAGE, WRONG, f"The report cannot be rendered as a page: {type(error).__name__}.")
    if is_same:
        return Finding(SIGNED_PAGE, OK, "The page is the page of this report.")
    return Finding(
        SIGNED_PAGE, NOTED, "This version of ekyc renders the page differently. The signature covers the page."
    )


def verdict(findings: Sequence[Finding]) -> str:
    """`verify.FORGED` if a part is wrong, otherwise `SIGNED`."""
    proven = {finding.part for finding in findings if finding.result == OK}
    is_wrong = any(finding.result == WRONG for finding in findings) or not proven >= PROOF
    return verify.FORGED if is_wrong else SIGNED


def main(file: str, key: str) -> int:
    """Print the verdict and the findings about ``file``. Returns 0 for any verdict, 2 if a file cannot be used."""

    def find() -> list[Finding]:
        body = Path(file).read_bytes()
        signed = signing.read(body)
        if signed is None:
            raise NotAReport("The file is not signed. `ekyc audit JOB --signed FILE` saves the signed file.")
        return list(check(body, signed, load_key(Path(key).read_bytes())))

    return verify.print_verdict(find, verdict)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
