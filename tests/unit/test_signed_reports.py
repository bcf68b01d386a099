"""Signed audit reports: one file and one public key show who made a report, and find every change."""

import base64
import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from moto import mock_aws

from pipeline.audit import page, report, signature, signing, verify
from pipeline.audit.signature import EllipticCurvePublicKey
from pipeline.audit.store import REPORT, WEB_PAGE
from pipeline.audit.verify import NOTED, OK, UNKNOWN, WRONG, NotAReport
from tests.unit.aws_fakes import client, functions_use
from tests.unit.conftest import BUCKET
from tests.unit.histories import live_model
from tests.unit.test_audit import made, put_files

Json = dict[str, Any]
SEED = 20261201


class Signer:
    """A KMS key of moto, which signs reports."""

    def __init__(self) -> None:
        self._kms = client("kms")
        self.arn = self._kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        public = load_der_public_key(self._kms.get_public_key(KeyId=self.arn)["PublicKey"])
        self.pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, document: Json) -> bytes:
        files = {REPORT: report.canonical(document), WEB_PAGE: page.render(document).encode()}
        with functions_use(kms=self._kms):
            return signing.sign(document, files, self.arn)


class Signed:
    """A signed report, and what a forger may have: another job's report, an earlier one, another key."""

    def __init__(self, s3: Any) -> None:
        self.signer, self.other_signer = Signer(), Signer()
        self.document = json.loads(report.canonical(made(s3, live_model())))
        self.earlier = copy.deepcopy(self.document)
        self.earlier["inputs"]["execution"]["stopDate"] -= 60_000
        self.body = self.signer.sign(self.document)
        self.key = signature.load_key(self.signer.pem)

    def findings(self, body: bytes, key: EllipticCurvePublicKey | None = None) -> list[verify.Finding]:
        signed = signing.read(body)
        assert signed is not None
        return list(signature.check(body, signed, key or self.key))


@pytest.fixture(scope="module")
def signed() -> Iterator[Signed]:
    with mock_aws():
        s3 = client("s3")
        s3.create_bucket(Bucket=BUCKET)
        put_files(s3)
        yield Signed(s3)


def parts(findings: list[verify.Finding], result: str) -> set[str]:
    return {finding.part for finding in findings if finding.result == result}


def test_a_signed_report_is_genuine_by_its_key_alone(signed: Signed) -> None:
    # When the signed file is checked with the public key
    findings = signed.findings(signed.body)
    # Then who made the report and the page is proven
    assert signature.verdict(findings) == signature.SIGNED
    assert parts(findings, WRONG) == parts(findings, NOTED) == set()
    assert parts(findings, OK) >= {"signed file", "signature", "signed statement", "seal", "signed page"}
    # And what no signature can prove is named
    assert parts(findings, UNKNOWN) == {"later reports", "history in Step Functions", "time of the signature"}


