"""Derives the facts of an audit report from its inputs alone. The same inputs give the same facts."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.labelling import GROUND_TRUTH, PAGE, SUPPLIED
from rules import prices, states

HOUR_MS = 3_600_000
MADE = ("manifest", "labelled", "failed", "unlabelled")
MADE_ON_PAGE = ("people", "proposals", "checks", "disagreements", "agreementByType", "reviews")
"""The figures that the labelling page puts into the output of the token, so that the history has them."""

ENDS = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionTimedOut": "TIMED_OUT",
    "ExecutionAborted": "ABORTED",
}
FAILURES = ("Failed", "TimedOut", "Aborted")
CALL_MS, AHEAD_MS = 60_000, 5_000
"""A recorded call of the API caused an event if the event is at most `CALL_MS` later. Because clocks differ, the event
may also be up to `AHEAD_MS` earlier."""

EQUAL, REPLACED, MISSING, UNREAD = "equal", "replaced", "missing", "unread"
"""The results of comparing a list in the bucket with its hash in the history. `UNREAD`: S3 refuses the content."""

RESUMED = {task.result: task for task in states.TASKS if task.result}
"""The last task that can return each result in the input of a later execution, by the result's variable."""


@dataclass
class Visit:
    """A visit to a state. Times are in Unix ms. ``left`` is None while the execution is in the state."""

    state: str
    kind: str
    entered: int
    attempts: int = 0
    left: int | None = None


@dataclass
class Walk:
    """The content of an execution's history. Times are in Unix ms.

    By the state's name: ``results`` (last outputs), ``arguments`` (last payloads) and ``exits`` (last times). ``edges``
    counts the transitions between two states, ``transitions`` the billed ones, retries included. ``pauses`` are the
    times from an end to a redrive.
    """

    visits: list[Visit] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)
    transitions: int = 0
    incidents: list[dict[str, Any]] = field(default_factory=list)
    pauses: list[list[int]] = field(default_factory=list)


def walk_history(inputs: Mapping[str, Any]) -> Walk:
    """Read the history in one pass.

    After a redrive, the history may or may not have another StateEntered event. In both cases, this counts one more
    visit to the state.
    """
    walk = Walk()
    for variable, result in _mapping(_mapping(inputs["execution"].get("input")).get("resumed")).items():
        if variable in RESUMED and isinstance(result, Mapping):
            is_request = variable == "labels" and "fileSha256" not in result
            walk.results[(states.REQUEST_LABELS if is_request else RESUMED[variable]).name] = result
    before, ended_at, redriven = "", 0, False
    visit: Visit | None = None
    for event in inputs["history"]:
        kind, time, details = event["type"], event["time"], event["details"]
        if kind.endswith("StateEntered"):
            visit = Visit(details["name"], kind.removesuffix("StateEntered"), time)
            walk.visits.append(visit)
            walk.transitions += 1
            if not redriven:
                walk.edges[before, visit.state] += 1
            before, redriven = visit.state, False
        elif kind.endswith("StateExited"):
            walk.results[details["name"]] = details.get("output")
            walk.exits[details["name"]] = time
            if visit:
                visit.left = time
        elif kind.endswith("Scheduled"):
            if redriven and visit:
                visit = Visit(visit.state, visit.kind, time)
                walk.visits.append(visit)
                redriven = False
            if visit:
                visit.attempts += 1
                walk.transitions += visit.attempts > 1
                parameters = details.get("parameters")
                if isinstance(parameters, dict):
                    walk.arguments[visit.state] = parameters.get("Payload", {})
        elif kind in ENDS:
            ended_at = time
            if visit and visit.left is None:
                visit.left = time
        elif kind == "ExecutionRedriven":
            walk.pauses.append([ended_at, time])
            walk.transitions += 1
            redriven = True
        if kind == "ExecutionRedriven" or kind.endswith(FAILURES):
            _add_incident(walk.incidents, event, visit.state if visit else None, inputs["job"])
    return walk


