"""The errors that the commands print without a stack trace, and the exit codes."""

OK, ERROR, USAGE, REJECTED, FAILED, STOPPED, WRONG, UNPROVEN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130

EXIT_CODES = (
    "Exit codes: 0 success (a watched job is Ready), 1 error, 2 wrong usage. A watched job ended with 3 Rejected, "
    "4 Failed or 5 Stopped. A verified audit report is 6 wrong or 7 not proven to be authentic. 130 Ctrl-C."
)


class CommandError(Exception):
    """An error for the user: what went wrong and what to do. The command ends with exit code 1."""


class Unreachable(CommandError):
    """The service did not respond or is busy. The same request may succeed later."""
