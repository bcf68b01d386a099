"""Patches moto's KMS: the key types of templates, signatures of digests, the salt length in PSS, slow key creation."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ekyc.localaws.moto_patches.border import replace

RAW_LIMIT = 4096  # bytes, the largest message that KMS itself hashes. Source: KMS API reference, Sign.
HASHES: dict[str, type[Any]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


class Digest(bytes):
    """The digest of a message (MessageType DIGEST). Source: KMS API reference, Sign and Verify."""


def patch() -> None:
    """Patch moto's KMS, once per process."""
    from moto.kms import models
    from moto.kms.responses import KmsResponse
    from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey

    get_param = KmsResponse._get_param

    # moto ignores MessageType. Here the type of the message says whether it is a digest.
    def get_marked_param(self: Any, param_name: str, if_none: Any = None) -> Any:
        value = get_param(self, param_name, if_none)
        if param_name == "Message" and value and get_param(self, "MessageType") == "DIGEST":
            return Digest(value)
        return value

    def sign(self: Any, message: bytes, signing_algorithm: str) -> bytes:
        return self.private_key.sign(message, *_scheme(message, signing_algorithm))

    def verify(self: Any, message: bytes, signature: bytes, signing_algorithm: str) -> bool:
        try:
            self.private_key.public_key().verify(signature, message, *_scheme(message, signing_algorithm))
        except InvalidSignature:
            return False
        return True

    # moto generates an RSA key pair for each symmetric key too, which takes a third of a deployment's time.
    generate = models.generate_private_key
    generate_once = functools.cache(generate)

    def generate_private_key(key_spec: str) -> Any:
        return generate_once(key_spec) if key_spec == "SYMMETRIC_DEFAULT" else generate(key_spec)

    # moto creates a symmetric key for every key of a template.
    def create_from_template(
        _class: Any, /, _name: str, template: Any, account_id: str, region_name: str, **_others: Any
    ) -> Any:
        return _create_key(models.kms_backends[account_id][region_name], template["Properties"])

    replace(models.Key, "create_from_cloudformation_json", classmethod(create_from_template))
    replace(models, "generate_private_key", generate_private_key)
    replace(KmsResponse, "_get_param", get_marked_param)
    for kind in (RSAPrivateKey, ECDSAPrivateKey):
        replace(kind, "sign", sign)
        replace(kind, "verify", verify)


def _scheme(message: bytes, signing_algorithm: str) -> tuple[Any, ...]:
    """The arguments of `cryptography` after the message. Raises ValidationException with KMS's message."""
    from moto.kms.exceptions import ValidationException

    algorithm = HASHES[signing_algorithm[-3:]]()
    if isinstance(message, Digest):
        if len(message) != algorithm.digest_size:
            raise ValidationException(f"Digest is invalid length for algorithm {signing_algorithm}.")
    elif len(message) > RAW_LIMIT:
        raise ValidationException(
            "1 validation error detected: Value at 'message' failed to satisfy constraint: "
            f"Member must have length less than or equal to {RAW_LIMIT}"
        )
    hashing = Prehashed(algorithm) if isinstance(message, Digest) else algorithm
    if signing_algorithm.startswith("ECDSA"):
        return (ec.ECDSA(hashing),)
    if "PSS" in signing_algorithm:
        return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.DIGEST_LENGTH), hashing
    return padding.PKCS1v15(), hashing


def _create_key(backend: Any, properties: Mapping[str, Any]) -> Any:
    """Create the key with a template's properties."""
    key = backend.create_key(
        policy=properties["KeyPolicy"],
        key_usage=properties.get("KeyUsage", "ENCRYPT_DECRYPT"),
        key_spec=properties.get("KeySpec", "SYMMETRIC_DEFAULT"),
        description=properties.get("Description"),
        tags=properties.get("Tags", []),
    )
    key.key_rotation_status = properties.get("EnableKeyRotation", False)
    key.enabled = properties.get("Enabled", True)
    return key
