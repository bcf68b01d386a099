"""The border to moto: which version the patches were tested with, and that what they replace is there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType
from typing import Any

from ekyc.localaws.errors import LocalAwsError

INSTALL = ".venv/bin/pip install --require-hashes --requirement requirements-dev.txt"
IMPORTED = re.compile(r"cannot import name '(\w+)'")  # in the words of an ImportError


class MotoChanged(LocalAwsError):
    """moto is not as the patches need it: another version, or without something that a patch replaces or uses."""


def check_version() -> None:
    """Raises MotoChanged when another version of moto is installed than the one that this project pins."""
    tested, installed = _pinned(), metadata.version("moto")
    if installed != tested:
        raise MotoChanged(f"moto {tested} was tested; {installed} is installed: run {INSTALL}")


def replace(owner: Any, name: str, patch: Any) -> None:
    """Put `patch` in the place of an attribute of a class or module. Raises MotoChanged when there is none."""
    if not hasattr(owner, name):
        raise _gone(f"{_path(owner)}.{name}")
    setattr(owner, name, patch)


def add(owner: Any, name: str, patch: Any) -> None:
    """Give a class of moto an operation, whether or not moto has one of that name."""
    setattr(owner, name, patch)


@contextlib.contextmanager
def say_what_is_gone() -> Iterator[None]:
    """While the context is open, a module or name of moto that is not there raises MotoChanged."""
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
        f"moto {metadata.version('moto')} has no {path}, which ekyc/localaws/moto_patches needs: change the patch, or "
        "pin a version that has it in pyproject.toml and run make lock."
    )


def _path(owner: Any) -> str:
    """The full name of a class or module; of another object, that of its class."""
    if isinstance(owner, ModuleType):
        return owner.__name__
    kind = owner if isinstance(owner, type) else type(owner)
    return f"{kind.__module__}.{kind.__qualname__}"


def _pinned() -> str:
    """The version of moto among this project's dependencies (`pyproject.toml`)."""
    return next(one.partition("==")[2] for one in metadata.requires("ekyc") or () if one.startswith("moto["))
