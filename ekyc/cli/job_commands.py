"""The commands for jobs: `train`, which does a whole one, and its parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ekyc.cli.connection import AsJson, JobId, Yes, confirm, connect
from ekyc.cli.errors import INTERRUPTED, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ekyc.cli.api import Api
    from ekyc.cli.label_files import Labels
    from ekyc.cli.photo_checks import Checked, Photo
    from rules.entries import Size

Photos = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with photos, JPEG or PNG; folders in it count.")]


def _checked_types(types: list[str] | None) -> list[str] | None:
    """The document types that the option gives.

    Raises:
        CommandError: one of them cannot be a document type.
    """
    from rules.types import fault_of_type

    if fault := next(filter(None, map(fault_of_type, types or ())), None):
        raise CommandError(f"--type {fault}.")
    return types


Types = Annotated[
    list[str] | None, typer.Option("--type", help="A document type; once for each.", callback=_checked_types)
]
Deploy = Annotated[bool, typer.Option(help="Start and publish the model when it is good enough.")]
MinF1 = Annotated[float | None, typer.Option(min=0, max=1, help="Least F1 of the model; the stack's or more.")]
MinLabelF1 = Annotated[float | None, typer.Option(min=0, max=1, help="Least F1 of each type; the stack's or more.")]
MaxF1Drop = Annotated[
    float | None, typer.Option(min=0, max=1, help="How far F1 may be below the live model's; the stack's or less.")
]
MaxUnmatched = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="The deployment's maxUnmatchedShare: largest share of labels without photo, or photos without labels.",
    ),
]
StopPrevious = Annotated[
    bool | None, typer.Option("--stop-previous/--keep-previous", help="What becomes of the model that is live now.")
]

MOST_SHOWN = 50


def train(
    context: typer.Context,
    folder: Photos,
    labels: Annotated[
        Path | None,
        typer.Option(help="COCO file or Ground Truth manifest; without it DIR/annotations.json if there is one."),
    ] = None,
    types: Types = None,
    deploy: Deploy = True,
    min_f1: MinF1 = None,
    min_label_f1: MinLabelF1 = None,
    max_f1_drop: MaxF1Drop = None,
    stop_previous: StopPrevious = None,
    label: Annotated[
        bool, typer.Option("--label", help="Label the photos yourself in the browser, on a local AWS of its own.")
    ] = False,
    labels_out: Annotated[Path, typer.Option(help="With --label: folder for the labels, output.manifest.")] = Path(
        "build/label"
    ),
    browser: Annotated[bool, typer.Option(help="With --label: open the page in the browser.")] = True,
    max_unmatched: MaxUnmatched = 0.05,
    as_json: AsJson = False,
) -> None:
    """Do a whole job: check the photos, create, upload, start, follow to the end.

    With labels the model is trained on them; without, people label the photos with Ground Truth. With --label you do,
    on this machine, and the labels are kept for a job on AWS.

    Example: ekyc train photos --type ID_KTP --type AU_PASSPORT --min-f1 0.9
    """
    from contextlib import ExitStack

    if label and labels:
        raise CommandError("Give --labels or --label: the photos are labelled, or you label them.")
    if not label and labels is None and (folder / "annotations.json").is_file():
        labels = folder / "annotations.json"
    checked = _checked(folder)
    found = _checked_labels(labels, _sizes(checked), types, max_unmatched) if labels else None
    bars = _bars(min_f1, min_label_f1, max_f1_drop, stop_previous)
    options: dict[str, Any] = {"deploy": deploy, **bars}
    wanted = types or (list(found.types) if found else None)
    if wanted:
        options["documentTypes"] = wanted
    options["labels"] = {"provider": "supplied", "key": labels.name} if labels else {"provider": "ground-truth"}
    with ExitStack() as stack:
        if not label:
            code = _train(connect(context), folder, checked.photos, labels, options, as_json)
        else:
            from ekyc.cli import labelling_page
            from ekyc.cli.api import Api
            from ekyc.cli.terminal import human

            # A job may not lower the bars of its deployment, which here is this command's own.
            local = stack.enter_context(labelling_page.local_aws(bars))
            api = Api(local.api_url)

            def lead(job_id: str) -> None:
                labelling_page.lead_to_page(local, api, job_id, browser)
                stack.callback(keep, job_id)

            def keep(job_id: str) -> None:
                if manifest := labelling_page.keep_labels(job_id, labels_out):
                    words = f"The labels are in {manifest}. To train on them: ekyc train {folder} --labels {manifest}"
                    human.print(words)

            code = _train(api, folder, checked.photos, None, options, as_json, lead)
    raise typer.Exit(code)


def _train(
    api: Api,
    folder: Path,
    photos: list[Photo],
    labels: Path | None,
    options: dict[str, Any],
    as_json: bool,
    lead: Callable[[str], None] | None = None,
) -> int:
    """A whole job; the exit code. ``lead`` brings people to the labelling page of this process's local AWS."""
    from ekyc.cli import watch as watching
    from ekyc.cli.terminal import human, print_json

    job_id = api.create()["id"]
    human.print(f"Job {job_id}")
    again = f"ekyc upload {job_id} {folder}"
    try:
        _upload(api, job_id, photos, again)
        if labels:
            _upload_file(api, job_id, labels)
        api.start(job_id, options)
    except CommandError as error:
        raise CommandError(f"{error} Nothing was started; to go on: {again}, then ekyc start {job_id}") from error
    if lead:
        lead(job_id)
    else:
        human.print(f"Started. To follow it from elsewhere: ekyc watch {job_id}")
    job, code = watching.follow(api, job_id, outlives_us=lead is None)
    if as_json:
        print_json(job)
    return code


