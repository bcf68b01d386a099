"""The distribution of figures: counts in classes, and their drawing as SVG."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.photos.plots import BRIGHTNESS, SHARE_OF_FRAME, SHARPNESS, Figure, counts, plot, share_of_frame

SVG = "{http://www.w3.org/2000/svg}"


def test_a_value_at_the_lower_end_of_a_class_is_in_the_class() -> None:
    # Given values within classes, at their lower ends, and at the largest value
    assert counts(BRIGHTNESS, [0, 0.05, 0.1, 0.19, 0.95, 1.0]) == [2, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert counts(SHARPNESS, [0.4, 500]) == [1, *[0] * 10, 1]


@given(st.lists(st.floats(0, 1000)), st.sampled_from([SHARPNESS, BRIGHTNESS, SHARE_OF_FRAME]))
def test_each_value_is_counted_once(values: list[float], figure: Figure) -> None:
    assert sum(counts(figure, values)) == len(values)


def test_a_plot_has_a_bar_for_each_class() -> None:
    # Given counts; When drawn
    drawn = ElementTree.fromstring(plot(BRIGHTNESS, [0, 5, 10, 0, 0, 0, 0, 0, 0, 2500]))  # noqa: S314 - our own
    # Then each class has a bar as high as its count, with a tooltip
    bars = drawn.findall(f"{SVG}rect")
    heights = [float(bar.get("height", "")) for bar in bars]
    assert heights[-1] == max(heights)
    assert heights[2] == pytest.approx(2 * heights[1], abs=0.2)
    assert [bar.findtext(f"{SVG}title") for bar in bars][1::8] == ["0.1 to 0.2: 5", "0.9 and more: 2,500"]
    assert drawn.get("aria-label") == "Brightness of 2,515 photos"


def test_a_plot_without_photos_has_empty_bars() -> None:
    drawn = ElementTree.fromstring(plot(SHARPNESS, counts(SHARPNESS, [])))  # noqa: S314
    assert {bar.get("height") for bar in drawn.findall(f"{SVG}rect")} == {"0.0"}


def test_the_largest_document_counts_for_the_share_of_the_frame() -> None:
    assert share_of_frame([(100, 50), (200, 100)], 400, 200) == 0.25
    assert share_of_frame([], 400, 200) == 0
