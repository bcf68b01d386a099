"""Builds the JSON document of an audit report: the inputs and their hashes, the facts, the answers, and a seal.

The same inputs give the same bytes. The schema is ``docs/audit-schema.json``.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pipeline.audit import answers, facts, page

SCHEMA, VERSION = "ekyc-audit-report", "1.0"
MALFORMED = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, OSError, RecursionError)
"""The errors of reading values that do not have the structure that the pipeline writes."""


def canonical(value: Any) -> bytes:
    """JSON in UTF-8 with sorted keys, without spaces, and with a newline at the end."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return (text + "\n").encode()


def sha256(value: Any) -> str:
    """The SHA-256 (hex) of a JSON value. The items of a list are hashed one after the other, to save memory."""
    hashed = hashlib.sha256()
    for part in value if isinstance(value, list) else [value]:
        hashed.update(canonical(part))
    return hashed.hexdigest()


def build(inputs: Mapping[str, Any], *, job_id: str, stored: str, previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Build the report.

    Args:
        stored: the S3 URI of the report.
        previous: ``{object, versionId, sha256}`` of the job's previous report. None for the first report.
    """
    derived, answered = derive(inputs)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "jobId": job_id,
        "execution": inputs["execution"]["name"],
        "provisional": "stopDate" not in inputs["execution"],
        "answers": answered,
        "facts": derived,
        "inputs": inputs,
        "hashes": {name: sha256(value) for name, value in inputs.items()},
        "stored": stored,
        "previous": previous,
    }
    return report | {"sha256": seal(report)}


def derive(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Derive the facts and the answers from the inputs.

    An execution that was started without the API can have any input. No input prevents the report, because otherwise
    such an execution could train and publish a model without one.

    Raises:
        One of `MALFORMED`: other values in the inputs are malformed, as only a forged report has them.
    """
    try:
        derived = facts.derive(inputs)
        page.require_figures(derived)
        return derived, answers.answer_all(derived)
    except MALFORMED:
        derived = facts.derive(inputs, only_own=True)
        return derived, answers.answer_all(derived)


def seal(report: Mapping[str, Any]) -> str:
    """The SHA-256 of the report without the seal and the inputs. The report has the hashes of the inputs."""
    return sha256({name: value for name, value in report.items() if name not in ("inputs", "sha256")})
