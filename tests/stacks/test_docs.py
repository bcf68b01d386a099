"""The text of the pages that follows from code."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from rules.states import MOVES, Status
from stacks import docs
from stacks.openapi import Access, Description
from stacks.settings import LEAVES, takes


def test_every_setting_has_its_row() -> None:
    # Given the table
    rows = [line.split(" | ") for line in docs.settings_table().splitlines() if line.startswith("| `")]
    # Then every setting has a row with its default, what it may be and what it does
    assert [row[0] for row in rows] == [f"| `{key}`" for key in LEAVES]
    for key, (_, default, values, what) in zip(LEAVES, rows, strict=True):
        assert default.startswith("`")
        assert values == takes(key)
        assert what.endswith(". |")


def test_the_page_lists_each_roles_permissions_and_reasons() -> None:
    # Given the roles of the template
    resources = docs.everything()
    page = docs.permissions(resources)
    functions = [resource for resource in resources.values() if resource["Type"] == "AWS::Lambda::Function"]
    roles = [resource for resource in resources.values() if resource["Type"] == "AWS::IAM::Role"]
    # Then each has its part, functions by name, and so has what is denied on either bucket
    parts = dict(part.split("\n", 1) for part in f"\n{page}".split("\n## ")[1:])
    assert len(parts) == len(roles) + 2
    assert "not the role of StagesPlanPhotos" in parts["Denied on the bucket of photos and manifests"]
    assert "if `aws:PrincipalArn` is not the role of ExportAudit" in parts["Denied on the bucket of audit reports"]
    assert {
        resource["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for resource in _properties(functions)
    } <= set(parts)
    # And each row says in words what may be done, on what and why
    for part in parts.values():
        rows = [line.split(" | ") for line in part.splitlines() if line.startswith("| ") and "---" not in line][1:]
        assert rows
        for row in rows:
            assert len(row) == 3
            assert row[2].endswith(". |")
    assert "`images/`, `manifests/`, `upright/` of the bucket" in parts["CheckPhotos"]
    assert "arn:" not in page


def test_a_permission_without_a_reason_is_refused() -> None:
    # Given a statement without a reason
    resources = copy.deepcopy(dict(docs.everything()))
    (policy, *_) = (resource for resource in resources.values() if resource["Type"] == "AWS::IAM::Policy")
    policy["Properties"]["PolicyDocument"]["Statement"].append({"Action": "s3:GetObject", "Resource": "*"})
    # Then no page is written, and the error says what to do
    with pytest.raises(docs.ReasonMissingError, match=r"may s3:GetObject, and no reason is given.*Allowed"):
        docs.permissions(resources)


def _properties(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in resources]


def test_every_call_leads_to_its_section() -> None:
    # Given the sections of the API's page, by the names that GitHub gives them
    headings = re.findall(r"^## (.+)$", (docs.PROJECT / "docs" / "api.md").read_text(), re.MULTILINE)
    sections = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    # Then each call's link is one of them
    links = re.findall(r"\]\(#(.+?)\)", docs.calls())
    assert len(links) == len([call for call in Description.read().operations() if call.access is Access.CALLERS])
    assert set(links) <= sections


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of its own, the only one, with the table of errors and with figures."""
    page = tmp_path / "page.md"
    monkeypatch.setattr(docs, "PAGES", [page])
    page.write_text(
        "# Errors\n\n<!-- [[[cog cog.out(docs.errors()) ]]] -->\n<!-- [[[end]]] -->\n\n"
        "<!-- [[[cog cog.out(docs.measured('speed', cog.previous)) ]]] -->\n\n10 photos/s\n\n<!-- [[[end]]] -->\n"
    )
    docs.main([])
    return page


def test_a_stale_page_is_named_and_written_anew(page: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # Given a page as it was before an error had another name
    fresh = page.read_text()
    assert "| `NotEnoughImages` |" in fresh
    page.write_text(fresh.replace("NotEnoughImages", "TooFewImages"))
    capfd.readouterr()
    # When it is checked, then it is named, with what to do
    assert docs.main(["--check"]) != 0
    said = "".join(capfd.readouterr())
    assert "page.md" in said
    assert "Run 'make docs'." in said
    # When it is written, then it is up to date
    assert docs.main([]) == 0
    assert page.read_text() == fresh
    assert docs.main(["--check"]) == 0


def test_figures_stay_until_a_run_has_others(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given figures of a run that this page does not have
    (tmp_path / "weight.md").write_text("3 kg\n")
    monkeypatch.setenv("FIGURES", str(tmp_path))
    # Then what was measured before stays
    assert docs.main(["--check"]) == 0
    # When a run has measured it, then the page has the new figures, and keeps them
    (tmp_path / "speed.md").write_text("12 photos/s\n")
    assert docs.main([]) == 0
    assert "\n12 photos/s\n" in page.read_text()
    assert "10 photos/s" not in page.read_text()
    monkeypatch.delenv("FIGURES")
    assert docs.main(["--check"]) == 0


def test_the_page_and_openapi_yaml_have_every_status() -> None:
    # Given the statuses of the rules
    statuses = list(Status)
    # Then the page has a row for each, in the same order
    rows = [line.split(" | ") for line in docs.statuses().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| `{status}`" for status in statuses]
    # And only the final statuses have no next status
    final = [status for status, row in zip(statuses, rows, strict=True) if row[2] == "none |"]
    assert final == [status for status in statuses if not MOVES[status]]
    # And the API's description allows the same statuses
    assert Description.read().document["components"]["schemas"]["Status"]["enum"] == statuses
