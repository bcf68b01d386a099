"""The pipeline for the fault tests, deployed in the test session's local AWS."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import run_published
from deployment import SETTINGS, Bench, bench

from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import synthesize


@pytest.fixture(scope="session")
def stack_for_trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthesized stack with the settings of the matrix."""
    return synthesize(tmp_path_factory.mktemp("stack-for-trials"), SETTINGS)


@pytest.fixture(scope="module")
def pipeline(local_aws: LocalAws, stack_for_trials: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The deployed pipeline with a live model."""
    with bench(local_aws, stack_for_trials, tmp_path_factory.mktemp("labels")) as pipeline_bench:
        run_published(pipeline_bench, pipeline_bench.create("the first live model"))
        yield pipeline_bench
