"""The labelling page takes a limited number of photos."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import TooManyPhotosToLabel
from pipeline.page import requesting


@pytest.mark.parametrize(("count", "is_accepted"), [(20_000, True), (20_001, False)])
def test_more_than_20000_photos_are_refused(count: int, is_accepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a manifest of this many photos
    monkeypatch.setattr(requesting, "ManifestReader", lambda uri: uri)
    monkeypatch.setattr(requesting, "read_photos", lambda _reader: iter([None] * count))
    request: Any = SimpleNamespace(job_id="job", images_manifest="s3://bucket/input.manifest", document_types=["ID"])
    tasks = SimpleNamespace(create=lambda _job, _key, **attributes: attributes)
    page: Any = SimpleNamespace(
        tasks=tasks, answers_per_photo=1, blind_share=0, review_share=0, proposals=True, retention_days=1
    )
    # When the tasks are requested, then the job has all of them, or is refused in words
    if is_accepted:
        assert requesting._create(request, page)["Total"] == count
    else:
        with pytest.raises(TooManyPhotosToLabel, match="20,001 photos; people can label at most 20,000"):
            requesting._create(request, page)
