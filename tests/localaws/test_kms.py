"""KMS: what is signed, verified by another implementation."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from ekyc.localaws.server import LocalAws

MESSAGE = b"the report of the job"
DIGEST = hashlib.sha256(MESSAGE).digest()
ECDSA, PSS, PKCS1 = "ECDSA_SHA_256", "RSASSA_PSS_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256"
SPECS = {ECDSA: "ECC_NIST_P256", PSS: "RSA_2048", PKCS1: "RSA_2048"}
SCHEMES: dict[str, tuple[Any, ...]] = {
    ECDSA: (ec.ECDSA(hashes.SHA256()),),
    PSS: (padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32), hashes.SHA256()),
    PKCS1: (padding.PKCS1v15(), hashes.SHA256()),
}


@pytest.mark.parametrize("algorithm", SPECS)
def test_raw_and_digest_sign_the_same_message(local_aws: LocalAws, algorithm: str) -> None:
    # Given a key for signing
    kms = local_aws.client("kms")
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec=SPECS[algorithm])["KeyMetadata"]["KeyId"]
    public: Any = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    for kind, signed in (("RAW", MESSAGE), ("DIGEST", DIGEST)):
        # When KMS signs the message, or the digest that was made elsewhere
        call = {"KeyId": key, "MessageType": kind, "Message": signed, "SigningAlgorithm": algorithm}
        signature = kms.sign(**call)["Signature"]
        # Then it is a signature of the message, for others and for KMS itself
        public.verify(signature, MESSAGE, *SCHEMES[algorithm])
        assert kms.verify(**call, Signature=signature)["SignatureValid"]


@pytest.mark.parametrize(
    ("kind", "message", "words"),
    [
        ("DIGEST", MESSAGE, "Digest is invalid length for algorithm ECDSA_SHA_256."),
        ("RAW", b"x" * 4097, "Member must have length less than or equal to 4096"),
    ],
)
def test_what_cannot_be_signed_is_refused(local_aws: LocalAws, kind: str, message: bytes, words: str) -> None:
    # Given a key for signing
    kms = local_aws.client("kms")
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
    # When it is to sign a digest of another length, or more than KMS hashes itself
    with pytest.raises(ClientError) as refused:
        kms.sign(KeyId=key, MessageType=kind, Message=message, SigningAlgorithm=ECDSA)
    # Then KMS says why not
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert words in refused.value.response["Error"]["Message"]
