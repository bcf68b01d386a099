"""What is installed is pinned with hashes: development environment, Lambda layers, fuzzer and npm packages."""

import json
import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from stacks import runtime

PROJECT = Path(__file__).parents[2]
DEVELOPMENT, FUZZER, OCR = "requirements-dev.txt", "fuzz/requirements.txt", "bench/requirements.txt"
LAYERS = {name: f"lambdas/requirements-{name}.txt" for name in ("base", "vision")}
LOCKS = [DEVELOPMENT, *LAYERS.values(), FUZZER, OCR]
# Of a function's code and layers, unzipped. Source: Lambda guide, "Lambda quotas".
LARGEST_FUNCTION = 250 * 1024 * 1024
PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;]+)"
    r"(?: ; [^\\\n]+)?"  # on which systems
    r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
)
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def normal(name: str) -> str:
    """The name as package indexes compare it. Source: PyPA specification, 'Names and normalization'."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """The versions of a lock file by name."""
    return {normal(pin["name"]): pin["version"] for pin in PIN.finditer((PROJECT / lock).read_text())}


def chosen(requirements: Iterable[str]) -> dict[str, str]:
    """The versions that pyproject.toml chooses, by name."""
    split = (re.sub(r"\[.*\]", "", one).split("==") for one in requirements)
    return {normal(name): version for name, version in split}


def installed(found: Iterable[Distribution]) -> dict[str, str]:
    return {normal(one.metadata["Name"]): one.version for one in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_pins_with_hashes_alone(lock: str) -> None:
    # Given a lock file
    text = (PROJECT / lock).read_text()
    # When its pins with hashes and its comments are taken out
    rest = re.sub("#.*\n", "", PIN.sub("", text))
    # Then nothing is left: no package without a hash, no index
    assert pins(lock)
    assert rest == ""


def test_what_is_installed_is_in_the_lock_file() -> None:
    # Given the environment that the tests run in, but for this package and pip, which comes with Python
    found = installed(distributions())
    for own in ("ekyc", "pip"):
        found.pop(own, None)
    # Then each package is there in the version that is locked
    assert found
    assert found.items() <= (pins(DEVELOPMENT) | pins(FUZZER)).items()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_holds_what_is_in_its_lock_file(layer: str) -> None:
    folder = PROJECT / "build" / "layers" / layer / "python"
    assert installed(distributions(path=[str(folder)])) == pins(LAYERS[layer])


def test_no_library_is_in_two_layers() -> None:
    assert pins(LAYERS["base"]).keys() & pins(LAYERS["vision"]).keys() == set()


def test_a_function_with_all_layers_is_small_enough(tmp_path: Path) -> None:
    # Given our code and the real layers, unzipped
    runtime.package(tmp_path)
    folders = [tmp_path, *(PROJECT / "build" / "layers" / layer for layer in LAYERS)]
    sizes = [path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()]
    # Then Lambda takes them
    assert 100_000_000 < sum(sizes) < LARGEST_FUNCTION


def test_the_lock_files_have_the_versions_of_pyproject() -> None:
    project, groups = SETTINGS["project"], SETTINGS["dependency-groups"]
    ours = chosen(project["dependencies"])
    assert (ours | chosen(project["optional-dependencies"]["dev"])).items() <= pins(DEVELOPMENT).items()
    assert chosen(SETTINGS["build-system"]["requires"]).items() <= pins(DEVELOPMENT).items()
    assert chosen(groups["fuzz"]) == pins(FUZZER)
    assert chosen(groups["ocr"]).items() <= pins(OCR).items()
    for layer, lock in LAYERS.items():
        assert chosen(groups[layer]).items() <= pins(lock).items()
        # And Lambda runs the versions that the tests run
        assert pins(lock).items() <= pins(DEVELOPMENT).items()


def test_make_installs_nothing_without_a_hash() -> None:
    # Given every installation in the Makefile
    makefile = re.sub(r"\\\n\s*", "", (PROJECT / "Makefile").read_text())
    installs = re.findall(r"(?:pip|npm) (?:install|ci|i) .*", makefile)
    by_pip = [one for one in installs if one.startswith("pip") and "--require-hashes" in one]
    # Then pip compares hashes, and downloads nothing when it builds this package
    of_layers = [one for one in by_pip if "--requirement $<" in one]
    assert len(of_layers) == 1
    assert "build/layers/%/installed: lambdas/requirements-%.txt" in makefile
    others_locked = {lock for one in by_pip for lock in LOCKS if f"--requirement {lock}" in one}
    assert others_locked == {DEVELOPMENT, FUZZER, OCR}
    others = [one for one in installs if one not in by_pip]
    assert others == [
        "pip install --quiet --no-deps --no-build-isolation --editable .",
        "npm ci --no-audit --no-fund --loglevel=error",
    ]


def test_npm_packages_have_hashes_and_name_no_registry() -> None:
    packages = json.loads((PROJECT / "package-lock.json").read_text())["packages"]
    assert len(packages) > 1
    for name, package in packages.items():
        assert "resolved" not in package, name
        if name:  # the unnamed one is this project
            assert re.match("sha512-", package["integrity"]), name
