"""The rule of document types: the names of the labels that people and the model choose from."""

import re

from rules.words import quoted

# Of Amazon Rekognition's label names: API reference, DatasetLabelDescription (1 to 255 characters). The characters are
# those that are safe in file names, S3 keys, e-mails and HTML.
LONGEST_TYPE = 255
TYPE_PATTERN = rf"[A-Za-z0-9_-]{{1,{LONGEST_TYPE}}}"
# SageMaker guide, "Input Data Quotas": label categories of a bounding box task.
MOST_TYPES = 50
TYPE_RULE = f"1 to {LONGEST_TYPE} letters (A to Z, a to z), digits, '_' and '-'"

_is_type = re.compile(TYPE_PATTERN).fullmatch


def fault_of_type(name: object) -> str | None:
    """What is wrong with ``name`` as a document type, if anything."""
    if isinstance(name, str) and _is_type(name):
        return None
    return f"{quoted(name)} cannot be a document type: it takes {TYPE_RULE}"
