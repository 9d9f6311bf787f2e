"""An adapted policy's folder: budgets come back to the bit, and what does not fit together is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.saved import budget_of, load_parts, plain, save_adapted
from niwaki.types import NiwakiError

RISKS, STEPS = st.floats(1e-6, 1), st.integers(1, 1000)


@given(
    st.one_of(
        st.builds(FixedRatio, RISKS, STEPS, st.floats(0, 10)),
        st.builds(Odometer, RISKS, st.floats(0, 30), st.floats(0.01, 1)),
        st.builds(GaussianShift, RISKS, STEPS, st.floats(0, 10), st.none() | st.floats(0.01, 1)),
    )
)
def test_a_budget_comes_back_to_the_bit(budget):
    assert budget_of(json.loads(json.dumps(plain(budget)))) == budget


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (None, "no budget is described by 'None'"),
        ({"method": "magic"}, "no budget is described"),
        ({"method": "ratio", "risk": 0.1}, "has not the numbers"),
        ({"method": "ratio", "risk": "x", "horizon": 2, "log_alpha_per_step": 0.1}, "risk must be a number, got 'x'"),
        ({"method": "ratio", "risk": 0.1, "horizon": 2.0, "log_alpha_per_step": 0.1}, "horizon must be a number"),
        ({"method": "ratio", "risk": 0.1, "horizon": True, "log_alpha_per_step": 0.1}, "horizon must be a number"),
        ({"method": "ratio", "risk": 7, "horizon": 2, "log_alpha_per_step": 0.1}, "at most 1, got 7"),
        ({"method": "ratio", "risk": 0.1, "horizon": 2, "log_alpha_per_step": float("nan")}, "alpha must be"),
    ],
)
def test_what_is_no_budget_is_refused(described, message):
    with pytest.raises(NiwakiError, match=message):
        budget_of(described)


def test_files_that_do_not_belong_together_are_refused(homing, tmp_path: Path):
    base, task = homing(0.3, 6.0, -1.0), homing(1.5, 8.0, -1.5)
    budgets = (FixedRatio(0.01, 20, 0.1), Odometer(0.01, 2.0))
    save_adapted(base, task, budgets, tmp_path)
    assert load_parts(tmp_path)[2] == budgets
    good = (tmp_path / "adapted.json").read_text()
    for text, message in (
        (good.replace('"format": 1', '"format": 2'), "format 2"),
        (json.dumps({"format": 1, "budgets": []}), "between 1 and 100 budgets"),
        ("{}", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
    ):
        (tmp_path / "adapted.json").write_text(text)
        with pytest.raises(NiwakiError, match=message):
            load_parts(tmp_path)
    (tmp_path / "adapted.json").write_text(good)
    save_adapted(base, homing(1.5, 8.0, -1.4), budgets, tmp_path)
    (tmp_path / "adapted.json").write_text(good)
    with pytest.raises(NiwakiError, match="does not belong to base"):
        load_parts(tmp_path)
