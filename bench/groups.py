"""Measures how well photos of the same shot are found, and how long it takes; prints two Markdown tables.

    python bench/groups.py [PHOTOS]

The first table: a job has 200 specimen photos (and the scenes of shared/documents, if that folder is beside the
project), a leak of each kind from each photo, and each photo with another document of its type in the same place.
The second table: Collect photos of a job of PHOTOS (250,000) photos, a fifth of them in bursts of three. The small grey
copies are mixtures of three specimen photos, so that some hundred thousand pairs look similar at first. The results of
the batches are made up and lie in a folder, from which a stub of S3 reads: the table has no time of requests. Times are
processor times, the memory is the peak of a process that does only this.
"""

import hashlib
import io
import json
import multiprocessing
import re
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from unittest.mock import patch

import numpy as np
from botocore.exceptions import ClientError
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "lambdas")]

from pipeline.clients import clients  # noqa: E402 - needs the path above
from pipeline.photos import GREY_SIDE, collecting, groups  # noqa: E402 - needs the path above
from pipeline.photos.collecting import CollectPhotos  # noqa: E402 - needs the path above
from pipeline.photos.decoding import GREY_QUALITY, look  # noqa: E402 - needs the path above
from pipeline.photos.greys import opened  # noqa: E402 - needs the path above
from pipeline.photos.parts import Accepted, Result, pack, part_key  # noqa: E402 - needs the path above
from pipeline.photos.planning import MOST_PHOTOS, Batch, batches_key, divide  # noqa: E402 - needs the path above
from pipeline.photos.prints import fingerprint  # noqa: E402 - needs the path above
from pipeline.photos.uploads import Upload  # noqa: E402 - needs the path above
from tests.unit.photo_leaks import LEAKS, leak, two_on_one_table, with_another  # noqa: E402 - needs the path above

SCENES = PROJECT.parent / "shared" / "documents" / "scenes"
SPECIMENS, SOURCES = 200, 64
BURST, IN_BURSTS = 3, 0.2
JOB, UPLOADED = "ekyc-20261124015324-9f3c0a1b2c3d4e5f", datetime(2026, 11, 24, tzinfo=UTC)
ANOTHER = "another document in its place"


