"""Removes secrets and personal data from the inputs of an audit report.

Names of photos and labels files are found by their place: a name is the last part of a key in the folders of uploads.
Of each value that is such a key or its URI, only the folder and the job's id are kept. A search for names in sentences
cannot find all of them, because a name can have any characters. So a cause is kept only if the pipeline wrote it, and
an error only if the pipeline or AWS named it (`pipeline.errors`).

JSON that a report cannot hold is left out, so that no input of an execution can prevent its report.

Document types stay, because an audit must show what the model was trained for.

An audit must identify people. So these stay: the IAM principal or the user pool's subject of an API caller, and the ids
of workers, which are pseudonyms.
"""

import json
import re
from math import isfinite
from typing import Any

from pipeline.errors import is_own_cause, own_error
from rules.types import fault_of_type

TOKEN, URL, KEY, EMAIL, STACK = "[task token]", "[signed URL]", "[access key]", "[e-mail]", "[stack trace]"
NAME, CAUSE = "…", "[cause that the pipeline did not write]"
FOREIGN = "[JSON that the pipeline did not write]"

MOST_LEVELS, MOST_TEXTS = 50, 3
"""The levels of lists and objects in a value, and of JSON texts in JSON texts. The pipeline's values have fewer."""

NAMED_FOLDERS = ("images", "upright", "labels")
"""The folders of the bucket in which the last part of a key is the name of an uploaded file."""

STARTS = ("s3://", "arn:")
"""The prefixes of values that have a bucket before the key."""

# A task token has several hundred characters of base64. Parts of S3 URIs and ARNs may look like tokens, so text after a
# colon is excluded. The tokens of the local AWS are shorter; `Redactor` finds them by the name of their argument.
LONG_SECRET = re.compile(r"(?<![A-Za-z0-9+/=_:-])[A-Za-z0-9+/=_-]{200,}")
# Signature Version 4 and 2. Source: S3 API reference, "Authenticating Requests: Using Query Parameters".
SIGNED_URL = re.compile(r"https?://[^\s\"'<>]*[?&](?:X-Amz-[A-Za-z-]+|Signature|AWSAccessKeyId)=[^\s\"'<>]*", re.I)
ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
EMAIL_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

CALLER = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:\S{1,700}")
"""The ARN of an IAM principal. With some sign-in systems it ends with an e-mail address."""

DROPPED = frozenset({"SdkHttpMetadata", "SdkResponseMetadata", "inputDetails", "outputDetails"})
"""The HTTP headers of Step Functions' calls, and its flags for truncated values, which are not about the job."""


class Redactor:
    """Redacts the values of one execution. It keeps the task tokens, to remove them from other values."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._cache: dict[str, str] = {}  # a history has the same texts thousands of times
        self._texts = 0  # the JSON texts around the value at hand

    def value(self, value: Any, *, is_stop: bool = False) -> Any:
        """A JSON value without secrets, names of uploads, e-mail addresses and stack traces.

        ``is_stop``: whether the value is the details of a stop event. A stopped execution is recognized by its status.
        """
        if isinstance(value, dict):
            own = value | _own_words(value, is_stop=is_stop or value.get("status") == "ABORTED")
            return {self.text(name): self._entry(name, part) for name, part in own.items() if name not in DROPPED}
        if isinstance(value, list):
            return [self.value(part) for part in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """A text without secrets and e-mail addresses, or an upload's key without the name."""
        if text not in self._cache:
            self._cache[text] = self._redacted(text)
        return self._cache[text]

    def _redacted(self, text: str) -> str:
        text = self._json(text) if text.startswith(("{", "[", '"')) else without_name(text)
        for token in sorted(self._tokens, key=len, reverse=True):  # a token may be the start of another
            text = text.replace(token, TOKEN)
        text = SIGNED_URL.sub(URL, text)
        text = LONG_SECRET.sub(TOKEN, text)
        text = ACCESS_KEY.sub(KEY, text)
        text = EMAIL_ADDRESS.sub(EMAIL, text)
        # A lone surrogate is valid in JSON but not in UTF-8.
        return text.encode("utf-8", "replace").decode()

    def _json(self, text: str) -> str:
        """A text that is JSON, such as the value of a variable, with its values redacted."""
        try:
            value = read_json(text)
        except ValueError:
            return text
        if value == FOREIGN or self._texts == MOST_TEXTS:
            return FOREIGN
        self._texts += 1
        redacted = self.value(value)
        self._texts -= 1
        return text if redacted == value else json.dumps(redacted, ensure_ascii=False)

    def _entry(self, name: str, part: Any) -> Any:
        lower = name.lower()
        if lower in ("tasktoken", "token") and isinstance(part, str):
            if len(part) > 8:  # a shorter text could be part of ordinary words
                self._tokens.add(part)
                self._cache.clear()
            return TOKEN
        if lower == "stacktrace":
            return STACK
        if lower in ("startedby", "postedby") and isinstance(part, str) and CALLER.fullmatch(part):
            return part
        if lower in ("label", "documenttypes"):
            return self._types(part)
        return self.value(part)

    def _types(self, part: Any) -> Any:
        """Keep document types, which may look like a key or a token: two types must not become one."""
        if isinstance(part, list):
            return [self._types(name) for name in part]
        return self.value(part) if fault_of_type(part) else part


def read_json(text: str) -> Any:
    """The value of a JSON text, or `FOREIGN` if a report cannot hold it.

    JSON allows 1e999, which becomes infinite here, and any number of levels, which exhaust the stack.

    Raises:
        ValueError: the text is not JSON.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        return FOREIGN
    return value if _can_be_held(value, MOST_LEVELS) else FOREIGN


def _can_be_held(value: Any, levels: int) -> bool:
    """Whether the value has only finite numbers and at most ``levels`` levels of lists and objects."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_can_be_held(part, levels - 1) for part in parts)
    return not isinstance(value, float) or isfinite(value)


def without_name(text: str) -> str:
    """``text`` or, if it is the key, S3 URI or ARN of an upload, ``text`` without the upload's name."""
    bucket, slash, key = "", "", text
    if text.startswith(STARTS):
        scheme, colons, rest = text.partition(":::" if text.startswith("arn:") else "://")
        bucket, slash, key = rest.partition("/")
        bucket = f"{scheme}{colons}{bucket}"
    folder, _, rest = key.partition("/")
    job, named, _ = rest.partition("/")
    if folder not in NAMED_FOLDERS or not rest:
        return text
    return f"{bucket}{slash}{folder}/{job}/{NAME}" if named else f"{bucket}{slash}{folder}/{NAME}"


def _own_words(details: dict[str, Any], *, is_stop: bool) -> dict[str, Any]:
    """Error and cause in the details, with replacements for what the pipeline or AWS did not write."""
    error, cause = details.get("error"), details.get("cause")
    own: dict[str, Any] = {}
    name = error if isinstance(error, str) else None
    if name is not None:
        own["error"] = own_error(name, cause, is_stop=is_stop)
    if cause is not None and not is_own_cause(name, cause, is_stop=is_stop):
        own["cause"] = CAUSE
    return own
