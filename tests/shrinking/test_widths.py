"""Widths: monotone, never below one unit, and about as many weights as pruning left."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.shrinking.widths import narrower, newborn, redundancy
from niwaki.types import NiwakiError

LAYERS = st.lists(st.tuples(st.integers(1, 600), st.floats(0, 1)), min_size=1, max_size=6)


@given(LAYERS, st.floats(0, 1))
def test_no_width_is_below_one_or_above_what_it_was(layers: list[tuple[int, float]], first: float) -> None:
    widths, rest = zip(*layers, strict=True)
    new = narrower(widths, (first, *rest))
    assert len(new) == len(widths)
    assert all(1 <= a <= b for a, b in zip(new, widths, strict=True))


@given(LAYERS, st.floats(0, 1), st.data())
def test_more_redundancy_never_gives_a_wider_layer(
    layers: list[tuple[int, float]], first: float, data: st.DataObject
) -> None:
    widths, rest = zip(*layers, strict=True)
    less = (first, *rest)
    i = data.draw(st.integers(0, len(less) - 1))
    more = (*less[:i], data.draw(st.floats(less[i], 1)), *less[i + 1 :])
    assert all(b <= a for a, b in zip(narrower(widths, less), narrower(widths, more), strict=True))


@given(st.lists(st.integers(1, 600), min_size=1, max_size=6))
def test_what_is_not_redundant_stays_and_where_nothing_is_left_one_unit_does(widths: list[int]) -> None:
    assert narrower(widths, [0.0] * (len(widths) + 1)) == tuple(widths)
    assert narrower(widths, [1.0] * (len(widths) + 1)) == (1,) * len(widths)


@given(st.lists(st.integers(50, 600), min_size=2, max_size=5), st.floats(0.1, 1))
def test_between_hidden_layers_are_as_many_weights_as_pruning_left(widths: list[int], left: float) -> None:
    new = narrower(widths, [1 - left] * (len(widths) + 1))
    for (a, b), (c, d) in zip(itertools.pairwise(widths), itertools.pairwise(new), strict=True):
        assert left * a * b <= c * d * (1 + 1e-6)
        assert c * d <= left * a * b + c + d  # less than one unit more in each of the two layers


def test_redundancy_is_the_share_of_zeros_of_each_layer() -> None:
    pruned = NetworkPolicy((Layer([[1, 0, 0, 0]], [0]), Layer([[2], [0]], [0, 0]), Layer([[0, 0]], [1])))
    assert redundancy(pruned) == (0.75, 0.5, 1.0)


def test_redundancies_that_do_not_fit_are_refused() -> None:
    with pytest.raises(NiwakiError, match="2 hidden layers need 3 redundancies, got 2"):
        narrower((4, 4), (0.5, 0.5))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(NiwakiError, match="from 0 to 1"):
            narrower((4,), (0.5, wrong))


def test_a_newborn_is_dense_and_takes_the_rest_from_its_model() -> None:
    rng = np.random.default_rng(0)
    first, second = Layer(np.ones((9, 3)), np.ones(9), "relu"), Layer(np.ones((8, 9)), np.ones(8), "tanh")
    model = NetworkPolicy((first, second, Layer(np.ones((2, 8)), [1, 1])), Head("argmax"))
    born = newborn(model, (40, 50), rng)
    assert born.sizes == (3, 40, 50, 2)
    assert [layer.activation for layer in born.layers] == ["relu", "tanh", "identity"]
    assert born.head is model.head
    assert born.nonzero_weights == born.weights
    assert np.isclose(born.layers[1].weight.std(), 1 / np.sqrt(40), rtol=0.1)
    assert newborn(model, (), rng).sizes == (3, 2)
