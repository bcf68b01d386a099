"""Renders an audit report as a self-contained HTML page, without scripts, external fonts or external pictures."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from pipeline.audit import drawings, facts
from pipeline.audit.answers import WORDS, duration, moment
from pipeline.labelling import GROUND_TRUTH, PAGE
from pipeline.photos import plots

TITLE = "Audit report "  # precedes the execution's name in the title, from which `verify` reads the name
MOST_DETAIL = 160  # characters of an event's details in the table; the JSON has all

STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#0f172a;background:#f1f5f9;margin:0}
main{max-width:1080px;margin:0 auto;background:#fff;padding:32px 40px 56px}
h1{font-size:26px;margin:0 0 2px}h2{font-size:19px;margin:40px 0 12px;padding-top:12px;border-top:2px solid #e2e8f0}
.sub{color:#475569;margin:0 0 18px;overflow-wrap:anywhere}
.status{display:inline-block;font-weight:700;padding:3px 12px;border-radius:99px;color:#fff;background:#475569}
.SUCCEEDED{background:#15803d}.FAILED,.TIMED_OUT{background:#b91c1c}.ABORTED{background:#b45309}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:20px 0 4px}
.card{border:1px solid #cbd5e1;border-radius:10px;padding:10px 14px}.card b{display:block;font-size:22px}
.card span{color:#475569;font-size:13px}
dt{font-weight:700;margin-top:14px}dd{margin:2px 0 0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:13px}caption{text-align:left;color:#475569;padding:0 0 6px}
th,td{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-bottom:1px solid #e2e8f0;overflow-wrap:anywhere}
th{color:#334155}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bad{color:#b91c1c;font-weight:700}
code{font:12px/1.4 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:12px}
svg{width:100%;height:auto;display:block}.machine{max-width:720px;margin:0 auto}
svg text{font:12px system-ui,sans-serif;fill:#0f172a}.lane{text-anchor:end}
.tick{text-anchor:middle;fill:#475569!important}
.grid{stroke:#e2e8f0;fill:none}.mark{stroke:#b91c1c;stroke-width:1.2;stroke-dasharray:2 2}.total{fill:#475569!important}
.state{text-anchor:middle}.visited{font-weight:700!important}.unvisited{fill:#475569!important}
.here{text-anchor:end;font-weight:700!important}
.edge{fill:none;stroke:#cbd5e1}.edge.taken{stroke:#1d4ed8;stroke-width:2}
.events tr{content-visibility:auto;contain-intrinsic-size:auto 24px}
@media print{body{background:#fff;font-size:12px}main{max-width:none;padding:0}h2{break-after:avoid}
tr,.card,dd,svg{break-inside:avoid}thead{display:table-header-group}}
"""


def render(report: Mapping[str, Any]) -> str:
    """Render the page of a report. It shows the seal, which identifies the JSON report."""
    return "".join(_parts(report))


def require_figures(derived: Mapping[str, Any]) -> None:
    """Raise an error if the page cannot show the facts ``derived``, because a value has another type."""
    for part in (_cards, _quality, _figures, _lists):
        "".join(part(derived))


