"""Connects the project's own Rekognition and SageMaker operations to moto's response classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.responses import BaseResponse
from moto.core.utils import camelcase_to_underscores
from moto.rekognition.models import rekognition_backends
from moto.rekognition.responses import RekognitionResponse
from moto.sagemaker.models import sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from ekyc.localaws.errors import ServiceError
from ekyc.localaws.moto_patches.border import add
from ekyc.localaws.services import groundtruth, rekognition, stand_in, work_teams
from ekyc.localaws.services.stand_in import StandIn
from ekyc.localaws.services.validation import checked_request


def patch() -> None:
    """Make this project's code implement the operations of Custom Labels, labelling jobs and work teams."""
    _answer_by(
        "rekognition",
        rekognition.CustomLabels,
        rekognition.OPERATIONS,
        RekognitionResponse,
        rekognition_backends,
        # Rekognition guide, "Error handling".
        lambda error: {
            "__type": error.code,
            "Code": error.code,
            "Logref": stand_in.request_id(),
            "Message": error.message,
        },
    )
    players: tuple[tuple[type[StandIn], Iterable[str]], ...] = (
        (groundtruth.GroundTruth, groundtruth.OPERATIONS),
        (work_teams.WorkTeams, work_teams.OPERATIONS),
    )
    for player, operations in players:
        _answer_by(
            "sagemaker",
            player,
            operations,
            SageMakerResponse,
            sagemaker_backends,
            lambda error: {"__type": error.code, "Message": error.message},
        )


def _answer_by(
    service: str,
    player: type[StandIn],
    operations: Iterable[str],
    response_class: type[BaseResponse],
    backends: BackendDict[Any],
    error_body: Callable[[ServiceError], dict[str, str]],
) -> None:
    """Make the methods of `player` implement `operations` of `service`."""

    def answer(response: BaseResponse, operation: str, method_name: str) -> tuple[str, dict[str, Any]]:
        status, body = 200, ""
        try:
            backend = backends[response.current_account][response.region]
            state = player.of(backend)
            state.admit(operation)
            request = checked_request(service, operation, response.body)
            result = getattr(state, method_name)(request)
            body = "" if result is None else json.dumps(result)
        except ServiceError as error:
            status, body = error.http_status, json.dumps(error_body(error))
        return body, {"status": status, "Content-Type": "application/x-amz-json-1.1"}

    def method(operation: str, method_name: str) -> Callable[[BaseResponse], tuple[str, dict[str, Any]]]:
        return lambda response: answer(response, operation, method_name)

    for operation in operations:
        method_name = camelcase_to_underscores(operation)
        add(response_class, method_name, method(operation, method_name))
