"""The rules of who may import whom, and that each function's environment is exactly what its settings ask for."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ekyc.localaws.synth import synthesize

PROJECT = Path(__file__).parents[2]
STAGES = sorted(
    path.stem for path in (PROJECT / "lambdas/stages").glob("*.py") if path.stem not in {"__init__", "stage"}
)
IN_LAMBDA = {"boto3", "botocore", "aws_lambda_powertools", "orjson", "PIL"}


def imports(path: Path) -> Iterator[str]:
    """The modules that a source file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def packages_imported(folder: str) -> dict[str, set[str]]:
    """For each source file of ``folder`` the top-level packages, or ``ekyc.x`` parts, that it imports."""
    return {
        str(path.relative_to(PROJECT)): {
            ".".join(name.split(".")[:2]) if name.startswith("ekyc") else name.split(".")[0] for name in imports(path)
        }
        for path in (PROJECT / folder).rglob("*.py")
    }


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("lambdas/pipeline", {"stages", "events", "api", "stacks", "ekyc"}),
        ("lambdas/stages", {"events", "api", "stacks", "ekyc"}),
        ("lambdas/events", {"api", "stacks", "ekyc"}),
        ("lambdas/api", {"stages", "events", "stacks", "ekyc"}),
        ("ekyc/localaws", {"stages", "events", "api", "pipeline", "stacks", "ekyc.cli"}),
        ("ekyc/cli", {"stages", "events", "api", "pipeline", "stacks"}),
        ("ekyc/samples", {"stages", "events", "api", "pipeline", "stacks", "ekyc.cli", "ekyc.localaws"}),
        ("stacks", {"stages", "events", "api", "pipeline", "ekyc"}),
    ],
)
def test_imports_go_one_way(folder: str, forbidden: set[str]) -> None:
    found = packages_imported(folder)
    assert found
    assert {path: wrong for path, names in found.items() if (wrong := names & forbidden)} == {}


def test_lambda_code_imports_only_what_lambda_has() -> None:
    # Given what the runtime and the layer bring, and our own packages
    allowed = IN_LAMBDA | {"api", "events", "pipeline", "stages"} | sys.stdlib_module_names
    # Then nothing else is imported
    found = packages_imported("lambdas")
    assert {path: wrong for path, names in found.items() if (wrong := names - allowed)} == {}


def test_the_pipeline_reads_no_environment() -> None:
    # Given the pipeline's modules, but the one that reads settings for the functions
    for path in (PROJECT / "lambdas/pipeline").rglob("*.py"):
        if path.name != "settings.py":
            assert not re.search(r"os\.environ|getenv", path.read_text()), path.name


def test_there_is_a_stage_for_every_function_that_the_state_machine_calls() -> None:
    definition = json.loads((PROJECT / "statemachine/training.asl.json").read_text())
    called = {
        re.sub(r"(?<!^)([A-Z])", r"_\1", state["Arguments"]["FunctionName"].strip("${}")).lower()
        for state in definition["States"].values()
        if state["Type"] == "Task"
    }
    assert called == set(STAGES)


READ_SETTINGS = """
import importlib, json, os, sys
from dataclasses import fields

outside = dict(os.environ)
found = {}
for module, environment in json.load(sys.stdin).items():
    os.environ.clear()
    os.environ.update(outside | environment)
    loaded = importlib.import_module(module)
    found[module] = [field.name.upper() for field in fields(loaded.settings)]
print(json.dumps(found))
"""


def test_each_functions_environment_is_what_its_settings_ask_for(tmp_path: Path) -> None:
    # Given each function's environment in the template, with an ARN for what is known when it is deployed only
    template = json.loads((synthesize(tmp_path) / "ekyc-training.template.json").read_text())
    environments: dict[str, dict[str, Any]] = {
        resource["Properties"]["Handler"].removesuffix(".handler"): {
            name: value if isinstance(value, str) else "arn:aws:x:us-east-1:123456789012:x:x"
            for name, value in resource["Properties"]["Environment"]["Variables"].items()
        }
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    assert {f"stages.{stage}" for stage in STAGES} <= environments.keys()
    # When each module reads its settings from it, in a process of its own as modules do so once
    run = subprocess.run(
        [sys.executable, "-c", READ_SETTINGS],
        input=json.dumps(environments),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / "lambdas"), "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    # Then every value can be read, and there is one for every field and no other
    for module, names in json.loads(run.stdout).items():
        given = {name for name in environments[module] if not name.startswith("POWERTOOLS_")}
        assert given == set(names), module
