"""The audit report's answers in words, each from the facts."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.audit.facts import EQUAL, MISSING, REPLACED, UNREAD
from pipeline.labelling import GROUND_TRUTH
from rules.words import counted

MOST_WORKERS = 20  # that the answer lists; the facts list all
WORDS = {
    EQUAL: "is the same",
    REPLACED: "was replaced after the check",
    MISSING: "is not there any more",
    UNREAD: "cannot be read",
}
"""What a list of the job is, compared with the history."""
UNKNOWN_CALLER = "somebody whom the record does not name (not through the API, or before it kept callers)"
NOBODY = "somebody past the API (the console, the CLI or a limit of AWS)"


def moment(time: int | None) -> str:
    """The UTC date and time of a time in Unix ms."""
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if time is not None else "never"


def duration(ms: float) -> str:
    """A duration in ms, in hours, minutes or seconds as its length suggests."""
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def answer_all(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """``{question, answer}`` in the order in which an auditor asks."""
    return [
        {"question": question, "answer": " ".join(sentences(facts))}
        for question, sentences in (
            ("How did it end?", _end),
            ("Who started the job, and when?", _started),
            ("Which photos went in, and which were rejected?", _photos),
            ("Who labelled?", _labelling),
            ("How were the photos split?", _split),
            ("Are the job's lists still what its stages wrote and read?", _manifests),
            ("What was trained, how long, and what did it cost?", _training),
            ("How good is the model, against which bar and which model before?", _evaluation),
            ("Who or what let it go live?", _go_live),
            ("What failed, was retried, stopped or redriven?", _incidents),
        )
    ]


def _end(facts: Mapping[str, Any]) -> Iterator[str]:
    end = facts["end"]
    if end["endTime"] is None:
        yield f"It has not ended: it is {end['status']} in the state {end['state']}. This report is provisional."
        return
    yield f"{end['status']} at {moment(end['endTime'])}, after {duration(end['endTime'] - end['startTime'])},"
    yield f"in the state {end['state']}."
    if end["error"]:
        yield f"Error {end['error']}: {end['cause'] or 'no cause was given'}"


def _started(facts: Mapping[str, Any]) -> Iterator[str]:
    started = facts["started"]
    when = "at a time that is forgotten" if started["time"] is None else f"at {moment(started['time'])}"
    yield f"{_caller(started['by'])}, {when}."
    resumed = started["resumed"]
    if resumed:
        yield f"{resumed['by'] or NOBODY[0].upper() + NOBODY[1:]} resumed it in this execution, number"
        yield f"{len(facts['earlier']) + 1} of the job, at {moment(resumed['time'])}, from where the one before ended."


def _photos(facts: Mapping[str, Any]) -> Iterator[str]:
    photos = facts["photos"]
    if photos["found"] is None:
        yield "The photos were not checked to the end."
    else:
        yield f"{photos['found']} photos were found and {photos['accepted']} accepted; the manifest that lists them has"
        yield f"the SHA-256 {photos['manifestSha256']}."
    if photos["rejectedCodes"]:
        reasons = ", ".join(f"{count} {code}" for code, count in sorted(photos["rejectedCodes"].items()))
        yield f"Rejected were {sum(photos['rejectedCodes'].values())}: {reasons}."
        yield f"The list with each had the SHA-256 {photos['rejectedListSha256']}."
        state = _states_of(facts).get("rejected photos", MISSING)
        if state != EQUAL:
            yield f"That list {WORDS[state]}, so this report lists no rejected photo."
    elif photos["found"] is not None:
        yield "None was rejected."


def _labelling(facts: Mapping[str, Any]) -> Iterator[str]:
    labelling = facts["labelling"]
    if labelling is None:
        yield "Nobody: it did not come to that."
        return
    if labelling["provider"] != GROUND_TRUTH:
        if labelling["postedTime"] is None:
            yield "Labels were to be supplied, and none came."
            return
        when = "with the start" if labelling["atStart"] else "while the job waited"
        yield f"The labels were supplied {when} by {_caller(labelling['postedBy'])}, {moment(labelling['postedTime'])}."
        if labelling["fileSha256"] is None:
            yield "They were not imported to the end."
            return
        yield f"The labels file had the SHA-256 {labelling['fileSha256']} when it was imported."
        yield f"{_number(labelling['labelled'])} photos have labels in them."
        return
    yield f"Ground Truth: {_number(labelling['labelled'])} photos labelled, {_number(labelling['failed'])} failed,"
    yield f"{_number(labelling['unlabelled'])} left unlabelled."
    for job in labelling["labellingJobs"]:
        workers: Sequence[Mapping[str, Any]] = job["workers"]
        yield f"In {job['labellingJob']} {len(workers)} workers gave {job['answers']} answers{':' if workers else '.'}"
        shown = [
            f"{worker['worker']} {worker['photos']} photos, {duration(worker['medianMs'])} a photo (median)"
            for worker in workers[:MOST_WORKERS]
        ]
        more = f"; and {len(workers) - MOST_WORKERS} more" if len(workers) > MOST_WORKERS else ""
        if workers:
            yield "; ".join(shown) + more + "."
        if job["late"]:
            yield f"{counted(job['late'], 'file')} of answers came after the labelling had ended and are left out."
        if job["unreadable"]:
            yield f"{counted(job['unreadable'], 'file')} of answers cannot be read."
    if labelling["labellingJobs"]:
        yield "The workers' answers are read from the bucket for this report: no stage had hashed them before."


def _split(facts: Mapping[str, Any]) -> Iterator[str]:
    split = facts["split"]
    if split is None:
        yield "They were not: it did not come to that."
        return
    yield f"{split['trainImages']} photos to train on, {split['testImages']} to test on, {split['dropped']} left out"
    reasons = ", ".join(f"{count} {code}" for code, count in sorted((split["droppedReasons"] or {}).items()))
    yield f"({reasons})." if reasons else "."
    per_type = ", ".join(f"{name} {count}" for name, count in sorted((split["imagesPerType"] or {}).items()))
    yield f"By type: {per_type}. The manifests have the SHA-256 {split['trainSha256']} and {split['testSha256']};"
    yield f"the labelled manifest that they were made of had {split['labelsSha256']}."


def _states_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """What each of the job's lists is, compared with the history."""
    return {one["list"]: one["is"] for one in facts["manifests"]}


