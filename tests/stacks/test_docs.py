"""The pages that follow from the settings and the template."""

from pathlib import Path

import pytest

from stacks import docs
from stacks.settings import LEAVES, takes


def test_the_pages_are_up_to_date() -> None:
    assert docs.main(["--check"]) == 0


def test_every_setting_has_its_row() -> None:
    # Given the page's table
    rows = [line.split(" | ") for line in docs.settings_page().splitlines() if line.startswith("| `")]
    # Then every setting has a row with its default, what it may be and what it does
    assert [row[0] for row in rows] == [f"| `{key}`" for key in LEAVES]
    for key, (_, default, values, what) in zip(LEAVES, rows, strict=True):
        assert default.startswith("`")
        assert values == takes(key)
        assert what.endswith(". |")


def test_a_stale_page_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a page as it was before a setting changed
    monkeypatch.setattr(docs, "DOCS", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    docs.main([])
    page = tmp_path / "docs" / "settings.md"
    page.write_text(page.read_text().replace("`minF1`", "`minimumF1`"))
    # When it is checked, then it is named
    assert docs.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/settings.md is out of date: run 'make docs'.\n"
    # When it is written, then it is up to date
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
