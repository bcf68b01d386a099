"""The pages that follow from the settings and the template."""

import copy
from pathlib import Path
from typing import Any

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


def test_every_function_and_service_role_has_its_permissions_with_their_reasons() -> None:
    # Given the roles of the template
    resources = docs.everything()
    page = docs.permissions_page(resources)
    functions = [one for one in resources.values() if one["Type"] == "AWS::Lambda::Function"]
    roles = [one for one in resources.values() if one["Type"] == "AWS::IAM::Role"]
    # Then each has its part, functions by name, and so has what is denied on the bucket of audit reports
    parts = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    assert len(parts) == len(roles) + 1
    assert "if `aws:PrincipalArn` is not the role of ExportAudit" in parts["Denied on the bucket of audit reports"]
    assert {one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for one in _properties(functions)} <= set(parts)
    # And each row says in words what may be done, on what and why
    for part in parts.values():
        rows = [line.split(" | ") for line in part.splitlines() if line.startswith("| ") and "---" not in line][1:]
        assert rows
        for row in rows:
            assert len(row) == 3
            assert row[2].endswith(". |")
    assert "`images/` of the bucket" in parts["CheckImages"]
    assert "arn:" not in page


def test_a_permission_without_a_reason_is_refused() -> None:
    # Given a statement that nobody gave a reason
    resources = copy.deepcopy(dict(docs.everything()))
    (policy, *_) = (one for one in resources.values() if one["Type"] == "AWS::IAM::Policy")
    policy["Properties"]["PolicyDocument"]["Statement"].append({"Action": "s3:GetObject", "Resource": "*"})
    # Then there is no page, and the words say what to do
    with pytest.raises(docs.ReasonMissingError, match=r"may s3:GetObject, and nothing says why.*Allowed"):
        docs.permissions_page(resources)


def _properties(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["Properties"] for one in resources]


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
