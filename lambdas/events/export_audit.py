"""Export audit: make, store and sign an execution's audit report when it ends or when a caller requests the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from pipeline.audit import export
from pipeline.audit.store import Store
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    audit_bucket: str
    signing_key: str


settings = Settings.from_env()
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: Mapping[str, Any], _context: Any) -> None:
    """Invoked by EventBridge with a status change, or by the API with ``executionArn``."""
    execution_arn: str = event["detail"]["executionArn"] if "detail" in event else event["executionArn"]
    logger.append_keys(execution=execution_arn.rpartition(":")[2])
    export.export(
        execution_arn,
        bucket=settings.bucket,
        store=Store(settings.audit_bucket),
        signing_key=settings.signing_key,
    )
