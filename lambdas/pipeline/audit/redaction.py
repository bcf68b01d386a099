"""Cuts secrets and personal data out of what an audit report quotes.

What stays of a person: the IAM principal or the user pool's subject of who called the API, and worker ids, which are
pseudonyms. An audit is there to name them.
"""

import re
from typing import Any

from pipeline.errors import without_names

TOKEN, URL, KEY, EMAIL, STACK = "[task token]", "[signed URL]", "[access key]", "[e-mail]", "[stack trace]"

# A task token is several hundred characters of base64. So may be what follows a colon in an S3 URI or an ARN, which
# is none. Tokens of the local engine are shorter, and are known by the name of their argument.
LONG_SECRET = re.compile(r"(?<![A-Za-z0-9+/=_:-])[A-Za-z0-9+/=_-]{200,}")
# Signature Version 4 and 2. Source: S3 API reference, "Authenticating Requests: Using Query Parameters".
SIGNED_URL = re.compile(r"https?://[^\s\"'<>]*[?&](?:X-Amz-[A-Za-z-]+|Signature|AWSAccessKeyId)=[^\s\"'<>]*", re.I)
ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
EMAIL_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

DROPPED = frozenset({"SdkHttpMetadata", "SdkResponseMetadata", "inputDetails", "outputDetails"})
"""Headers of the calls that Step Functions made, and whether it truncated what it tells: none of the job's doing."""


class Redactor:
    """Redacts the values of one execution; remembers its task tokens, which other places may quote."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._seen: dict[str, str] = {}  # a history says the same texts thousands of times

    def value(self, value: Any) -> Any:
        """Of a JSON value: the same without secrets, names of uploaded files, e-mail addresses and stack traces."""
        if isinstance(value, dict):
            return {name: self._entry(name, part) for name, part in value.items() if name not in DROPPED}
        if isinstance(value, list):
            return [self.value(part) for part in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """A text without secrets, names of uploaded files and e-mail addresses."""
        if text not in self._seen:
            self._seen[text] = self._redacted(text)
        return self._seen[text]

    def _redacted(self, text: str) -> str:
        for token in self._tokens:
            text = text.replace(token, TOKEN)
        text = SIGNED_URL.sub(URL, text)
        text = LONG_SECRET.sub(TOKEN, text)
        text = ACCESS_KEY.sub(KEY, text)
        text = EMAIL_ADDRESS.sub(EMAIL, text)
        # half of a pair of surrogates is valid in JSON and not in UTF-8
        return without_names(text).encode("utf-8", "replace").decode()

    def _entry(self, name: str, part: Any) -> Any:
        lower = name.lower()
        if lower in ("tasktoken", "token") and isinstance(part, str):
            if len(part) > 8:  # a shorter one would be found in ordinary words
                self._tokens.add(part)
                self._seen.clear()
            return TOKEN
        if lower == "stacktrace":
            return STACK
        return self.value(part)