def specimens(count: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Photos, each with the same photo of another document."""
    for number in range(count):
        yield two_on_one_table(number)


def scenes() -> Iterator[tuple[bytes, bytes | None]]:
    """The shared scenes, each with the same scene with the document of another scene, or None."""
    if not SCENES.is_dir():
        return
    coco = json.loads((SCENES / "annotations.json").read_text())
    files = {image["id"]: (SCENES / image["file_name"]).read_bytes() for image in coco["images"]}
    shown = {one["image_id"]: one for one in coco["annotations"]}
    of_type = defaultdict(list)
    for one in coco["annotations"]:
        of_type[one["category_id"]].append(one)
    random = np.random.default_rng(0)
    for image, photo in files.items():
        own = shown.get(image)
        others = [one for one in of_type[own["category_id"]] if one is not own] if own else []
        other = others[random.integers(len(others))] if others else None
        yield (
            photo,
            with_another(photo, corners(own), files[other["image_id"]], corners(other)) if own and other else None,
        )


def corners(annotation: dict) -> np.ndarray:
    return np.array(annotation["segmentation"][0]).reshape(4, 2)


def grey_of(photo: bytes) -> bytes:
    return look(photo)[2]


@dataclass
class Found:
    """For each kind of leak, the number of photos, and how many of them are in the group of their origin."""

    there: Counter[str] = field(default_factory=Counter)
    joined: Counter[str] = field(default_factory=Counter)
    strangers: int = 0


def find(bases: Iterator[tuple[bytes, bytes | None]]) -> Found:
    """Add the leaks of each photo, and group all photos."""
    origins, kinds, greys = [], [], []
    for number, (photo, other) in enumerate(bases):
        planted = {
            "": photo,
            **{kind: leak(kind, photo, number) for kind in LEAKS},
            **({ANOTHER: other} if other else {}),
        }
        for kind, content in planted.items():
            origins.append(number)
            kinds.append(kind)
            greys.append(grey_of(content))
    first_of = {origin: place for place, (origin, kind) in enumerate(zip(origins, kinds, strict=True)) if not kind}
    prints = np.stack([fingerprint(opened(grey)) for grey in greys]) if greys else np.zeros((0, 11, 63), np.int8)
    in_group = groups.group(prints, lambda place: opened(greys[place]), [None] * len(greys))
    found = Found()
    for place, (origin, kind) in enumerate(zip(origins, kinds, strict=True)):
        found.strangers += origins[in_group[place]] != origin
        if kind:
            found.there[kind] += 1
            found.joined[kind] += in_group[place] == in_group[first_of[origin]]
    return found


def accuracy() -> None:
    sets = {"specimens": find(specimens(SPECIMENS)), "shared scenes": find(scenes())}
    print("| Photo | " + " | ".join(f"{name}, grouped" for name in sets) + " |\n| --- |" + " ---: |" * len(sets))
    for kind in [*LEAKS, ANOTHER]:
        shares = (
            f"{found.joined[kind] / found.there[kind]:.1%}" if found.there[kind] else "" for found in sets.values()
        )
        print(f"| {kind} | " + " | ".join(shares) + " |")
    for name, found in sets.items():
        leaks = sum(found.there[kind] for kind in LEAKS)
        if leaks:
            joined = sum(found.joined[kind] for kind in LEAKS)
            wrong = found.joined[ANOTHER] / (joined + found.joined[ANOTHER])
            print(
                f"\n{name}: {joined / leaks:.1%} of {leaks:,} leaks found; {wrong:.2%} of the pairs that are grouped "
                f"show another document; {found.strangers} photos are in a group of another scene."
            )


class Mixed:
    """Small grey copies, each mixed from three others, so that many fit in memory."""

    def __init__(self, count: int) -> None:
        pictures = [opened(grey_of(photo)).astype(np.float32) for photo, _ in specimens(SOURCES)]
        random = np.random.default_rng(2)
        self._sources = np.stack(
            [
                np.roll(picture[::upside, ::across], tuple(random.integers(GREY_SIDE, size=2)), (0, 1))
                for picture in pictures
                for upside in (1, -1)
                for across in (1, -1)
                for _ in range(4)
            ]
        )
        shots = np.arange(count)
        bursts = shots % round(BURST / IN_BURSTS) < BURST
        shots[bursts] -= shots[bursts] % round(BURST / IN_BURSTS)
        self._of = random.integers(len(self._sources), size=(count, 3))[shots]
        self._shares = random.dirichlet((4, 4, 4), size=count).astype(np.float32)[shots]

    def grey(self, place: int) -> np.ndarray:
        picture = np.tensordot(self._shares[place], self._sources[self._of[place]], 1)
        noise = np.random.default_rng(place).integers(-3, 4, picture.shape)
        return (picture + noise).clip(0, 255).astype(np.uint8)


def write_parts(folder: Path, count: int) -> None:
    """Write the list of batches and their results, as Plan photos and Check photos would."""
    uploads = (
        Upload(f"images/{JOB}/{number:07}.jpg", f"{number:032x}", 2_000_000, UPLOADED) for number in range(count)
    )
    batches = list(divide(uploads))
    store = Stored(folder)
    store.put_object(Key=batches_key(JOB), Body=json.dumps([asdict(batch) for batch in batches]).encode())
    photos = Mixed(count)
    with multiprocessing.Pool(initializer=share, initargs=(photos, folder)) as pool:
        for _ in pool.imap_unordered(write_part, batches):
            pass


def share(photos: Mixed, folder: Path) -> None:
    shared.update(photos=photos, store=Stored(folder))


shared: dict[str, Any] = {}


def write_part(batch: Batch) -> None:
    results, first = [], (batch.number - 1) * MOST_PHOTOS
    for number in range(first, first + batch.count):
        file = io.BytesIO()
        grey = shared["photos"].grey(number)
        Image.fromarray(grey).save(file, "JPEG", quality=GREY_QUALITY)
        copy, hashed = file.getvalue(), hashlib.sha256(b"%d" % number).hexdigest()
        seen = (4000, 3000, 1, 4.25, 0.521, len(copy), None)
        name = f"{number:07}.jpg"
        results.append(
            Result(Accepted(name, "images", hashed, hashed[:32], 0, *seen), fingerprint(opened(copy)).tobytes(), copy)
        )
    shared["store"].put_object(Key=part_key(JOB, batch), Body=pack(results))


class Stored:
    """A stub of S3 whose objects are files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_object(self, *, Key: str, Range: str = "bytes=0-", **_: Any) -> dict[str, Any]:  # noqa: N803 - S3's names
        file = self._file(Key).open("rb")
        file.seek(int(Range.removeprefix("bytes=").removesuffix("-")))
        return {"Body": file, "LastModified": UPLOADED, "ETag": '"etag"'}

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        if not self._file(Key).exists():
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return {"LastModified": UPLOADED, "ETag": '"etag"'}

    def put_object(self, *, Key: str, Body: bytes | IO[bytes], **_: Any) -> None:  # noqa: N803
        with self._file(Key).open("wb") as file:
            if isinstance(Body, bytes):
                file.write(Body)
            else:
                shutil.copyfileobj(Body, file)

    def _file(self, key: str) -> Path:
        return self._folder / key.replace("/", "+")


def peak_mb() -> float:
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 1024


def collect(folder: Path, count: int) -> None:
    """Run Collect photos, and print its figures."""
    clients.s3 = Stored(folder)
    looked_up, pairs = 0.0, 0
    compared = Counter[str]()
    candidates, same_shot = groups.candidates, groups.alike.same_shot

    def timed(prints: np.ndarray) -> groups.Pairs:
        nonlocal looked_up, pairs
        began = time.process_time()
        found = candidates(prints)
        looked_up, pairs = time.process_time() - began, len(found.first)
        return found

    def counted(*pair: np.ndarray) -> bool:
        compared[""] += 1
        return same_shot(*pair)

    wall, started = time.perf_counter(), time.process_time()
    with patch.object(groups, "candidates", timed), patch.object(groups.alike, "same_shot", counted):
        checked = collecting.collect(CollectPhotos(JOB), bucket="bench", min_images=1, max_rejected_share=0)
    seconds, wall = time.process_time() - started, time.perf_counter() - wall
    assert checked.accepted == count  # noqa: S101
    lines = map(json.loads, (folder / f"manifests+{JOB}+input.manifest").read_text().splitlines())
    sizes = Counter(Counter(line["group"] for line in lines if "group" in line).values())
    row = {
        "Photos": f"{count:,}",
        "pairs found": f"{pairs:,}",
        "compared": f"{compared['']:,}",
        "lookup, CPU s": f"{looked_up:.0f}",
        "all, CPU s": f"{seconds:.0f}",
        "all, s": f"{wall:.0f}",
        "groups of 3, planted": f"{count // round(BURST / IN_BURSTS):,}",
        "found": f"{sizes[BURST]:,}",
        "largest group": str(max(sizes, default=1)),
        "MB": f"{peak_mb():.0f}",
    }
    print(f"| {' | '.join(row)} |\n|{' ---: |' * len(row)}\n| {' | '.join(row.values())} |")


def main(count: int) -> None:
    accuracy()
    print(flush=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_parts(folder, count)
        child = multiprocessing.get_context("spawn").Process(target=collect, args=(folder, count))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit("Collect photos failed.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 250_000)
