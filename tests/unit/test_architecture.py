"""The rules of who may import whom, and that each function's environment is exactly what its settings ask for."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ekyc.localaws.synth import synthesize
from stacks import definition

PROJECT = Path(__file__).parents[2]
STAGES = sorted(
    path.stem for path in (PROJECT / "lambdas/stages").glob("*.py") if path.stem not in {"__init__", "stage"}
)
IN_LAMBDA = {"boto3", "botocore", "aws_lambda_powertools", "numpy", "orjson", "PIL"}
FOR_SOME = {
    "lambdas/outlines/": {"cv2"},
    "lambdas/pipeline/photos/alike.py": {"cv2"},
    "lambdas/pipeline/audit/signature.py": {"cryptography", "securesystemslib"},  # runs on a user's machine
}


def imports(path: Path) -> Iterator[str]:
    """The modules that a source file imports, anywhere in it."""
    return imports_in(ast.parse(path.read_text()))


def imports_for_types(path: Path) -> Iterator[str]:
    """The modules that a source file imports for the type checker alone."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imports_in(node)


def imports_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
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
        ("lambdas/rules", {"stages", "events", "api", "pipeline", "outlines", "stacks", "ekyc", "boto3", "botocore"}),
        (
            "lambdas/outlines",
            {"stages", "events", "api", "pipeline", "rules", "stacks", "ekyc", *(IN_LAMBDA - {"numpy"})},
        ),
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


def find_modules(root: Path, *packages: str) -> dict[str, Path]:
    """The source file of each module of the ``packages`` in ``root``, by the name by which code imports it."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in packages
        for path in root.glob(f"{package}/**/*.py")
    }


def modules_imported(module: str, modules: Mapping[str, Path]) -> set[str]:
    """Those of ``modules`` that ``module`` imports: ``from package import name`` imports the module ``package.name``,
    or the package when there is no such module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules[module].read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            paths = [f"{node.module}.{name.name}" for name in node.names]
            found.update(path if path in modules else str(node.module) for path in paths)
    return found & modules.keys()


def find_circle(modules: Mapping[str, Path]) -> list[str]:
    """A circle of imports among ``modules``, its first module also last, or nothing."""
    try:
        TopologicalSorter({module: modules_imported(module, modules) for module in modules}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_leads_back_to_where_it_began() -> None:
    """Every import counts, by its text: at the top of a module, inside a function and for types alone. That Python runs
    the packages around an imported module first does not count, as a package may import its own modules."""
    modules = find_modules(PROJECT, "ekyc", "stacks") | find_modules(PROJECT / "lambdas", "*")
    assert {"ekyc.localaws", "stacks.settings", "stages.check_photos"} <= modules.keys()
    assert find_circle(modules) == []


@pytest.mark.parametrize(
    "import_of_a",
    ["import p.a", "from p import a", "from p.a import x", "def late():\n    from p.a import x"],
)
def test_a_circle_of_imports_is_found(tmp_path: Path, import_of_a: str) -> None:
    # Given a package whose modules a and b import each other, and c, which nothing imports
    (tmp_path / "p").mkdir()
    for name, text in {"__init__": "", "a": "from p import b", "b": import_of_a, "c": "import p.a"}.items():
        (tmp_path / f"p/{name}.py").write_text(text)
    # Then the circle is named, and c is not in it
    assert set(find_circle(find_modules(tmp_path, "p"))) == {"p.a", "p.b"}


def changes_of_moto(path: Path) -> list[str]:
    """What a source file assigns to something that it imports from moto, such as ``Rule.send_to_targets``."""
    tree = ast.parse(path.read_text())
    of_moto = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "moto"
        for name in node.names
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if ast.unparse(node).split(".")[0] in of_moto
    ]


def test_moto_is_changed_at_its_border_only() -> None:
    # Given the local AWS, whose patches go through functions of the border, which look whether what they replace exists
    files = list((PROJECT / "ekyc/localaws").rglob("*.py"))
    assert files
    # Then no file assigns to something of moto by itself
    assert {path.name: found for path in files if (found := changes_of_moto(path))} == {}
    # And what the local AWS plays itself does not know the patches
    modules = find_modules(PROJECT, "ekyc")
    patches = {module for module in modules if module.startswith("ekyc.localaws.moto_patches")}
    users = {module for module in modules if module not in patches and modules_imported(module, modules) & patches}
    assert users == {"ekyc.localaws.server"}


