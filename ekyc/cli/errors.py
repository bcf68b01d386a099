"""The error that a command shows as one sentence."""


class CommandError(Exception):
    """What went wrong and what to do, for the person at the terminal; the command ends with exit code 1."""
