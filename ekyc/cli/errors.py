"""The errors that a command shows as one sentence, and what the exit codes mean."""

OK, ERROR, USAGE, REJECTED, FAILED, STOPPED, WRONG, UNPROVEN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130

EXIT_CODES = (
    "Exit codes: 0 done (of a followed job: Ready), 1 error, 2 wrong usage; the followed job ended "
    "3 Rejected, 4 Failed, 5 Stopped; the verified audit report is 6 wrong, 7 not proven to be authentic; 130 Ctrl-C."
)


class CommandError(Exception):
    """What went wrong and what to do, for the person at the terminal; the command ends with exit code 1."""


class Unreachable(CommandError):
    """Nobody answered, or what answered is busy: the same request may succeed a moment later."""