def _parts(report: Mapping[str, Any]) -> Iterator[str]:
    derived, inputs = report["facts"], report["inputs"]
    walked = facts.walk_history(inputs)
    start = inputs["execution"]["startDate"]
    last = inputs["history"][-1]["time"] if inputs["history"] else start
    name = escape(report["execution"])
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{TITLE}{name}</title><style>{STYLE}</style></head><body><main>"
    status = escape(derived["end"]["status"])
    yield f'<h1>Audit report</h1><p class="sub">Execution {name}</p>'
    yield f'<p><span class="status {status}">{status}</span>'
    yield " <strong>Provisional: the execution is running.</strong></p>" if report["provisional"] else "</p>"
    yield from _cards(derived)
    yield '<h2 id="answers">Answers</h2><dl>'
    for answer in report["answers"]:
        yield f"<dt>{escape(answer['question'])}</dt><dd>{escape(answer['answer'])}</dd>"
    yield "</dl>"
    yield '<h2 id="timeline">Timeline</h2>'
    if walked.visits:
        yield drawings.timeline(walked.visits, derived["incidents"], start, max(last, start))
        yield '<p class="sub">To scale. Red dashed lines are failures, retries, stops and redrives.</p>'
    yield '<h2 id="machine">State machine and path</h2><div class="machine">'
    yield drawings.machine(inputs["stateMachine"]["states"], inputs["stateMachine"]["startAt"], derived["path"])
    yield '</div><p class="sub">The path has solid boxes and blue arrows. All other boxes are dashed, and arrows grey. '
    yield f"The definition has the SHA-256 <code>{inputs['stateMachine']['definitionSha256']}</code>.</p>"
    yield _table(
        "Time in each state",
        ("State", "#Visits", "#Attempts", "#Time"),
        [
            (state["name"], state["visits"], state["attempts"], duration(state["totalMs"]))
            for state in derived["path"]["states"]
        ],
    )
    yield from _quality(derived)
    yield from _figures(derived)
    yield '<h2 id="files">Sources of the report</h2>'
    hashes = [(part, _code(value)) for part, value in sorted(report["hashes"].items())]
    yield _table("SHA-256 of each part of the JSON report", ("Part", "SHA-256"), hashes)
    yield from _lists(derived)
    files = [
        (_code(file["object"]), file["bytes"], _code(file["sha256"]) if file["sha256"] else "not read")
        for file in inputs["files"]
    ]
    yield _table("The job's files when this report was made", ("Object", "#Bytes", "SHA-256"), files)
    yield from _seals(report)
    yield '<h2 id="events">Events</h2>'
    yield from _events(inputs["history"])
    yield "</main></body></html>\n"


def _cards(derived: Mapping[str, Any]) -> Iterator[str]:
    end, split, evaluation = derived["end"], derived["split"], derived["evaluation"]
    photos = derived["photos"]["accepted"]
    total = duration(end["endTime"] - end["startTime"]) if end["endTime"] else "running"
    yield '<div class="cards">'
    for value, title in (
        (total, "from start to end"),
        ("\u2013" if photos is None else f"{photos:,}", "photos accepted"),
        (f"{split['trainImages']:,} / {split['testImages']:,}" if split else "\u2013", "photos for training / test"),
        (f"{evaluation['f1']:.3f}" if evaluation else "\u2013", "F1"),
        (f"{derived['cost']['trainingUsd'] + derived['cost']['transitionsUsd']:.2f} USD", "training and transitions"),
        ("yes" if derived["goLive"]["isLive"] else "no", "went live"),
    ):
        yield f'<div class="card"><b>{escape(value)}</b><span>{title}</span></div>'
    yield "</div>"


def _quality(derived: Mapping[str, Any]) -> Iterator[str]:
    """The distributions of the photos' figures."""
    photos, split = derived["photos"], derived["split"] or {}
    drawn = [
        plots.plot(figure, found)
        for figure, found in (
            (plots.SHARPNESS, photos["sharpness"]),
            (plots.BRIGHTNESS, photos["brightness"]),
            (plots.SHARE_OF_FRAME, split.get("shareOfFrame")),
        )
        if found
    ]
    if drawn:
        yield f'<h2 id="quality">Quality of the photos</h2><div class="plots">{"".join(drawn)}</div>'


def _figures(derived: Mapping[str, Any]) -> Iterator[str]:
    evaluation, labelling = derived["evaluation"], derived["labelling"]
    if evaluation:
        rows = [
            (
                label["label"],
                *(f"{label[name]:.4f}" for name in ("f1", "precision", "recall")),
                label["testingImages"],
            )
            for label in evaluation["labels"] or []
        ]
        yield '<h2 id="figures">Figures of the model by type</h2>'
        yield _table(
            f"The bar for the F1 of each type is {evaluation['bars']['minLabelF1']}",
            ("Type", "#F1", "#Precision", "#Recall", "#Test photos"),
            rows,
        )
    if labelling and labelling["provider"] == GROUND_TRUTH:
        yield '<h2 id="workers">Who labelled</h2>'
        for job in labelling["labellingJobs"]:
            rows = [
                (
                    _code(worker["worker"]),
                    worker["photos"],
                    *(duration(worker[name]) for name in ("medianMs", "longestMs", "totalMs")),
                )
                for worker in job["workers"]
            ]
            title = f"Labelling job {job['labellingJob']}, {job['answers']} answers"
            yield _table(title, ("Worker", "#Photos", "#Median", "#Longest", "#Total"), rows)
    if labelling and labelling["provider"] == PAGE and labelling["people"]:
        yield '<h2 id="workers">Who labelled</h2>'
        names = ("answers", "skipped", "medianSeconds", "agreement", "reviews")
        yield _table(
            "People at the labelling page, by their subject in the user pool",
            ("Person", "#Answers", "#Skipped", "#Median seconds", "#Agreement", "#Reviews"),
            [
                (_code(person["person"]), *("\u2013" if person[name] is None else person[name] for name in names))
                for person in labelling["people"]
            ],
        )
    if derived["incidents"]:
        yield '<h2 id="incidents">Failures, retries, stops and redrives</h2>'
        rows = [
            (
                moment(incident["firstTime"]),
                incident["type"],
                incident["state"],
                incident["count"],
                incident["error"],
                incident["by"] or incident["cause"],
            )
            for incident in derived["incidents"]
        ]
        yield _table(
            "Repeated failures share a row", ("First", "Event", "State", "#Times", "Error", "Caller or cause"), rows
        )


