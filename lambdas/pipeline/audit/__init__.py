"""The audit report of an execution: its inputs, its contents, its layout, and the verification of a copy.

``inputs`` reads all inputs, without secrets and personal data (``redaction``); ``report`` derives the answers
from the inputs alone, so that ``verify`` can derive them again from the report itself; ``page`` renders the report.
"""
