"""Collects the results of all batches: the manifest of the accepted photos, with groups, and the rejected photos."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.errors import ManifestChanged, NotEnoughImages, TooManyBadImages
from pipeline.manifests import ManifestWriter, Photo, photo_line, rejected_list_key
from pipeline.photos.parts import Accepted, Part, Rejected, part_key, read_part
from pipeline.photos.planning import read_plan
from pipeline.photos.plots import BRIGHTNESS, SHARPNESS, counts
from pipeline.photos.uploads import prefix
from rules import photos

# Concurrent reads of batches' results. 1,000 batches take a second at 20 ms each.
READERS = 32
UPRIGHT = "upright"


@dataclass(frozen=True)
class CollectPhotos:
    """The request of the state `Collect photos`."""

    job_id: str


@dataclass(frozen=True)
class ImagesChecked:
    """The S3 URIs, hashes (SHA-256, hex) and times (Unix ms) of the lists, and the numbers of photos.

    ``rejected`` includes ``duplicates``. ``rejected_codes`` counts the rejected photos by `rules.photos.Code`.
    ``turned`` counts the accepted photos whose copies were turned upright, and ``cleaned`` those whose copies only have
    no metadata. ``groups`` is the number of different shots or subjects. ``sharpness`` and ``brightness`` count the
    accepted photos by the classes of `pipeline.photos.plots`. The audit report takes its counts and hashes from here,
    because the execution's history cannot be changed.
    """

    manifest: str
    manifest_sha256: str
    manifest_written: int
    rejected_list: str
    rejected_sha256: str
    rejected_codes: dict[str, int]
    found: int
    accepted: int
    rejected: int
    duplicates: int
    turned: int
    cleaned: int
    groups: int
    sharpness: list[int]
    brightness: list[int]


def collect(request: CollectPhotos, *, bucket: str, min_images: int, max_rejected_share: float) -> ImagesChecked:
    """Write ``input.manifest`` and ``rejected.jsonl``, sorted by key, from the results of all batches.

    Photos with the same hash are duplicates: all but the first by key are rejected. Duplicates do not count as unusable
    photos, because they say nothing about the quality of the photos.

    250,000 photos need some 600 MB, and 1.3 GB more for the small grey copies if photos of all batches are similar.

    Args:
        min_images: the fewest accepted photos.
        max_rejected_share: the largest share (0 to 1) of unusable photos.

    Raises:
        ManifestChanged: the results of a batch are missing.
        TooManyBadImages: the share of unusable photos is too large. The cause has the most frequent reasons.
        NotEnoughImages: too few photos were accepted. The cause has the numbers.
    """
    parts = _read_parts(request.job_id, bucket)
    folder = f"s3://{bucket}/{prefix(request.job_id)}"
    originals = _Originals(parts)
    groups = originals.groups()
    codes: Counter[str] = Counter()
    turned = cleaned = number = 0
    with (
        ManifestWriter(bucket, f"manifests/{request.job_id}/input.manifest") as manifest,
        ManifestWriter(bucket, rejected_list_key(request.job_id)) as rejected,
    ):
        sizes = Counter(groups)
        for photo, first in originals.photos():
            if isinstance(photo, Accepted) and first is None:
                group = groups[number]
                manifest.write(photo_line(_manifest_photo(photo, bucket, request.job_id, group, sizes[group])))
                turned += photo.orientation != photos.AS_STORED
                cleaned += photo.folder == UPRIGHT and photo.orientation == photos.AS_STORED
                number += 1
                continue
            why = Rejected(photo.name, *photos.duplicate(first)) if first is not None else photo
            assert isinstance(why, Rejected)  # noqa: S101 - for mypy
            codes[why.code] += 1
            rejected.write(json.dumps({"source-ref": folder + why.name, "reason": why.reason, "code": why.code}))

    checked = ImagesChecked(
        manifest=manifest.uri,
        manifest_sha256=manifest.sha256,
        manifest_written=manifest.written,
        rejected_list=rejected.uri,
        rejected_sha256=rejected.sha256,
        rejected_codes=dict(codes),
        found=manifest.count + rejected.count,
        accepted=manifest.count,
        rejected=rejected.count,
        duplicates=codes["Duplicate"],
        turned=turned,
        cleaned=cleaned,
        groups=len(sizes),
        sharpness=counts(SHARPNESS, (photo.sharpness for photo in originals.accepted)),
        brightness=counts(BRIGHTNESS, (photo.brightness for photo in originals.accepted)),
    )
    _require_enough(checked, codes, min_images, max_rejected_share)
    return checked


def _read_parts(job_id: str, bucket: str) -> list[Part]:
    plan = read_plan(job_id, bucket)
    keys = [part_key(job_id, batch) for batch in plan.batches] if plan else []
    with ThreadPoolExecutor(READERS) as readers:
        parts = list(readers.map(lambda key: read_part(bucket, key), keys))
    found = [part for part in parts if part]
    if not found or len(found) < len(parts):
        raise ManifestChanged(
            f"The results of {len(parts) - len(found)} of {len(parts)} batches of photos are missing."
        )
    return found


class _Originals:
    """The photos of all batches without duplicates. ``accepted`` has the accepted ones."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._first_of: dict[str, str] = {}
        self.accepted: list[Accepted] = []
        self._places: list[tuple[int, int]] = []  # of each accepted photo: its part, and its place among those accepted
        for number, part in enumerate(parts):
            place = 0
            for photo in part.photos:
                if isinstance(photo, Accepted):
                    if self._first_of.setdefault(photo.image_hash, photo.name) == photo.name:
                        self.accepted.append(photo)
                        self._places.append((number, place))
                    place += 1

    def photos(self) -> Iterator[tuple[Accepted | Rejected, str | None]]:
        """All photos in order, each with the name of the photo of which it is a duplicate, or None."""
        for part in self._parts:
            for photo in part.photos:
                first = self._first_of[photo.image_hash] if isinstance(photo, Accepted) else photo.name
                yield photo, None if first == photo.name else first

    def groups(self) -> list[int]:
        """For each accepted photo, the number of the first photo in its group."""
        if len(self.accepted) < 2:
            return list(range(len(self.accepted)))
        # Imported here, because NumPy needs longer than all other imports of the function.
        from pipeline.photos.groups import group_parts

        return group_parts(self._parts, self._places)


def _manifest_photo(photo: Accepted, bucket: str, job_id: str, group: int, size: int) -> Photo:
    return Photo(
        f"s3://{bucket}/{photo.folder}/{job_id}/{photo.name}",
        photo.image_hash,
        photo.width,
        photo.height,
        photo.etag,
        photo.written,
        photo.sharpness,
        photo.brightness,
        photo.orientation,
        group if size > 1 else None,
    )


def _require_enough(checked: ImagesChecked, codes: Counter[str], min_images: int, max_rejected_share: float) -> None:
    unusable = checked.rejected - checked.duplicates
    if unusable > max_rejected_share * checked.found:
        del codes["Duplicate"]
        reasons = ", ".join(f"{code} {count}" for code, count in codes.most_common(3))
        raise TooManyBadImages(
            f"{unusable} of {checked.found} photos are unusable ({reasons}). At most {max_rejected_share:.0%} may be "
            f"unusable. {checked.rejected_list} lists each with the reason."
        )
    if checked.accepted < min_images:
        raise NotEnoughImages(
            f"{checked.accepted} of {checked.found} photos are usable. A job needs at least {min_images}. "
            f"{unusable} are unusable and {checked.duplicates} are duplicates. {checked.rejected_list} lists each with "
            "the reason."
        )
