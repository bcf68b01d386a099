"""A folder of photographs with its COCO annotations."""

from dataclasses import dataclass
from pathlib import Path

from ekyc import samples
from ekyc.cli import label_files
from ekyc.cli.errors import CommandError
from ekyc.cli.terminal import progress
from ekyc.scoring import Box
from rules.words import counted

HELD_OUT_EVERY = 5


@dataclass(frozen=True)
class LabelledFolder:
    """The photos of a folder with their documents.

    ``documents`` maps a file name to its documents as (type, box in pixels); ``types`` are those of the documents.
    """

    annotations: Path
    types: tuple[str, ...]
    documents: dict[str, list[tuple[str, Box]]]

    @property
    def folder(self) -> Path:
        """Where the photos are."""
        return self.annotations.parent

    def split(self) -> tuple[list[Path], list[Path]]:
        """The photos to train on, and a fifth of each type, held out for the final check; in their order."""
        by_type = sorted(self.documents, key=lambda name: self.documents[name][0][0] if self.documents[name] else "")
        held_out = set(by_type[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
        training = [self.folder / name for name in self.documents if name not in held_out]
        return training, [self.folder / name for name in self.documents if name in held_out]


def read(folder: Path) -> LabelledFolder:
    """Read ``folder/annotations.json``.

    Raises:
        CommandError: there is no such file, it has problems, or a photo that it names is missing.
    """
    annotations = folder / "annotations.json"
    if not annotations.is_file():
        raise CommandError(f"{folder} has no annotations.json, the COCO file that says where the documents are.")
    found = label_files.read(annotations, {path.name: None for path in folder.iterdir() if path.is_file()})
    if found.missing:
        raise CommandError(
            f"{annotations} names {counted(len(found.missing), 'missing photo')}, such as {found.missing[0]}."
        )
    if found.problems:
        more = f" ({len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        raise CommandError(f"{found.problems[0]}{more}.")
    documents = {
        name: [(box.label, (box.left, box.top, box.width, box.height)) for box in entry.boxes]
        for name, entry in found.entries.items()
    }
    return LabelledFolder(annotations, tuple(found.types), documents)


def draw(folder: Path, count: int, seed: int) -> Path:
    """Draw ``count`` specimen photos with their annotations into ``folder`` and return it.

    Raises:
        CommandError: the count or the folder cannot be used.
    """
    with progress(f"Drawing {count} specimen photos", count) as steps:
        try:
            samples.write(folder, count, seed, progress=steps.reach)
        except ValueError as error:
            raise CommandError(str(error)) from error
    return folder
