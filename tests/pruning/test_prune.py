"""What is pruned is exactly what was asked for, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.policies.compact import compact
from niwaki.policies.gradients import forward
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning import scores
from niwaki.pruning.prune import prune, prune_gradually, prune_units
from niwaki.pruning.schedules import cubic, one_shot
from niwaki.types import NiwakiError

Make = Callable[..., NetworkPolicy]
OBSERVATIONS = np.random.default_rng(0).normal(size=(200, 5))


@pytest.fixture(scope="module")
def network(make_network: Make) -> NetworkPolicy:
    return make_network((5, 12, 8, 2), ("tanh", "relu"), density=0.9)


def weights(network: NetworkPolicy) -> list[np.ndarray]:
    return [layer.weight for layer in network.layers]


@settings(max_examples=60, deadline=None)
@given(keep=st.integers(0, 172), scope=st.sampled_from(["layer", "global"]), seed=st.integers(0, 50))
def test_pruning_twice_equals_pruning_once(network: NetworkPolicy, keep: int, scope: str, seed: int) -> None:
    once = prune(network, scores.random(seed)(network, OBSERVATIONS), keep=keep, scope=scope)
    twice = prune(once, scores.random(seed + 1)(network, OBSERVATIONS), keep=keep, scope=scope)
    assert all(np.array_equal(a, b) for a, b in zip(weights(once), weights(twice), strict=True))
    assert once.nonzero_weights <= keep


@settings(max_examples=60, deadline=None)
@given(amount=st.floats(0, 1), scope=st.sampled_from(["layer", "global"]))
def test_what_is_left_is_unchanged_and_zeros_stay_zero(network: NetworkPolicy, amount: float, scope: str) -> None:
    pruned = prune(network, scores.taylor(network, OBSERVATIONS), amount=amount, scope=scope)
    for before, after in zip(network.layers, pruned.layers, strict=True):
        assert np.all((after.weight == before.weight) | (after.weight == 0))
        assert np.array_equal(after.bias, before.bias)
        assert after.activation == before.activation
    assert pruned.nonzero_weights == min(network.nonzero_weights, 172 - round(amount * 172)) or scope == "layer"


def test_the_global_scope_keeps_the_largest_scores_of_all(network: NetworkPolicy) -> None:
    score = scores.magnitude(network, OBSERVATIONS)
    pruned = prune(network, score, keep=40, scope="global")
    left = np.concatenate([np.abs(w[w != 0]) for w in weights(pruned)])
    gone = np.concatenate([np.abs(a[b == 0]) for a, b in zip(weights(network), weights(pruned), strict=True)])
    assert len(left) == 40
    assert left.min() >= gone.max()


def test_the_layer_scope_leaves_every_layer_its_share(make_network: Make) -> None:
    full = make_network((5, 12, 8, 2))
    for amount in (0.25, 0.5, 0.75):
        pruned = prune(full, scores.magnitude(full, OBSERVATIONS), amount=amount)
        for w in weights(pruned):
            assert np.count_nonzero(w) == pytest.approx((1 - amount) * w.size, abs=1)
        assert pruned.nonzero_weights == 172 - round(amount * 172)


def test_no_layer_is_left_without_a_weight_while_there_are_enough(make_network: Make) -> None:
    full = make_network((5, 100, 2))
    pruned = prune(full, scores.magnitude(full, OBSERVATIONS), keep=2)
    assert [np.count_nonzero(w) for w in weights(pruned)] == [1, 1]


def test_the_scores_decide(make_network: Make) -> None:
    full = make_network((5, 12, 8, 2))
    wanted = [np.zeros(w.shape) for w in weights(full)]
    wanted[1][3, 4] = wanted[0][2, 1] = 1
    pruned = prune(full, tuple(wanted), keep=2, scope="global")
    left = {(i, *at) for i, w in enumerate(weights(pruned)) for at in np.argwhere(w).tolist()}
    assert left == {(0, 2, 1), (1, 3, 4)}


def test_gradual_pruning_scores_what_is_left_anew_and_follows_the_schedule(network: NetworkPolicy) -> None:
    seen = []

    def score(current: NetworkPolicy, observations: np.ndarray) -> scores.Scores:
        seen.append(current.nonzero_weights)
        return scores.taylor(current, observations)

    pruned = prune_gradually(network, score, OBSERVATIONS, keep=20, scope="global", schedule=cubic, rounds=4)
    expected = [172 - round(cubic(r / 4) * 152) for r in range(1, 5)]
    assert seen == [network.nonzero_weights, *expected[:-1]]
    assert pruned.nonzero_weights == 20


def test_one_shot_needs_one_round(network: NetworkPolicy) -> None:
    once = prune(network, scores.fisher(network, OBSERVATIONS), keep=30)
    rounds = prune_gradually(network, scores.fisher, OBSERVATIONS, keep=30, schedule=one_shot, rounds=3)
    assert all(np.array_equal(a, b) for a, b in zip(weights(once), weights(rounds), strict=True))


def test_pruning_units_keeps_the_best_and_the_mean_of_the_others(network: NetworkPolicy) -> None:
    score = scores.unit_taylor(network, OBSERVATIONS)
    narrow = prune_units(network, score, OBSERVATIONS, widths=(5, 8))
    assert narrow.sizes == (5, 5, 8, 2)
    kept = np.sort(np.argsort(-score[0])[:5])
    assert np.array_equal(narrow.layers[0].weight, network.layers[0].weight[kept])
    before, after = forward(network, OBSERVATIONS).sums[1], forward(narrow, OBSERVATIONS).sums[1]
    np.testing.assert_allclose(before.mean(axis=0), after.mean(axis=0), atol=1e-5)
    assert not np.allclose(before, after, atol=1e-3)


def test_units_of_all_layers_compete_and_no_layer_is_left_without_one(network: NetworkPolicy) -> None:
    score = scores.unit_taylor(network, OBSERVATIONS)
    best = np.sort(np.concatenate(score))[::-1][:9]
    expected = tuple(int((s >= best[-1]).sum()) for s in score)
    assert prune_units(network, score, OBSERVATIONS, keep=9).sizes[1:-1] == expected
    lopsided = (np.arange(12) + 100.0, np.arange(8.0))
    assert prune_units(network, lopsided, OBSERVATIONS, keep=5).sizes == (5, 4, 1, 2)


def test_removing_dead_units_changes_no_output(make_network: Make) -> None:
    full = make_network((5, 12, 8, 2), ("tanh",))
    network = prune(full, scores.random(1)(full, OBSERVATIONS), keep=30)
    alive = compact(network).sizes[1:-1]
    narrow = prune_units(network, scores.unit_spread(network, OBSERVATIONS), OBSERVATIONS, widths=alive)
    assert sum(alive) < 20
    np.testing.assert_allclose(narrow.outputs(OBSERVATIONS), network.outputs(OBSERVATIONS), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either amount or keep, got amount=None and keep=None"),
        ({"amount": 0.5, "keep": 3}, "give either amount or keep"),
        ({"amount": 1.5}, r"amount must be from 0 to 1, got 1\.5"),
        ({"amount": float("nan")}, "amount must be from 0 to 1, got nan"),
        ({"keep": 173}, "keep must be from 0 to the network's 172 weights, got 173"),
        ({"keep": -1}, "got -1"),
    ],
)
def test_a_wrong_amount_is_refused(network: NetworkPolicy, arguments: dict, message: str) -> None:
    with pytest.raises(NiwakiError, match=message):
        prune(network, scores.magnitude(network, OBSERVATIONS), **arguments)


def test_scores_that_do_not_fit_are_refused(network: NetworkPolicy) -> None:
    good, units = scores.magnitude(network, OBSERVATIONS), scores.unit_spread(network, OBSERVATIONS)
    with pytest.raises(NiwakiError, match="needs scores of the shapes"):
        prune(network, good[:2], keep=5)
    with pytest.raises(NiwakiError, match="must be finite"):
        prune(network, (good[0] * np.nan, *good[1:]), keep=5)
    with pytest.raises(
        NiwakiError, match=r"widths must be from 1 to \(12, 8\), one for each hidden layer, got \(13, 8\)"
    ):
        prune_units(network, units, OBSERVATIONS, widths=(13, 8))
    with pytest.raises(NiwakiError, match="from 2 to the network's 20 hidden units, got 1"):
        prune_units(network, units, OBSERVATIONS, keep=1)
    with pytest.raises(NiwakiError, match="give either widths or keep"):
        prune_units(network, units, OBSERVATIONS)
    with pytest.raises(NiwakiError, match="rounds must be at least 1, got 0"):
        prune_gradually(network, scores.magnitude, OBSERVATIONS, keep=5, rounds=0)
