"""The Regions in which Ground Truth can label: those with its built-in functions for bounding boxes."""

from collections.abc import Mapping

FUNCTION_ACCOUNTS: Mapping[str, str] = {
    "us-east-1": "432418664414",
    "us-east-2": "266458841044",
    "us-west-2": "081040173940",
    "ca-central-1": "918755190332",
    "eu-west-1": "568282634449",
    "eu-west-2": "487402164563",
    "eu-central-1": "203001061592",
    "ap-northeast-1": "477331159723",
    "ap-northeast-2": "845288260483",
    "ap-south-1": "565803892007",
    "ap-southeast-1": "377565633583",
    "ap-southeast-2": "454466003867",
}
"""The accounts that own the functions PRE-BoundingBox and ACS-BoundingBox.

Source: SageMaker API reference, HumanTaskConfig and AnnotationConsolidationConfig.
"""
