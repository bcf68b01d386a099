"""Synthesizes the stack for the local AWS: the very template that `cdk deploy` uses, with local settings."""

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
# What an assembly follows from, besides the settings and the libraries.
SOURCES = ("app.py", "stacks", "lambdas", "statemachine", "build/layer/installed")
LIBRARIES = ("aws-cdk-lib", "constructs", "jsii")
UNSTAGED = {"aws:cdk:disable-asset-staging": True}  # the layer has 26 MB
KEPT_SECONDS = 24 * 3600
WORK_TEAM = "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/specimen-labellers"
TRACEBACK = re.compile(r"^Traceback .*\n(?: .*\n)+", re.MULTILINE)
LOCAL_SETTINGS: Mapping[str, Any] = {"workTeam": WORK_TEAM}


class SynthesisFailed(LocalAwsError):
    """The CDK app could not be synthesized; the message is what it said."""


def synthesize(out: Path, settings: Mapping[str, Any] = LOCAL_SETTINGS) -> Path:
    """Run `app.py` as the CDK CLI does and return ``out``, the cloud assembly's folder.

    ``settings`` are CDK context values that override those of `cdk.json`. If the same sources and settings gave an
    assembly within a day, it is copied from `build/assemblies`. The assets are not in the folder: its manifest names
    their sources.

    Raises:
        SynthesisFailed: with the app's own words, all lines of them.
    """
    context = json.loads((PROJECT / "cdk.json").read_text())["context"] | dict(settings)
    return shutil.copytree(_kept(context | UNSTAGED), out, dirs_exist_ok=True)


def _kept(context: Mapping[str, Any]) -> Path:
    """The assembly in `build/assemblies`; one process makes it, others wait for it."""
    folder = PROJECT / "build" / "assemblies"
    folder.mkdir(parents=True, exist_ok=True)
    assembly = folder / _fingerprint(context)
    with _alone(assembly.with_suffix(".lock")):
        if not (assembly / "manifest.json").exists():  # which the CDK writes last
            _remove_old(folder)
            shutil.rmtree(assembly, ignore_errors=True)
            _run_app(assembly, context)
        os.utime(assembly)
    return assembly


def _fingerprint(context: Mapping[str, Any]) -> str:
    """Differs when the assembly may."""
    libraries = [version(library) for library in LIBRARIES]
    digest = hashlib.sha256(json.dumps([context, sys.version, libraries], sort_keys=True).encode())
    for source in (PROJECT / name for name in SOURCES):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(PROJECT)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """While the context is open, no other process has the lock; it ends with the process that has it."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_old(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if path.stat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _run_app(out: Path, context: Mapping[str, Any]) -> None:
    environment = os.environ | {"CDK_OUTDIR": str(out), "CDK_CONTEXT_JSON": json.dumps(context)}
    # Settings are checked against the Region of the credentials, which are not those of the local AWS.
    environment.pop("CDK_DEFAULT_REGION", None)
    # Half of the time goes into CDK's validation of the template, which `make check` does too.
    environment["CDK_VALIDATION"] = "false"
    app = subprocess.run(
        [sys.executable, "app.py"], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    if app.returncode:
        raise SynthesisFailed(TRACEBACK.sub("", app.stderr).strip() or "app.py ended with an error")
