"""Errors of the local AWS: those for the person who starts it, and those that it answers a request with."""

from __future__ import annotations


class LocalAwsError(RuntimeError):
    """The local AWS cannot start or deploy; the message says why and what to do."""


class ServiceError(Exception):
    """An AWS error answer: `code` is the error's wire name (what botocore shows), `message` is for people."""

    def __init__(self, code: str, message: str, http_status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status
