"""Writes the documentation that follows from the stack: ``python -m stacks.docs``, and with ``--check`` only compares.

``docs/settings.md`` comes from the class ``Settings`` and from ``cdk.json``, ``docs/permissions.md`` from the template.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stacks.combinations import COMBINATIONS, committed
from stacks.settings import CONTRADICTIONS, GROUND_TRUTH_REGIONS, Settings, takes

DOCS = Path(__file__).resolve().parent.parent / "docs"

INTRODUCTION = """# Settings

What a deployment may choose. Generated from `stacks/settings.py` and `cdk.json` by `python -m stacks.docs`.

The defaults are in `cdk.json`, which holds every key: put there what stays. For a single run give settings on the
command line, to `synth`, `deploy` and `destroy` alike; text that is JSON is read as such, and one part of a group is
given by its path:

```
make deploy SETTINGS="minF1=0.9 labelProvider=supplied polls.training.deadline=172800"
npx cdk deploy -c minF1=0.9 -c labelProvider=supplied
```

A setting on the `make` line holds no space. All that is wrong with the settings is told at once, before anything is
made.
"""


def settings_page() -> str:
    """``docs/settings.md``."""
    defaults = committed()
    parts = [INTRODUCTION, "## All settings\n"]
    parts.append(_table(_rows(Settings, defaults)))
    parts.append("## Rules between settings\n")
    rules = dict.fromkeys(rule.__doc__ for _, rule in CONTRADICTIONS if rule.__doc__)
    parts.append("".join(f"- {rule}\n" for rule in rules))
    parts.append(
        f"Ground Truth's built-in functions are in {', '.join(sorted(GROUND_TRUTH_REGIONS))}. The Region is the "
        "setting `region`, else that of the credentials; when neither is known, what depends on it is not checked.\n"
    )
    parts.append(
        "## Combinations\n\nEach of these is synthesized and checked by `make check`; what is not named is the "
        "default.\n"
    )
    for name, settings in COMBINATIONS.items():
        parts.append(f"### {name.replace('-', ' ').capitalize()}\n\n```\n{command(settings)}\n```\n")
    return "\n".join(parts)


def command(settings: Mapping[str, Any]) -> str:
    """The ``make`` line that deploys with ``settings``."""
    given = " ".join(f"{key}={_text(value)}" for key, value in settings.items())
    return f"make deploy SETTINGS='{given}'" if given else "make deploy"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _rows(group: type[BaseModel], defaults: Mapping[str, Any], path: str = "", before: str = "") -> Iterator[list[str]]:
    for field in group.model_fields.values():
        name = str(field.alias)
        key = f"{path}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            # what a group is about comes before each of its parts, except where the parts say it themselves
            about = f"{field.description} " if path else ""
            yield from _rows(field.annotation, defaults[name], f"{key}.", about)
        else:
            yield [f"`{key}`", f"`{json.dumps(defaults[name])}`", takes(key), f"{before}{field.description}"]


def _table(rows: Iterator[list[str]]) -> str:
    lines = [["Key", "Default", "Values", "What it does"], ["---"] * 4, *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def pages() -> dict[Path, str]:
    """Each page's file and its text."""
    return {DOCS / "settings.md": settings_page()}


def main(arguments: list[str]) -> int:
    """Write the pages; with ``--check``, answer 1 when one of them is not what it would be."""
    texts = pages()
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is out of date: run 'make docs'.", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(texts[path], encoding="utf-8")
        print(f"{path.relative_to(DOCS.parent)} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
