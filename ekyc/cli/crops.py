"""Writes each crop to its own file, with a name that is safe on every operating system."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ekyc.cli.errors import CommandError

# Bytes of a photo's name or a type's name. A crop's name has both and two numbers; common file systems allow 255 bytes.
LONGEST_PART = 110
# Device names in Windows, with any extension. Source: Win32 guide, "Naming Files, Paths, and Namespaces".
DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")}
)
MOST_OF_A_NAME = 10_000


def safe_name(text: str) -> str:
    """The text as a part of a file name: not a path, a hidden file or a device, and at most `LONGEST_PART` bytes.

    Letters, accents and digits of all languages, ``-``, ``_``, ``.`` and inner spaces are kept. Every other character
    becomes ``_``.
    """
    name = "".join(
        character if unicodedata.category(character)[0] in "LMN" or character in "-_. " else "_"
        for character in unicodedata.normalize("NFC", text)
    )
    name = name.replace("..", "__").lstrip(".- ")
    name = name.encode()[:LONGEST_PART].decode(errors="ignore").rstrip(". ")
    if not name or name.partition(".")[0].rstrip().casefold() in DEVICES:
        return f"_{name}"
    return name


def name_photos(paths: Sequence[Path]) -> list[str]:
    """The name of each photo's crops: the photo's stem. If that is not unique, its extension and folders are added.

    Photos that cannot be told apart this way get the same name; `Folder.write` numbers their files.
    """
    absolute = [path.absolute() for path in paths]
    deepest = max((len(path.parts) for path in absolute), default=0)
    schemes = [[safe_name(path.stem) for path in absolute]]
    schemes += [[safe_name("_".join(path.parts[-depth:])) for path in absolute] for depth in range(1, deepest)]
    names = []
    for place in range(len(absolute)):
        unique = (
            scheme[place]
            for scheme in schemes
            if [name.casefold() for name in scheme].count(scheme[place].casefold()) == 1
        )
        names.append(next(unique, schemes[0][place]))
    return names


class Folder:
    """The output folder of the crops. Existing files are never overwritten.

    Raises:
        CommandError: the path is a file, or the folder cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise CommandError(f"{path} is a file. Give --out a folder.") from None
        except (OSError, ValueError) as error:
            raise CommandError(f"The folder {path} cannot be created: {_reason(error)}.") from error

    def write(self, stem: str, image: NDArray[np.uint8]) -> Path:
        """Write ``image`` (BGR) as ``stem``.png, with a number added if that name is taken. Returns its path.

        Raises:
            CommandError: the file cannot be written. No partial file is left.
        """
        _, content = cv2.imencode(".png", image)
        for number in range(1, MOST_OF_A_NAME):
            path = self._path / f"{stem}{f'~{number}' if number > 1 else ''}.png"
            try:
                # "x" creates a new file: it overwrites neither an existing file nor the target of a link.
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
                raise CommandError(f"{path} cannot be written: {_reason(error)}.") from error
            return path
        raise CommandError(f"{self._path} has {MOST_OF_A_NAME:,} files named {stem}. Give --out another folder.")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
