"""The commands, each a few lines: read the arguments, call what does the work, say an error in a sentence."""

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import boto3
import cv2
import typer
from rich.table import Table

from ekyc.cli import dead_letters, detection, photos
from ekyc.cli.api import Api
from ekyc.cli.errors import CommandError
from ekyc.cli.terminal import console, progress
from ekyc.crop import straighten
from ekyc.localaws.errors import LocalAwsError

DEFAULT_PORT = 4599

cli = typer.Typer(
    help="Trains the model that finds an identity document in a photo, on AWS or on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Count = Annotated[int, typer.Option(help="How many specimen photos to draw.")]
Seed = Annotated[int, typer.Option(help="The same seed draws the same photos.")]


@cli.command("samples")
def draw_samples(
    out: Annotated[Path, typer.Option(help="Folder to write to; it must be empty or not exist.")],
    count: Count = 90,
    seed: Seed = 1,
) -> None:
    """Draw photographs of fictitious specimen documents, with their COCO annotations."""
    photos.draw(out, count, seed)
    console.print(f"{count} photos and annotations.json are in {out}.")


@cli.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option("--photos", help="Folder with your photos and their annotations.json (COCO).")
    ] = None,
    count: Count = 90,
    seed: Seed = 1,
    out: Annotated[Path, typer.Option(help="Folder for contact-sheet.png and result.json.")] = Path("build/demo"),
) -> None:
    """Run a whole job on the embedded local AWS: photos in, a running model that crops documents out."""
    from ekyc.cli.demo import run  # starts the local AWS, which the other commands need not wait for

    run(folder, count, seed, out)


@cli.command()
def label(
    folder: Annotated[Path, typer.Argument(help="Folder with photos, JPEG or PNG.")],
    types: Annotated[
        list[str] | None, typer.Option("--type", help="A document type, once for each; without it those of cdk.json.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the labels, output.manifest.")] = Path("build/label"),
    browser: Annotated[bool, typer.Option(help="Open the labelling page in the browser.")] = True,
) -> None:
    """Label photos in the browser and train a model on them, on the embedded local AWS."""
    from ekyc.cli.label import run  # starts the local AWS, which the other commands need not wait for

    run(folder, types or [], out, browser)


@cli.command()
def local(
    port: Annotated[int, typer.Option(envvar="EKYC_LOCAL_PORT", help="Port on 127.0.0.1.")] = DEFAULT_PORT,
    answers: Annotated[
        Path | None, typer.Option(help="COCO file from which the simulated workforce labels photos, by file name.")
    ] = None,
    speed: Annotated[float, typer.Option(min=1, help="How many times faster than at AWS waiting goes.")] = 60,
) -> None:
    """Keep the local AWS up, with the stack deployed, until Ctrl-C; says what to export to use it."""
    from tempfile import TemporaryDirectory

    from ekyc.localaws.server import LocalAws
    from ekyc.localaws.synth import synthesize

    if answers and not answers.is_file():
        raise CommandError(f"{answers} is not a file.")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with TemporaryDirectory() as folder, LocalAws(port=port, speed=speed) as aws:
        with console.status("Deploying the stack to the local AWS"):
            outputs = aws.deploy(synthesize(Path(folder)))
        if answers:
            aws.workforce.answer_from(answers)
        else:
            aws.workforce.leave_to_people()
        console.print("# The local AWS is up. In another shell:")
        for name, value in (aws.environment() | {"EKYC_API_URL": aws.api_url}).items():
            console.print(f"export {name}={value}")
        console.print(f"# State machine {outputs['StateMachineArn']}")
        console.print(f"# Logs of the functions: {aws.logs_dir}")
        console.print(f"# Labelling page: {aws.labelling_url}")
        console.print("# Ctrl-C stops it.")
        stopped.wait()


@cli.command()
def detect(
    images: Annotated[list[Path], typer.Argument(help="Photos, JPEG or PNG.")],
    out: Annotated[Path, typer.Option(help="Folder for the crops.")],
    model: Annotated[str | None, typer.Option(help="The model's ARN; without it the live model is asked.")] = None,
) -> None:
    """Find, type and crop the documents in photos with a running model."""
    for image in images:
        detection.read_photo(image)  # a wrong file is told before a model is asked, which costs money
    session = boto3.Session()
    model = model or _api(session).model()["projectVersionArn"]
    if model is None:
        raise CommandError("No model is live yet: train one first, or name one with --model.")
    table = Table("photo", "type", "confidence", "left, top, width, height", "crop")
    out.mkdir(parents=True, exist_ok=True)
    with progress(f"Asking {model}", len(images)) as steps:
        found = list(detection.detect_all(session, model, images, steps.advance))
    for path, documents in found:
        for place, document in enumerate(documents, 1):
            crop = out / f"{path.stem}-{place}-{document.label}.png"
            cv2.imwrite(str(crop), straighten(detection.read_photo(path), document.outline))
            box = ", ".join(f"{edge:.0f}" for edge in document.box)
            table.add_row(path.name, document.label, f"{document.confidence:.1f} %", box, crop.name)
        if not documents:
            table.add_row(path.name, "no document", "", "", "")
    console.print(table)
    console.print(f"The crops are in {out}.")


