"""The errors of Custom Labels, and failures that tests inject."""

from __future__ import annotations

from collections.abc import Iterable

from ekyc.localaws import faults
from ekyc.localaws.errors import ServiceError
from ekyc.localaws.faults import What
from ekyc.localaws.services.stand_in import Request


def injected_failure(what: What, arn: str) -> str | None:
    """Return the message of the armed fault for this resource, if any, and consume the fault."""
    fault = faults.take_service_fault(what, arn)
    return fault.message if fault else None


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)


def invalid_token() -> ServiceError:
    return ServiceError("InvalidPaginationTokenException", "Invalid Pagination Token")


def in_use(message: str) -> ServiceError:
    return ServiceError("ResourceInUseException", message)


def limit_exceeded(message: str) -> ServiceError:
    return ServiceError("LimitExceededException", message)


def not_found(arn: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"There is no resource {arn}.")


def refuse_unsupported(request: Request, parameters: Iterable[str]) -> None:
    for parameter in parameters:
        if parameter in request:
            raise invalid(f"The local AWS does not support {parameter}. Omit it.")
