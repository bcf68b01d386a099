"""The audit report of an execution: what it is made from, what it says, how it looks, and whether a copy is genuine.

``inputs`` reads what there is to know, without what nobody may know (``redaction``); ``report`` derives the answers
from that alone, so that ``verify`` can derive them again from the report itself; ``page`` shows it to people.
"""
