"""Derives the facts of an audit report from its inputs alone: the same inputs give the same facts."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.labelling import GROUND_TRUTH, SUPPLIED
from rules import prices, states

HOUR_MS = 3_600_000

ENDS = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionTimedOut": "TIMED_OUT",
    "ExecutionAborted": "ABORTED",
}
FAILURES = ("Failed", "TimedOut", "Aborted")
CALL_MS, AHEAD_MS = 60_000, 5_000
"""A recorded call caused an event when it came at most this long before it, or after it by another clock."""

EQUAL, REPLACED, MISSING, UNREAD = "equal", "replaced", "missing", "unread"
"""What a manifest in the bucket is, compared with its hash in the history; unread when S3 refuses its content."""

RESUMED = {task.result: task for task in states.TASKS if task.result}
"""The results that a later execution receives from the one before, by the last task that may have made them."""


@dataclass
class Visit:
    """One visit of a state; ``left`` is None while it lasts, or when the execution ended in it. Times in Unix ms."""

    state: str
    kind: str
    entered: int
    attempts: int = 0
    left: int | None = None


@dataclass
class Walk:
    """What `walk_history` finds in an execution's history."""

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

    After a redrive Step Functions may or may not enter the state again: both count as one more visit.
    """
    found = Walk()
    given = inputs["execution"].get("input")
    for variable, result in (given.get("resumed", {}) if isinstance(given, dict) else {}).items():
        if variable in RESUMED:
            is_request = variable == "labels" and "provider" in result
            found.results[(states.REQUEST_LABELS if is_request else RESUMED[variable]).name] = result
    before, ended_at, redriven = "", 0, False
    visit: Visit | None = None
    for event in inputs["history"]:
        kind, time, details = event["type"], event["time"], event["details"]
        if kind.endswith("StateEntered"):
            visit = Visit(details["name"], kind.removesuffix("StateEntered"), time)
            found.visits.append(visit)
            found.transitions += 1
            if not redriven:
                found.edges[before, visit.state] += 1
            before, redriven = visit.state, False
        elif kind.endswith("StateExited"):
            found.results[details["name"]] = details.get("output")
            found.exits[details["name"]] = time
            if visit:
                visit.left = time
        elif kind.endswith("Scheduled"):
            if redriven and visit:
                visit = Visit(visit.state, visit.kind, time)
                found.visits.append(visit)
                redriven = False
            if visit:
                visit.attempts += 1
                found.transitions += visit.attempts > 1
                parameters = details.get("parameters")
                if isinstance(parameters, dict):
                    found.arguments[visit.state] = parameters.get("Payload", {})
        elif kind in ENDS:
            ended_at = time
            if visit and visit.left is None:
                visit.left = time
        elif kind == "ExecutionRedriven":
            found.pauses.append([ended_at, time])
            found.transitions += 1
            redriven = True
        if kind == "ExecutionRedriven" or kind.endswith(FAILURES):
            _add_incident(found.incidents, event, visit.state if visit else None, inputs["job"])
    return found


def _add_incident(
    incidents: list[dict[str, Any]], event: Mapping[str, Any], state: str | None, job: Mapping[str, Any]
) -> None:
    """Add an incident. Retries for the same error are one incident with a count."""
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
    """The caller of the API just before ``time``; None without a call, such as for a stop in the console."""
    near = [call["By"] for call in job.get(calls, ()) if -AHEAD_MS <= time - call["Time"] <= CALL_MS]
    return near[-1] if near else None


def cause_text(cause: Any) -> str | None:
    """The cause in words; of a Lambda function's JSON answer, its message."""
    if isinstance(cause, Mapping):
        return str(cause.get("errorMessage") or cause.get("message") or json.dumps(cause, sort_keys=True))
    return None if cause is None else str(cause)


