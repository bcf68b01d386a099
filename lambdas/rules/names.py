"""How the names of jobs begin, and the rule of file names in a job.

The API, the command line and the state Check images all follow it.
"""

import unicodedata

JOB_PREFIX = "ekyc-"
"""Every job id starts so, and with it the name of its labelling job, Rekognition project and model."""

LONGEST_NAME = 255  # characters
LONGEST_NAME_BYTES = 900  # in UTF-8; an S3 key may have 1,024 bytes, and the folder and the job id need some
# Unicode's general categories: control, format, surrogate, line and paragraph separators.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_invisible(character: str) -> bool:
    """Whether the character shows nothing, or changes how the characters around it are shown."""
    return unicodedata.category(character) in INVISIBLE


def fault_of_file_name(name: str) -> str | None:
    """What is wrong with the name, as the end of a sentence about it, such as "has 256 characters"; None if nothing is.

    Which ending a name needs is up to the caller.
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
