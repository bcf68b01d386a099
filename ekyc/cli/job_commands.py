"""The commands for jobs: `train`, which runs a complete job, and one command for each step."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ekyc.cli.connection import AsJson, JobId, Yes, confirm, connect
from ekyc.cli.errors import INTERRUPTED, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ekyc.cli.api import Api
    from ekyc.cli.label_files import Labels
    from ekyc.cli.photo_checks import Checked
    from ekyc.cli.upload import File
    from rules.entries import Size

Photos = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with photos, JPEG or PNG. Includes subfolders.")]


def _check_types(types: list[str] | None) -> list[str] | None:
    """Return the document types in the option.

    Raises:
        CommandError: a name is not valid for a document type.
    """
    from rules.types import fault_of_type

    if fault := next(filter(None, map(fault_of_type, types or ())), None):
        raise CommandError(f"--type {fault}.")
    return types


Types = Annotated[
    list[str] | None, typer.Option("--type", help="A document type. Repeat for each type.", callback=_check_types)
]
Deploy = Annotated[bool, typer.Option(help="Start and publish the model if it passes the evaluation.")]
MinF1 = Annotated[
    float | None, typer.Option(min=0, max=1, help="Minimum F1 of the model. Not below the stack's setting.")
]
MinLabelF1 = Annotated[
    float | None, typer.Option(min=0, max=1, help="Minimum F1 of each type. Not below the stack's setting.")
]
MaxF1Drop = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Maximum drop of F1 from the live model. Not above the stack's setting."),
]
MaxUnmatched = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Maximum share of labels without a photo, and of photos without labels. Give the value of the stack's "
        "setting maxUnmatchedShare. Default: the value in cdk.json.",
    ),
]
StopPrevious = Annotated[
    bool | None,
    typer.Option("--stop-previous/--keep-previous", help="Stop the model that is live now, or leave it running."),
]


def _subject_rule(text: str) -> re.Pattern[str]:
    """Return the regular expression in the option.

    Raises:
        typer.BadParameter: the expression is not valid or has no group.
    """
    try:
        rule = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise typer.BadParameter(f"The expression {text} is not valid: {error}.") from None
    if not rule.groups:
        raise typer.BadParameter(
            f"The expression {text} has no group. The first group is the subject, such as (\\d+) in '(\\d+)_'."
        )
    return rule


SubjectFrom = Annotated[
    re.Pattern[str] | None,
    typer.Option(
        metavar="REGEX",
        help="Regular expression. Its first group, found in a photo's file name, is the photo's subject. Photos of one "
        "subject are all used for training or all for the test.",
        parser=_subject_rule,
    ),
]

MOST_SHOWN = 50


class _Upload(NamedTuple):
    """Files to upload, and the arguments with which `ekyc upload` continues the upload, as a shell reads them."""

    files: list[File]
    arguments: str


def train(
    context: typer.Context,
    folder: Photos,
    labels: Annotated[
        Path | None,
        typer.Option(help="COCO file or Ground Truth manifest. Default: DIR/annotations.json, if it exists."),
    ] = None,
    types: Types = None,
    deploy: Deploy = True,
    min_f1: MinF1 = None,
    min_label_f1: MinLabelF1 = None,
    max_f1_drop: MaxF1Drop = None,
    stop_previous: StopPrevious = None,
    label: Annotated[
        bool, typer.Option("--label", help="Label the photos yourself in the browser, on a temporary local AWS.")
    ] = False,
    labels_out: Annotated[Path, typer.Option(help="With --label: folder for the labels file, output.manifest.")] = Path(
        "build/label"
    ),
    browser: Annotated[bool, typer.Option(help="With --label: open the page in the browser.")] = True,
    max_unmatched: MaxUnmatched = None,
    subject_from: SubjectFrom = None,
    as_json: AsJson = False,
) -> None:
    """Run a complete job: check the photos, create, upload, start, and watch until it ends.

    With a labels file, the model is trained on these labels. Without one, people label the photos as the setting
    labelProvider says.
    With --label, you label them on this machine; the labels are saved for a job on AWS.

    Example: ekyc train photos --type ID_KTP --type AU_PASSPORT --min-f1 0.9
    """
    if label and labels:
        raise CommandError(
            "Give either --labels (a file with labels) or --label (label the photos yourself), not both."
        )
    if not label and labels is None and (folder / "annotations.json").is_file():
        labels = folder / "annotations.json"
    checked = _check_photos(folder)
    upload = _plan_upload(checked, subject_from)
    checked_labels = _check_labels(labels, _sizes(checked), types, max_unmatched) if labels else None
    bars = _bars(min_f1, min_label_f1, max_f1_drop, stop_previous)
    options: dict[str, Any] = {"deploy": deploy, **bars}
    if document_types := types or (list(checked_labels.types) if checked_labels else None):
        options["documentTypes"] = document_types
    if labels:
        options["labels"] = {"provider": "supplied", "key": labels.name}
    if label:
        options["labels"] = {"provider": "page"}
        raise typer.Exit(_label_and_train(upload, bars, options, labels_out, browser, as_json))
    raise typer.Exit(_train(connect(context), upload, labels, options, as_json))


def _label_and_train(
    upload: _Upload, bars: dict[str, Any], options: dict[str, Any], labels_out: Path, browser: bool, as_json: bool
) -> int:
    """Run a complete job on a temporary local AWS, whose labelling page this process opens. Returns the exit code."""
    from contextlib import ExitStack

    from ekyc.cli import labelling_page
    from ekyc.cli.api import Api
    from ekyc.cli.terminal import human

    # A job cannot have lower bars than its deployment, so the local deployment has the bars of the options.
    with labelling_page.local_aws(bars) as local, ExitStack() as stack:
        api = Api(local.api_url)

        def open_page(job_id: str) -> None:
            labelling_page.open_page(local, api, job_id, browser)
            stack.callback(save_labels, job_id)

        def save_labels(job_id: str) -> None:
            if manifest := labelling_page.save_labels(local, job_id, labels_out):
                command = f"ekyc train {upload.arguments} --labels {manifest}"
                human.print(f"The labels are in {manifest}. To train on them: {command}")

        return _train(api, upload, None, options, as_json, open_page)


def _train(
    api: Api,
    upload: _Upload,
    labels: Path | None,
    options: dict[str, Any],
    as_json: bool,
    open_page: Callable[[str], None] | None = None,
) -> int:
    """Run a complete job. Returns the exit code.

    ``open_page`` opens the labelling page if the job runs on a local AWS in this process.
    """
    from ekyc.cli import watch as watching
    from ekyc.cli.terminal import human, print_json

    job_id = api.create()["id"]
    human.print(f"Job {job_id}")
    upload_command = f"ekyc upload {job_id} {upload.arguments}"
    try:
        _upload(api, job_id, upload.files, upload_command)
        if labels:
            _upload_file(api, job_id, labels)
        api.start(job_id, options)
    except CommandError as error:
        raise CommandError(
            f"{error} The job was not started. To continue: {upload_command}, then ekyc start {job_id}"
        ) from error
    if open_page:
        open_page(job_id)
    else:
        human.print(f"Started. To watch it elsewhere: ekyc watch {job_id}")
    job, code = watching.follow(api, job_id, survives_exit=open_page is None)
    if as_json:
        print_json(job)
    return code


def create(context: typer.Context, as_json: AsJson = False) -> None:
    """Create a job and print its id.

    Example: JOB=$(ekyc create)
    """
    from ekyc.cli.terminal import print_json, printable

    job = connect(context).create()
    if as_json:
        print_json(job)
    else:
        print(printable(job["id"]))


def upload(
    context: typer.Context, job: JobId, folder: Photos, subject_from: SubjectFrom = None, as_json: AsJson = False
) -> None:
    """Upload the photos in a folder. Continues an interrupted upload.

    Photos that Rekognition would reject are listed and not sent. Photos already uploaded with the same content are
    skipped. Nothing is sent if a photo of the same name but other content is already uploaded, or if two photos in the
    folder have the same name.

    Example: ekyc upload ekyc-20261124034524-0ac337ddb8d23c1c photos
    """
    from ekyc.cli.terminal import print_json

    checked = _check_photos(folder)
    planned = _plan_upload(checked, subject_from)
    counts = _upload(connect(context), job, planned.files, f"ekyc upload {job} {planned.arguments}")
    if as_json:
        rejected = [{"file": str(photo.path), "code": photo.code, "reason": photo.reason} for photo in checked.rejected]
        print_json({"id": job, **counts, "rejected": rejected})


def start(
    context: typer.Context,
    job: JobId,
    labels: Annotated[str | None, typer.Option(help="Name of a labels file uploaded for the job.")] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="page, ground-truth or supplied. With supplied and no --labels, the job waits for labels."),
    ] = None,
    types: Types = None,
    deploy: Deploy = True,
    min_f1: MinF1 = None,
    min_label_f1: MinLabelF1 = None,
    max_f1_drop: MaxF1Drop = None,
    stop_previous: StopPrevious = None,
    as_json: AsJson = False,
) -> None:
    """Start a job whose photos are uploaded. The stack's settings are the defaults of the options.

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
        human.print(f"To watch it: ekyc watch {job}")


