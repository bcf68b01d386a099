"""Finds a job's photos by the names that a labels file uses.

These names may differ from the uploaded ones. Labelling tools add folders, percent-encode a name, put it into the query
string of a URL, or add a prefix. Operating systems change letter case and Unicode form (macOS writes NFD).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

# Label Studio, `upload_name_generator`: the first eight characters of a uuid4 and a hyphen precede the file's name.
LABEL_STUDIO_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")


class Match(NamedTuple):
    """The photo with exactly the given name; otherwise all photos with a similar name."""

    exact: str | None
    alike: tuple[str, ...] = ()


def file_name(path: str) -> str:
    r"""Return the last part of a path. Both ``/`` and ``\`` end a folder."""
    return path.replace("\\", "/").rpartition("/")[2]


class Names:
    """Finds the job's photos by other spellings of their names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._alike: dict[str, set[str]] | None = None
        self._stored: dict[str, set[str]] = {}

    def find(self, path: str) -> Match:
        """Return the photos to which ``path``, a name in a labels file, may refer."""
        name = file_name(path)
        if name in self._names:
            return Match(name)
        if self._alike is None:
            self._alike = self._index()
        spellings = list(_spellings(path))
        photos = {photo for spelling in spellings for photo in self._alike.get(_fold(spelling), ())}
        if not photos:
            stored = (LABEL_STUDIO_PREFIX.sub("", s, count=1) for s in spellings if LABEL_STUDIO_PREFIX.match(s))
            photos = {photo for spelling in stored for photo in self._stored.get(_fold(_as_stored(spelling)), ())}
        return Match(None, tuple(sorted(photos)))

    def _index(self) -> dict[str, set[str]]:
        alike: dict[str, set[str]] = {}
        for name in self._names:
            for spelling in {name, unquote(name)}:
                alike.setdefault(_fold(spelling), set()).add(name)
            self._stored.setdefault(_fold(_as_stored(name)), set()).add(name)
        return alike


def _spellings(path: str) -> Iterator[str]:
    """Yield the file names to which ``path`` may refer.

    They are taken from the path as it is, from the path without query string and fragment, and from the values of the
    query string (Label Studio: ``/data/local-files/?d=folder/name.jpg``), each also percent-decoded.
    """
    text = path.strip()
    before, _, query = text.partition("?")
    values = (part.partition("=")[2] for part in query.partition("#")[0].split("&"))
    for spelling in (text, before, before.partition("#")[0], *values):
        # Decode twice, because a URL inside a URL is encoded twice. A decoded slash ends a folder.
        for decoded in (spelling, unquote(spelling), unquote(unquote(spelling))):
            if name := file_name(decoded).strip():
                yield name


def _fold(name: str) -> str:
    """Return the same text for names that differ only in letter case, Unicode form or surrounding space."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.strip()).casefold())


def _as_stored(name: str) -> str:
    """Return the name under which Label Studio stores an uploaded file (Django's `get_valid_filename`)."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


class Claims:
    """Decides which photo each entry of a labels file names: first `add` all entries, then `resolve` the inexact ones.

    A photo belongs to the entry that has exactly its name. Without such an entry, it belongs to the entry with a
    similar name, if there is only one and that entry is similar to no other photo.
    """

    def __init__(self) -> None:
        self._exact: set[str] = set()
        self._alike: dict[str, list[str]] = {}

    def add(self, path: str, match: Match) -> None:
        """Add an entry: ``path`` is the entry's name for its photo, ``match`` what `Names.find` returned for it."""
        if match.exact is not None:
            self._exact.add(match.exact)
        for photo in match.alike:
            self._alike.setdefault(photo, []).append(file_name(path))

    def resolve(self, match: Match) -> str | list[str] | None:
        """Return the entry's photo; all candidate names if it is ambiguous; None if the job has no such photo."""
        if match.exact is not None:
            return match.exact
        free = [photo for photo in match.alike if photo not in self._exact]
        if not free:
            return None
        if len(match.alike) > 1:
            return list(match.alike)
        [photo] = free
        return photo if len(self._alike[photo]) == 1 else [photo, *self._alike[photo]]
