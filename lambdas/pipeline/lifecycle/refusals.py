"""Why a request about a job is refused, in words for the caller."""


class Refusal(Exception):
    """The request is refused; the text says why and what to do."""


class NotAllowed(Refusal):
    """The job, or the live model, is in no state for this."""


class NotThere(Refusal):
    """Something that the request needs is not there."""


class NotBegun(Refusal):
    """The request is recorded, but its work could not be begun."""

    def __init__(self) -> None:
        super().__init__(
            "The request is recorded, but its work could not be begun. Send it again; else it begins within a day."
        )
