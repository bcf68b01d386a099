"""Reads requests strictly: an unknown or malformed field gives a 400 whose detail names it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from api.problems import bad_request, too_large, unknown_job
from pipeline.labelling import GROUND_TRUTH, PAGE, SUPPLIED
from rules.names import fault_of_file_name
from rules.subjects import SUBJECT_RULE, is_subject
from rules.types import MOST_TYPES, TYPE_RULE, fault_of_type
from rules.uploads import LABELS, PHOTOS, is_labels, largest

JOB_ID = re.compile(r"ekyc-[0-9]{14}-[0-9a-f]{16}")
# S3 guide, "General purpose bucket naming rules" and "Naming Amazon S3 objects".
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
LONGEST_KEY = 1024
UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_NAMES = 1000
LARGEST_BODY = 2 * 1024 * 1024  # bytes; enough for 1,000 of the longest names
LARGEST_PAGE = 100


@dataclass(frozen=True)
class StartDefaults:
    """The deployment's values for a job's start. A caller may only make them stricter."""

    provider: str
    document_types: Sequence[str]
    min_f1: float
    min_label_f1: float
    max_f1_drop: float
    stop_previous_model: bool


@dataclass(frozen=True)
class DetectRequest:
    """A request to find documents: the photo in base64, or its place (bucket and key)."""

    photo: str
    place: tuple[str, str] | None
    crop: bool
    least_confidence: float | None


def job_id(text: str) -> str:
    """Return ``text`` if it has the form of a job id."""
    if not JOB_ID.fullmatch(text):
        raise unknown_job(text)
    return text


def parameters(query: Mapping[str, str], *names: str) -> list[str]:
    """The values of these query parameters, which are all required."""
    missing = [name for name in names if not query.get(name)]
    if missing:
        raise bad_request(f"Missing query parameter: {' and '.join(missing)}.")
    return [query[name] for name in names]


def page_limit(text: str | None) -> int:
    """The number of jobs on a page: 1 to 100, default 100."""
    if text is None:
        return LARGEST_PAGE
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise bad_request(f"limit must be a whole number from 1 to {LARGEST_PAGE}.")
    return int(text)


def flag(text: str | None, name: str) -> bool:
    """The query parameter ``name``: true or false, default false."""
    if text not in (None, "true", "false"):
        raise bad_request(f"{name} must be true or false.")
    return text == "true"


def body(text: bytes | None, largest: int) -> dict[str, Any]:
    """The JSON object in the body of at most ``largest`` bytes; an absent body is an empty one."""
    if not text or not text.strip():
        return {}
    if len(text) > largest:
        raise too_large(largest)
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request("The body is not valid JSON in UTF-8.") from error
    if not isinstance(document, dict):
        raise bad_request("The body must be a JSON object.")
    return document


def file_name(name: Any) -> str:
    """A plain file name of a photo or of labels, unchanged."""
    if not isinstance(name, str):
        raise bad_request("A file name must be a string.")
    shown = ascii(name if len(name) <= 80 else name[:80] + "...")
    if not name:
        raise bad_request("A file name must not be empty.")
    if fault := fault_of_file_name(name):
        raise bad_request(f"The file name {shown} {fault}.")
    if not name.lower().endswith((*PHOTOS, *LABELS)):
        raise bad_request(
            f"The file name {shown} must end in one of {' '.join(PHOTOS)} for a photo, {' '.join(LABELS)} for labels."
        )
    return name


def object_key(job: str, name: str) -> str:
    """The S3 key for a file of this name."""
    return f"{'labels' if is_labels(name) else 'images'}/{job}/{name}"


def file_names(document: Mapping[str, Any]) -> list[str]:
    """``{"names": [...]}``: 1 to 1,000 different file names."""
    only(document, "names", "sha256", "sizes", "subjects")
    names = document.get("names")
    if not isinstance(names, list) or not 1 <= len(names) <= MOST_NAMES:
        raise bad_request(f"names must be a list of 1 to {MOST_NAMES} file names.")
    earlier = set()
    for name in names:
        if file_name(name) in earlier:
            raise bad_request(f"The file name {ascii(name)[:80]} is in the list twice.")
        earlier.add(name)
    return names


def content_hashes(document: Mapping[str, Any]) -> dict[str, str]:
    """Read ``{"sha256": {name: hash}}`` from a body that `file_names` accepted: SHA-256 in hex of some or all files."""
    hashes = document.get("sha256", {})
    if not isinstance(hashes, dict):
        raise bad_request('sha256 must be an object of file names and hashes, such as {"photo-1.jpg": "9f86d0…"}.')
    names = set(document["names"])
    for name, value in hashes.items():
        if name not in names:
            raise bad_request(f"sha256 has the file name {ascii(name)[:80]}, which is not in names.")
        if not isinstance(value, str) or not SHA256.fullmatch(value):
            raise bad_request(f"sha256 of {ascii(name)[:80]} must be 64 hex digits in lower case.")
    return hashes


def content_sizes(document: Mapping[str, Any]) -> dict[str, int]:
    """Read ``{"sizes": {name: bytes}}`` from a body that `file_names` accepted: sizes of some or all files."""
    sizes = document.get("sizes", {})
    if not isinstance(sizes, dict):
        raise bad_request('sizes must be an object of file names and bytes, such as {"photo-1.jpg": 201334}.')
    names = set(document["names"])
    for name, size in sizes.items():
        shown = ascii(name)[:80]
        if name not in names:
            raise bad_request(f"sizes has the file name {shown}, which is not in names.")
        if type(size) is not int or size < 0:
            raise bad_request(f"sizes of {shown} must be a whole number of bytes.")
        if size > largest(name):
            raise bad_request(
                f"{shown} has {size:,} bytes; at most {largest(name):,} are allowed for "
                f"{'labels' if is_labels(name) else 'a photo'}."
            )
    return sizes


def photo_subjects(document: Mapping[str, Any]) -> dict[str, str]:
    """``{"subjects": {name: subject}}`` of a body that `file_names` accepted: subjects of some or all photos."""
    subjects = document.get("subjects", {})
    if not isinstance(subjects, dict):
        raise bad_request(
            'subjects must be an object of file names and subjects, such as {"photo-1.jpg": "customer-17"}.'
        )
    names = set(document["names"])
    for name, subject in subjects.items():
        shown = ascii(name)[:80]
        if name not in names:
            raise bad_request(f"subjects has the file name {shown}, which is not in names.")
        if is_labels(name):
            raise bad_request(f"subjects has {shown}, which is a labels file. Only a photo has a subject.")
        if not is_subject(subject):
            raise bad_request(f"The subject of {shown} must be a string of {SUBJECT_RULE}.")
    return subjects


def labels_name(document: Mapping[str, Any]) -> str:
    """``{"key": "annotations.json"}``: the name of an uploaded labels file."""
    only(document, "key")
    return _labels_file(document.get("key"))


def start_input(job: str, document: Mapping[str, Any], defaults: StartDefaults) -> dict[str, Any]:
    """The execution's input: the caller's values, and the deployment's defaults for the others.

    A job cannot lower the deployment's bars. Otherwise any model could replace the live model.
    """
    only(document, "labels", "deploy", "minF1", "minLabelF1", "maxF1Drop", "documentTypes", "stopPreviousModel")
    return {
        "jobId": job,
        "labels": _labels(job, document.get("labels", {}), defaults.provider),
        "documentTypes": _document_types(document.get("documentTypes", list(defaults.document_types))),
        "deploy": _flag(document, "deploy", True),
        "minF1": _at_least(document, "minF1", defaults.min_f1),
        "minLabelF1": _at_least(document, "minLabelF1", defaults.min_label_f1),
        "maxF1Drop": _at_most(document, "maxF1Drop", defaults.max_f1_drop),
        "stopPreviousModel": _stop_previous(document, defaults.stop_previous_model),
    }


def detect_request(document: Mapping[str, Any]) -> DetectRequest:
    """``{"photo": base64}`` or ``{"s3": {"bucket": ..., "key": ...}}``, with ``crop`` and ``minConfidence``."""
    only(document, "photo", "s3", "crop", "minConfidence")
    if ("photo" in document) == ("s3" in document):
        raise bad_request("The body must have either photo or s3.")
    photo = document.get("photo", "")
    if not isinstance(photo, str):
        raise bad_request("photo must be a string: the bytes of a JPEG or PNG in base64.")
    return DetectRequest(
        photo=photo,
        place=_place(document["s3"]) if "s3" in document else None,
        crop=_flag(document, "crop", False),
        least_confidence=_share(document, "minConfidence", 0) if "minConfidence" in document else None,
    )


def _place(place: Any) -> tuple[str, str]:
    """The bucket and the key of an object. S3 takes any key, but an HTTP client may change `..` in a path."""
    if not isinstance(place, dict):
        raise bad_request('s3 must be an object, such as {"bucket": "my-photos", "key": "customer-17/front.jpg"}.')
    only(place, "bucket", "key", within="s3")
    bucket, key = place.get("bucket"), place.get("key")
    if not isinstance(bucket, str) or not BUCKET.fullmatch(bucket):
        raise bad_request("s3.bucket must be the name of a bucket.")
    if not isinstance(key, str) or not 1 <= len(key.encode(errors="replace")) <= LONGEST_KEY or UNUSABLE.search(key):
        raise bad_request(f"s3.key must be a string of 1 to {LONGEST_KEY:,} bytes without control characters.")
    if {".", ".."} & set(key.split("/")):
        raise bad_request("s3.key must have no part . or .. between slashes.")
    return bucket, key


def _labels(job: str, labels: Any, default_provider: str) -> dict[str, str]:
    if not isinstance(labels, dict):
        raise bad_request('labels must be an object, such as {"provider": "supplied", "key": "annotations.json"}.')
    only(labels, "provider", "key", within="labels")
    provider = labels.get("provider", default_provider)
    if provider not in (PAGE, GROUND_TRUTH, SUPPLIED):
        raise bad_request(f"labels.provider must be {PAGE!r}, {GROUND_TRUTH!r} or {SUPPLIED!r}.")
    if "key" not in labels:
        return {"provider": provider}
    if provider != SUPPLIED:
        raise bad_request(f"labels.key is allowed with the provider {SUPPLIED!r} only.")
    return {"provider": provider, "key": object_key(job, _labels_file(labels["key"]))}


def _labels_file(name: Any) -> str:
    if not isinstance(name, str):
        raise bad_request("key must be a string: the name of an uploaded labels file.")
    if not is_labels(file_name(name)):
        raise bad_request(f"key must name an uploaded labels file; it ends in one of {' '.join(LABELS)}.")
    return str(name)


def _document_types(types: Any) -> list[str]:
    valid = isinstance(types, list) and all(isinstance(name, str) for name in types)
    if not valid or not 1 <= len(types) <= MOST_TYPES or len(set(types)) < len(types):
        raise bad_request(f"documentTypes must be a list of 1 to {MOST_TYPES} different names of {TYPE_RULE}.")
    if fault := next(filter(None, map(fault_of_type, types)), None):
        raise bad_request(f"documentTypes: {fault}.")
    return list(types)


def _flag(document: Mapping[str, Any], name: str, default: bool) -> bool:
    value = document.get(name, default)
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false.")
    return value


def _at_least(document: Mapping[str, Any], name: str, floor: float) -> float:
    value = _share(document, name, floor)
    if value < floor:
        raise bad_request(f"{name} is {value}, below the deployment's {floor}: a job can raise this bar, not lower it.")
    return value


def _at_most(document: Mapping[str, Any], name: str, most: float) -> float:
    value = _share(document, name, most)
    if value > most:
        raise bad_request(f"{name} is {value}, above the deployment's {most}: a job can only set a smaller drop.")
    return value


def _stop_previous(document: Mapping[str, Any], allowed: bool) -> bool:
    name = "stopPreviousModel"
    if _flag(document, name, allowed) and not allowed:
        raise bad_request(
            f"{name} is true, but the deployment's setting {name} is false: no job stops the previous model."
        )
    return _flag(document, name, allowed)


def _share(document: Mapping[str, Any], name: str, default: float) -> float:
    value = document.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise bad_request(f"{name} must be a number from 0 to 1.")
    return value


def only(document: Mapping[str, Any], *known: str, within: str = "The body") -> None:
    """Refuse a document with fields that are not ``known``."""
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise bad_request(f"{within} has the unknown field {ascii(unknown[0])[:80]}; known: {', '.join(known)}.")


def _no_constant(_word: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python accepts although JSON does not have them."""
    raise ValueError("not JSON")
