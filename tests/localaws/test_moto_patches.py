"""The border to moto: what is said of a moto that the patches do not fit."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

START = "from ekyc.cli import main\nsys.argv = ['ekyc', 'local', '--port', '0']\nmain.app()"


def start_local_aws(change: str = "", *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`ekyc local` in a process in which the Python text `change` has run, and `path` is where packages are first."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{change}\n{START}"],
        env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_another_version_of_moto_than_the_tested_one_is_refused(tmp_path: Path) -> None:
    # Given another version of moto
    (tmp_path / "moto-99.0.1.dist-info").mkdir()
    (tmp_path / "moto-99.0.1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: moto\nVersion: 99.0.1\n")
    # When the local AWS is started
    started = start_local_aws(path=tmp_path)
    # Then it says which version was tested, which one is there, and what to run
    assert started.returncode == 1
    assert started.stderr == (
        f"ekyc: moto 99.0.1 is installed, but {version('moto')} was tested. Run .venv/bin/pip install --require-hashes "
        "--requirement requirements-dev.txt\n"
    )


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        # A method that a patch calls and replaces
        (
            "from moto.events.models import Rule; del Rule.send_to_targets",
            "moto.events.models.Rule.send_to_targets",
        ),
        # A method that a patch replaces
        (
            "from moto.stepfunctions.parser.asl.eval.environment import Environment; del Environment.set_stop",
            "moto.stepfunctions.parser.asl.eval.environment.Environment.set_stop",
        ),
        # A name that a patch imports
        ("import moto.kms.utils as it; del it.RSAPrivateKey", "moto.kms.utils.RSAPrivateKey"),
        # A module that a patch imports
        ("sys.modules['moto.dynamodb.models.table'] = None", "moto.dynamodb.models.table"),
    ],
)
def test_what_moto_no_longer_has_is_named(change: str, gone: str) -> None:
    # Given a moto without something that a patch needs
    # When the local AWS is started
    started = start_local_aws(change)
    # Then it names that, without a stack trace
    assert started.returncode == 1
    assert started.stderr == (
        f"ekyc: moto {version('moto')} has no {gone}, which ekyc/localaws/moto_patches needs. Change the patch, or pin "
        "a version with it in pyproject.toml and run make lock.\n"
    )
