"""Why a person's request on the labelling page is refused, each with a text for the person."""


class PageRefusal(Exception):
    """The request is refused; the text says why and what to do."""


class NotLabelled(PageRefusal):
    """The job does not exist, or its photos were never labelled on the page."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The photos of job {job_id} are not labelled on this page.")


class LabellingOver(PageRefusal):
    """The job accepts no answers: its photos are labelled, or it was stopped."""

    def __init__(self, *, stopped: bool) -> None:
        why = (
            "The job has ended or was stopped. If it is resumed, it continues with all answers that were saved."
            if stopped
            else "All photos of the job are labelled, so it accepts no more answers."
        )
        super().__init__(f"{why} Choose another job.")


class NoSuchPhoto(PageRefusal):
    """The job has no such photo, or the person has not answered it."""


class LeaseLost(PageRefusal):
    """Another person has the photo, or the person never had it."""

    def __init__(self) -> None:
        super().__init__(
            "You no longer have this photo: your time for it was over, and another person has it. Take the next photo."
        )


class AnswerRefused(PageRefusal):
    """The answer does not fit the photo or the job."""
