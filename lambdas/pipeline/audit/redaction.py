"""Removes secrets and personal data from the inputs of an audit report.

Names of photos and labels files are removed by structure. They are the last part of an object's key in the folders of
uploads, so each value that is such a key or its URI keeps folder and job only. A cause stays only if the pipeline wrote
it (`pipeline.errors`): a search through sentences cannot find names, as a name may hold any character.

What stays of a person, as an audit must name them: the IAM principal or the user pool's subject of an API caller, and
worker ids, which are pseudonyms.
"""

import json
import re
from typing import Any

from pipeline.errors import own_cause

TOKEN, URL, KEY, EMAIL, STACK = "[task token]", "[signed URL]", "[access key]", "[e-mail]", "[stack trace]"
NAME, CAUSE = "…", "[cause that the pipeline did not write]"

NAMED_FOLDERS = ("images", "upright", "labels")
"""Folders of the bucket in which the last part of a key is the uploader's file name."""

STARTS = ("s3://", "arn:")
"""The prefixes of a value that has a bucket before the key."""

# A task token is several hundred characters of base64. The text after a colon in an S3 URI or an ARN may look the same,
# so it is excluded. The local engine's tokens are shorter, and are found by the name of their argument.
LONG_SECRET = re.compile(r"(?<![A-Za-z0-9+/=_:-])[A-Za-z0-9+/=_-]{200,}")
# Signature Version 4 and 2. Source: S3 API reference, "Authenticating Requests: Using Query Parameters".
SIGNED_URL = re.compile(r"https?://[^\s\"'<>]*[?&](?:X-Amz-[A-Za-z-]+|Signature|AWSAccessKeyId)=[^\s\"'<>]*", re.I)
ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
EMAIL_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

DROPPED = frozenset({"SdkHttpMetadata", "SdkResponseMetadata", "inputDetails", "outputDetails"})
"""Headers of Step Functions' own calls, and its flags for truncated values. They say nothing about the job."""


class Redactor:
    """Redacts the values of one execution; remembers its task tokens, which other places may quote."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._seen: dict[str, str] = {}  # a history repeats the same texts thousands of times

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, names of uploaded files, e-mail addresses and stack traces."""
        if isinstance(value, dict):
            own = value if "cause" not in value else value | {"cause": _cause(value)}
            return {self.text(name): self._entry(name, part) for name, part in own.items() if name not in DROPPED}
        if isinstance(value, list):
            return [self.value(part) for part in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """A text without secrets and e-mail addresses; a key of an uploaded file keeps folder and job only."""
        if text not in self._seen:
            self._seen[text] = self._redacted(text)
        return self._seen[text]

    def _redacted(self, text: str) -> str:
        text = self._json(text) if text.startswith(("{", "[", '"')) else without_name(text)
        for token in self._tokens:
            text = text.replace(token, TOKEN)
        text = SIGNED_URL.sub(URL, text)
        text = LONG_SECRET.sub(TOKEN, text)
        text = ACCESS_KEY.sub(KEY, text)
        text = EMAIL_ADDRESS.sub(EMAIL, text)
        # half of a pair of surrogates is valid in JSON and not in UTF-8
        return text.encode("utf-8", "replace").decode()

    def _json(self, text: str) -> str:
        """A text that is JSON, such as the value of an assigned variable, with its values redacted."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        redacted = self.value(value)
        return text if redacted == value else json.dumps(redacted, ensure_ascii=False)

    def _entry(self, name: str, part: Any) -> Any:
        lower = name.lower()
        if lower in ("tasktoken", "token") and isinstance(part, str):
            if len(part) > 8:  # a shorter token would match ordinary words
                self._tokens.add(part)
                self._seen.clear()
            return TOKEN
        if lower == "stacktrace":
            return STACK
        return self.value(part)


def without_name(text: str) -> str:
    """``text``; of a key in the folders of uploads, or its S3 URI or ARN, without the last part."""
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


def _cause(details: dict[str, Any]) -> Any:
    """The cause beside an error, if the pipeline wrote it. A function's answer is parsed already."""
    cause, error = details["cause"], details.get("error")
    is_own = cause is None or own_cause(error if isinstance(error, str) else None, "") is not None
    return cause if is_own else CAUSE
