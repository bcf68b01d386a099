"""Writes the derived parts of docs/aws-checks.md: `make docs`, and with ``--check`` only compares.

The deep checks come from the doctor, the guides from the comments and docstrings that cite a page as their source.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ekyc.cli.doctor.deep.examination import CHECKS, COST, MINUTES

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs/aws-checks.md"
DEPLOYED = ("lambdas", "stacks")
CITED = re.compile(r"\b((?:[A-Z][A-Za-z0-9-]* )+)([Gg]uide|(?:API )?[Rr]eference),? (['\"])(.+?)\3")
"""A cited page: the name of its guide or reference, which of both it is, and the page's title in quotes."""


def deep_checks() -> str:
    """The table of the deep checks."""
    rows = [[title, one.question, one.makes or "nothing", f"`{one.by_hand}`"] for title, one in CHECKS.items()]
    return _table(["Check", "What no document settles", "What it makes", "The same by hand"], rows)


def cost() -> str:
    """What they cost, and how long they take."""
    return f"They cost {COST}, and take at most {MINUTES} minutes.\n"


def guides() -> str:
    """The table of the guides whose word the deployed code takes, with their pages."""
    pages: dict[str, set[str]] = {}
    for folder in DEPLOYED:
        for path in (PROJECT / folder).rglob("*.py"):
            for guide, title in _citations(path.read_text(encoding="utf-8")):
                pages.setdefault(guide, set()).add(title)
    return _table(["Guide", "Pages"], [[guide, "; ".join(sorted(pages[guide]))] for guide in sorted(pages)])


def _citations(code: str) -> Iterator[tuple[str, str]]:
    """Guide and title of each page that comments and docstrings cite, over the ends of their lines."""
    text = re.sub(r'" *\n *"', "", code)  # a string that goes on in the next line
    text = " ".join(re.sub(r"(?m)^ *# ", "", text).replace("#", ".").split())
    for name, kind, _, title in CITED.findall(text):
        guide = re.sub(r" (User|Developer)$", "", name.strip())
        yield f"{guide} {'guide' if kind == 'Guide' else kind}", title.rstrip(",.")


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def page() -> str:
    """The page with its derived parts."""
    text = PAGE.read_text(encoding="utf-8")
    for name, derived in (("deep checks", deep_checks()), ("cost", cost()), ("guides", guides())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{derived}{end}{rest.partition(end)[2]}"
    return text


def main(arguments: list[str]) -> int:
    """Write the page; with ``--check``, answer 1 when it is not what it would be."""
    text = page()
    if arguments == ["--check"]:
        is_stale = PAGE.read_text(encoding="utf-8") != text
        if is_stale:
            print(f"{PAGE.relative_to(PROJECT)} is out of date: run 'make docs'.", file=sys.stderr)
        return 1 if is_stale else 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
