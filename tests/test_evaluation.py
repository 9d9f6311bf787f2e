"""Intervals, paired differences and the one row that all commands print."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from niwaki.evaluation import mean_interval, paired_difference, policy_row, scenarios_for
from niwaki.policies.network import Head, Layer, NetworkPolicy, Normalizer
from niwaki.simulators.cartpole import CartPole
from niwaki.types import NiwakiError, Trajectories


def flights(returns: list[float], endings: list[int], scenarios: float = 0.0) -> Trajectories:
    n = len(returns)
    names = ("time_out", "out_of_track", "fell")
    rows, kinds = np.full((n, 3), scenarios), np.array(endings)
    margins = np.where(kinds[:, None] == [1, 2], -1.0, 1.0)
    return Trajectories(rows, np.array(returns), np.full(n, 10), kinds, names, None, ("on_track", "upright"), margins)


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=17)
    expected = stats.t.interval(0.9, 16, loc=values.mean(), scale=stats.sem(values))
    found = mean_interval(values, confidence=0.9)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.mean == pytest.approx(values.mean())


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(2000):
        interval = mean_interval(rng.normal(1.0, 1.0, size=8), confidence=0.95)
        hits += interval.low <= 1.0 <= interval.high
    assert stats.binomtest(hits, 2000, 0.95).pvalue > 1e-4


def test_one_value_has_no_interval() -> None:
    assert mean_interval(np.array([4.0])).mean == 4.0
    assert np.isnan(mean_interval(np.array([4.0])).low)


def test_a_confidence_outside_0_and_1_is_refused() -> None:
    with pytest.raises(NiwakiError, match=r"got 1\.5"):
        mean_interval(np.zeros(3), confidence=1.5)


def small() -> NetworkPolicy:
    weight = np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]])  # the second unit is constant
    normalizer = Normalizer(np.zeros(2), np.ones(2), 10.0)
    return NetworkPolicy(
        (Layer(weight, np.ones(3), "relu"), Layer(np.ones((2, 3)), np.zeros(2))), Head("argmax"), normalizer
    )


def test_the_row_counts_what_is_in_the_network_and_in_the_c_file() -> None:
    row = policy_row(small())
    assert row["weights"] == 12
    assert row["nonzero_weights"] == 9
    assert row["parameters"] == 17
    assert row["nonzero_parameters"] == 9 + 3
    # normaliser, then two layers without the dead unit: whole numbers are a byte each, biases are floats
    assert row["bytes"] == 4 * 3 * 2 + (2 * 2 + 4 * 2) + (2 * 2 + 4 * 2)
    assert row["episodes"] == 0
    assert row["return_mean"] is None


def test_the_row_counts_violations_by_specification() -> None:
    row = policy_row(small(), trajectories=flights([1, 2, 3, 4], [0, 2, 2, 1]))
    assert row["violations"] == {"on_track": 1, "upright": 2}
    assert row["violation_rate"] == 0.75
    assert row["return_mean"] == 2.5
    assert row["length_mean"] == 10


def test_the_paired_difference_is_of_the_same_scenarios() -> None:
    difference = paired_difference(flights([1, 2, 4], [2, 0, 0]), flights([0, 1, 1], [0, 0, 0]))
    assert difference["return_mean"] == pytest.approx(5 / 3)
    assert difference["violation_rate"] == pytest.approx(1 / 3)
    with pytest.raises(NiwakiError, match="same scenarios"):
        paired_difference(flights([1], [0]), flights([1], [0], scenarios=1.0))


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(2)
    luck = rng.normal(0, 10, size=50)
    a, b = luck + rng.normal(1, 0.1, size=50), luck
    endings = [0] * 50
    paired = paired_difference(flights(list(a), endings), flights(list(b), endings))
    assert paired["return_high"] - paired["return_low"] < 0.2  # type: ignore[operator]
    assert mean_interval(a).high - mean_interval(a).low > 2


def test_the_same_seed_gives_the_same_scenarios_and_another_seed_others() -> None:
    simulator = CartPole()
    first = scenarios_for(simulator, 10, seed=3)
    assert np.array_equal(first, scenarios_for(simulator, 10, seed=3))
    assert not np.array_equal(first, scenarios_for(simulator, 10, seed=4))
    assert not np.array_equal(first, simulator.sample(np.random.default_rng(3), 10))


@pytest.mark.parametrize(("episodes", "seed", "message"), [(0, 0, "at least 1, got 0"), (1, -2, "negative, got -2")])
def test_wrong_numbers_are_refused(episodes: int, seed: int, message: str) -> None:
    with pytest.raises(NiwakiError, match=message):
        scenarios_for(CartPole(), episodes, seed=seed)
