"""The error that a stand-in raises to answer a request with an AWS error."""

from __future__ import annotations


class ServiceError(Exception):
    """An AWS error answer: `code` is the error's wire name (what botocore shows), `message` is for people."""

    def __init__(self, code: str, message: str, http_status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status