def _lists(derived: Mapping[str, Any]) -> Iterator[str]:
    lists = [
        (entry["list"], _code(entry["object"]), WORDS[entry["is"]], _code(entry["sha256"]))
        for entry in derived["manifests"]
    ]
    yield _table("The job's lists, compared with the history", ("List", "Object", "In the bucket", "SHA-256"), lists)


def _seals(report: Mapping[str, Any]) -> Iterator[str]:
    previous = report["previous"]
    yield "<dl><dt>Seal of this report</dt>"
    yield f"<dd><code>{report['sha256']}</code>. <code>ekyc audit verify</code> checks the JSON, which is stored at "
    yield f"<code>{escape(report['stored'])}</code>.</dd><dt>Previous report</dt><dd>"
    if previous:
        yield f"<code>{escape(previous['object'])}</code>, version <code>{escape(previous['versionId'])}</code>, "
        yield f"SHA-256 <code>{previous['sha256']}</code>"
    else:
        yield "None: this is the job's first report."
    yield "</dd></dl>"


def _events(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f'<table class="events"><caption>{len(history):,} events. The JSON report has all their data</caption>'
    yield '<thead><tr><th class="n" scope="col">Id</th><th scope="col">Time (UTC)</th><th scope="col">Event</th>'
    yield '<th scope="col">State</th><th scope="col">Details</th></tr></thead><tbody>'
    for event in history:
        details, kind = event["details"], event["type"]
        look = ' class="bad"' if kind.endswith(facts.FAILURES) else ""
        yield f'<tr><td class="n">{event["id"]}</td><td>{_clock(event["time"])}</td><td{look}>{escape(kind)}</td>'
        yield f"<td>{escape(details.get('name', ''))}</td><td>{escape(_summary(kind, details))}</td></tr>"
    yield "</tbody></table>"


def _summary(kind: str, details: Mapping[str, Any]) -> str:
    """The summary of an event: its error, or the output of a state."""
    if "error" in details or "cause" in details:
        text = f"{details.get('error', '')}: {facts.cause_text(details.get('cause')) or ''}"
    elif kind.endswith("StateExited") and not kind.startswith(("Wait", "Choice")):
        text = json.dumps(details.get("output"), ensure_ascii=False, sort_keys=True)
    else:
        text = ""
    return text if len(text) <= MOST_DETAIL else f"{text[:MOST_DETAIL]}…"


def _clock(time: int) -> str:
    return f"{moment(time).removesuffix(' UTC')}.{time % 1000:03}"


class _Html(str):
    """Text that is HTML and is not escaped again."""


def _code(text: str) -> _Html:
    return _Html(f"<code>{escape(text)}</code>")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Render an HTML table. A heading with the prefix ``#`` belongs to a column of numbers."""
    if not rows:
        return f'<p class="sub">{escape(title)}: none.</p>'
    looks = [' class="n"' if head.startswith("#") else "" for head in heads]
    top = "".join(
        f'<th{look} scope="col">{escape(head.lstrip("#"))}</th>' for head, look in zip(heads, looks, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{look}>{cell if isinstance(cell, _Html) else escape('' if cell is None else str(cell))}</td>"
            for cell, look in zip(row, looks, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><caption>{escape(title)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