@cli.command()
def doctor(
    context: Annotated[
        list[str], typer.Option("--context", "-c", metavar="KEY=VALUE", help="A setting, as for cdk deploy.")
    ] = [],  # noqa: B006  # Typer makes a list of its own
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Look, before a deployment or a first job, at what would make it fail. Exit code 1: there is a problem."""
    from ekyc.cli import doctor  # starts with what no other command needs

    wrong = [text for text in context if "=" not in text]
    if wrong:
        raise CommandError(f"{wrong[0]!r} is no setting: give KEY=VALUE, such as -c labelProvider=supplied.")
    given = {key: value for key, _, value in (text.partition("=") for text in context)}
    with console.status("Looking"):
        patient, findings = doctor.examine(given)
    if as_json:
        print(doctor.as_json(patient, findings))
    else:
        doctor.report(findings)
    raise typer.Exit(doctor.count(findings, "problem") > 0)


@cli.command()
def audit(
    words: Annotated[list[str], typer.Argument(metavar="JOB | verify FILE", help="A job's id; or a report to check.")],
    html: Annotated[Path | None, typer.Option(help="Write the report as a page to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report as JSON to this file.")] = None,
) -> None:
    """Show or fetch a job's audit report, or check one. Exit code 1: something in the report is wrong."""
    from ekyc.cli import audit as reports

    match words:
        case ["verify", file]:
            raise typer.Exit(not reports.verify(Path(file)))
        case [job_id] if job_id != "verify":
            api = _api(boto3.Session())
            for form, out in (("html", html), ("json", json)):
                if out:
                    reports.save(api, job_id, form, out)
            if not html and not json:
                reports.show(api, job_id)
        case _:
            raise CommandError("Give a job's id, or verify and the file of a report.")


JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


@cli.command()
def stop(job: JobId) -> None:
    """Stop what a job runs: its execution, the people who label, a model that is not live."""
    answer = _api(boto3.Session()).stop(job)
    console.print(
        f"{job} is {answer['status']}. Stopped: {', '.join(answer['stopped']) or 'nothing was left to stop'}."
    )
    for words in answer["remaining"]:
        console.print(words)


@cli.command()
def resume(job: JobId) -> None:
    """Go on with a job that failed or was stopped, from where it ended."""
    answer = _api(boto3.Session()).resume(job)
    console.print(f"{job} is {answer['status']}. Execution {answer['executionArn']}")


@cli.command()
def redeliver(
    function: Annotated[
        str | None, typer.Argument(help="A function's name in the stack, such as RecordOutcome; all without it.")
    ] = None,
    stack: Annotated[str, typer.Option(envvar="EKYC_STACK", help="The stack's name.")] = "ekyc-training",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a message.")] = False,
) -> None:
    """Give the functions once more what they could not handle; says of each message why that was."""
    count = 0
    for letter in dead_letters.redeliver(boto3.Session(), stack, function):
        count += 1
        if as_json:
            typer.echo(json.dumps(asdict(letter)))
            continue
        when = datetime.fromtimestamp(letter.time / 1000, UTC)
        done = "sent again" if letter.redelivered else "left in the queue"
        console.print(f"{when:%Y-%m-%d %H:%M:%S} {letter.function} {letter.job or 'no job'}: {done}. {letter.reason}")
    if not count and not as_json:
        console.print("The dead-letter queues are empty.")


def _api(session: Any) -> Api:
    url = os.environ.get("EKYC_API_URL")
    if not url:
        raise CommandError(
            "EKYC_API_URL is not set: export it as `ekyc local` prints it, or the stack's output ApiUrl."
        )
    return Api(url, session)


def app() -> None:
    """Run the command line; an error is one sentence on standard error and exit code 1."""
    try:
        cli()
    except (CommandError, LocalAwsError) as error:
        sys.exit(f"ekyc: {error}")
