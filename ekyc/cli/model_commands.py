"""The commands for the live model: `detect` and `model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ekyc.cli.connection import AsJson, Yes, confirm, connect
from ekyc.cli.errors import ERROR, CommandError

if TYPE_CHECKING:
    from rich.table import Table

    from ekyc.cli import crops, detection

CROP_SIDE = 1000  # the longer side of a straightened crop in pixels

model = typer.Typer()


@model.callback(invoke_without_command=True)
def show_model(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the live model: its status, when it went live, and its cost. Subcommands start and stop it.

    Example: ekyc model
    """
    from datetime import datetime

    from ekyc.cli.terminal import console, print_json

    if context.invoked_subcommand:
        return
    live = connect(context).model()
    if as_json:
        print_json(live)
    elif live["projectVersionArn"] is None:
        console.print("No model is live yet.")
    else:
        since = datetime.fromtimestamp(live["since"] / 1000)
        console.print(live["projectVersionArn"])
        console.print(
            f"{live['status']}, live since {since:%Y-%m-%d %H:%M}, "
            f"inference units: {live['inferenceUnits']}, ${live['costPerHourUsd']:.2f} an hour"
        )


@model.command("start")
def start_model(context: typer.Context, as_json: AsJson = False) -> None:
    """Start the live model again after a stop. A running model is billed by the hour.

    Example: ekyc model start
    """
    _change(connect(context).change_model("start"), as_json)


@model.command("stop")
def stop_model(context: typer.Context, yes: Yes = False, as_json: AsJson = False) -> None:
    """Stop the live model. Services that use it get errors until it is started again. Asks for confirmation.

    Example: ekyc model stop --yes
    """
    confirm("Stop the live model? Services that use it get errors until it is started again.", yes)
    _change(connect(context).change_model("stop"), as_json)


def _change(answer: dict[str, Any], as_json: bool) -> None:
    from ekyc.cli.terminal import console, print_json

    if as_json:
        print_json(answer)
    else:
        console.print(f"{answer['projectVersionArn']} is {answer['status']}.")


def detect(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="Photos, JPEG or PNG.")],
    out: Annotated[Path, typer.Option(help="Folder for the crops and contact-sheet.png.")],
    as_json: AsJson = False,
) -> None:
    """Find, classify and crop the documents in photos with the live model.

    Prints type, confidence, confidence of the outline, and box (left, top, width, height in pixels). Writes a crop of
    each document and a contact sheet. A crop is straightened if the document has an outline, else it is the box. Never
    overwrites a file: if a name is taken, the new file gets a number. If a photo fails, its error is printed, the other
    photos are processed, and the exit code is 1. Photos that exceed the API's limits are scaled down for the call.

    Example: ekyc detect photo.jpg --out crops
    """
    from ekyc.cli import crops, detection
    from ekyc.cli.terminal import console, human, print_json, progress

    failed = _find_unreadable(images)
    api = connect(context)
    folder = crops.Folder(out)
    usable = [image for image in images if image not in failed]
    rows: list[dict[str, Any]] = []
    detections: list[tuple[Path, list[detection.Document]]] = []
    with progress("Finding documents with the live model", len(usable), human) as steps:
        results = detection.detect_all(api, usable, steps.advance)
        for name, image in zip(crops.name_photos(images), images, strict=True):
            result = CommandError(failed[image]) if image in failed else next(results)[1]
            rows.append(_write_crops(folder, name, image, result))
            if not isinstance(result, CommandError):
                detections.append((image, result))
    sheet = _write_contact_sheet(folder, detections)
    errors = [row["error"] for row in rows if "error" in row]
    for message in errors:
        human.print(message)
    if as_json:
        print_json({"photos": rows, "contactSheet": sheet and str(sheet)})
    else:
        console.print(_table_of_crops(rows))
        if sheet:
            console.print(f"The crops are in {out}, the contact sheet is {sheet}.")
    if errors or not sheet:
        raise typer.Exit(ERROR)


def _find_unreadable(images: list[Path]) -> dict[Path, str]:
    """The error of each file that is not a photo, found before the first call to the model.

    Raises:
        CommandError: no file is a photo.
    """
    from ekyc.cli import detection

    failed: dict[Path, str] = {}
    for image in images:
        try:
            detection.read_file(image)
        except CommandError as error:
            failed[image] = str(error)
    if len(failed) == len(set(images)):
        raise CommandError(" ".join(failed.values()))
    return failed


def _write_contact_sheet(folder: crops.Folder, detections: list[tuple[Path, list[detection.Document]]]) -> Path | None:
    """Write the contact sheet. Returns its path, or None if there is nothing on it or it cannot be written."""
    import cv2
    import numpy as np

    from ekyc.cli import contact_sheet
    from ekyc.cli.terminal import human

    if not detections:
        return None
    pixels = np.asarray(contact_sheet.draw(detections))
    try:
        return folder.write("contact-sheet", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))  # type: ignore[arg-type]
    except CommandError as error:
        human.print(str(error))
        return None


def _write_crops(
    folder: crops.Folder, name: str, image: Path, result: list[detection.Document] | CommandError
) -> dict[str, Any]:
    """Write the crops of a photo. Returns its part of the JSON result.

    The result has ``error`` if anything failed. A document's ``crop`` is None if no crop was written.
    """
    from ekyc.cli import crops, detection
    from outlines import pictures

    row: dict[str, Any] = {"photo": str(image), "documents": []}
    if isinstance(result, CommandError):
        return row | {"error": str(result)}
    for place, document in enumerate(result, 1):
        crop: Path | None = None
        try:
            pixels = pictures.crop(detection.read_photo(image), document.box, document.outline, CROP_SIDE)
            if pixels is None:
                raise CommandError(f"{image}: the detected {document.label} has no area, so it cannot be cropped.")
            crop = folder.write(f"{name}-{place}-{crops.safe_name(document.label)}", pixels)
        except CommandError as error:
            row["error"] = str(error)
        box = [round(edge, 1) for edge in document.box]
        row["documents"].append(
            {
                "type": document.label,
                "confidence": round(document.confidence, 4),
                "box": box,
                "outline": _outline(document),
                "crop": crop and str(crop),
            }
        )
    return row


def _outline(document: detection.Document) -> dict[str, Any] | None:
    if document.outline is None or document.outline_confidence is None:
        return None
    return {"confidence": round(document.outline_confidence, 4), "corners": document.outline.round(1).tolist()}


def _table_of_crops(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("photo", "type", "confidence", "outline", "left, top, width, height", "crop"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        name = Path(row["photo"]).name
        for document in row["documents"]:
            box = ", ".join(f"{edge:.0f}" for edge in document["box"])
            crop = Path(document["crop"]).name if document["crop"] else "not written"
            outline = f"{100 * document['outline']['confidence']:.1f} %" if document["outline"] else "none: box"
            table.add_row(name, document["type"], f"{100 * document['confidence']:.1f} %", outline, box, crop)
        if not row["documents"]:
            table.add_row(name, "failed" if "error" in row else "no document", "", "", "", "")
    return table
