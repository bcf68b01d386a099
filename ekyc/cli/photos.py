"""A folder of photos with COCO annotations."""

from dataclasses import dataclass
from pathlib import Path

from ekyc import samples
from ekyc.cli import label_files
from ekyc.cli.errors import CommandError
from ekyc.cli.terminal import progress
from rules.geometry import Frame
from rules.words import counted

HELD_OUT_EVERY = 5


@dataclass(frozen=True)
class LabelledFolder:
    """A folder of labelled photos.

    ``documents`` has each photo's documents as (type, box in pixels), by file name. ``types`` are the document types.
    """

    annotations: Path
    types: tuple[str, ...]
    documents: dict[str, list[tuple[str, Frame]]]

    @property
    def folder(self) -> Path:
        """The folder of the photos."""
        return self.annotations.parent

    def split(self) -> tuple[list[Path], list[Path]]:
        """The training photos, and a fifth of the photos of each type, held out for the final check."""
        by_type = sorted(self.documents, key=lambda name: self.documents[name][0][0] if self.documents[name] else "")
        held_out = set(by_type[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
        training = [self.folder / name for name in self.documents if name not in held_out]
        return training, [self.folder / name for name in self.documents if name in held_out]


def read(folder: Path) -> LabelledFolder:
    """Read ``folder/annotations.json``.

    Raises:
        CommandError: the file does not exist or has problems, or names a missing photo.
    """
    annotations = folder / "annotations.json"
    if not annotations.is_file():
        raise CommandError(f"{folder} has no annotations.json, the COCO file with the documents' boxes.")
    labels = label_files.read(annotations, {path.name: None for path in folder.iterdir() if path.is_file()})
    if labels.missing:
        raise CommandError(
            f"{annotations} names {counted(len(labels.missing), 'missing photo')}, such as {labels.missing[0]}."
        )
    if labels.problems:
        more = f" ({len(labels.problems) - 1} more)" if len(labels.problems) > 1 else ""
        raise CommandError(f"{labels.problems[0]}{more}.")
    documents = {
        name: [(box.label, (box.left, box.top, box.width, box.height)) for box in entry.boxes]
        for name, entry in labels.entries.items()
    }
    return LabelledFolder(annotations, tuple(labels.types), documents)


def draw(folder: Path, count: int, seed: int) -> Path:
    """Draw ``count`` specimen photos and their annotations into ``folder``. Returns ``folder``.

    Raises:
        CommandError: the count is out of range, or the folder is not empty.
    """
    with progress(f"Drawing {count} specimen photos", count) as steps:
        try:
            samples.write(folder, count, seed, progress=steps.reach)
        except ValueError as error:
            raise CommandError(str(error)) from error
    return folder
