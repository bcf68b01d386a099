"""What the tests of the local AWS do again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from assembly import write
from executions import Deploy, Executions

from ekyc.localaws.server import LocalAws


@pytest.fixture
def deploy(empty_aws: LocalAws, tmp_path: Path) -> Deploy:
    """`deploy(code, resources)` deploys a small assembly into the empty local AWS; gives each resource's Ref."""

    def deploy_resources(code: str, resources: dict[str, Any]) -> dict[str, str]:
        directory = write(tmp_path / "assembly", code, resources, {name: {"Ref": name} for name in resources})
        return empty_aws.deploy(directory)

    return deploy_resources


@pytest.fixture
def executions(local_aws: LocalAws) -> Executions:
    return Executions(local_aws.client("stepfunctions"))
