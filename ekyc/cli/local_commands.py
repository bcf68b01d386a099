"""The commands that need no AWS account: `samples`, `demo`, `local`."""

from pathlib import Path
from typing import Annotated

import typer

from ekyc.cli.errors import CommandError

DEFAULT_PORT = 4599

Count = Annotated[int, typer.Option(help="Number of specimen photos to draw.")]
Seed = Annotated[int, typer.Option(help="The same seed draws the same photos.")]


def draw_samples(
    out: Annotated[Path, typer.Option(help="Output folder. It must be empty or not exist.")],
    count: Count = 90,
    seed: Seed = 1,
) -> None:
    """Draw photos of fictitious specimen documents, and their COCO annotations.

    Example: ekyc samples --out photos --count 90
    """
    from ekyc.cli import photos
    from ekyc.cli.terminal import console

    photos.draw(out, count, seed)
    console.print(f"Wrote {count} photos and annotations.json to {out}.")


def demo(
    folder: Annotated[
        Path | None, typer.Option("--photos", help="Folder with your photos and their annotations.json (COCO).")
    ] = None,
    count: Count = 90,
    seed: Seed = 1,
    out: Annotated[Path, typer.Option(help="Folder for contact-sheet.png and result.json.")] = Path("build/demo"),
) -> None:
    """Run a complete job on the embedded local AWS, from photos to a running model that crops documents.

    Example: ekyc demo --photos photos
    """
    from ekyc.cli.demo import run  # imported late: the other commands must not wait for the local AWS

    run(folder, count, seed, out)


def local(
    port: Annotated[int, typer.Option(envvar="EKYC_LOCAL_PORT", help="Port on 127.0.0.1.")] = DEFAULT_PORT,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="COCO file with the labels that the simulated workforce gives, by file name. Without it, you label."
        ),
    ] = None,
    speed: Annotated[float, typer.Option(min=1, help="Factor by which waits are shorter than on AWS.")] = 60,
    iam: Annotated[bool, typer.Option(help="Deny calls that a function's role does not allow.")] = True,
) -> None:
    """Run the local AWS with the stack deployed until Ctrl-C. Prints the variables to export to use it.

    Example: ekyc local --answers photos/annotations.json
    """
    import signal
    import threading
    from tempfile import TemporaryDirectory

    from ekyc.cli.labelling_page import new_link
    from ekyc.cli.terminal import console
    from ekyc.localaws.server import LocalAws
    from ekyc.localaws.synth import synthesize

    if answers and not answers.is_file():
        raise CommandError(f"{answers} is not a file.")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with TemporaryDirectory() as folder, LocalAws(port=port, speed=speed, enforce_iam=iam) as aws:
        with console.status("Deploying the stack to the local AWS"):
            outputs = aws.deploy(synthesize(Path(folder)))
        if answers:
            aws.workforce.answer_from(answers)
        console.print("# The local AWS is running. In another shell:")
        for name, value in (aws.environment() | {"EKYC_API_URL": aws.api_url}).items():
            console.print(f"export {name}={value}")
        console.print(f"# State machine {outputs['StateMachineArn']}")
        console.print(f"# Function logs: {aws.logs_dir}")
        console.print("# Ctrl-C stops it.")

        def announce(job_id: str) -> None:
            console.print(f"# {job_id} waits for labels. This link signs you in to the labelling page, once:")
            console.print(new_link(aws), soft_wrap=True)

        with aws.labelling_attended(announce):
            stopped.wait()
