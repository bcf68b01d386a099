"""Cold starts: how long each function takes to import in a fresh process, how much memory that is, and what is sent.

    python bench/cold_start.py [RUNS]

Imports every handler of the synthesized template with its own environment, RUNS (3) times, each in a process of its
own after one that fills the disk's cache. Milliseconds are those of the import alone, without Python's own start. The
budget is 300 ms for a stage or an event function, 500 ms for the API. Prints a Markdown table.
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
# What a reference in the template becomes: some functions take an ARN apart.
PLACEHOLDER = "arn:aws:states:us-east-1:123456789012:stateMachine:x"
# Lambda's runtime has no awscrt, which is here for the local S3 and which botocore imports where it finds it.
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
    return [one["Properties"] for one in resources if one["Type"] == "AWS::Lambda::Function"]


def imported(function: dict[str, Any], runs: int) -> tuple[float, float]:
    """Median milliseconds and megabytes of the function's import."""
    variables = function["Environment"]["Variables"]
    environment = {name: value if isinstance(value, str) else PLACEHOLDER for name, value in variables.items()}
    environment |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    module = function["Handler"].removesuffix(".handler")
    command = [sys.executable, "-c", IMPORT, module]
    found = []
    for _ in range(runs + 1):
        run = subprocess.run(  # noqa: S603
            command, cwd=LAMBDAS, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True
        )
        if run.returncode:
            sys.exit(f"{module} cannot be imported: {run.stderr.strip().splitlines()[-1]}")
        found.append([float(figure) for figure in run.stdout.split()])
    milliseconds, megabytes = zip(*found[1:], strict=True)
    return statistics.median(milliseconds), statistics.median(megabytes)


def asset_size() -> int:
    """Bytes of the code asset as the CDK sends it, a compressed zip."""
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
            milliseconds, megabytes = imported(function, runs)
            budget = API_BUDGET_MS if function["Handler"].startswith("api.") else BUDGET_MS
            over = " **over**" if milliseconds > budget else ""
            name = function["Handler"].removesuffix(".handler")
            print(f"| {name} | {milliseconds:.0f}{over} | {budget} | {megabytes:.0f} |", flush=True)
    print(f"\nThe code asset is {asset_size() / 1e6:.2f} MB of {ASSET_BUDGET_MB}; the layer comes beside it.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
