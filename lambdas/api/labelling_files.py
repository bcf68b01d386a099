"""The labelling page's files: ``GET /labelling/`` and ``GET /labelling/{file+}``, for everyone, without sign-in.

The files are in the code, in ``web/labelling/``. They have no data about photos, jobs or people.
"""

import hashlib
import html
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.clients import clients
from pipeline.settings import Settings as BaseSettings

FOLDER = Path(__file__).resolve().parent.parent / "web" / "labelling"
PAGE = "index.html"
BASE = '<base href="./">'
"""The page's line about its own address. The address has the stage, and may lack the slash at its end."""


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    labelling_sign_in_url: str


settings = Settings.from_env()
FILES = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*") if path.is_file()}


@cache
def headers() -> Mapping[str, str]:
    """The headers of each file. Pictures come from the page and from the host of the photos' presigned URLs.

    The browser asks each time whether a file has changed, so after a deployment nobody works with old files.
    """
    photo = clients.s3.generate_presigned_url("get_object", Params={"Bucket": settings.bucket, "Key": "photo"})
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'self'; form-action 'self'; "
            f"frame-ancestors 'none'; img-src 'self' {_origin(photo)}; "
            f"connect-src 'self' {_origin(settings.labelling_sign_in_url)}"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    name = (event["pathParameters"] or {}).get("file", PAGE)
    text = FILES.get(name)
    if text is None:
        return {"statusCode": 404, "headers": {"Content-Type": "text/plain"}, "body": "The page has no such file."}
    if name == PAGE:
        base = f"{event['requestContext']['path'].rpartition('/labelling')[0]}/labelling/"
        text = text.replace(BASE, f'<base href="{html.escape(base)}">')
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    if tag in _header(event, "if-none-match"):
        return {"statusCode": 304, "headers": {**headers(), "ETag": tag}}
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    return {
        "statusCode": 200,
        "headers": {**headers(), "ETag": tag, "Content-Type": f"{kind}; charset=utf-8"},
        "body": text,
    }


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _header(event: Mapping[str, Any], wanted: str) -> str:
    return next((value for name, value in (event["headers"] or {}).items() if name.lower() == wanted), "")
