"""Fixtures that more than one area uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

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

AREAS = ("statemachine", "faults", "cli")  # what takes longest comes first, so that no core waits for the last


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        area = item.path.parent.name
        return AREAS.index(area) if area in AREAS else len(AREAS)

    items.sort(key=place)


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


@pytest.fixture(scope="session")
def lenient_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthesized stack whose bars every model and labels file passes, and which stops the model before."""
    bars = {"minF1": 0, "minLabelF1": 0, "maxF1Drop": 1, "stopPreviousModel": True, "maxUnmatchedShare": 1}
    return synthesize(tmp_path_factory.mktemp("lenient"), {**LOCAL_SETTINGS, **bars})
