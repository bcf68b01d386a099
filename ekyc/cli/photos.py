"""A folder of photographs with its COCO annotations."""

import json
from dataclasses import dataclass
from pathlib import Path

from ekyc import samples
from ekyc.cli.errors import CommandError
from ekyc.cli.terminal import progress
from ekyc.scoring import Box

HELD_OUT_EVERY = 5


@dataclass(frozen=True)
class LabelledFolder:
    """The photos of a folder with their documents.

    ``documents`` maps a file name to its documents as (type, box in pixels); ``types`` are the annotations' categories.
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
        CommandError: there is no such file, it is no COCO file, or a photo that it names is missing.
    """
    annotations = folder / "annotations.json"
    try:
        coco = json.loads(annotations.read_text())
        types = {category["id"]: category["name"] for category in coco["categories"]}
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        documents: dict[str, list[tuple[str, Box]]] = {name: [] for name in names.values()}
        for annotation in coco["annotations"]:
            left, top, width, height = annotation["bbox"]
            documents[names[annotation["image_id"]]].append(
                (types[annotation["category_id"]], (left, top, width, height))
            )
    except FileNotFoundError:
        raise CommandError(
            f"{folder} has no annotations.json, the COCO file that says where the documents are."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{annotations} is no COCO file: {type(error).__name__} {error}") from None
    missing = [name for name in documents if not (folder / name).is_file()]
    if missing:
        raise CommandError(f"{annotations} names {len(missing)} photos that are not there, such as {missing[0]}.")
    return LabelledFolder(annotations, tuple(types.values()), documents)


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
