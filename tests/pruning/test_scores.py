"""One line per score; what all of them promise, and what each of them is, by a second route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.pruning import scores
from niwaki.pruning.scores import Score
from niwaki.testing import check_score

Make = Callable[..., NetworkPolicy]

SCORES: list[tuple[str, Score, bool]] = [  # name, score, whether rescaling a unit leaves it alone (see below)
    ("magnitude", scores.magnitude, False),
    ("activation", scores.activation, False),
    ("taylor", scores.taylor, True),
    ("fisher", scores.fisher, True),
    ("random", scores.random(7), True),
    ("unit_spread", scores.unit_spread, True),
    ("unit_taylor", scores.unit_taylor, True),
]
EACH = pytest.mark.parametrize(("name", "score", "invariant"), SCORES, ids=[line[0] for line in SCORES])
OBSERVATIONS = np.random.default_rng(3).normal(size=(64, 5)) * 2


@EACH
@pytest.mark.parametrize("head", [Head(), Head("argmax")], ids=["continuous", "discrete"])
def test_every_score_keeps_the_promises(make_network: Make, name: str, score: Score, invariant: bool, head: Head):
    check_score(score, make_network((5, 9, 7, 3), ("tanh", "relu"), head, normalized=True, density=0.8), OBSERVATIONS)


@EACH
def test_a_score_that_looks_at_the_function_does_not_see_how_a_relu_unit_is_scaled(
    make_network: Make, name: str, score: Score, invariant: bool
) -> None:
    """4 x incoming weights and bias, outgoing weights / 4: the same function."""
    network = make_network((5, 9, 7, 3), ("relu",))
    factor = np.ones(9)
    factor[2] = 4
    first, second, last = network.layers
    scaled = replace(
        network,
        layers=(
            Layer(first.weight * factor[:, None], first.bias * factor, "relu"),
            Layer(second.weight / factor, second.bias, "relu"),
            last,
        ),
    )
    pairs = zip(score(network, OBSERVATIONS), score(scaled, OBSERVATIONS), strict=True)
    assert all(np.allclose(a, b, rtol=1e-4) for a, b in pairs) == invariant


@pytest.mark.parametrize(("name", "score"), [line[:2] for line in SCORES if line[0] != "random"])
def test_a_weight_or_unit_that_does_nothing_comes_last(make_network: Make, name: str, score: Score) -> None:
    network = make_network((5, 9, 7, 3), ("tanh",))
    second = network.layers[1].weight.copy()
    second[:, 4] = 0
    network = replace(network, layers=(network.layers[0], replace(network.layers[1], weight=second), network.layers[2]))
    result = score(network, OBSERVATIONS)
    dead = result[0][4] if result[0].ndim == 1 else result[1][:, 4]
    assert np.all(dead == 0)
    assert np.count_nonzero(result[0] if result[0].ndim == 1 else result[1]) > 0


def test_activation_is_what_a_weight_carries_on_average(make_network: Make) -> None:
    network = make_network((5, 6, 2), ("tanh",))
    x = OBSERVATIONS
    h = np.tanh(x @ network.layers[0].weight.T + network.layers[0].bias)
    by_hand = np.array(
        [[np.mean([abs(w * row[i]) for row in h]) for i, w in enumerate(ws)] for ws in network.layers[1].weight]
    )
    np.testing.assert_allclose(scores.activation(network, x)[1], by_hand, rtol=1e-5)


def outputs_without(network: NetworkPolicy, layer: int, index: tuple[int, int], share: float) -> np.ndarray:
    weight = network.layers[layer].weight.astype(np.float64).copy()
    weight[index] *= 1 - share
    layers = list(network.layers)
    layers[layer] = replace(layers[layer], weight=weight)
    return replace(network, layers=tuple(layers)).outputs(OBSERVATIONS).astype(np.float64)


@pytest.mark.parametrize(("layer", "index"), [(0, (3, 1)), (1, (2, 5)), (2, (1, 0))])
def test_taylor_and_fisher_predict_what_removing_a_little_of_a_weight_does(
    make_network: Make, layer: int, index: tuple[int, int]
) -> None:
    network, share = make_network((5, 9, 7, 3), ("tanh",)), 0.02
    moved = (outputs_without(network, layer, index, share) - outputs_without(network, layer, index, -share)) / (
        2 * share
    )
    first, second = scores.taylor(network, OBSERVATIONS), scores.fisher(network, OBSERVATIONS)
    assert first[layer][index] == pytest.approx(np.abs(moved).mean(axis=0).sum(), rel=2e-3)
    assert second[layer][index] == pytest.approx((moved**2).mean(axis=0).sum(), rel=4e-3)


def test_the_fisher_score_of_an_argmax_head_is_the_curvature_of_the_kl_divergence(make_network: Make) -> None:
    """KL(p || p moved) = 1/2 F d^2 + ..., with the softmax of the outputs as p."""
    network, share, index = make_network((5, 9, 3), ("tanh",), Head("argmax"), seed=2), 0.05, (4, 2)

    def log_softmax(y: np.ndarray) -> np.ndarray:
        return y - np.log(np.exp(y).sum(axis=1, keepdims=True))

    p = log_softmax(network.outputs(OBSERVATIONS).astype(np.float64))
    divergence = [
        (np.exp(p) * (p - log_softmax(outputs_without(network, 0, index, s)))).sum(axis=1).mean()
        for s in (share, -share)
    ]
    fisher = scores.fisher(network, OBSERVATIONS)[0][index]
    assert np.mean(divergence) == pytest.approx(0.5 * fisher * share**2, rel=0.02)


def test_unit_scores_are_zero_for_a_constant_unit_only(make_network: Make) -> None:
    network = make_network((5, 6, 2), ("tanh",))
    weight = network.layers[0].weight.copy()
    weight[3] = 0
    network = replace(network, layers=(replace(network.layers[0], weight=weight), network.layers[1]))
    for score in (scores.unit_spread, scores.unit_taylor):
        (units,) = score(network, OBSERVATIONS)
        assert units[3] == pytest.approx(0, abs=1e-12)
        assert (np.delete(units, 3) > 1e-3).all()


def test_another_seed_is_another_random_score(make_network: Make) -> None:
    network = make_network((5, 6, 2), ("tanh",))
    assert not np.array_equal(scores.random(1)(network, OBSERVATIONS)[0], scores.random(2)(network, OBSERVATIONS)[0])
