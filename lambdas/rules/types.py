"""The rule for the names of document types, which are the labels of the model."""

import re

from rules.words import quoted

# Rekognition API reference, DatasetLabelDescription: a label name has 1 to 255 characters. The pattern allows only
# characters that are safe in file names, S3 keys, e-mails and HTML.
LONGEST_TYPE = 255
TYPE_PATTERN = rf"[A-Za-z0-9_-]{{1,{LONGEST_TYPE}}}"
# SageMaker guide, "Input Data Quotas": the maximum number of label categories of a bounding box task.
MOST_TYPES = 50
TYPE_RULE = f"1 to {LONGEST_TYPE} letters (A to Z, a to z), digits, '_' and '-'"

_is_type = re.compile(TYPE_PATTERN).fullmatch


def fault_of_type(name: object) -> str | None:
    """Return why ``name`` cannot be a document type, or None if it can."""
    if isinstance(name, str) and _is_type(name):
        return None
    return f"{quoted(name)} cannot be a document type: a type has {TYPE_RULE}"
