"""Measures cold starts: each function's import time and memory in a new process, and the code asset's size.

    python bench/cold_start.py [RUNS]

Imports each handler of the synthesized template with its own environment, RUNS (3) times. Each run has its own process.
A first run that is not counted fills the disk cache. The time excludes the start of Python. The budget is 300 ms for a
stage or an event function, and 500 ms for the API. Prints a Markdown table.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ekyc.localaws.synth import synthesize

LAMBDAS = Path(__file__).resolve().parents[1] / "lambdas"
BUDGET_MS, API_BUDGET_MS, ASSET_BUDGET_MB = 300, 500, 5
# Replaces each reference in the template. It is an ARN because some functions parse one.
PLACEHOLDER = "arn:aws:states:us-east-1:123456789012:stateMachine:x"
# botocore imports awscrt when it is installed. Here the local S3 needs it; Lambda's runtime does not have it.
IMPORT = """
import importlib, resource, sys, time
sys.modules["awscrt"] = None
start = time.perf_counter()
importlib.import_module(sys.argv[1])
print((time.perf_counter() - start) * 1000, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def functions(assembly: Path) -> list[dict[str, Any]]:
    """The properties of the template's functions."""
    (path,) = assembly.glob("*.template.json")
    resources = json.loads(path.read_text())["Resources"].values()
    return [resource["Properties"] for resource in resources if resource["Type"] == "AWS::Lambda::Function"]


def measure_import(function: dict[str, Any], runs: int) -> tuple[float, float]:
    """Median milliseconds and megabytes of the function's import."""
    variables = function["Environment"]["Variables"]
    environment = {name: value if isinstance(value, str) else PLACEHOLDER for name, value in variables.items()}
    environment |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    module = function["Handler"].removesuffix(".handler")
    command = [sys.executable, "-c", IMPORT, module]
    figures = []
    for _ in range(runs + 1):
        run = subprocess.run(  # noqa: S603
            command, cwd=LAMBDAS, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True
        )
        if run.returncode:
            sys.exit(f"{module} cannot be imported: {run.stderr.strip().splitlines()[-1]}")
        figures.append([float(figure) for figure in run.stdout.split()])
    milliseconds, megabytes = zip(*figures[1:], strict=True)
    return statistics.median(milliseconds), statistics.median(megabytes)


def asset_size() -> int:
    """The size of the code asset in bytes, as the compressed zip that the CDK uploads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(LAMBDAS.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(LAMBDAS))
    return len(buffer.getvalue())


def main(runs: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        assembly = synthesize(Path(folder) / "cdk.out")
        print("| Function | import, ms | budget | memory, MB |\n|---|---:|---:|---:|")
        for function in functions(assembly):
            milliseconds, megabytes = measure_import(function, runs)
            budget = API_BUDGET_MS if function["Handler"].startswith("api.") else BUDGET_MS
            over = " **over**" if milliseconds > budget else ""
            name = function["Handler"].removesuffix(".handler")
            print(f"| {name} | {milliseconds:.0f}{over} | {budget} | {megabytes:.0f} |", flush=True)
    print(f"\nThe code asset is {asset_size() / 1e6:.2f} MB of {ASSET_BUDGET_MB}, without the layer.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
