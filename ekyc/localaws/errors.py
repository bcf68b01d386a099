"""Errors of the local AWS: for the user who starts it, and as responses to requests."""

from __future__ import annotations


class LocalAwsError(RuntimeError):
    """The local AWS cannot start or deploy. The message says why and what to do."""


class ServiceError(Exception):
    """An error response of a service. `code` is the error code that botocore shows."""

    def __init__(self, code: str, message: str, http_status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status
