"""Schedules end with everything pruned, and the cubic one is the paper's."""

from __future__ import annotations

import numpy as np
import pytest

from niwaki.pruning.schedules import Schedule, cubic, one_shot


@pytest.mark.parametrize("schedule", [one_shot, cubic])
def test_a_schedule_never_goes_back_and_ends_at_one(schedule: Schedule) -> None:
    values = [schedule(p) for p in np.linspace(0, 1, 21)]
    assert np.all(np.diff(values) >= 0)
    assert values[-1] == 1.0


def test_the_cubic_schedule_is_zhu_and_guptas() -> None:
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3, here with s_i = 0.2, s_f = 0.9, t0 = 4, n dt = 10."""
    for t in range(4, 15):
        ours = 0.2 + (0.9 - 0.2) * cubic((t - 4) / 10)
        assert ours == pytest.approx(0.9 + (0.2 - 0.9) * (1 - (t - 4) / 10) ** 3)
