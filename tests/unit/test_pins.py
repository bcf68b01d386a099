"""What is installed is pinned with hashes: development environment, Lambda layer, fuzzer and npm packages."""

import json
import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DEVELOPMENT, LAYER, FUZZER = "requirements-dev.txt", "lambdas/requirements.txt", "fuzz/requirements.txt"
LOCKS = [DEVELOPMENT, LAYER, FUZZER]
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


def test_the_layer_holds_what_is_in_its_lock_file() -> None:
    folder = PROJECT / "build" / "layer" / "python"
    assert installed(distributions(path=[str(folder)])) == pins(LAYER)


def test_the_lock_files_have_the_versions_of_pyproject() -> None:
    project, groups = SETTINGS["project"], SETTINGS["dependency-groups"]
    ours = chosen(project["dependencies"])
    assert (ours | chosen(project["optional-dependencies"]["dev"])).items() <= pins(DEVELOPMENT).items()
    assert chosen(SETTINGS["build-system"]["requires"]).items() <= pins(DEVELOPMENT).items()
    assert chosen(groups["fuzz"]) == pins(FUZZER)
    assert chosen(groups["layer"]).items() <= pins(LAYER).items()
    # And Lambda runs the versions that the tests run
    assert pins(LAYER).items() <= pins(DEVELOPMENT).items()


def test_make_installs_nothing_without_a_hash() -> None:
    # Given every installation in the Makefile
    makefile = re.sub(r"\\\n\s*", "", (PROJECT / "Makefile").read_text())
    installs = re.findall(r"(?:pip|npm) (?:install|ci|i) .*", makefile)
    by_pip = [one for one in installs if one.startswith("pip") and "--require-hashes" in one]
    # Then pip compares hashes, and downloads nothing when it builds this package
    assert {lock for one in by_pip for lock in LOCKS if f"--requirement {lock}" in one} == set(LOCKS)
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
