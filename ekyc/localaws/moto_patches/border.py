"""Checks moto's version, and that moto has what the patches replace."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType
from typing import Any

from ekyc.localaws.errors import LocalAwsError

INSTALL = ".venv/bin/pip install --require-hashes --requirement requirements-dev.txt"
IMPORTED = re.compile(r"cannot import name '(\w+)'")  # the message of an ImportError


class MotoChanged(LocalAwsError):
    """moto has another version than the tested one, or lacks something that a patch needs."""


def check_version() -> None:
    """Raises MotoChanged if the installed version of moto is not the one that this project pins."""
    tested, installed = _pinned(), metadata.version("moto")
    if installed != tested:
        raise MotoChanged(f"moto {installed} is installed, but {tested} was tested. Run {INSTALL}")


def replace(owner: Any, name: str, patch: Any) -> None:
    """Replace an attribute of a class or module. Raises MotoChanged if it does not exist."""
    if not hasattr(owner, name):
        raise _gone(f"{_path(owner)}.{name}")
    setattr(owner, name, patch)


def add(owner: Any, name: str, patch: Any) -> None:
    """Add an operation to a class of moto, or replace it."""
    setattr(owner, name, patch)


@contextlib.contextmanager
def report_missing() -> Iterator[None]:
    """A context in which a missing module or name of moto raises MotoChanged."""
    try:
        yield
    except ImportError as error:
        path = error.name or ""
        if name := IMPORTED.match(str(error)):
            path = f"{path}.{name[1]}"
        if not path.startswith("moto."):
            raise
        raise _gone(path) from error
    except AttributeError as error:
        path = f"{_path(error.obj)}.{error.name}"
        if not path.startswith("moto."):
            raise
        raise _gone(path) from error


def _gone(path: str) -> MotoChanged:
    return MotoChanged(
        f"moto {metadata.version('moto')} has no {path}, which ekyc/localaws/moto_patches needs. Change the patch, or "
        "pin a version with it in pyproject.toml and run make lock."
    )


def _path(owner: Any) -> str:
    """The full name of a class or module, or of another object's class."""
    if isinstance(owner, ModuleType):
        return owner.__name__
    kind = owner if isinstance(owner, type) else type(owner)
    return f"{kind.__module__}.{kind.__qualname__}"


def _pinned() -> str:
    """The version of moto among this project's dependencies (`pyproject.toml`)."""
    requirements = metadata.requires("ekyc") or ()
    return next(line.partition("==")[2] for line in requirements if line.startswith("moto["))
