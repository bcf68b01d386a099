"""`ekyc` as a person runs it: a process of its own, with its own environment, folder, output and exit code.

The process is forked from one that has imported what the commands import, as that takes longer than most commands. A
test that looks at a command while it runs starts the installed program itself.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import ENOUGH

# The libraries that commands import when they are called. What `ekyc.cli` reads of the environment, it reads when it is
# imported, so that is left to the command's process.
IMPORTED = ["boto3", "cv2", "httpx", "numpy", "PIL.Image", "rich.live", "rich.progress", "rich.table", "typer"]

_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload(IMPORTED)


def environment_without_aws() -> dict[str, str]:
    """This process's environment without the variables of AWS and of the command."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EKYC_"))}


def ekyc(*arguments: str | Path, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder`` until it ends. Of AWS's variables and its own it has ``variables`` alone."""
    words, environment = [str(one) for one in arguments], environment_without_aws() | variables
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place, "out"), Path(place, "err")]
        process = _forked.Process(target=_run, args=(words, folder or Path.cwd(), environment, streams))
        process.start()
        process.join(ENOUGH)
        if process.exitcode is None:
            process.kill()
            process.join()
        out, err = (stream.read_bytes().decode() for stream in streams)
    assert process.exitcode is not None
    return subprocess.CompletedProcess(words, process.exitcode, out, err)


def _run(words: list[str], folder: Path, environment: Mapping[str, str], streams: list[Path]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["ekyc", *words]
    from ekyc.cli.main import app

    app()
