"""The rules for job ids and for file names in a job.

The API, the command line and the state Check photos share them.
"""

import unicodedata

JOB_PREFIX = "ekyc-"
"""The prefix of every job id, and therefore of the names of each job's labelling job, Rekognition project and model."""

JOB_TAG = "ekyc-job"
"""The tag on projects, models and labelling jobs whose value is the id of their job."""

LONGEST_NAME = 255  # characters
LONGEST_NAME_BYTES = 900  # in UTF-8; an S3 key has at most 1,024 bytes, and the folder and the job id need some of them
# Unicode's general categories: control, format, surrogate, line and paragraph separators.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_invisible(character: str) -> bool:
    """Whether the character is invisible, or changes how other characters are displayed."""
    return unicodedata.category(character) in INVISIBLE


def fault_of_file_name(name: str) -> str | None:
    """Return why the name is refused, as a predicate such as "has 256 characters"; None if the name is allowed.

    The caller checks the name's ending.
    """
    if any(map(is_invisible, name)):
        return "has control or invisible characters"
    if len(name) > LONGEST_NAME:
        return f"has {len(name)} characters; at most {LONGEST_NAME} are allowed"
    if (length := len(name.encode())) > LONGEST_NAME_BYTES:
        return f"has {length} bytes in UTF-8; at most {LONGEST_NAME_BYTES} are allowed"
    if "/" in name or "\\" in name or ".." in name or name.startswith("."):
        return "must be a plain name: no folders, no '..', no leading dot, such as 'photo-1.jpg'"
    return None
