"""Measures what one photo costs Check images: ``python photo_cost.py FILE`` prints MB, code and CPU seconds as JSON.

As many copies as there are readers are checked at a time, so that the figures show what a job of such photos needs.
"""

import json
import re
import resource
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "lambdas")]

from fuzz.files import BUCKET, JOB, Objects  # noqa: E402 - needs the path above
from pipeline import images  # noqa: E402
from pipeline.clients import clients  # noqa: E402


def peak_mb() -> float:
    """The most memory that this process had; not ru_maxrss, which begins with what its parent had."""
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 1024


def check(contents: list[bytes]) -> list[str]:
    """The codes of the rejected ones."""
    s3 = Objects({f"images/{JOB}/{number}.jpg": content for number, content in enumerate(contents)})
    clients.s3 = s3
    images.check(images.CheckImages(JOB), bucket=BUCKET, min_images=0, max_rejected_share=1, seconds_left=lambda: 900.0)
    return [line["code"] for line in s3.json_lines(f"manifests/{JOB}/rejected.jsonl")]


def main() -> None:
    content, copies = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
    photos = [content + bytes([number]) for number in range(copies)]
    check([b"text"])
    before, cpu = peak_mb(), resource.getrusage(resource.RUSAGE_SELF)
    codes = check(photos)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    print(json.dumps({"mb": peak_mb() - before, "codes": codes, "cpu": seconds / copies}))


if __name__ == "__main__":
    main()