def _add_incident(
    incidents: list[dict[str, Any]], event: Mapping[str, Any], state: str | None, job: Mapping[str, Any]
) -> None:
    """Add an incident. Consecutive failures with the same error are one incident with a count."""
    kind, details = event["type"], event["details"]
    what = {"ExecutionRedriven": "redrive", "ExecutionAborted": "stop"}.get(kind, "end" if kind in ENDS else "failure")
    incident = {
        "what": what,
        "type": kind,
        "state": state,
        "error": details.get("error"),
        "cause": cause_text(details.get("cause")),
        "by": _caller(job, "ResumedBy" if what == "redrive" else "StoppedBy", event["time"])
        if what in ("redrive", "stop")
        else None,
        "count": 1,
        "firstEvent": event["id"],
        "lastEvent": event["id"],
        "firstTime": event["time"],
        "lastTime": event["time"],
    }
    last = incidents[-1] if incidents else None
    if last and what == "failure" and all(last[name] == incident[name] for name in ("type", "state", "error", "cause")):
        last |= {"count": last["count"] + 1, "lastEvent": event["id"], "lastTime": event["time"]}
    else:
        incidents.append(incident)


def _caller(job: Mapping[str, Any], calls: str, time: int) -> str | None:
    """The caller of the API at ``time``, or None without a call, such as after a stop in the console.

    ``calls`` is the attribute of the record with the calls.
    """
    near = [call["By"] for call in job.get(calls, ()) if -AHEAD_MS <= time - call["Time"] <= CALL_MS]
    return near[-1] if near else None


def cause_text(cause: Any) -> str | None:
    """The cause as text. If it is the JSON error of a Lambda function, its message."""
    if isinstance(cause, Mapping):
        return str(cause.get("errorMessage") or cause.get("message") or json.dumps(cause, sort_keys=True))
    return None if cause is None else str(cause)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def derive(inputs: Mapping[str, Any], *, only_own: bool = False) -> dict[str, Any]:
    """Derive all facts of the report.

    ``only_own``: leave out the execution's input and the answer to the task token, because a caller that does not use
    the API can give any. The other values in the history are those of the stages.
    """
    if only_own:
        execution = {name: value for name, value in inputs["execution"].items() if name != "input"}
        inputs = {**inputs, "execution": execution}
    walk = walk_history(inputs)
    if only_own:
        walk.results.pop(states.REQUEST_LABELS.name, None)
    execution, job = inputs["execution"], inputs["job"]
    job_input = _mapping(execution.get("input"))
    training, batch = _training(walk, job), inputs["failedBatch"]
    return {
        "end": {
            "status": execution["status"],
            "state": walk.visits[-1].state if walk.visits else None,
            "startTime": execution["startDate"],
            "endTime": execution.get("stopDate"),
            "error": execution.get("error"),
            "cause": cause_text(execution.get("cause")),
            "failedBatch": {**batch, "cause": cause_text(batch.get("cause"))} if batch else None,
        },
        "started": {
            "by": _started_by(job_input),
            "time": _first_start(inputs),
            "options": job_input,
            "resumed": _resumed(inputs),
            **({"leftOut": True} if only_own else {}),
        },
        "earlier": [_earlier(earlier, job) for earlier in inputs["earlier"]],
        "photos": _photos(walk, inputs),
        "manifests": _manifests(walk, inputs["files"]),
        "labelling": _labelling(walk, inputs, job_input),
        "split": _split(walk),
        "training": training,
        "outlines": _outlines(walk),
        "cost": _cost(walk, job, training),
        "evaluation": _evaluation(walk, job_input),
        "goLive": _go_live(walk, job_input),
        "incidents": walk.incidents,
        "path": {
            "states": _states(walk.visits, _last_time(inputs)),
            "edges": [[before, after, count] for (before, after), count in walk.edges.items()],
            "pauses": walk.pauses,
        },
    }


def _cost(walk: Walk, job: Mapping[str, Any], training: Mapping[str, Any] | None) -> dict[str, Any]:
    # A batch is an execution with one state. The history does not have its retries and redrives.
    batches = result_of(walk.results, states.PLAN_PHOTOS).get("batches") or 0
    transitions = walk.transitions + batches
    starts_model = states.START_MODEL.name in walk.results
    return {
        "trainingUsd": training["usd"] if training else 0.0,
        "transitions": transitions,
        "plannedBatches": batches,
        "transitionsUsd": round(transitions * prices.TRANSITION, 6),
        "modelUsdPerHour": prices.model_hour(job.get("InferenceUnits")) if starts_model else 0.0,
    }


def _started_by(job_input: Mapping[str, Any]) -> str | None:
    """The caller of the start, which the API wrote into the input; None for an execution that the API did not start."""
    caller = job_input.get("startedBy")
    return caller if isinstance(caller, str) else None


