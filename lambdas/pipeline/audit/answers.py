"""Answers an auditor's questions in words, from the facts of the audit report."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from pipeline.audit.facts import EQUAL, MISSING, REPLACED, UNREAD
from pipeline.executions import BATCH_FAILED
from pipeline.labelling import GROUND_TRUTH, PAGE
from rules.outline_words import in_words
from rules.words import counted

MOST_WORKERS = 20  # workers in an answer; the facts have all
WORDS = {
    EQUAL: "is unchanged",
    REPLACED: "was replaced",
    MISSING: "no longer exists",
    UNREAD: "cannot be read",
}
"""The results of comparing a list of the job with the history."""
UNKNOWN_CALLER = "a caller that is not recorded (the job was not started through the API)"
NOT_THE_API = "a caller that did not use the API (the console, the AWS CLI or a limit of AWS)"


def moment(time: int | None) -> str:
    """A time in Unix ms as date and time in UTC, or "never" for None."""
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if time is not None else "never"


def duration(ms: float) -> str:
    """A duration in ms as text, in seconds, minutes, hours or days."""
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def answer_all(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """The questions and answers, ``{question, answer}``."""
    return [
        {"question": question, "answer": " ".join(sentences(facts))}
        for question, sentences in (
            ("How did the execution end?", _end),
            ("Who started the job, and when?", _started),
            ("Which photos were accepted, and which were rejected?", _photos),
            ("Who labelled the photos?", _labelling),
            ("How were the photos split?", _split),
            ("Have the job's lists changed since its stages wrote or read them?", _manifests),
            ("Which model was trained, for how long, and what did it cost?", _training),
            ("How good is the model, compared with the bars and the live model?", _evaluation),
            ("Did the model go live, and why?", _go_live),
            ("What failed, was retried, was stopped or was redriven?", _incidents),
        )
    ]


def _end(facts: Mapping[str, Any]) -> Iterator[str]:
    end = facts["end"]
    if end["endTime"] is None:
        yield f"It has not ended: it is {end['status']} in the state {end['state']}. This report is provisional."
        return
    yield f"It ended with {end['status']} in the state {end['state']}, at {moment(end['endTime'])}, after"
    yield f"{duration(end['endTime'] - end['startTime'])}."
    if end["error"]:
        yield f"Error {end['error']}: {end['cause'] or 'it has no cause.'}"
    batch = end["failedBatch"]
    if batch:
        error = f"{batch['error']}: {batch['cause'] or 'it has no cause.'}" if "error" in batch else "no error."
        yield f"The batch of photos {batch['executionArn']} ended with {batch['status']} and {error}"
    elif end["error"] == BATCH_FAILED:
        yield "The error of the failed batch of photos is not known: Step Functions did not list the batch when this"
        yield "report was made."


def _started(facts: Mapping[str, Any]) -> Iterator[str]:
    started = facts["started"]
    when = "at an unknown time" if started["time"] is None else f"at {moment(started['time'])}"
    yield f"It was started by {_caller(started['by'])}, {when}."
    if started.get("leftOut"):
        yield "The execution's input, or the answer to its task token, has values that the pipeline does not write."
        yield "This report derives nothing from either. The history in this report has them."
    resumed = started["resumed"]
    if resumed:
        yield f"It was resumed by {resumed['by'] or NOT_THE_API}, at {moment(resumed['time'])}. This is execution"
        yield f"number {len(facts['earlier']) + 1} of the job. It continues where the previous execution ended."


def _photos(facts: Mapping[str, Any]) -> Iterator[str]:
    photos = facts["photos"]
    if photos["found"] is None:
        yield "The check of the photos is not complete."
    else:
        yield f"{photos['accepted']} of {photos['found']} photos were accepted. The manifest that lists them has the"
        yield f"SHA-256 {photos['manifestSha256']}."
        if photos["groups"] is not None:
            yield f"They show {photos['groups']} different shots or subjects."
    if photos["rejectedCodes"]:
        reasons = ", ".join(f"{count} {code}" for code, count in sorted(photos["rejectedCodes"].items()))
        yield f"{sum(photos['rejectedCodes'].values())} photos were rejected: {reasons}."
        yield f"The list of rejected photos had the SHA-256 {photos['rejectedListSha256']}."
        state = _states_of(facts).get("rejected photos", MISSING)
        if state != EQUAL:
            yield f"The list {WORDS[state]}, so this report lists no rejected photos."
    elif photos["found"] is not None:
        yield "No photo was rejected."


def _labelling(facts: Mapping[str, Any]) -> Iterator[str]:
    labelling = facts["labelling"]
    if labelling is None:
        yield "The execution did not reach this step."
        return
    if labelling["provider"] == PAGE:
        yield from _labelled_on_page(labelling)
        return
    if labelling["provider"] != GROUND_TRUTH:
        if labelling["postedBy"] is None and labelling["postedTime"] is None:
            yield "The job takes supplied labels, but none arrived."
            return
        when = "at the start" if labelling["atStart"] else "while the job waited for it"
        time = moment(labelling["postedTime"]) if labelling["postedTime"] else "a time in an earlier execution"
        yield f"The labels file was named {when} by {_caller(labelling['postedBy'])}, at {time}."
        if labelling["fileSha256"] is None:
            yield "The import of the labels is not complete."
            return
        yield f"The labels file had the SHA-256 {labelling['fileSha256']} when it was imported. It has labels of"
        yield f"{_number(labelling['labelled'])} photos."
        if labelling["namedEtag"] is None:
            yield "No request named it by its ETag, as the execution was started without the API."
        elif labelling["namedEtag"] != labelling["fileEtag"]:
            yield "The file was replaced after it was named and before the job was resumed."
        return
    yield f"Workers in Ground Truth labelled {_number(labelling['labelled'])} photos."
    yield f"{_number(labelling['failed'])} photos failed and {_number(labelling['unlabelled'])} were not labelled."
    for job in labelling["labellingJobs"]:
        workers: Sequence[Mapping[str, Any]] = job["workers"]
        yield f"In the labelling job {job['labellingJob']}, {counted(len(workers), 'worker')} gave"
        yield f"{counted(job['answers'], 'answer')}{':' if workers else '.'}"
        shown = [
            f"{worker['worker']} {counted(worker['photos'], 'photo')}, {duration(worker['medianMs'])} a photo (median)"
            for worker in workers[:MOST_WORKERS]
        ]
        more = f"; and {len(workers) - MOST_WORKERS} more" if len(workers) > MOST_WORKERS else ""
        if workers:
            yield "; ".join(shown) + more + "."
        if job["late"]:
            yield f"Left out because they were written after the labelling ended: {counted(job['late'], 'file')}."
        if job["unreadable"]:
            yield f"Left out because they cannot be read: {counted(job['unreadable'], 'file')}."
    if labelling["labellingJobs"]:
        yield "The answers were read from the bucket for this report. The history has no hash of them."


def _labelled_on_page(labelling: Mapping[str, Any]) -> Iterator[str]:
    people = labelling["people"]
    if people is None:
        yield "People label the photos on the labelling page, and have not finished."
        return
    yield f"{counted(len(people), 'signed-in user')} labelled {_number(labelling['labelled'])} photos on the"
    yield f"labelling page; {_number(labelling['unlabelled'])} photos were skipped and stay unlabelled:"
    shown = [
        f"{person['person']} {counted(person['answers'], 'answer')}, "
        f"{duration(person['medianSeconds'] * 1000)} a photo (median)"
        for person in people[:MOST_WORKERS]
        if person["answers"]
    ]
    yield "; ".join(shown) + (f"; and {len(people) - MOST_WORKERS} more" if len(people) > MOST_WORKERS else "") + "."
    proposals, checks, reviews = labelling["proposals"], labelling["checks"], labelling["reviews"]
    yield f"Boxes that the live model proposed: {proposals['shown']:,}. People accepted {proposals['accepted']:,}"
    yield f"unchanged and changed {proposals['changed']:,}."
    yield f"A second person labelled {counted(checks['photos'], 'photo')} without proposals, to check the labels."
    yield f"People disagreed about {counted(labelling['disagreements'], 'photo')}."
    yield f"Reviewers accepted the labels {counted(reviews['accept'], 'time')}, corrected them"
    yield f"{counted(reviews['correct'], 'time')} and returned a photo {counted(reviews['return'], 'time')}."


def _split(facts: Mapping[str, Any]) -> Iterator[str]:
    split = facts["split"]
    if split is None:
        yield "The execution did not reach this step."
        return
    reasons = ", ".join(f"{count} {code}" for code, count in sorted((split["droppedReasons"] or {}).items()))
    yield f"{split['trainImages']} photos are for training and {split['testImages']} for the test."
    yield f"{split['dropped']} were dropped{f' ({reasons})' if reasons else ''}."
    if split["leaks"] is not None:
        yield "All photos of a shot or subject are in the same set. If each photo had been split alone,"
        yield f"{counted(split['leaks'], 'test photo')} would show what a training photo shows."
    types = split["imagesPerType"] or ()
    per_type = ", ".join(f"{entry['label']} {entry['images']}" for entry in sorted(types, key=itemgetter("label")))
    yield f"By type: {per_type}. The manifests have the SHA-256 {split['trainSha256']} (training) and"
    yield f"{split['testSha256']} (test). They were made from the labelled manifest with the SHA-256"
    yield f"{split['labelsSha256']}."


def _states_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """The result of comparing each of the job's lists with the history, by the list's name."""
    return {entry["list"]: entry["is"] for entry in facts["manifests"]}


def _manifests(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["manifests"]:
        yield "No stage wrote a list."
        return
    yield "When this report was made, each list in the bucket was compared with the SHA-256 in the history."
    for entry in facts["manifests"]:
        yield f"The list of {entry['list']} {WORDS[entry['is']]}."
    yield "The counts and hashes in this report are those of the history, not of the bucket."


def _training(facts: Mapping[str, Any]) -> Iterator[str]:
    training, cost = facts["training"], facts["cost"]
    if training is None:
        yield "No model was trained."
    else:
        yield f"The model is {training['projectVersionArn']}."
        if training["seconds"] is not None:
            yield f"Its training took {duration(training['seconds'] * 1000)}."
        if training["billedSeconds"] is not None:
            yield f"Rekognition billed {duration(training['billedSeconds'] * 1000)} for it."
        if training["earlierBilledSeconds"]:
            earlier = duration(training["earlierBilledSeconds"] * 1000)
            yield f"Rekognition billed {earlier} for earlier trainings of the job."
        if training["billedSeconds"] is not None or training["earlierBilledSeconds"]:
            yield f"The cost of training is {training['usd']:.2f} USD."
        if facts["outlines"]:
            yield in_words(facts["outlines"])
        if not training["completed"] and facts["end"]["endTime"] is None:
            yield "The training is in progress."
        elif not training["completed"]:
            yield "The training was not complete at the end of the execution. It cannot be cancelled, so it is billed."
    yield f"The execution made {cost['transitions']} state transitions, which cost {cost['transitionsUsd']:.4f} USD."
    if cost["plannedBatches"]:
        yield "This is an estimate: it counts one transition for each planned batch of photos"
        yield f"({cost['plannedBatches']:,}), and none for repeats of a batch."
    if cost["modelUsdPerHour"]:
        yield f"The model costs {cost['modelUsdPerHour']:.2f} USD an hour while it runs."
    yield "These are list prices. The cost of labelling is not included."


def _evaluation(facts: Mapping[str, Any]) -> Iterator[str]:
    figures = facts["evaluation"]
    if figures is None:
        yield "No model was evaluated."
        return
    bars = figures["bars"]
    yield f"Its F1 is {figures['f1']:.4f} (precision {figures['precision']:.4f}, recall {figures['recall']:.4f})."
    if figures["inWords"]:
        yield f"{figures['inWords']}, with 95 % confidence."
    yield f"The bar is {bars['minF1']} for the F1 of the model and {bars['minLabelF1']} for the F1 of each type."
    yield "F1 by type: " + ", ".join(f"{label['label']} {label['f1']:.4f}" for label in figures["labels"] or []) + "."
    if figures["previousModel"]:
        previous_f1 = "is unknown" if figures["previousF1"] is None else f"is {figures['previousF1']:.4f}"
        yield f"The live model was {figures['previousModel']}. Its F1 {previous_f1}. The largest drop allowed is"
        yield f"{bars['maxF1Drop']}."
    else:
        yield "No model was live."
    reasons = "; ".join(figures["reasons"] or [])
    yield "The model passed." if figures["passed"] else f"The model did not pass: {reasons}."


def _go_live(facts: Mapping[str, Any]) -> Iterator[str]:
    live = facts["goLive"]
    if not live["isLive"]:
        if live["passed"] is False:
            yield "No: it missed a bar, so the state machine rejected it."
        elif live["passed"] and live["asked"] is False:
            yield f"No: {_caller(live['askedBy'])} started the job without deployment."
        else:
            yield "No: the execution did not publish a model."
        return
    yield f"Yes. The state machine published it at {moment(live['time'])}, because it passed the evaluation and"
    yield f"{_caller(live['askedBy'])} requested deployment at the start of the job. No person approved it."
    if live["replaced"]:
        stopped = "was stopped" if live["replacedStopped"] else "was left running"
        yield f"It replaced {live['replaced']}, which {stopped}."
    else:
        yield "It replaced no model."


def _incidents(facts: Mapping[str, Any]) -> Iterator[str]:
    incidents = facts["incidents"]
    for earlier in facts["earlier"]:
        if "status" not in earlier:
            yield f"Step Functions has deleted the earlier execution {earlier['name']}. It has its own report."
            continue
        redrives = f", after {counted(earlier['redriveCount'], 'redrive')}" if earlier.get("redriveCount") else ""
        yield f"{moment(earlier.get('stopDate'))}: the earlier execution {earlier['name']} ended with"
        by = f", stopped by {earlier['by'] or NOT_THE_API}" if earlier["status"] == "ABORTED" else ""
        yield f"{earlier['status']} and {earlier.get('error') or 'no error'}{by}{redrives}. It has its own report."
    if not incidents:
        yield "Nothing in this execution." if facts["earlier"] else "Nothing."
    for incident in incidents:
        when, where = moment(incident["firstTime"]), f"in the state {incident['state']}"
        if incident["what"] == "redrive":
            yield f"{when}: redriven by {incident['by'] or NOT_THE_API}."
        elif incident["what"] == "stop":
            yield f"{when}: stopped {where} by {incident['by'] or NOT_THE_API}."
        elif incident["what"] == "end":
            yield f"{when}: the execution ended {where} with {incident['error']}."
        else:
            times = f", {incident['count']} times until {moment(incident['lastTime'])}" if incident["count"] > 1 else ""
            yield f"{when}: {incident['error'] or incident['type']} {where}{times}."


def _caller(by: str | None) -> str:
    return by or UNKNOWN_CALLER


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"
