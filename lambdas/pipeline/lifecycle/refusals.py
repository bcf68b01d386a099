"""The refusals of requests about a job or the live model, each with a text for the caller."""


class Refusal(Exception):
    """The request is refused; the text says why and what to do."""


class NotAllowed(Refusal):
    """The status of the job or of the live model does not allow the request."""


class NotThere(Refusal):
    """Something that the request needs is missing."""


class NotBegun(Refusal):
    """The request is recorded, but the function that carries it out could not be invoked."""

    def __init__(self) -> None:
        super().__init__(
            "The request is recorded, but the erasure could not be started. Send the request again. If you do not, the "
            "erasure starts within a day."
        )
