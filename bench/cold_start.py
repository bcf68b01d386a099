"""Measures cold starts: each function's import, its AWS clients, its memory, and the code asset's size.

    python bench/cold_start.py [RUNS]

Imports each handler of the synthesized template with its own environment, then creates a client for each service that
the function's role allows. Each of the RUNS (5) has its own process. The figures are those of the fastest run, because
other processes slow the rest. As in Lambda, our code and the layers' libraries have no bytecode, so Python compiles
them. The times are processor time, without the start of Python. The budget for both is 300 ms for a stage or an event
function, and 500 ms for the API. Prints a Markdown table.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ekyc.localaws.synth import synthesize

sys.path.insert(0, str(Path(__file__).parents[1]))

from stacks.runtime import package

PROJECT = Path(__file__).resolve().parents[1]
LAMBDAS = PROJECT / "lambdas"
BUDGET_MS, API_BUDGET_MS, ASSET_BUDGET_MB = 300, 500, 5
# Replaces each reference in the template. It is an ARN because some functions parse one.
PLACEHOLDER = "arn:aws:states:us-east-1:123456789012:stateMachine:x"
# botocore imports awscrt when it is installed. Here the local S3 needs it; Lambda's runtime does not have it.
IMPORT = r"""
import importlib, re, sys, time
sys.modules["awscrt"] = None
start = time.process_time()
importlib.import_module(sys.argv[1])
imported = time.process_time()
from pipeline.clients import clients
for service in sys.argv[2:]:
    getattr(clients, service)
ready = time.process_time()
# Not ru_maxrss: it starts with the parent's value.
peak = re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())
print((imported - start) * 1000, (ready - start) * 1000, int(peak[1]) / 1024)
"""
# The clients by the prefix of a service's actions. The functions do not call the other services that roles allow.
CLIENTS = {name: name for name in ("dynamodb", "events", "rekognition", "s3", "sagemaker", "sns", "ssm")}
CLIENTS |= {"lambda": "lambda_", "states": "stepfunctions"}


def functions(assembly: Path) -> list[tuple[dict[str, Any], list[str]]]:
    """The properties of each function of the template, and the clients of the services that its role allows."""
    (path,) = assembly.glob("*.template.json")
    resources = json.loads(path.read_text())["Resources"].values()
    services: dict[str, set[str]] = {}
    for resource in resources:
        if resource["Type"] == "AWS::IAM::Policy":
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                for role in resource["Properties"]["Roles"]:
                    services.setdefault(role["Ref"], set()).update(action.partition(":")[0] for action in actions)
    return [
        (function, [CLIENTS[name] for name in sorted(services[function["Role"]["Fn::GetAtt"][0]] & CLIENTS.keys())])
        for function in (each["Properties"] for each in resources if each["Type"] == "AWS::Lambda::Function")
    ]


def install(folder: Path) -> None:
    """Write our code and the installed form of the layers' libraries to ``folder``, without bytecode."""
    package(folder)
    for entry in (PROJECT / "build" / "layers").glob("*/python/*"):
        installed = Path(sysconfig.get_path("purelib"), entry.name)
        if installed.is_dir():
            shutil.copytree(installed, folder / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif installed.suffix == ".py":
            shutil.copy(installed, folder)


def measure_start(function: dict[str, Any], clients: list[str], code: Path, runs: int) -> tuple[float, float, float]:
    """The lowest milliseconds of the function's import, milliseconds with its ``clients``, and megabytes."""
    variables = function["Environment"]["Variables"]
    environment = {name: value if isinstance(value, str) else PLACEHOLDER for name, value in variables.items()}
    environment |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
    module = function["Handler"].removesuffix(".handler")
    command = [sys.executable, "-c", IMPORT, module, *clients]
    figures = []
    for _ in range(runs):
        run = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True)  # noqa: S603
        if run.returncode:
            sys.exit(f"{module} cannot be imported: {run.stderr.strip().splitlines()[-1]}")
        figures.append([float(figure) for figure in run.stdout.split()])
    imported, ready, megabytes = map(min, zip(*figures, strict=True))
    return imported, ready, megabytes


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
        assembly, code = synthesize(Path(folder) / "cdk.out"), Path(folder) / "code"
        install(code)
        print("| Function | import, ms | with its clients, ms | budget | memory, MB |\n|---|---:|---:|---:|---:|")
        for function, clients in functions(assembly):
            imported, ready, megabytes = measure_start(function, clients, code, runs)
            budget = API_BUDGET_MS if function["Handler"].startswith("api.") else BUDGET_MS
            over = " **over**" if ready > budget else ""
            name = function["Handler"].removesuffix(".handler")
            print(f"| {name} | {imported:.0f} | {ready:.0f}{over} | {budget} | {megabytes:.0f} |", flush=True)
    print(f"\nThe code asset is {asset_size() / 1e6:.2f} MB of {ASSET_BUDGET_MB}, without the layers.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
