"""Curves: higher is higher, every point is inside, and no text breaks out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.reporting.curves import Axis, Curve, bars, document, plot, rows

X, Y = Axis("steps"), Axis("risk")
FLOATS = st.floats(-1e6, 1e6)


def ways(svg: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]*)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in way.split()] for way in found]  # type: ignore[misc]


def test_more_is_further_right_and_further_up() -> None:
    ((first, second, third),) = ways(plot([Curve("a", ((1, 0.1), (2, 0.5), (3, 0.2)))], X, Y))
    assert first[0] < second[0] < third[0]
    assert second[1] < third[1] < first[1]
    assert second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.2)


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis() -> None:
    drawn = plot([Curve("a", ((1, 1e-4), (2, 1e-2), (3, 1.0)), marked=1)], X, Axis("risk", logarithmic=True), level=0.1)
    ((low, middle, high),) = ways(drawn)
    assert low[1] - middle[1] == pytest.approx(middle[1] - high[1], abs=0.2)
    assert f'cx="{middle[0]}" cy="{middle[1]}"' in drawn
    assert "a: 0.01 at 2" in drawn
    level = float(re.search(r'y1="([\d.]+)" y2="[\d.]+" class="level"', drawn)[1])  # type: ignore[index]
    assert level == pytest.approx((middle[1] + high[1]) / 2, abs=0.2)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=20), FLOATS, st.booleans())
def test_every_point_is_inside(points: list[tuple[float, float]], level: float, logarithmic: bool) -> None:
    drawn = plot([Curve("a", tuple(points))], X, Axis("y", logarithmic), level=level)
    (way,) = ways(drawn)
    assert len(way) == len(points)
    assert all(70 <= x <= 620 and 16 <= y <= 256 for x, y in way)


def lines(svg: str) -> list[list[str]]:
    """The numbers along the axis, and those above one another."""
    found = re.findall(r'<g><line x1="([\d.]+)" x2="([\d.]+)"[^>]*></line><text[^>]*>([^<]*)</text></g>', svg)
    return [[text for a, b, text in found if a == b], [text for a, b, text in found if a != b]]


def test_axes_are_read_off_at_round_numbers() -> None:
    drawn = plot([Curve("a", ((5, 11.28), (100, 16.38)))], X, Y)
    assert lines(drawn) == [["20", "40", "60", "80", "100"], ["12", "13", "14", "15", "16"]]
    drawn = plot([Curve("a", ((1, 0.0005), (100, 1)))], Axis("alpha", True), Axis("risk", True))
    assert lines(drawn) == [["1", "10", "100"], ["0.001", "0.01", "0.1", "1"]]
    drawn = plot([Curve("a", ((2, 1e-12), (7, 1)))], Axis("alpha", True), Axis("risk", True))
    assert lines(drawn)[0] == ["2", "3", "4", "5", "6", "7"]
    assert lines(drawn)[1] == ["1e-12", "1e-09", "1e-06", "0.001", "1"]


@given(FLOATS, FLOATS, st.booleans())
def test_there_are_a_few_lines_and_all_are_inside(low: float, high: float, logarithmic: bool) -> None:
    drawn = plot([Curve("a", ((0, low), (1, high)))], X, Axis("y", logarithmic))
    heights = [float(y) for y in re.findall(r'<line x1="70" x2="620" y1="([-\d.]+)"', drawn)]
    assert 1 <= len(heights) <= 8
    assert all(15.9 <= y <= 256.1 for y in heights)


def test_bars_are_shares_so_that_groups_of_other_sizes_compare() -> None:
    drawn = bars("steps", [("base", [1, 3]), ("adapted", [0, 200])])
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" class', drawn)]
    assert heights == pytest.approx([60, 180, 240])


def test_no_text_breaks_out_and_nothing_is_fetched() -> None:
    page = document("</title><script>", plot([Curve("<b>", ((0, 0),))], X, Y), rows(["<i>"], [["<u>"]]))
    assert "<script" not in page
    assert not any(name in page for name in ("<b>", "<i>", "<u>"))
    assert not re.search(r"(src|href)=", page)
    assert "Nothing to draw" in plot([], X, Y)