def _first_start(inputs: Mapping[str, Any]) -> int | None:
    """When the job was started (Unix ms). None if Step Functions has deleted the first of several executions."""
    first = (*inputs["earlier"], inputs["execution"])[0]
    started: int | None = first.get("startDate")
    return started


def _earlier(execution: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """An earlier execution. ``by`` is the caller that stopped it."""
    stopped = execution.get("status") == "ABORTED" and "stopDate" in execution
    by = _caller(job, "StoppedBy", execution["stopDate"]) if stopped else None
    return {**execution, "cause": cause_text(execution.get("cause")), "by": by}


def _resumed(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The caller that resumed the job with this execution, and the time. None for the first execution."""
    if not inputs["earlier"]:
        return None
    time = inputs["execution"]["startDate"]
    return {"by": _caller(inputs["job"], "ResumedBy", time), "time": time}


def _last_time(inputs: Mapping[str, Any]) -> int:
    history: Sequence[Mapping[str, Any]] = inputs["history"]
    return int(history[-1]["time"]) if history else int(inputs["execution"]["startDate"])


def _states(visits: Sequence[Visit], last_time: int) -> list[dict[str, Any]]:
    """The visited states in the order of their first visits, with visits, attempts at the task and total time."""
    states: dict[str, dict[str, Any]] = {}
    for visit in visits:
        state = states.setdefault(
            visit.state, {"name": visit.state, "kind": visit.kind, "visits": 0, "attempts": 0, "totalMs": 0}
        )
        state["visits"] += 1
        state["attempts"] += visit.attempts
        state["totalMs"] += (last_time if visit.left is None else visit.left) - visit.entered
    return list(states.values())


def result_of(results: Mapping[str, Any], task: states.Task) -> Mapping[str, Any]:
    """The result of ``task`` in `Walk.results`. Empty if it has none."""
    return _mapping(results.get(task.name))


def _photos(walk: Walk, inputs: Mapping[str, Any]) -> dict[str, Any]:
    checked = result_of(walk.results, states.COLLECT_PHOTOS)
    counts = ("found", "accepted", "rejected", "duplicates", "turned", "cleaned", "groups", "sharpness", "brightness")
    names = (*counts, "manifest", "manifestSha256", "rejectedList")
    return {
        **{name: checked.get(name) for name in names},
        "rejectedCodes": checked.get("rejectedCodes") or {},
        "rejectedListSha256": checked.get("rejectedSha256"),
        "rejectedPhotos": inputs["rejected"].get("photos", []),
        "unreadableLines": inputs["rejected"].get("unreadable", 0),
    }


def _manifests(walk: Walk, files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The job's lists and its outlines, each with its hash in the history and in the bucket, and the comparison."""
    checked, prepared, learned = (
        result_of(walk.results, task)
        for task in (states.COLLECT_PHOTOS, states.PREPARE_DATASETS, states.LEARN_OUTLINES)
    )
    hashes = {entry["object"]: entry["sha256"] for entry in files}
    return [
        {"list": name, "object": uri, "sha256": sha256, "found": hashes.get(uri), "is": _compared(uri, sha256, hashes)}
        for name, uri, sha256 in (
            ("photos", checked.get("manifest"), checked.get("manifestSha256")),
            ("rejected photos", checked.get("rejectedList"), checked.get("rejectedSha256")),
            ("labels", prepared.get("labelsManifest"), prepared.get("labelsSha256")),
            ("training photos", prepared.get("trainManifest"), prepared.get("trainSha256")),
            ("test photos", prepared.get("testManifest"), prepared.get("testSha256")),
            ("outlines", learned.get("file"), learned.get("sha256")),
        )
        if uri and sha256
    ]


def _compared(uri: str, sha256: str, hashes: Mapping[str, str | None]) -> str:
    if uri not in hashes:
        return MISSING
    if hashes[uri] is None:
        return UNREAD
    return EQUAL if hashes[uri] == sha256 else REPLACED


def _labelling(walk: Walk, inputs: Mapping[str, Any], job_input: Mapping[str, Any]) -> dict[str, Any] | None:
    requested = walk.results.get(states.REQUEST_LABELS.name) or {}
    imported = walk.results.get(states.IMPORT_LABELS.name) or {}
    if not requested and not imported and not inputs["workers"] and states.REQUEST_LABELS.name not in walk.arguments:
        return None
    result = {**requested, **imported}
    given = job_input.get("labels")
    options = given if isinstance(given, dict) else {}
    provider = (SUPPLIED if imported else result.get("provider")) or options.get("provider")
    if provider == GROUND_TRUTH:
        return {
            "provider": provider,
            **{name: result.get(name) for name in MADE},
            "labellingJobs": inputs["workers"],
        }
    if provider == PAGE:
        return {"provider": provider, **{name: result.get(name) for name in (*MADE, *MADE_ON_PAGE)}}
    at_start = "key" in options
    return {
        "provider": provider,
        "manifest": result.get("manifest"),
        "labelled": result.get("labelled"),
        "fileSha256": imported.get("fileSha256"),
        "fileEtag": imported.get("fileEtag"),
        "namedEtag": imported.get("namedEtag"),
        "postedBy": _started_by(job_input) if at_start else result.get("postedBy"),
        "postedTime": _first_start(inputs) if at_start else walk.exits.get(states.REQUEST_LABELS.name),
        "atStart": at_start,
    }


def _split(walk: Walk) -> dict[str, Any] | None:
    prepared = walk.results.get(states.PREPARE_DATASETS.name)
    counts = ("trainImages", "testImages", "dropped", "droppedReasons", "imagesPerType", "leaks", "shareOfFrame")
    names = (*counts, "trainSha256", "testSha256", "labelsSha256")
    return {name: prepared.get(name) for name in names} if prepared else None


def _training(walk: Walk, job: Mapping[str, Any]) -> dict[str, Any] | None:
    """The training. ``seconds`` is from its start to the poll that found it completed.

    ``billedSeconds`` is what Rekognition reports for the completed training, ``earlierBilledSeconds`` for earlier ones.
    """
    model = walk.results.get(states.START_TRAINING.name)
    if not model:
        return None
    is_done = (walk.results.get(states.CHECK_TRAINING.name) or {}).get("completed") is True
    start, end = walk.exits.get(states.START_TRAINING.name), walk.exits.get(states.CHECK_TRAINING.name)
    billed = job.get("TrainingSeconds") if is_done else None
    earlier = job.get("EarlierTrainingSeconds") or 0
    return {
        "projectVersionArn": model.get("projectVersionArn"),
        "completed": is_done,
        "startTime": start,
        "seconds": round((end - start) / 1000, 3) if is_done and start and end else None,
        "billedSeconds": billed,
        "earlierBilledSeconds": earlier,
        "usd": round(((billed or 0) + earlier) * 1000 / HOUR_MS * prices.TRAINING_HOUR, 4),
    }


def _outlines(walk: Walk) -> dict[str, Any] | None:
    """The result of Learn outlines, or the error that the state machine caught."""
    learned = result_of(walk.results, states.LEARN_OUTLINES)
    return dict(learned) if learned else None


_FIGURES = ("passed", "f1", "precision", "recall", "intervals", "inWords", "labels", "reasons")


def _evaluation(walk: Walk, job_input: Mapping[str, Any]) -> dict[str, Any] | None:
    evaluated = walk.results.get(states.EVALUATE_MODEL.name)
    if not evaluated:
        return None
    arguments = walk.arguments.get(states.EVALUATE_MODEL.name, {})
    return {
        **{name: evaluated.get(name) for name in _FIGURES},
        "bars": {
            name: evaluated.get(name, arguments.get(name, job_input.get(name)))
            for name in ("minF1", "minLabelF1", "maxF1Drop")
        },
        "previousModel": evaluated.get("liveModel"),
        "previousF1": evaluated.get("liveF1"),
    }


def _go_live(walk: Walk, job_input: Mapping[str, Any]) -> dict[str, Any]:
    published = walk.results.get(states.PUBLISH_MODEL.name)
    return {
        "asked": job_input.get("deploy"),
        "askedBy": _started_by(job_input),
        "passed": (walk.results.get(states.EVALUATE_MODEL.name) or {}).get("passed"),
        "isLive": bool(published),
        "time": walk.exits.get(states.PUBLISH_MODEL.name),
        "model": (published or {}).get("projectVersionArn"),
        "replaced": (published or {}).get("previousModel"),
        "replacedStopped": (published or {}).get("previousStopped"),
    }
