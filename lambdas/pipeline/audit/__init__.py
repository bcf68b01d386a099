"""The audit report of an execution.

``inputs`` reads the inputs, and ``redaction`` removes secrets and personal data from them. ``report`` derives facts and
answers from the inputs alone, so ``verify`` can derive them again from a copy of the report. ``page`` renders a report.
"""
