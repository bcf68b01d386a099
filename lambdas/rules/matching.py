"""Finds a job's photos by the names that a labels file has for them.

Labelling tools change names: they add folders, percent-encode them, put them into the query string of a URL, or add a
prefix of their own. Operating systems change letter case and Unicode form (macOS writes NFD).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

# Label Studio, `upload_name_generator`: uuid4's first eight characters and a hyphen before the uploaded file's name.
LABEL_STUDIO_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")


class Match(NamedTuple):
    """The photo of exactly that name, or else the photos whose names are alike."""

    exact: str | None
    alike: tuple[str, ...] = ()


def file_name(path: str) -> str:
    r"""The last part of a path, whose folders end with ``/`` or ``\``."""
    return path.replace("\\", "/").rpartition("/")[2]


class Names:
    """The names of a job's photos, to be found by other spellings."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._alike: dict[str, set[str]] | None = None
        self._stored: dict[str, set[str]] = {}

    def find(self, path: str) -> Match:
        """The photos that ``path``, a labels file's name of a photo, may mean."""
        name = file_name(path)
        if name in self._names:
            return Match(name)
        if self._alike is None:
            self._alike = self._index()
        spellings = list(_spellings(path))
        found = {photo for spelling in spellings for photo in self._alike.get(_fold(spelling), ())}
        if not found:
            stored = (LABEL_STUDIO_PREFIX.sub("", s, count=1) for s in spellings if LABEL_STUDIO_PREFIX.match(s))
            found = {photo for spelling in stored for photo in self._stored.get(_fold(_as_stored(spelling)), ())}
        return Match(None, tuple(sorted(found)))

    def _index(self) -> dict[str, set[str]]:
        alike: dict[str, set[str]] = {}
        for name in self._names:
            for spelling in {name, unquote(name)}:
                alike.setdefault(_fold(spelling), set()).add(name)
            self._stored.setdefault(_fold(_as_stored(name)), set()).add(name)
        return alike


def _spellings(path: str) -> Iterator[str]:
    """The file names that ``path`` may stand for: as it is, without query string and fragment, from the query string
    (Label Studio's ``/data/local-files/?d=folder/name.jpg``), and each of them percent-decoded."""
    text = path.strip()
    before, _, query = text.partition("?")
    values = (part.partition("=")[2] for part in query.partition("#")[0].split("&"))
    for spelling in (text, before, before.partition("#")[0], *values):
        # Twice, as a URL inside a URL is encoded twice. A decoded slash ends a folder.
        for decoded in (spelling, unquote(spelling), unquote(unquote(spelling))):
            if name := file_name(decoded).strip():
                yield name


def _fold(name: str) -> str:
    """Equal for names that differ by letter case, Unicode form or space around them."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.strip()).casefold())


def _as_stored(name: str) -> str:
    """The name that Django, under Label Studio, gives an uploaded file (`get_valid_filename`)."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


class Claims:
    """Which photo each entry of a labels file means. Add all entries, then `resolve` each that is not exact.

    A photo goes to the entry that names it exactly, else to the only one whose name is alike.
    """

    def __init__(self) -> None:
        self._exact: set[str] = set()
        self._alike: dict[str, list[str]] = {}

    def add(self, path: str, match: Match) -> None:
        """``path`` is the entry's own name of its photo."""
        if match.exact is not None:
            self._exact.add(match.exact)
        for photo in match.alike:
            self._alike.setdefault(photo, []).append(file_name(path))

    def resolve(self, match: Match) -> str | list[str] | None:
        """The entry's photo; or all names among which nothing decides; or None, when the job has no such photo."""
        if match.exact is not None:
            return match.exact
        free = [photo for photo in match.alike if photo not in self._exact]
        if not free:
            return None
        if len(match.alike) > 1:
            return list(match.alike)
        [photo] = free
        return photo if len(self._alike[photo]) == 1 else [photo, *self._alike[photo]]
