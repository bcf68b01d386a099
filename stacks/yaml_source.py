"""Reads the sources that people write in YAML, so that what several parts share stands once."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

SHARED = "x-"
"""Begins each key at the top of a file that holds what its parts share, and that is no part of what it describes."""


class SourceError(ValueError):
    """The file is not YAML, or gives a key twice; the message says in which line."""


def read(file: Path) -> dict[str, Any]:
    """What ``file`` describes, without the keys that begin with `SHARED`.

    Raises:
        SourceError: ``file`` cannot be read as YAML 1.2.
    """
    try:
        parts = YAML(typ="safe", pure=True).load(file)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise SourceError(f"{file.name}, line {line}: {error.problem}. Correct the file.") from error
    return {key: value for key, value in parts.items() if not key.startswith(SHARED)}
