"""The file of a model version's outlines in the bucket."""

from typing import Any

import numpy as np
import pytest

import outlines
from outlines.model import Type, texture_shape
from pipeline import models, outlining
from tests.unit.photo_jobs import Bucket

MODEL = "arn:aws:rekognition:us-east-1:123456789012:project/ekyc-1/version/ekyc-1-2/1690556751958"


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


def an_outline() -> outlines.Outlines:
    size = np.array([640.0, 400.0])
    texture = np.ones(texture_shape(size), np.int8)
    kind = Type(np.ones((3, 2), np.float32), np.ones((3, 128), np.uint8), size, texture)
    return outlines.Outlines({"MY_NRIC": kind}, np.zeros(6))


def test_the_outlines_of_a_model_are_found_by_its_arn(bucket: Bucket) -> None:
    # Given the file of the model of a job's second execution
    key = outlining.artefact_key(models.job_id(MODEL), models.version_name(MODEL))
    assert key == "outlines/ekyc-1/ekyc-1-2.outlines"
    bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=outlines.save(an_outline()))
    # Then its outlines are read
    found = outlining.read_outlines(bucket.name, key)
    assert found is not None
    assert list(found.types) == ["MY_NRIC"]


def test_a_model_may_have_no_outlines(bucket: Bucket) -> None:
    assert outlining.read_outlines(bucket.name, outlining.artefact_key("ekyc-1", "ekyc-1")) is None
