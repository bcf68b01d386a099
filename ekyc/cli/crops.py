"""Writes the crops of found documents, each into a file of its own whose name is safe on every system."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ekyc.cli.errors import CommandError

# A file name may have 255 bytes on common file systems; that of a crop has a photo's name, a type's, and numbers.
LONGEST_PART = 110
# Names of devices in Windows, whatever ending they have: Win32 guide, "Naming Files, Paths, and Namespaces".
DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")}
)
MOST_OF_A_NAME = 10_000


def safe_name(text: str) -> str:
    """The text as a part of a file name: it names no folder and no device, hides nothing, and is not too long.

    Letters, their accents and digits of all languages, ``-``, ``_``, ``.`` and inner spaces stay; every other character
    becomes ``_``.
    """
    shown = "".join(
        character if unicodedata.category(character)[0] in "LMN" or character in "-_. " else "_"
        for character in unicodedata.normalize("NFC", text)
    )
    shown = shown.replace("..", "__").lstrip(".- ")
    shown = shown.encode()[:LONGEST_PART].decode(errors="ignore").rstrip(". ")
    if not shown or shown.partition(".")[0].rstrip().casefold() in DEVICES:
        return f"_{shown}"
    return shown


def name_photos(paths: Sequence[Path]) -> list[str]:
    """A name for the crops of each photo: its own without the ending, with the ending or its folders to tell it apart.

    Photos that have all of this in common get the same name: `Folder.write` numbers their files.
    """
    whole = [path.absolute() for path in paths]
    deepest = max((len(path.parts) for path in whole), default=0)
    ways = [[safe_name(path.stem) for path in whole]]
    ways += [[safe_name("_".join(path.parts[-depth:])) for path in whole] for depth in range(1, deepest)]
    names = []
    for place in range(len(whole)):
        alone = (way[place] for way in ways if [name.casefold() for name in way].count(way[place].casefold()) == 1)
        names.append(next(alone, ways[0][place]))
    return names


class Folder:
    """The folder that the crops go to, in which nothing that was there is overwritten.

    Raises:
        CommandError: the path is no folder, and none can be made there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise CommandError(f"{path} is a file: give --out a folder.") from None
        except (OSError, ValueError) as error:
            raise CommandError(f"The folder {path} cannot be made: {_words(error)}.") from error

    def write(self, stem: str, image: NDArray[np.uint8]) -> Path:
        """Write ``image``, BGR, as ``stem``.png, with a number where that name is taken. Returns where it is.

        Raises:
            CommandError: the file cannot be written; none is left.
        """
        _, content = cv2.imencode(".png", image)
        for number in range(1, MOST_OF_A_NAME):
            path = self._path / f"{stem}{f'~{number}' if number > 1 else ''}.png"
            try:
                # A new file only: neither an earlier one nor what a link points to is written over.
                with path.open("xb") as file:
                    try:
                        file.write(content.tobytes())
                        file.flush()
                        os.fsync(file.fileno())
                    except OSError:
                        path.unlink(missing_ok=True)
                        raise
            except FileExistsError:
                continue
            except OSError as error:
                raise CommandError(f"{path} cannot be written: {_words(error)}.") from error
            return path
        raise CommandError(f"{self._path} has {MOST_OF_A_NAME:,} files named {stem}: give --out another folder.")


def _words(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
