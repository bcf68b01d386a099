"""The parts of docs/aws-checks.md that follow from code.

The deep checks come from the doctor, the guides from the comments and docstrings that cite a page as their source.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ekyc.cli.doctor.deep.examination import CHECKS, COST, MINUTES
from stacks.markdown import table

PROJECT = Path(__file__).resolve().parents[1]
DEPLOYED = ("lambdas", "stacks")
CITED = re.compile(r"\b((?:[A-Z][A-Za-z0-9-]* )+)([Gg]uide|(?:API )?[Rr]eference),? (['\"])(.+?)\3")
"""A cited page: the name of its guide or reference, which of both it is, and the page's title in quotes."""


def deep_checks() -> str:
    """The table of the deep checks."""
    rows = [[title, one.question, one.makes or "nothing", f"`{one.by_hand}`"] for title, one in CHECKS.items()]
    return table(["Check", "What no document settles", "What it makes", "The same by hand"], rows)


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
    return table(["Guide", "Pages"], [[guide, "; ".join(sorted(pages[guide]))] for guide in sorted(pages)])


def _citations(code: str) -> Iterator[tuple[str, str]]:
    """Guide and title of each page that comments and docstrings cite, over the ends of their lines."""
    text = re.sub(r'" *\n *"', "", code)  # a string that goes on in the next line
    text = " ".join(re.sub(r"(?m)^ *# ", "", text).replace("#", ".").split())
    for name, kind, _, title in CITED.findall(text):
        guide = re.sub(r" (User|Developer)$", "", name.strip())
        yield f"{guide} {'guide' if kind == 'Guide' else kind}", title.rstrip(",.")
