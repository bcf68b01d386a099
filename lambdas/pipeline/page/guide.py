"""The guide for people who label, from the template of the Ground Truth task, which has the same guide."""

import html
import re

from pipeline.labelling import TEMPLATE


def read_guide() -> list[str]:
    """The paragraphs of the full instructions as plain text."""
    text = TEMPLATE.read_text("utf-8")
    instructions = text[text.index("<full-instructions") : text.index("</full-instructions>")]
    paragraphs = re.findall(r"<(?:li|p)>(.*?)</(?:li|p)>", instructions, re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", "", paragraph)).split()) for paragraph in paragraphs]