def status(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show a job's progress, its figures and its cost.

    Example: ekyc status ekyc-20261124034524-0ac337ddb8d23c1c
    """
    from ekyc.cli import watch as watching
    from ekyc.cli.terminal import console, print_json

    api = connect(context)
    record, states = api.job(job), api.states(job)
    if as_json:
        print_json(record | {"states": states})
        return
    elapsed = watching.duration(record["progress"]["elapsedSeconds"])
    console.print(f"{job}  {record['status']}  {elapsed}  ${record['cost']['totalUsd']:.2f}")
    console.print(watching.table(record, states))
    if record["status"] in watching.ENDED:
        console.print(watching.conclusion(record))
    else:
        console.print(watching.activity(record))
    counts = [
        f"{record[field]:,} {description}"
        for field, description in (
            ("images", "photos accepted"),
            ("rejected", "rejected"),
            ("labelled", "labelled"),
            ("trainImages", "for training"),
            ("testImages", "for testing"),
        )
        if isinstance(record.get(field), int)
    ]
    if counts:
        console.print(", ".join(counts))
    evaluated = record.get("metrics") or {}
    if evaluated.get("inWords"):
        console.print(f"{evaluated['inWords']}.")
    for metrics in evaluated.get("labels") or []:
        console.print(f"  {metrics['label']}: F1 {metrics['f1']:.3f}")


def watch(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Watch a job until it ends. The exit code says how it ended.

    Ctrl-C stops watching but not the job. With --json, prints a line of JSON for each change.

    Example: ekyc watch ekyc-20261124034524-0ac337ddb8d23c1c
    """
    from ekyc.cli import watch as watching
    from ekyc.cli.terminal import to_json

    last: list[Any] = [None]

    def print_change(record: dict[str, Any], states: list[dict[str, Any]]) -> None:
        current = (record["status"], watching.activity(record), [(state["name"], state["status"]) for state in states])
        if as_json and current != last[0]:
            print(to_json(record | {"states": states}), flush=True)
        last[0] = current

    raise typer.Exit(watching.follow(connect(context), job, print_change)[1])


def list_jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of jobs.")] = 20,
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
        console.print("There are no jobs yet. To run one: ekyc train DIR")
        return
    table = Table(box=None)
    for heading in ("job", "created", "status", "F1"):
        table.add_column(heading, no_wrap=True)
    table.add_column("details")
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
        str | None,
        typer.Argument(metavar="[JOB]", help="The job that the labels are for. Default: only check the file."),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder with the photos, to check the boxes against their sizes.")
    ] = None,
    types: Types = None,
    max_unmatched: MaxUnmatched = None,
    as_json: AsJson = False,
) -> None:
    """Check a labels file and give it to a job.

    Prints each problem with its line, the number of labels without a photo, and the number of photos without labels. A
    job that waits for labels continues with these labels. If the job is not started, start it with `ekyc start
    --labels`. If the job failed because of its labels, give it a corrected file, then resume it.

    Example: ekyc labels annotations.json ekyc-20261124034524-0ac337ddb8d23c1c --photos photos
    """
    from ekyc.cli import label_files
    from ekyc.cli.terminal import console, print_json
    from rules.words import counted

    api = connect(context) if job is not None else None
    sizes: dict[str, Size | None] | None = None
    if photos:
        sizes = _sizes(_check_photos(photos))
    elif job is not None and api is not None:
        names = (upload["name"] for upload in api.uploads(job))
        sizes = {name: None for name in names if not name.lower().endswith(label_files.ENDINGS)}
    checked = _check_labels(file, sizes, types, max_unmatched)
    summary = {"file": str(file), "form": checked.form, "photos": len(checked.entries), "boxes": checked.boxes}
    summary |= {"labelsWithoutPhoto": checked.lost, "photosWithoutLabel": checked.unlabelled}
    next_step = ""
    if job is not None and api is not None:
        before = api.job(job)["status"]
        _upload_file(api, job, file)
        if before == "WaitingForLabelling":
            api.supply_labels(job, file.name)
            next_step = f"{job} continues with these labels. To watch it: ekyc watch {job}"
        elif before == "Failed":
            next_step = f"The labels are uploaded. To resume the job: ekyc resume {job}"
        else:
            next_step = f"The labels are uploaded. To start the job: ekyc start {job} --labels {file.name}"
    if as_json:
        print_json(summary | {"types": list(checked.types), "job": job})
        return
    console.print(
        f"{file} is valid: {checked.form}, {counted(len(checked.entries), 'photo')}, "
        f"{counted(checked.boxes, 'document')} of {counted(len(checked.types), 'type')} ({', '.join(checked.types)}). "
        f"{next_step}".rstrip()
    )


