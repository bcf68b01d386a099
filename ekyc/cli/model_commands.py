"""The commands for the live model: `detect` and `model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ekyc.cli.connection import AsJson, Yes, confirm, connect
from ekyc.cli.errors import CommandError

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
        console.print(
            f"{live['projectVersionArn']}\n{live['status']}, live since {since:%Y-%m-%d %H:%M}, "
            f"inference units: {live['inferenceUnits']}, ${live['costPerHourUsd']:.2f} an hour",
            markup=False,
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
        console.print(f"{answer['projectVersionArn']} is {answer['status']}.", markup=False)


def detect(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="Photos, JPEG or PNG.")],
    out: Annotated[Path, typer.Option(help="Folder for the crops and contact-sheet.png.")],
    model: Annotated[str | None, typer.Option(help="The model's ARN; without it the live model is asked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find, type and crop the documents in photos with a running model.

    Prints type, confidence and box (left, top, width, height in pixels); writes each document straightened, and
    a contact sheet. The photos go to Rekognition with your AWS credentials.

    Example: ekyc detect photo.jpg --out crops
    """
    import boto3
    import cv2
    from rich.table import Table

    from ekyc.cli import contact_sheet, detection
    from ekyc.cli.terminal import console, human, print_json, progress
    from ekyc.crop import straighten

    for image in images:
        detection.read_photo(image)  # a wrong file is told before a model is asked, which costs money
    model = model or connect(context).model()["projectVersionArn"]
    if model is None:
        raise CommandError("No model is live yet: train one first, or name one with --model.")
    out.mkdir(parents=True, exist_ok=True)
    with progress(f"Asking {model}", len(images), human) as steps:
        found = list(detection.detect_all(boto3.Session(), model, images, steps.advance))
    rows: list[dict[str, Any]] = []
    for path, documents in found:
        row: dict[str, Any] = {"photo": str(path), "documents": []}
        for place, document in enumerate(documents, 1):
            crop = out / f"{path.stem}-{place}-{document.label}.png"
            cv2.imwrite(str(crop), straighten(detection.read_photo(path), document.outline))
            box = [round(edge, 1) for edge in document.box]
            row["documents"].append(
                {"type": document.label, "confidence": round(document.confidence, 2), "box": box, "crop": str(crop)}
            )
        rows.append(row)
    sheet = contact_sheet.draw(found, out / "contact-sheet.png")
    if as_json:
        print_json({"model": model, "photos": rows, "contactSheet": str(sheet)})
        return
    table = Table("photo", "type", "confidence", "left, top, width, height", "crop")
    for row in rows:
        name = Path(row["photo"]).name
        for one in row["documents"]:
            box_words = ", ".join(f"{edge:.0f}" for edge in one["box"])
            table.add_row(name, one["type"], f"{one['confidence']:.1f} %", box_words, Path(one["crop"]).name)
        if not row["documents"]:
            table.add_row(name, "no document", "", "", "")
    console.print(table)
    console.print(f"The crops are in {out}, all on {sheet}.", markup=False)
