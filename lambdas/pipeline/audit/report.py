"""The audit report as a document: the inputs, the facts and answers, the hash of each, and a seal over the whole.

The same inputs give the same bytes. ``docs/audit-schema.json`` describes the document.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pipeline.audit import answers, facts

SCHEMA, VERSION = "ekyc-audit-report", "1.0"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and a newline at its end, in UTF-8."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return (text + "\n").encode()


def sha256(value: Any) -> str:
    """The hash of a JSON value. A list is hashed entry by entry, so that no second copy is in memory."""
    hashed = hashlib.sha256()
    for part in value if isinstance(value, list) else [value]:
        hashed.update(canonical(part))
    return hashed.hexdigest()


def build(inputs: Mapping[str, Any], *, job_id: str, stored: str, previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """The report.

    Args:
        stored: S3 URI of the report.
        previous: ``{object, versionId, sha256}`` of the job's report before this one; None for the first.
    """
    found = facts.derive(inputs)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "jobId": job_id,
        "execution": inputs["execution"]["name"],
        "provisional": "stopDate" not in inputs["execution"],
        "answers": answers.answer_all(found),
        "facts": found,
        "inputs": inputs,
        "hashes": {name: sha256(value) for name, value in inputs.items()},
        "stored": stored,
        "previous": previous,
    }
    return report | {"sha256": seal(report)}


def seal(report: Mapping[str, Any]) -> str:
    """The hash over the report without the seal; inputs are included by their hashes."""
    return sha256({name: value for name, value in report.items() if name not in ("inputs", "sha256")})