def stop(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Stop a job: its execution, its labelling job, and its model, unless it is the live model.

    Example: ekyc stop ekyc-20261124034524-0ac337ddb8d23c1c
    """
    from ekyc.cli.terminal import console, print_json

    answer = connect(context).stop(job)
    if as_json:
        print_json(answer)
        return
    if answer["stopped"]:
        lines = [f"These were stopped: {', '.join(answer['stopped'])}.", *answer["remaining"]]
    else:
        lines = answer["remaining"] or ["Nothing was running."]
    console.print(f"{job} is {answer['status']}.", *lines, sep="\n")


def resume(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Resume a job that failed or was stopped, at the state where it ended.

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
    """Erase a job's photos, labels, manifests and training output permanently. Keeps the record and the model.

    Example: ekyc delete ekyc-20261124034524-0ac337ddb8d23c1c --yes
    """
    from ekyc.cli.terminal import console, print_json

    data = "photos, labels and model" if model else "photos and labels"
    confirm(f"Erase the {data} of {job}? This cannot be undone.", yes)
    answer = connect(context).delete(job, model=model)
    if as_json:
        print_json(answer)
    else:
        console.print(
            f"{answer['erasure']['requestedBy']} requested the erasure of {job}. It runs in the background. "
            f"To see its progress: ekyc status {job} --json (field erasure)"
        )


def _check_photos(folder: Path) -> Checked:
    """Check the photos in ``folder`` and print those that would be rejected.

    Raises:
        CommandError: no photo can be used, or names clash.
    """
    from ekyc.cli import photo_checks
    from ekyc.cli.terminal import human, progress

    paths, _ = photo_checks.files(folder)
    with progress(f"Checking {len(paths):,} photos in {folder}", len(paths), human) as steps:
        checked = photo_checks.check(folder, steps.advance)
    for photo in checked.rejected:
        human.print(f"  {photo.path.relative_to(folder)}: {photo.reason} ({photo.code})")
    if checked.rejected:
        human.print(f"{len(checked.rejected):,} photos would be rejected and are not sent.")
    if checked.others:
        examples = ", ".join(path.name for path in checked.others[:3])
        human.print(f"{len(checked.others):,} other files are ignored, such as {examples}")
    if not checked.photos:
        raise CommandError(f"None of the {len(paths)} photos in {folder} can be used. The reasons are listed above.")
    return checked


def _sizes(checked: Checked) -> dict[str, Size | None]:
    """The sizes of the usable photos, by name."""
    from rules.entries import Size

    return {photo.name: Size(photo.width, photo.height, photo.orientation) for photo in checked.photos}


def _check_labels(
    path: Path,
    photos: dict[str, Size | None] | None,
    types: list[str] | None,
    max_unmatched: float | None,
) -> Labels:
    """Check the labels file at ``path``. Prints its problems, labels without a photo and photos without labels.

    Raises:
        CommandError: there are problems, or the unmatched share of labels or photos is above ``max_unmatched``. If that
            is None, the default of the setting maxUnmatchedShare applies.
    """
    from ekyc.cli import label_files
    from ekyc.cli.terminal import human
    from ekyc.localaws.synth import committed
    from rules.words import counted, quoted

    labels = label_files.read(path, photos, types)
    for problem in labels.problems[:MOST_SHOWN]:
        human.print(problem)
    if count := len(labels.problems):
        more = f" ({count - MOST_SHOWN} more are not shown)" if count > MOST_SHOWN else ""
        raise CommandError(f"{path} has {counted(count, 'problem')}{more}. Nothing was sent.")
    if photos is not None and (unmatched := labels.counts.words):
        human.print(f"{path}: {unmatched}.")
        for heading, names in (("no upload", labels.lost), ("no labels", labels.unlabelled)):
            more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
            if names:
                human.print(f"  {heading}: {', '.join(map(quoted, names[:MOST_SHOWN]))}{more}")
        limit = float(committed()["maxUnmatchedShare"]) if max_unmatched is None else max_unmatched
        if labels.counts.above(limit):
            raise CommandError(
                f"{path} does not match the photos: the unmatched share of labels or photos is above {limit:.3g}. "
                "Photos are matched by file name. If the stack's maxUnmatchedShare differs, give that value as "
                "--max-unmatched. Nothing was sent."
            )
    return labels


def _plan_upload(checked: Checked, subject_from: re.Pattern[str] | None) -> _Upload:
    """The photos as files to upload, with their subjects. Prints how many photos have one.

    Raises:
        CommandError: a subject is not allowed.
    """
    from ekyc.cli.subjects import subjects
    from ekyc.cli.terminal import human
    from ekyc.cli.upload import File
    from rules.words import counted

    found: dict[str, str] = {}
    arguments = str(checked.folder)
    if subject_from:
        found = subjects((photo.name for photo in checked.photos), subject_from)
        number = counted(len(set(found.values())), "subject")
        human.print(f"--subject-from finds {number} in the names of {len(found):,} of {len(checked.photos):,} photos.")
        arguments += f" --subject-from {shlex.quote(subject_from.pattern)}"
    files = [File(photo.path, photo.size, photo.sha256, found.get(photo.name)) for photo in checked.photos]
    return _Upload(files, arguments)


def _upload(api: Api, job_id: str, files: list[File], command: str) -> dict[str, int]:
    """Send the photos that are not uploaded yet. Returns the numbers of photos uploaded and skipped.

    ``command`` is the command that continues an interrupted upload.
    """
    from ekyc.cli import upload as uploading
    from ekyc.cli.terminal import human, progress

    to_send = uploading.missing(api, job_id, files)
    skipped = len(files) - len(to_send)
    try:
        with progress(f"Uploading {len(to_send):,} photos to {job_id}", len(to_send), human) as steps:
            uploading.send(api, job_id, to_send, lambda _file: steps.advance())
    except KeyboardInterrupt:
        human.print()
        human.print(f"The upload was interrupted. To continue: {command}")
        raise typer.Exit(INTERRUPTED) from None
    already = f", {skipped:,} were already uploaded" if skipped else ""
    human.print(f"{len(to_send):,} photos are uploaded{already}.")
    return {"uploaded": len(to_send), "skipped": skipped}


def _upload_file(api: Api, job_id: str, path: Path) -> None:
    """Send a labels file, unless it is already uploaded.

    A job that failed because of its labels accepts a file of the same name with other content.
    """
    from ekyc.cli import upload as uploading

    labels_file = uploading.file(path)
    job = api.job(job_id)
    replaces = job.get("advice", {}).get("resume") == "afterLabels"
    to_send = [labels_file] if replaces else uploading.missing(api, job_id, [labels_file])
    uploading.send(api, job_id, to_send, lambda _file: None)


def _bars(
    min_f1: float | None,
    min_label_f1: float | None,
    max_f1_drop: float | None,
    stop_previous: bool | None,
) -> dict[str, Any]:
    """The values of the options that were given, by the name of each in the API and in the settings."""
    options = {
        "minF1": min_f1,
        "minLabelF1": min_label_f1,
        "maxF1Drop": max_f1_drop,
        "stopPreviousModel": stop_previous,
    }
    return {name: value for name, value in options.items() if value is not None}
