"""The commands for the live model: `detect` and `model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ekyc.cli.aws_session import new_session
from ekyc.cli.connection import AsJson, Yes, confirm, connect
from ekyc.cli.errors import ERROR, CommandError

if TYPE_CHECKING:
    from rich.table import Table

    from ekyc.cli import crops, detection

model = typer.Typer()


@model.callback(invoke_without_command=True)
def show_model(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the live model: whether it runs, since when it is live, what it costs. Or start or stop it.

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
    """Start the live model again after a stop; it costs money by the hour while it runs.

    Example: ekyc model start
    """
    _change(connect(context).change_model("start"), as_json)


@model.command("stop")
def stop_model(context: typer.Context, yes: Yes = False, as_json: AsJson = False) -> None:
    """Stop the live model. Services that ask it get errors until it is started again, so this asks first.

    Example: ekyc model stop --yes
    """
    confirm("Stop the live model? Whoever uses it gets errors from then on.", yes)
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
    model: Annotated[str | None, typer.Option(help="The model's ARN; without it the live model is asked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find, type and crop the documents in photos with a running model.

    Prints type, confidence and box (left, top, width, height in pixels); writes each document straightened, and
    a contact sheet. Nothing in the folder is overwritten: where a name is taken, the new file gets a number. A photo
    that fails is named with its error, the others go on, and the exit code is 1. The photos go to Rekognition with
    your AWS credentials; those that are too large for it are scaled down.

    Example: ekyc detect photo.jpg --out crops
    """
    import cv2
    import numpy as np

    from ekyc.cli import contact_sheet, crops, detection
    from ekyc.cli.terminal import console, human, print_json, progress

    failed: dict[Path, str] = {}
    for image in images:
        try:
            detection.read_file(image)  # a wrong file is told before a model is asked, which costs money
        except CommandError as error:
            failed[image] = str(error)
    if len(failed) == len(set(images)):
        raise CommandError(" ".join(failed.values()))
    model = model or connect(context).model()["projectVersionArn"]
    if model is None:
        raise CommandError("No model is live yet: train one first, or name one with --model.")
    folder = crops.Folder(out)
    to_ask = [image for image in images if image not in failed]
    rows: list[dict[str, Any]] = []
    shown: list[tuple[Path, list[detection.Document]]] = []
    with progress(f"Asking {model}", len(to_ask), human) as steps:
        answers = detection.detect_all(new_session(context.obj.url), model, to_ask, steps.advance)
        for name, image in zip(crops.name_photos(images), images, strict=True):
            found = CommandError(failed[image]) if image in failed else next(answers)[1]
            rows.append(_write_crops(folder, name, image, found))
            if not isinstance(found, CommandError):
                shown.append((image, found))
    sheet: Path | None = None
    if shown:
        drawn = np.asarray(contact_sheet.draw(shown))
        try:
            sheet = folder.write("contact-sheet", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))  # type: ignore[arg-type]
        except CommandError as error:
            human.print(str(error))
    errors = [row["error"] for row in rows if "error" in row]
    for words in errors:
        human.print(words)
    if as_json:
        print_json({"model": model, "photos": rows, "contactSheet": sheet and str(sheet)})
    else:
        console.print(_table_of_crops(rows))
        if sheet:
            console.print(f"The crops are in {out}, all on {sheet}.")
    if errors or not sheet:
        raise typer.Exit(ERROR)


def _write_crops(
    folder: crops.Folder, name: str, image: Path, found: list[detection.Document] | CommandError
) -> dict[str, Any]:
    """The photo's part of the result, with ``error`` when anything failed; ``crop`` is None where none is written."""
    from ekyc.cli import crops, detection
    from ekyc.crop import straighten

    row: dict[str, Any] = {"photo": str(image), "documents": []}
    if isinstance(found, CommandError):
        return row | {"error": str(found)}
    for place, document in enumerate(found, 1):
        crop: Path | None = None
        try:
            cut = straighten(detection.read_photo(image), document.outline)
            crop = folder.write(f"{name}-{place}-{crops.safe_name(document.label)}", cut)
        except ValueError:
            row["error"] = f"{image} has a {document.label} without an area: it cannot be cropped."
        except CommandError as error:
            row["error"] = str(error)
        box = [round(edge, 1) for edge in document.box]
        row["documents"].append(
            {
                "type": document.label,
                "confidence": round(document.confidence, 2),
                "box": box,
                "crop": crop and str(crop),
            }
        )
    return row


def _table_of_crops(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("photo", "type", "confidence", "left, top, width, height", "crop"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        name = Path(row["photo"]).name
        for one in row["documents"]:
            box_words = ", ".join(f"{edge:.0f}" for edge in one["box"])
            crop = Path(one["crop"]).name if one["crop"] else "not written"
            table.add_row(name, one["type"], f"{one['confidence']:.1f} %", box_words, crop)
        if not row["documents"]:
            table.add_row(name, "failed" if "error" in row else "no document", "", "", "")
    return table