def create(context: typer.Context, as_json: AsJson = False) -> None:
    """Create a job; prints its id.

    Example: JOB=$(ekyc create)
    """
    from ekyc.cli.terminal import print_json, printable

    job = connect(context).create()
    if as_json:
        print_json(job)
    else:
        print(printable(job["id"]))


def upload(context: typer.Context, job: JobId, folder: Photos, as_json: AsJson = False) -> None:
    """Upload the photos of a folder; go on where an earlier upload stopped.

    Photos that Rekognition would reject are listed and left out. What is there with the same content is skipped. When a
    name is there with other content, or twice in the folder, nothing is sent.

    Example: ekyc upload ekyc-20261124034524-0ac337ddb8d23c1c photos
    """
    from ekyc.cli.terminal import print_json

    checked = _checked(folder)
    counts = _upload(connect(context), job, checked.photos, f"ekyc upload {job} {folder}")
    if as_json:
        rejected = [{"file": str(one.path), "code": one.code, "reason": one.reason} for one in checked.rejected]
        print_json({"id": job, **counts, "rejected": rejected})


def start(
    context: typer.Context,
    job: JobId,
    labels: Annotated[str | None, typer.Option(help="Name of a labels file that is uploaded for the job.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="ground-truth, or supplied: the job waits for labels when none are named.")
    ] = None,
    types: Types = None,
    deploy: Deploy = True,
    min_f1: MinF1 = None,
    min_label_f1: MinLabelF1 = None,
    max_f1_drop: MaxF1Drop = None,
    stop_previous: StopPrevious = None,
    as_json: AsJson = False,
) -> None:
    """Start a job whose photos are uploaded. What is not said is as the stack's settings are.

    Example: ekyc start ekyc-20261124034524-0ac337ddb8d23c1c --labels annotations.json --no-deploy
    """
    from ekyc.cli.terminal import human, print_json, printable

    options = {"deploy": deploy, **_bars(min_f1, min_label_f1, max_f1_drop, stop_previous)}
    if types:
        options["documentTypes"] = types
    if labels or provider:
        options["labels"] = {"provider": provider or "supplied"} | ({"key": labels} if labels else {})
    arn = connect(context).start(job, options)
    if as_json:
        print_json({"id": job, "executionArn": arn})
    else:
        print(printable(arn))
        human.print(f"To follow it: ekyc watch {job}")


def status(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show how far a job is, with its figures and its cost.

    Example: ekyc status ekyc-20261124034524-0ac337ddb8d23c1c
    """
    from ekyc.cli import watch as watching
    from ekyc.cli.terminal import console, print_json

    api = connect(context)
    found, states = api.job(job), api.states(job)
    if as_json:
        print_json(found | {"states": states})
        return
    elapsed = watching.duration(found["progress"]["elapsedSeconds"])
    console.print(f"{job}  {found['status']}  {elapsed}  ${found['cost']['totalUsd']:.2f}")
    console.print(watching.table(found, states))
    if found["status"] in watching.ENDED:
        console.print(watching.conclusion(found))
    else:
        console.print(watching.words(found))
    counts = [
        f"{found[name]:,} {words}"
        for name, words in (
            ("images", "photos accepted"),
            ("rejected", "rejected"),
            ("labelled", "labelled"),
            ("trainImages", "to train on"),
            ("testImages", "to test on"),
        )
        if isinstance(found.get(name), int)
    ]
    if counts:
        console.print(", ".join(counts))
    for one in (found.get("metrics") or {}).get("labels") or []:
        console.print(f"  {one['label']}: F1 {one['f1']:.3f}")


def watch(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it ends; the exit code tells how it ended.

    Ctrl-C ends the watching, never the job. With --json a line of JSON for each look that shows something new.

    Example: ekyc watch ekyc-20261124034524-0ac337ddb8d23c1c
    """
    from ekyc.cli import watch as watching
    from ekyc.cli.terminal import to_json

    told: list[Any] = [None]

    def tell(found: dict[str, Any], states: list[dict[str, Any]]) -> None:
        seen = (found["status"], watching.words(found), [(one["name"], one["status"]) for one in states])
        if as_json and seen != told[0]:
            print(to_json(found | {"states": states}), flush=True)
        told[0] = seen

    raise typer.Exit(watching.follow(connect(context), job, tell)[1])


def list_jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Example: ekyc list --limit 5
    """
    from datetime import datetime
    from itertools import islice

    from rich.table import Table

    from ekyc.cli.terminal import console, print_json

    jobs = list(islice(connect(context).jobs(), limit))
    if as_json:
        print_json(jobs)
        return
    if not jobs:
        console.print("There are no jobs yet: ekyc train DIR")
        return
    table = Table(box=None)
    for heading in ("job", "created", "status", "F1"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it does")
    for job in jobs:
        f1 = (job["metrics"] or {}).get("f1")
        created = datetime.fromtimestamp(job["startTime"] / 1000)
        table.add_row(
            job["id"],
            f"{created:%Y-%m-%d %H:%M}",
            job["status"],
            f"{f1:.3f}" if isinstance(f1, (int, float)) else "",
            job["detailedStatus"] or "",
        )
    console.print(table)


def labels(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="COCO file or Ground Truth output manifest.")],
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="The job to give it to; without it: check.")
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder with the photos, to check against their sizes.")] = None,
    types: Types = None,
    max_unmatched: MaxUnmatched = 0.05,
    as_json: AsJson = False,
) -> None:
    """Check a labels file, and give it to a job.

    Says what does not fit, and where, how many labels have no photo, and how many photos have no labels. A job that
    waits for labels goes on with them; one that is not started takes them with `ekyc start --labels`; one that failed
    over its labels takes a corrected file and is then resumed.

    Example: ekyc labels annotations.json ekyc-20261124034524-0ac337ddb8d23c1c --photos photos
    """
    from ekyc.cli import label_files
    from ekyc.cli.terminal import console, print_json
    from rules.words import counted

    api = connect(context) if job is not None else None
    sizes: dict[str, Size | None] | None = None
    if photos:
        sizes = _sizes(_checked(photos))
    elif job is not None and api is not None:
        sizes = {one["name"]: None for one in api.uploads(job) if not one["name"].lower().endswith(label_files.ENDINGS)}
    found = _checked_labels(file, sizes, types, max_unmatched)
    summary = {"file": str(file), "form": found.form, "photos": len(found.entries), "boxes": found.boxes}
    summary |= {"labelsWithoutPhoto": found.lost, "photosWithoutLabel": found.unlabelled}
    words = ""
    if job is not None and api is not None:
        before = api.job(job)["status"]
        _upload_file(api, job, file)
        if before == "WaitingForLabelling":
            api.supply_labels(job, file.name)
            words = f"{job} goes on with them: ekyc watch {job}"
        elif before == "Failed":
            words = f"They are uploaded. To go on with them: ekyc resume {job}"
        else:
            words = f"They are uploaded. To start with them: ekyc start {job} --labels {file.name}"
    if as_json:
        print_json(summary | {"types": list(found.types), "job": job})
        return
    console.print(
        f"{file} fits: {found.form}, {counted(len(found.entries), 'photo')}, {counted(found.boxes, 'document')} of "
        f"{counted(len(found.types), 'type')} ({', '.join(found.types)}). {words}".rstrip()
    )


def stop(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Stop what a job runs: its execution, the people who label, a model that is not live.

    Example: ekyc stop ekyc-20261124034524-0ac337ddb8d23c1c
    """
    from ekyc.cli.terminal import console, print_json

    answer = connect(context).stop(job)
    if as_json:
        print_json(answer)
        return
    stopped = ", ".join(answer["stopped"]) or "nothing was left to stop"
    console.print(f"{job} is {answer['status']}. Stopped: {stopped}.")
    for words in answer["remaining"]:
        console.print(words)


def resume(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Go on with a job that failed or was stopped, from where it ended.

    Example: ekyc resume ekyc-20261124034524-0ac337ddb8d23c1c && ekyc watch ekyc-20261124034524-0ac337ddb8d23c1c
    """
    from ekyc.cli.terminal import console, print_json

    answer = connect(context).resume(job)
    if as_json:
        print_json(answer)
    else:
        console.print(f"{job} is {answer['status']}. Execution {answer['executionArn']}")


def delete(
    context: typer.Context,
    job: JobId,
    model: Annotated[bool, typer.Option("--model", help="Delete the job's model too.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a job's photos, labels, manifests and training output for good; the record stays, and so does the model.

    Example: ekyc delete ekyc-20261124034524-0ac337ddb8d23c1c --yes
    """
    from ekyc.cli.terminal import console, print_json

    what = "photos, labels and model" if model else "photos and labels"
    confirm(f"Erase the {what} of {job}, which cannot be brought back?", yes)
    answer = connect(context).delete(job, model=model)
    if as_json:
        print_json(answer)
    else:
        console.print(
            f"The erasure of {job} is recorded for {answer['erasure']['requestedBy']} and goes on in the background: "
            f"ekyc status {job} --json tells it under erasure."
        )


def _checked(folder: Path) -> Checked:
    """The photos of ``folder``, having said which would be rejected.

    Raises:
        CommandError: none is left, or names clash.
    """
    from ekyc.cli import photo_checks
    from ekyc.cli.terminal import human, progress

    found, _ = photo_checks.files(folder)
    with progress(f"Checking {len(found):,} photos in {folder}", len(found), human) as steps:
        checked = photo_checks.check(folder, lambda _total: steps.advance)
    for one in checked.rejected:
        human.print(f"  {one.path.relative_to(folder)}: {one.reason} ({one.code})")
    if checked.rejected:
        human.print(f"{len(checked.rejected):,} would be rejected and are left out.")
    if checked.others:
        some = ", ".join(path.name for path in checked.others[:3])
        human.print(f"{len(checked.others):,} other files are left alone: {some}")
    if not checked.photos:
        raise CommandError(f"None of the {len(found)} photos in {folder} can be used.")
    return checked


def _sizes(checked: Checked) -> dict[str, Size | None]:
    """The sizes of the photos that are sent, by name."""
    from rules.entries import Size

    return {photo.name: Size(photo.width, photo.height, photo.orientation) for photo in checked.photos}


def _checked_labels(
    path: Path,
    photos: dict[str, Size | None] | None,
    types: list[str] | None,
    max_unmatched: float,
) -> Labels:
    """The labels in the file at ``path``, having said what does not fit and what has no counterpart.

    Raises:
        CommandError: there are problems, or more than the share ``max_unmatched`` has no counterpart.
    """
    from ekyc.cli import label_files
    from ekyc.cli.terminal import human
    from rules.words import counted, quoted

    found = label_files.read(path, photos, types)
    for problem in found.problems[:MOST_SHOWN]:
        human.print(problem)
    if count := len(found.problems):
        more = f" ({count - MOST_SHOWN} more are not shown)" if count > MOST_SHOWN else ""
        raise CommandError(f"{path} has {counted(count, 'problem')}{more}; nothing was sent.")
    if photos is not None and (words := found.counts.words):
        human.print(f"{path}: {words}.")
        for heading, names in (("no upload", found.lost), ("no labels", found.unlabelled)):
            more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
            if names:
                human.print(f"  {heading}: {', '.join(map(quoted, names[:MOST_SHOWN]))}{more}")
        if found.counts.above(max_unmatched):
            raise CommandError(
                f"{path} does not match the photos: at most {max_unmatched:.3g} of either may be unmatched. Photos are "
                "found by their file names. Where the deployment's setting maxUnmatchedShare is another one, give that "
                "as --max-unmatched. Nothing was sent."
            )
    return found


def _upload(api: Api, job_id: str, photos: list[Photo], again: str) -> dict[str, int]:
    """Send what is missing, with a bar; how many were sent and skipped."""
    from ekyc.cli import upload as uploading
    from ekyc.cli.terminal import human, progress

    files = [uploading.File(photo.path, photo.size, photo.sha256) for photo in photos]
    to_send = uploading.missing(api, job_id, files)
    skipped = len(files) - len(to_send)
    try:
        with progress(f"Uploading {len(to_send):,} photos to {job_id}", len(to_send), human) as steps:
            uploading.send(api, job_id, to_send, lambda _file: steps.advance())
    except KeyboardInterrupt:
        human.print()
        human.print(f"The upload was stopped. To go on: {again}")
        raise typer.Exit(INTERRUPTED) from None
    there = f", {skipped:,} were there" if skipped else ""
    human.print(f"{len(to_send):,} photos are uploaded{there}.")
    return {"uploaded": len(to_send), "skipped": skipped}


def _upload_file(api: Api, job_id: str, path: Path) -> None:
    """Send one labels file, unless it is there; a job that failed over its labels takes other content too."""
    from ekyc.cli import upload as uploading

    one = uploading.file(path)
    job = api.job(job_id)
    corrects = job.get("advice", {}).get("resume") == "afterLabels"
    to_send = [one] if corrects else uploading.missing(api, job_id, [one])
    uploading.send(api, job_id, to_send, lambda _file: None)


def _bars(
    min_f1: float | None,
    min_label_f1: float | None,
    max_f1_drop: float | None,
    stop_previous: bool | None,
) -> dict[str, Any]:
    """The bars that were given, as the API and the settings name them."""
    given = {
        "minF1": min_f1,
        "minLabelF1": min_label_f1,
        "maxF1Drop": max_f1_drop,
        "stopPreviousModel": stop_previous,
    }
    return {name: value for name, value in given.items() if value is not None}
