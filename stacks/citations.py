"""The pages of AWS's guides that the deployed code cites as its sources."""

import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DEPLOYED = ("lambdas", "stacks")
CITED = re.compile(r"\b((?:[A-Z][A-Za-z0-9-]* )+)([Gg]uide|(?:API )?[Rr]eference),? (['\"])(.+?)\3")
"""A cited page: the name of the guide or reference, the word guide or reference, and the page's title in quotes."""


def list_guides() -> list[list[str]]:
    """Return a row for each guide that the deployed code's comments and docstrings cite: its name and its pages."""
    pages: dict[str, set[str]] = {}
    for folder in DEPLOYED:
        for path in (PROJECT / folder).rglob("*.py"):
            for guide, title in _citations(path.read_text(encoding="utf-8")):
                pages.setdefault(guide, set()).add(title)
    return [[guide, "; ".join(sorted(pages[guide]))] for guide in sorted(pages)]


def _citations(code: str) -> Iterator[tuple[str, str]]:
    """Yield guide and title of each cited page. A citation may continue on the next line."""
    text = re.sub(r'" *\n *"', "", code)  # join string literals that continue on the next line
    text = " ".join(re.sub(r"(?m)^ *# ", "", text).replace("#", ".").split())
    for name, kind, _, title in CITED.findall(text):
        guide = re.sub(r" (User|Developer)$", "", name.strip())
        yield f"{guide} {'guide' if kind == 'Guide' else kind}", title.rstrip(",.")
