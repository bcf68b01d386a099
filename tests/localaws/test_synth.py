"""Synthesis for the local AWS: what the CDK app says when it cannot."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ekyc.localaws import synth


def test_every_wrong_setting_is_named(tmp_path: Path) -> None:
    # Given two wrong settings
    # When the stack is synthesized
    with pytest.raises(synth.SynthesisFailed) as failure:
        synth.synthesize(tmp_path / "cdk.out", {"minImages": 0, "minF1": 2})
    # Then the words of the app are there, a line for each, and no more
    assert str(failure.value).splitlines() == [
        "The CDK context (cdk.json) is wrong:",
        "- minImages is 0: give a whole number from 1 to 250000",
        "- minF1 is 2: give a number from 0 to 1",
    ]


def test_a_machine_needs_no_node_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a machine on which no program is found
    monkeypatch.setenv("PATH", str(tmp_path))
    # When the app runs, which starts Node before it looks at the settings
    with pytest.raises(synth.SynthesisFailed) as failure:
        synth.synthesize(tmp_path / "cdk.out", {"minImages": 0})
    # Then it has come to look at the settings
    assert "minImages is 0" in str(failure.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {
                "documentTypes": [f"{number:02}{'x' * 60}" for number in range(50)],
                "webOrigins": [f"https://{'a' * 30}{number:02}.example.com" for number in range(20)],
            },
            "The largest variables are DOCUMENT_TYPES (3,149) and WEB_ORIGINS (1,059)",
        ),
        ({"tags": {f"tag{number}": "é" * 200 for number in range(11)}}, "The largest variables are COST_TAGS (4,"),
    ],
)
def test_settings_that_fill_an_environment_are_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    # Given settings of which each is possible, and which are too long for Lambda's variables
    # When the stack is synthesized
    with pytest.raises(synth.SynthesisFailed) as failure:
        synth.synthesize(tmp_path / "cdk.out", settings)
    # Then it says how long they are, counted in bytes, and what to shorten
    assert "Lambda allows 4,096" in str(failure.value)
    assert words in str(failure.value)
    assert "Shorten the settings documentTypes, webOrigins or tags" in str(failure.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def f():\n    raise ValueError('no, since\\n- this\\n- that')\nf()", "ValueError: no, since\n- this\n- that"),
        ("raise SystemExit(1)", "app.py ended with an error"),
    ],
)
def test_a_failure_of_the_app_is_reported_without_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    # Given an app that breaks
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "cdk.json").write_text('{"context": {}}')
    monkeypatch.setattr(synth, "PROJECT", tmp_path)
    # When it runs, then the error has its message
    with pytest.raises(synth.SynthesisFailed) as failure:
        synth.synthesize(tmp_path / "cdk.out")
    assert str(failure.value) == words


def test_the_region_of_the_users_credentials_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given credentials of a Region in which the local work team is not, and which has no Ground Truth
    monkeypatch.setenv("CDK_DEFAULT_REGION", "eu-west-3")
    # Then the stack is synthesized for the local AWS all the same
    assert (synth.synthesize(tmp_path / "cdk.out") / "manifest.json").exists()


COUNTING = """
import os, pathlib, time
out = pathlib.Path(os.environ["CDK_OUTDIR"])
out.mkdir(parents=True)
time.sleep(0.2)
(out / "manifest.json").write_text("made")
with open("runs", "a") as runs:
    runs.write("x")
"""


def test_the_app_runs_once_for_sources_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an app that counts how often it runs
    project, out = tmp_path / "project", tmp_path / "out"
    (project / "stacks").mkdir(parents=True)
    (project / "app.py").write_text(COUNTING)
    (project / "cdk.json").write_text('{"context": {}}')
    monkeypatch.setattr(synth, "PROJECT", project)

    def runs() -> int:
        return len((project / "runs").read_text())

    # When several ask for its assembly at once
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda number: synth.synthesize(out / str(number)), range(4)))
    # Then it runs once, and each has a copy of its own
    assert runs() == 1
    (made[0] / "manifest.json").write_text("changed")
    assert (synth.synthesize(out / "next") / "manifest.json").read_text() == "made"
    assert runs() == 1
    # And it runs again for other settings, and for other sources
    synth.synthesize(out / "settings", {"minImages": 3})
    assert runs() == 2
    (project / "stacks" / "new.py").write_text("")
    synth.synthesize(out / "sources")
    assert runs() == 3