def test_the_statement_has_no_more_than_kms_signs(signed: Signed) -> None:
    # Given a statement, in which names of job, execution and bucket can be longer by 1,000 bytes in all
    envelope = json.loads(signed.body)["envelope"]
    payload = base64.b64decode(envelope["payload"])
    # Then it stays below the 4,096 bytes that KMS hashes itself
    assert len(signing.encode(envelope["payloadType"], payload)) + 1000 < 4096


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values that are no objects and no lists."""
    if isinstance(value, dict | list) and value:
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, name))
    else:
        yield path


def replace(value: Json, path: tuple[Any, ...]) -> None:
    """Change the value at ``path`` to another of its type."""
    *above, last = path
    holder: Any = value
    for name in above:
        holder = holder[name]
    old = holder[last]
    if isinstance(old, bool):
        holder[last] = not old
    elif isinstance(old, int | float):
        holder[last] = old + 1
    elif isinstance(old, str):
        holder[last] = f"{old}x"
    else:
        holder[last] = "x"


def reassembled(body: bytes, document: Json, *, has_new_page: bool) -> bytes:
    """The signed file with another report, with a new seal, and on request a new page."""
    parts = json.loads(body)
    names = sorted(parts["files"])
    parts["files"][names[1]] = report.canonical(document).decode()
    if has_new_page:
        with contextlib.suppress(*report.MALFORMED):
            parts["files"][names[0]] = page.render(document)
    return report.canonical(parts)


def test_each_of_200_changed_values_is_found(signed: Signed) -> None:
    # Given 200 values of the report, drawn from all of its parts
    by_part: dict[str, list[tuple[Any, ...]]] = {}
    for path in leaves(signed.document):
        by_part.setdefault(path[0], []).append(path)
    del by_part["sha256"]  # made anew below
    draw = random.Random(SEED)  # noqa: S311 - which values are changed is no secret
    drawn = [path for paths in by_part.values() for path in draw.sample(paths, min(len(paths), 20))]
    drawn += draw.sample(by_part["inputs"], 200)
    assert len({*drawn}) >= 200
    for path in drawn:
        # When one is changed, and seal and page are made anew, as a careful forger would
        forged = copy.deepcopy(signed.document)
        replace(forged, path)
        body = reassembled(signed.body, forged | {"sha256": report.seal(forged)}, has_new_page=True)
        # Then the signed statement does not cover it, or the file is no report any more
        try:
            findings = signed.findings(body)
        except NotAReport:
            continue
        assert "signed statement" in parts(findings, WRONG), path
        assert signature.verdict(findings) == verify.FORGED, path


def of_events(change: Callable[[list[Any]], Any]) -> Callable[[Signed], bytes]:
    def forge(signed: Signed) -> bytes:
        forged = copy.deepcopy(signed.document)
        change(forged["inputs"]["history"])
        return reassembled(signed.body, forged, has_new_page=False)

    return forge


def of_file(change: Callable[[Json, Signed], Any]) -> Callable[[Signed], bytes]:
    def forge(signed: Signed) -> bytes:
        content = json.loads(signed.body)
        return report.canonical(change(content, signed) or content)

    return forge


def of_statement(*path: Any) -> Callable[[Signed], bytes]:
    """A changed value of the statement. Without the private key, a forger cannot sign it again."""

    def change(content: Json, _signed: Signed) -> None:
        statement = json.loads(base64.b64decode(content["envelope"]["payload"]))
        replace(statement, path)
        content["envelope"]["payload"] = base64.b64encode(report.canonical(statement)).decode()

    return of_file(change)


def change_text(kind: str, change: Callable[[str], str]) -> Callable[[Signed], bytes]:
    def change_file(content: Json, _signed: Signed) -> None:
        (name,) = (name for name in content["files"] if name.endswith(kind))
        content["files"][name] = change(content["files"][name])

    return of_file(change_file)


def envelope_of(signer: str, document: str) -> Callable[[Json, Signed], None]:
    """The envelope of another report or of another key, around this report."""

    def change(content: Json, signed: Signed) -> None:
        other = getattr(signed, signer).sign(getattr(signed, document))
        content["envelope"] = json.loads(other)["envelope"]

    return change


def set_envelope(**values: Any) -> Callable[[Json, Signed], None]:
    return lambda content, _signed: content["envelope"].update(values)


def set_signature(name: str, to: Any) -> Callable[[Json, Signed], None]:
    return lambda content, _signed: content["envelope"]["signatures"][0].update({name: to})


FORGERIES: dict[str, Callable[[Signed], bytes]] = {
    "an event is gone": of_events(lambda events: events.pop(3)),
    "an event is added": of_events(lambda events: events.insert(3, events[2])),
    "two events are swapped": of_events(lambda events: events.__setitem__(slice(2, 4), events[3:1:-1])),
    "the events are turned round": of_events(lambda events: events.reverse()),
    "the page is replaced": change_text(".html", lambda text: text.replace("<h1", "<h1 class='x'", 1)),
    "the page has a space more": change_text(".html", lambda text: f"{text} "),
    "the report has a space more": change_text(".json", lambda text: f" {text}"),
    "a file is added": of_file(lambda content, _: content["files"].update({"more.html": "<!doctype html>"})),
    "a file has another name": of_file(
        lambda content, _: content["files"].update({"x.html": content["files"].pop(sorted(content["files"])[0])})
    ),
    "the page is gone": of_file(lambda content, _: content["files"].pop(sorted(content["files"])[0]) and None),
    "signed by another key": of_file(envelope_of("other_signer", "document")),
    "the signature of an earlier end": of_file(envelope_of("signer", "earlier")),
    "no signature": of_file(set_envelope(signatures=[])),
    "two signatures": of_file(
        lambda content, _: content["envelope"].update(signatures=content["envelope"]["signatures"] * 2)
    ),
    "an empty signature": of_file(set_signature("sig", "")),
    "a signature that is no text": of_file(set_signature("sig", 7)),
    "a signature of another form": of_file(set_signature("sig", base64.b64encode(b"\x30\x00").decode())),
    "another key's name": of_file(set_signature("keyid", "arn:aws:kms:us-east-1:123456789012:key/mine")),
    "another type of the payload": of_file(set_envelope(payloadType="application/json")),
    "a type of the payload that is no text": of_file(set_envelope(payloadType=7)),
    "a key's name that is no text": of_file(set_signature("keyid", 7)),
    "signatures that are no list": of_file(set_envelope(signatures=7)),
    "an empty payload": of_file(set_envelope(payload="")),
    "a payload that is no text": of_file(set_envelope(payload=[])),
    "more in the envelope": of_file(set_envelope(more=1)),
    "a hash of the statement": of_statement("subject", 0, "digest", "sha256"),
    "a name of the statement": of_statement("subject", 1, "name"),
    "the job of the statement": of_statement("predicate", "jobId"),
    "the end of the statement": of_statement("predicate", "stopDate"),
    "the type of the statement": of_statement("predicateType"),
    "a space in the file": lambda signed: signed.body.replace(b'{"envelope"', b'{ "envelope"', 1),
    "a part twice": lambda signed: signed.body.replace(b'{"envelope":{', b'{"envelope":{"payloadType":"x",', 1),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_each_forgery_of_a_signed_file_is_found(signed: Signed, name: str) -> None:
    # When a forger changes the signed file
    body = FORGERIES[name](signed)
    assert body != signed.body
    # Then the file is wrong
    assert signature.verdict(signed.findings(body)) == verify.FORGED


def test_a_whole_file_of_another_key_is_wrong(signed: Signed) -> None:
    # Given a report that another key signed correctly
    body = signed.other_signer.sign(signed.document)
    # When it is checked with the stack's key
    findings = signed.findings(body)
    # Then the signature is wrong, and the message names the key of the file
    (wrong,) = (finding for finding in findings if finding.result == WRONG)
    assert wrong.part == "signature"
    assert signed.other_signer.arn in wrong.words


@pytest.mark.parametrize("pem", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_that_is_no_public_key_is_refused(pem: bytes) -> None:
    with pytest.raises(NotAReport, match="not a public key in PEM"):
        signature.load_key(pem)


def test_a_key_of_another_type_is_refused() -> None:
    with mock_aws():
        kms = client("kms")
        arn = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        public = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    with pytest.raises(NotAReport, match="ECC_NIST_P256"):
        signature.load_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"envelope":{},"files":[]}', b'{"envelope":{},"files":{"a":1}}'])
def test_another_file_is_not_a_signed_file(body: bytes) -> None:
    assert signing.read(body) is None


def test_a_signed_file_without_a_report_is_refused(signed: Signed) -> None:
    with pytest.raises(NotAReport):
        signed.findings(report.canonical(json.loads(signed.body) | {"files": {}}))