def derive(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """All facts of the report."""
    found = walk_history(inputs)
    execution, job = inputs["execution"], inputs["job"]
    given = execution["input"] if isinstance(execution.get("input"), dict) else {}
    training = _training(found, job)
    transitions = {"count": found.transitions, "usd": round(found.transitions * prices.TRANSITION, 6)}
    return {
        "end": {
            "status": execution["status"],
            "state": found.visits[-1].state if found.visits else None,
            "startTime": execution["startDate"],
            "endTime": execution.get("stopDate"),
            "error": execution.get("error"),
            "cause": cause_text(execution.get("cause")),
        },
        "started": {
            "by": job.get("StartedBy"),
            "time": _first_start(inputs),
            "options": given,
            "resumed": _resumed(inputs),
        },
        "earlier": [_earlier(one, job) for one in inputs["earlier"]],
        "photos": _photos(found, inputs),
        "manifests": _manifests(found, inputs["files"]),
        "labelling": _labelling(found, inputs, given),
        "split": _split(found),
        "training": training,
        "cost": {
            "trainingUsd": training["usd"] if training else 0.0,
            "transitions": transitions["count"],
            "transitionsUsd": transitions["usd"],
            "modelUsdPerHour": prices.model_hour(job.get("InferenceUnits"))
            if states.START_MODEL.name in found.results
            else 0.0,
        },
        "evaluation": _evaluation(found, given),
        "goLive": _go_live(found, given, job),
        "incidents": found.incidents,
        "path": {
            "states": _states(found.visits, _last_time(inputs)),
            "edges": [[before, after, count] for (before, after), count in found.edges.items()],
            "pauses": found.pauses,
        },
    }


def _first_start(inputs: Mapping[str, Any]) -> int | None:
    """When the job was started; None when Step Functions has deleted the first of several executions."""
    first = (*inputs["earlier"], inputs["execution"])[0]
    started: int | None = first.get("startDate")
    return started


def _earlier(execution: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """An execution before this one; ``by`` is who stopped it."""
    stopped = execution.get("status") == "ABORTED" and "stopDate" in execution
    by = _caller(job, "StoppedBy", execution["stopDate"]) if stopped else None
    return {**execution, "cause": cause_text(execution.get("cause")), "by": by}


def _resumed(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The caller who resumed the job in this execution, and when."""
    if not inputs["earlier"]:
        return None
    time = inputs["execution"]["startDate"]
    return {"by": _caller(inputs["job"], "ResumedBy", time), "time": time}


def _last_time(inputs: Mapping[str, Any]) -> int:
    history: Sequence[Mapping[str, Any]] = inputs["history"]
    return int(history[-1]["time"]) if history else int(inputs["execution"]["startDate"])


def _states(visits: Sequence[Visit], last_time: int) -> list[dict[str, Any]]:
    """Each state visited, in order of the first visit: how often, how many attempts at its task, how long together."""
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
    """The result of ``task`` among those that `walk_history` found; empty when it has none."""
    result = results.get(task.name)
    return result if isinstance(result, Mapping) else {}


def _photos(found: Walk, inputs: Mapping[str, Any]) -> dict[str, Any]:
    checked = result_of(found.results, states.CHECK_IMAGES)
    names = ("found", "accepted", "rejected", "duplicates", "turned", "manifest", "manifestSha256", "rejectedList")
    return {
        **{name: checked.get(name) for name in names},
        "rejectedCodes": checked.get("rejectedCodes") or {},
        "rejectedListSha256": checked.get("rejectedSha256"),
        "rejectedPhotos": inputs["rejected"].get("photos", []),
        "unreadableLines": inputs["rejected"].get("unreadable", 0),
    }


def _manifests(found: Walk, files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each list that the job wrote or read: its hash in the history, its hash in the bucket, and what follows."""
    checked, prepared = (result_of(found.results, task) for task in (states.CHECK_IMAGES, states.PREPARE_DATASETS))
    hashes = {entry["object"]: entry["sha256"] for entry in files}
    return [
        {"list": name, "object": uri, "sha256": sha256, "found": hashes.get(uri), "is": _compared(uri, sha256, hashes)}
        for name, uri, sha256 in (
            ("photos", checked.get("manifest"), checked.get("manifestSha256")),
            ("rejected photos", checked.get("rejectedList"), checked.get("rejectedSha256")),
            ("labels", prepared.get("labelsManifest"), prepared.get("labelsSha256")),
            ("training photos", prepared.get("trainManifest"), prepared.get("trainSha256")),
            ("test photos", prepared.get("testManifest"), prepared.get("testSha256")),
        )
        if uri and sha256
    ]


def _compared(uri: str, sha256: str, hashes: Mapping[str, str | None]) -> str:
    if uri not in hashes:
        return MISSING
    if hashes[uri] is None:
        return UNREAD
    return EQUAL if hashes[uri] == sha256 else REPLACED


def _labelling(found: Walk, inputs: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
    requested = found.results.get(states.REQUEST_LABELS.name) or {}
    imported = found.results.get(states.IMPORT_LABELS.name) or {}
    if not requested and not imported and not inputs["workers"] and states.REQUEST_LABELS.name not in found.arguments:
        return None
    made = {**requested, **imported}
    options = given.get("labels") if isinstance(given.get("labels"), dict) else {}
    provider = (SUPPLIED if imported else made.get("provider")) or (options or {}).get("provider")
    if provider == GROUND_TRUTH:
        return {
            "provider": provider,
            **{name: made.get(name) for name in ("manifest", "labelled", "failed", "unlabelled")},
            "labellingJobs": inputs["workers"],
        }
    at_start = bool(options and "key" in options)
    posted = inputs["job"].get("LabelsPostedBy", [])
    return {
        "provider": provider,
        "manifest": made.get("manifest"),
        "labelled": made.get("labelled"),
        "fileSha256": imported.get("fileSha256"),
        "fileEtag": imported.get("fileEtag"),
        "postedBy": inputs["job"].get("StartedBy") if at_start else (posted[-1]["By"] if posted else None),
        "postedTime": _first_start(inputs) if at_start else (posted[-1]["Time"] if posted else None),
        "atStart": at_start,
    }


def _split(found: Walk) -> dict[str, Any] | None:
    prepared = found.results.get(states.PREPARE_DATASETS.name)
    counts = ("trainImages", "testImages", "dropped", "droppedReasons", "imagesPerType")
    names = (*counts, "trainSha256", "testSha256", "labelsSha256")
    return {name: prepared.get(name) for name in names} if prepared else None


def _training(found: Walk, job: Mapping[str, Any]) -> dict[str, Any] | None:
    """``seconds`` from the start of training to the poll that saw its end, ``billedSeconds`` as Rekognition reports."""
    model = found.results.get(states.START_TRAINING.name)
    if not model:
        return None
    done = (found.results.get(states.CHECK_TRAINING.name) or {}).get("completed") is True
    started, seen = found.exits.get(states.START_TRAINING.name), found.exits.get(states.CHECK_TRAINING.name)
    billed = job.get("TrainingSeconds") if done else None
    earlier = job.get("EarlierTrainingSeconds") or 0
    return {
        "projectVersionArn": model.get("projectVersionArn"),
        "completed": done,
        "startTime": started,
        "seconds": round((seen - started) / 1000, 3) if done and started and seen else None,
        "billedSeconds": billed,
        "earlierBilledSeconds": earlier,
        "usd": round(((billed or 0) + earlier) * 1000 / HOUR_MS * prices.TRAINING_HOUR, 4),
    }


def _evaluation(found: Walk, given: Mapping[str, Any]) -> dict[str, Any] | None:
    evaluated = found.results.get(states.EVALUATE_MODEL.name)
    if not evaluated:
        return None
    asked = found.arguments.get(states.EVALUATE_MODEL.name, {})
    return {
        **{name: evaluated.get(name) for name in ("passed", "f1", "precision", "recall", "labels", "reasons")},
        "bars": {
            name: evaluated.get(name, asked.get(name, given.get(name))) for name in ("minF1", "minLabelF1", "maxF1Drop")
        },
        "previousModel": evaluated.get("liveModel"),
        "previousF1": evaluated.get("liveF1"),
    }


def _go_live(found: Walk, given: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    published = found.results.get(states.PUBLISH_MODEL.name)
    return {
        "asked": given.get("deploy"),
        "askedBy": job.get("StartedBy"),
        "passed": (found.results.get(states.EVALUATE_MODEL.name) or {}).get("passed"),
        "isLive": bool(published),
        "time": found.exits.get(states.PUBLISH_MODEL.name),
        "model": (published or {}).get("projectVersionArn"),
        "replaced": (published or {}).get("previousModel"),
        "replacedStopped": (published or {}).get("previousStopped"),
    }