def _manifests(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["manifests"]:
        yield "No stage had written one."
        return
    yield "When this report was made, each was compared with the SHA-256 that the history holds."
    for one in facts["manifests"]:
        yield f"The list of {one['list']} {WORDS[one['is']]}."
    yield "Figures and hashes of this report are those of the history, whatever lies there now."


def _training(facts: Mapping[str, Any]) -> Iterator[str]:
    training, cost = facts["training"], facts["cost"]
    if training is None:
        yield "Nothing was trained."
    else:
        yield f"{training['projectVersionArn']}."
        if training["seconds"] is not None:
            yield f"It took {duration(training['seconds'] * 1000)}."
        if training["earlierBilledSeconds"]:
            before = duration(training["earlierBilledSeconds"] * 1000)
            yield f"For trainings of this job before it Rekognition billed {before}, which is in the sum."
        if training["billedSeconds"] is not None:
            yield f"Rekognition billed {duration(training['billedSeconds'] * 1000)}, {training['usd']:.2f} USD."
        if not training["completed"] and facts["end"]["endTime"] is None:
            yield "The training goes on."
        elif not training["completed"]:
            yield "The training was not seen to be done. Rekognition cannot cancel one: it goes on and is billed."
    yield f"The execution made {cost['transitions']} state transitions, {cost['transitionsUsd']:.4f} USD."
    if cost["modelUsdPerHour"]:
        yield f"The model costs {cost['modelUsdPerHour']:.2f} USD an hour while it runs."
    yield "All at list price, without what people were paid for labelling."


def _evaluation(facts: Mapping[str, Any]) -> Iterator[str]:
    found = facts["evaluation"]
    if found is None:
        yield "It was not evaluated."
        return
    bars = found["bars"]
    yield f"F1 {found['f1']:.4f} (precision {found['precision']:.4f}, recall {found['recall']:.4f}) against the bar of"
    yield f"{bars['minF1']} for all and {bars['minLabelF1']} for each type."
    yield "By type: " + ", ".join(f"{label['label']} {label['f1']:.4f}" for label in found["labels"] or []) + "."
    if found["previousModel"]:
        figure = "is not known any more" if found["previousF1"] is None else f"is {found['previousF1']:.4f}"
        yield f"The model before is {found['previousModel']}; its F1 {figure}, and the new one might be lower by"
        yield f"{bars['maxF1Drop']}."
    else:
        yield "No model was live before."
    yield "It passed." if found["passed"] else "It did not pass: " + " ".join(found["reasons"] or [])


def _go_live(facts: Mapping[str, Any]) -> Iterator[str]:
    live = facts["goLive"]
    if not live["isLive"]:
        if live["passed"] is False:
            yield "Nothing: the figures fell short, so the state machine rejected the model."
        elif live["passed"] and live["asked"] is False:
            yield f"Nothing: {_caller(live['askedBy'])} started the job without deployment."
        else:
            yield "Nothing: it did not go live."
        return
    yield f"The state machine, at {moment(live['time'])}, for two reasons: the model met the bars of the state 'Good"
    yield f"enough?', and {_caller(live['askedBy'])} had asked for deployment when starting the job. No person approved"
    yield "it in between."
    if live["replaced"]:
        stopped = "was stopped" if live["replacedStopped"] else "was left running"
        yield f"It replaced {live['replaced']}, which {stopped}."
    else:
        yield "It replaced none."


def _incidents(facts: Mapping[str, Any]) -> Iterator[str]:
    incidents = facts["incidents"]
    for one in facts["earlier"]:
        if "status" not in one:
            yield f"The execution {one['name']} before this one is forgotten by Step Functions; its report tells of it."
            continue
        redrives = f", redriven {one['redriveCount']} times" if one.get("redriveCount") else ""
        yield f"{moment(one.get('stopDate'))}: the execution {one['name']} before this one ended {one['status']}"
        by = f", stopped by {one['by'] or NOBODY}" if one["status"] == "ABORTED" else ""
        yield f"with {one.get('error') or 'no error'}{by}{redrives}; its report tells of it."
    if not incidents:
        yield "In this execution nothing." if facts["earlier"] else "Nothing."
    for one in incidents:
        when, where = moment(one["firstTime"]), f"in the state {one['state']}"
        if one["what"] == "redrive":
            yield f"{when}: redriven by {one['by'] or NOBODY}."
        elif one["what"] == "stop":
            yield f"{when}: stopped {where} by {one['by'] or NOBODY}."
        elif one["what"] == "end":
            yield f"{when}: the execution ended {where} with {one['error']}."
        else:
            times = f", {one['count']} times until {moment(one['lastTime'])}" if one["count"] > 1 else ""
            yield f"{when}: {one['error'] or one['type']} {where}{times}."


def _caller(by: str | None) -> str:
    return by or UNKNOWN_CALLER


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else str(value)
