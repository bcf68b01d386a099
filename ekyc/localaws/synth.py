"""Synthesizes the stack for the local AWS: the template that `cdk deploy` uses, with local settings."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ekyc.localaws.errors import LocalAwsError

PROJECT = Path(__file__).resolve().parents[2]
# The inputs of an assembly, in addition to the settings and the libraries.
LAYERS = ("build/layers/base/installed", "build/layers/vision/installed")
SOURCES = ("app.py", "stacks", "lambdas", "statemachine", "web", *LAYERS)
LIBRARIES = ("aws-cdk-lib", "constructs", "jsii")
UNSTAGED = {"aws:cdk:disable-asset-staging": True}  # do not copy the layers, which have 180 MB
CACHE_SECONDS = 24 * 3600
WORK_TEAM = "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/specimen-labellers"
TRACEBACK = re.compile(r"^Traceback .*\n(?: .*\n)+", re.MULTILINE)
# Each concurrent call of a function has a process on this machine, and Check photos has two.
LOCAL_SETTINGS: Mapping[str, Any] = {"workTeam": WORK_TEAM, "photoConcurrency": 4}


class SynthesisFailed(LocalAwsError):
    """The CDK app could not be synthesized. The message is its error output."""


def committed() -> dict[str, Any]:
    """The context in `cdk.json`: the defaults of all settings, and the CDK's feature flags."""
    return dict(json.loads((PROJECT / "cdk.json").read_text(encoding="utf-8"))["context"])


def synthesize(out: Path, settings: Mapping[str, Any] = LOCAL_SETTINGS) -> Path:
    """Run `app.py` as the CDK CLI does and return ``out``, the cloud assembly's folder.

    ``settings`` are CDK context values that override those in `cdk.json`. Assemblies are cached in `build/assemblies`
    for a day, by sources and settings. The folder does not contain the assets; its manifest has their paths.

    Raises:
        SynthesisFailed: the app failed. The message is its complete error output.
    """
    context = committed() | dict(settings)
    return shutil.copytree(_cached(context | UNSTAGED), out, dirs_exist_ok=True)


def _cached(context: Mapping[str, Any]) -> Path:
    """The assembly in `build/assemblies`. One process creates it, others wait."""
    folder = PROJECT / "build" / "assemblies"
    folder.mkdir(parents=True, exist_ok=True)
    assembly = folder / _fingerprint(context)
    with _exclusive(assembly.with_suffix(".lock")):
        if not (assembly / "manifest.json").exists():  # the CDK writes this file last
            _remove_old(folder)
            shutil.rmtree(assembly, ignore_errors=True)
            _run_app(assembly, context)
        os.utime(assembly)
    return assembly


def _fingerprint(context: Mapping[str, Any]) -> str:
    """A hash of all inputs of the assembly."""
    libraries = [version(library) for library in LIBRARIES]
    digest = hashlib.sha256(json.dumps([context, sys.version, libraries], sort_keys=True).encode())
    for source in (PROJECT / name for name in SOURCES):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(PROJECT)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """A context in which no other process has the lock. The lock is released when this process ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_old(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process may delete it at the same time
            if path.stat().st_mtime < time.time() - CACHE_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _run_app(out: Path, context: Mapping[str, Any]) -> None:
    environment = os.environ | {"CDK_OUTDIR": str(out), "CDK_CONTEXT_JSON": json.dumps(context)}
    # The app validates settings for the Region of the credentials, which is not the local AWS's.
    environment.pop("CDK_DEFAULT_REGION", None)
    # CDK's validation of the template takes half of the time. `make check` runs it too.
    environment["CDK_VALIDATION"] = "false"
    app = subprocess.run(
        [sys.executable, "app.py"], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    if app.returncode:
        raise SynthesisFailed(TRACEBACK.sub("", app.stderr).strip() or "app.py ended with an error")
