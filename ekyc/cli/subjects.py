"""The subjects of photos, by a rule on the names of their files."""

import re
from collections.abc import Iterable

from ekyc.cli.errors import CommandError
from rules.subjects import SUBJECT_RULE, is_subject


def subjects(names: Iterable[str], rule: re.Pattern[str]) -> dict[str, str]:
    """The subject of each file name that has one: the first group of the first match.

    Raises:
        CommandError: a group is not allowed as a subject. The message names the file.
    """
    found = {name: match[1] for name in names if (match := rule.search(name)) and match[1]}
    if wrong := [name for name, subject in found.items() if not is_subject(subject)]:
        more = f" and of {len(wrong) - 1:,} more files" if len(wrong) > 1 else ""
        raise CommandError(
            f"The subject that --subject-from finds in the name of {wrong[0]}{more} is not allowed. A subject has "
            f"{SUBJECT_RULE}. Nothing was sent."
        )
    return found
