"""Reads sources in YAML, whose anchors let several parts share one definition."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

SHARED = "x-"
"""Prefix of the top-level keys that hold shared definitions. `read` leaves these keys out."""


class SourceError(ValueError):
    """The file is not YAML, or has a key twice. The message names the line."""


def read(file: Path) -> dict[str, Any]:
    """Return the content of ``file`` without the top-level keys that begin with `SHARED`.

    Raises:
        SourceError: ``file`` cannot be read as YAML 1.2.
    """
    try:
        parts = YAML(typ="safe", pure=True).load(file)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise SourceError(f"{file.name}, line {line}: {error.problem}. Correct the file.") from error
    return {key: value for key, value in parts.items() if not key.startswith(SHARED)}
