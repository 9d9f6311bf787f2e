"""The picture of a pops run: every look is a dot, every weight is in a bar, and nothing is fetched."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.reporting.pops_picture import Dot, histogram, plot, render, write_picture
from niwaki.types import NiwakiError

DOTS = [Dot("pruned", 1, 500, 900, 200.0), Dot("pruned", 1, 1000, 90, 40.0), Dot("dense", 1, 500, 120, 195.0)]
GOALS = (195.0, 80.0)
NETWORK = NetworkPolicy((Layer(np.array([[1.0, -2.0, 0.0], [0.5, 0.0, 0.1]]), np.zeros(2)),))


def circles(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([-\d.]+)" cy="([-\d.]+)"', svg)]


def test_larger_is_further_right_and_better_is_further_up() -> None:
    large, bad, dense = circles(plot(DOTS, GOALS))
    assert bad[0] < dense[0] < large[0]
    assert bad[1] > dense[1] > large[1]
    power = 880 / np.log10(900)  # the axis is logarithmic, from 1
    assert np.isclose(large[0] - bad[0], power, atol=0.2)
    assert plot(DOTS, GOALS).count("<polyline") == 1
    assert "round 1, pruned, step 1,000: 90 weights, 40.0" in plot(DOTS, GOALS)


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.floats(-1e6, 1e6)), min_size=1, max_size=30),
    st.floats(-1e6, 1e6),
)  # fmt: skip
def test_every_look_is_a_dot_inside_the_plot(looks: list[tuple[int, float]], objective: float) -> None:
    dots = [Dot("dense", 1, i, weights, score) for i, (weights, score) in enumerate(looks)]
    found = circles(plot(dots, (objective, objective - 1)))
    assert len(found) == len(dots)
    assert all(60 <= x <= 940 and 16 <= y <= 356 for x, y in found)


@given(st.lists(st.floats(-1e6, 1e6, width=32), max_size=200))
def test_every_weight_that_is_not_zero_is_counted_once(values: list[float]) -> None:
    weights = np.array([values], dtype=np.float32)
    counts, largest = histogram(weights)
    assert counts.sum() == np.count_nonzero(weights)
    assert largest == np.abs(weights).max(initial=0)


def test_a_name_cannot_break_out_and_nothing_is_fetched() -> None:
    page = render("</title><script>x", DOTS, GOALS, [("<b>", NETWORK)])
    assert "<script" not in page
    assert "&lt;b&gt;" in page
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert not re.search(r"(src|href)=", page)
    assert "3 → 2: 4, ±2" in page


def test_it_is_drawn_from_the_run_s_folder(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    save_policy(NETWORK, tmp_path / "teacher.safetensors")
    save_policy(NETWORK, tmp_path / "stages" / "001.safetensors")
    looks = [{"step": 10, "nonzero_weights": 4, "score": 7.5}]
    ledger = [
        {"stage": "teacher", "seconds": 1, "facts": {}},
        {"stage": "prune 1", "seconds": 1, "facts": {"looks": looks}, "network": "001.safetensors", "sha256": "0"},
        {"stage": "distil 1", "seconds": 1, "facts": {"looks": looks}},
    ]
    identity = {"task": "cartpole-v0", "loop": {"objective": 195, "lower_bound": 80}}
    book = {"format": 1, "identity": identity, "ledger": ledger}
    (tmp_path / "run.json").write_text(json.dumps(book))
    page = write_picture(tmp_path).read_text(encoding="utf-8")
    assert len(circles(page)) == 2
    assert page.count("<tr>") == 2  # the teacher, and what was pruned
    (tmp_path / "run.json").write_text(json.dumps(book | {"identity": {"task": "cartpole-v0"}}))
    with pytest.raises(NiwakiError, match=r"run\.json of niwaki pops"):
        write_picture(tmp_path)