def test_no_function_has_more_than_60_lines() -> None:
    long = {
        f"{path.relative_to(PROJECT)}: {node.name}"
        for folder in ("lambdas", "stacks", "ekyc")
        for path in (PROJECT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    }
    assert long == set()


def test_lambda_code_imports_only_what_lambda_has() -> None:
    # Given what the runtime and the layer bring, and our own packages
    allowed = IN_LAMBDA | {"api", "events", "outlines", "pipeline", "rules", "stages"} | sys.stdlib_module_names
    # Then nothing else is imported, but what some files need, and for the type checker the types of the AWS clients and
    # of the outlines
    found = packages_imported("lambdas")
    for_types = {path: set(imports_for_types(PROJECT / path)) for path in found}
    assert {
        path: names
        for path, names in for_types.items()
        if any(not n.startswith(("types_boto3_", "outlines")) for n in names)
    } == {}
    types = {path: {name.split(".")[0] for name in names} for path, names in for_types.items()}
    more = {
        path: {name for start, names in FOR_SOME.items() if path.startswith(start) for name in names} for path in found
    }
    assert {path: wrong for path, names in found.items() if (wrong := names - allowed - types[path] - more[path])} == {}


def test_the_pipeline_reads_no_environment() -> None:
    # Given the pipeline's modules, except the module that reads the functions' settings
    for path in (PROJECT / "lambdas/pipeline").rglob("*.py"):
        if path.name != "settings.py":
            assert not re.search(r"os\.environ|getenv", path.read_text()), path.name


def test_every_function_of_the_state_machine_has_a_stage() -> None:
    called = {
        re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
        for name in re.findall(r'"FunctionName": "\$\{(\w+)\}"', definition.as_json())
    }
    assert called == set(STAGES)


# Each in a process of its own, as a module reads its settings once.
IMPORT_EACH = """
import importlib, json, os, sys
from dataclasses import fields

sys.modules["awscrt"] = None  # here for the local S3; Lambda's runtime has none
import aws_lambda_powertools, boto3

for module, environment in json.load(sys.stdin).items():
    if os.fork() == 0:
        os.environ.update(environment)
        settings = importlib.import_module(module).settings
        names = [field.name.upper() for field in fields(settings)]
        print(json.dumps([module, names, [name for name, found in sys.modules.items() if found]]), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(1)
"""
# What the AWS clients, Powertools and the settings of a function bring; each package costs every cold start its time.
EVERY_FUNCTION = {
    "aws_lambda_powertools",
    "boto3",
    "botocore",
    "certifi",
    "dateutil",
    "jmespath",
    "orjson",
    "s3transfer",
}
EVERY_FUNCTION |= {"six", "typing_extensions", "urllib3"}


@dataclass(frozen=True)
class Imported:
    """A function's environment in the template, and what its module reads and imports."""

    environment: dict[str, str]
    settings: set[str]
    modules: set[str]


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Imported]:
    """All functions by module, with an ARN for what is known when they are deployed only."""
    out = synthesize(tmp_path_factory.mktemp("cdk.out"), {})
    template = json.loads((out / "ekyc-training.template.json").read_text())
    environments: dict[str, dict[str, str]] = {
        resource["Properties"]["Handler"].removesuffix(".handler"): {
            name: value if isinstance(value, str) else "arn:aws:x:us-east-1:123456789012:x:x"
            for name, value in resource["Properties"]["Environment"]["Variables"].items()
        }
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH],
        input=json.dumps(environments),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / "lambdas"), "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    return {module: Imported(environments[module], set(names), set(modules)) for module, names, modules in found}


def test_each_functions_environment_is_what_its_settings_ask_for(functions: dict[str, Imported]) -> None:
    # Given the functions of the template, among them every stage
    assert {f"stages.{stage}" for stage in STAGES} <= functions.keys()
    # Then there is a value for every field and no other
    for module, function in functions.items():
        given = {name for name in function.environment if not name.startswith(("POWERTOOLS_", "OPENBLAS_"))}
        assert given == function.settings, module


def test_a_function_imports_only_what_it_needs_to_start(functions: dict[str, Imported]) -> None:
    # Given what is installed, without the hooks of the installation itself and our own packages
    packages = {name for name in packages_distributions() if not name.startswith("_")}
    packages -= EVERY_FUNCTION | {"rules", "outlines"}
    # Then none imports a package beyond the common ones
    imported = {module: {name.split(".")[0] for name in function.modules} for module, function in functions.items()}
    more = {module: names & packages for module, names in imported.items() if names & packages}
    assert more == {"api.documents": {"PIL", "cv2", "numpy"}}  # which has a cold start of its own for that
    # And Powertools' routes, half of its time, are for the API's functions alone
    with_routes = {
        module for module, function in functions.items() if "aws_lambda_powertools.event_handler" in function.modules
    }
    assert with_routes == {"api.app", "api.documents", "api.labelling"}
