"""Fixtures that more than one area uses."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

# CI tries the same examples every time, so that what fails there fails for the change and not by chance.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

# Where functions put their metrics that run in this process; each deployed one has the stack's name.
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "tests")

# Waiting in tests: a minute on AWS is a tenth of a second here.
SPEED = 600.0

# For each client, httpx reads all of certifi's certificates of authorities, which takes longer than most calls. Tests
# call no https address, so one certificate is enough for them and for the commands that they run.
END = "-----END CERTIFICATE-----\n"
ONE_CERTIFICATE = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - deleted when the process ends
ONE_CERTIFICATE.write(certifi.contents().partition(END)[0] + END)
ONE_CERTIFICATE.flush()
os.environ["SSL_CERT_FILE"] = ONE_CERTIFICATE.name

gc.disable()  # until all is imported: that stays, and to look through it for garbage takes a quarter of the time


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.freeze()  # pytest looks through everything five times more, which takes seconds


# What takes longest comes first, so that no core waits for the last.
AREAS = ("statemachine", "faults", "cli", "labelling", "stacks", "bad_input")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        area = item.path.parent.name
        return AREAS.index(area) if area in AREAS else len(AREAS)

    items.sort(key=place)


class ByWhatTheyShare(LoadFileScheduling):
    """Gives one process the tests of a file, which share what is deployed, and all that share synthesized templates."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(super()._split_scope(nodeid))
        return str(file.parent if file.parent.name == "stacks" and file.name != "test_plan.py" else file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByWhatTheyShare:
    return ByWhatTheyShare(config, log)


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    """The one local AWS of the test session (moto's state is the process's), with whatever is deployed in it."""
    with LocalAws(speed=SPEED) as local:
        yield local


@pytest.fixture
def empty_aws(local_aws: LocalAws) -> LocalAws:
    """The local AWS with nothing in it."""
    local_aws.reset()
    return local_aws


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthesized stack."""
    return synthesize(tmp_path_factory.mktemp("assembly"))


LENIENT = {"minF1": 0, "minLabelF1": 0, "maxF1Drop": 1, "stopPreviousModel": True, "maxUnmatchedShare": 1}


@pytest.fixture(scope="session")
def lenient_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthesized stack whose bars every model and labels file passes, and which stops the model before."""
    return synthesize(tmp_path_factory.mktemp("lenient"), {**LOCAL_SETTINGS, **LENIENT})
