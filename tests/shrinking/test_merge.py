"""Merge: what others can do goes, what nobody else does stays, and no action changes by more than was allowed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from niwaki.imitation import median_lead
from niwaki.policies.gradients import forward
from niwaki.policies.network import Head, HeadKind, Layer, NetworkPolicy, Normalizer
from niwaki.shrinking.merge import action_change, action_unit, merge
from niwaki.types import NiwakiError

ROUNDING = 1e-4  # of outputs of size 1: float32 over a dozen merged units, and the fit's ridge of 1e-6
HEADS = (
    Head(),
    Head("argmax"),
    Head("clip", [-1, 0, -3], [1, 0.5, 3]),
    Head("squash", [-1, 0, -3], [1, 0.5, 3], limit=2.0),
)


def network(sizes: tuple[int, ...], activation: str, seed: int, head: Head | None = None) -> NetworkPolicy:
    rng = np.random.default_rng(seed)
    activations = [activation] * (len(sizes) - 2) + ["identity"]
    layers = [
        Layer(rng.normal(size=(n, m)) * np.sqrt(2 / m), 0.3 * rng.normal(size=n), name)
        for (m, n), name in zip(pairwise(sizes), activations, strict=True)
    ]
    return NetworkPolicy(tuple(layers), head or Head())


def redundant(head: Head | None = None) -> NetworkPolicy:
    """As trained networks are: more units than work."""
    policy = network((4, 32, 24, 3), "tanh", 3, head)
    first = policy.layers[0]
    return replace(policy, layers=(Layer(0.4 * first.weight, first.bias, "tanh"), *policy.layers[1:]))


def states(size: int, n: int = 400) -> np.ndarray:
    return np.random.default_rng(99).normal(size=(n, size)).astype(np.float32)


def with_plants(
    policy: NetworkPolicy, layer: int, rows: np.ndarray, biases: np.ndarray, rng: np.random.Generator
) -> NetworkPolicy:
    """The network with more units behind those of a hidden layer, sent on with random weights."""
    layers = list(policy.layers)
    own, following = layers[layer], layers[layer + 1]
    layers[layer] = Layer(np.vstack([own.weight, rows]), np.append(own.bias, biases), own.activation)
    sent = rng.normal(size=(len(following.bias), len(biases)))
    layers[layer + 1] = Layer(np.hstack([following.weight, sent]), following.bias, following.activation)
    return replace(policy, layers=tuple(layers))


@st.composite
def planted(draw: st.DrawFn) -> tuple[NetworkPolicy, tuple[int, ...]]:
    """A network with duplicates and constants in every hidden layer, and its sizes without them."""
    sizes = (3, *draw(st.lists(st.integers(2, 4), min_size=1, max_size=2)), 2)
    activation, seed = draw(st.sampled_from(["relu", "leaky_relu", "tanh", "silu"])), draw(st.integers(0, 10**6))
    policy, rng = network(sizes, activation, seed), np.random.default_rng(seed + 1)
    for layer, width in enumerate(sizes[1:-1]):
        twins = draw(st.lists(st.integers(0, width - 1), max_size=3))
        own = policy.layers[layer]
        factor = {"tanh": -1.0, "silu": 1.0}.get(activation, draw(st.sampled_from([0.5, 1.0, 3.0])))
        rows, biases = factor * own.weight[twins], factor * own.bias[twins]
        constants = draw(st.integers(0, 2))
        rows = np.vstack([rows, np.zeros((constants, own.weight.shape[1]))])
        policy = with_plants(policy, layer, rows, np.append(biases, rng.normal(size=constants)), rng)
    return policy, sizes


@given(planted())
@settings(max_examples=60, deadline=None)
def test_duplicates_and_constants_go_and_nothing_else_does(case: tuple[NetworkPolicy, tuple[int, ...]]) -> None:
    policy, sizes = case
    x = states(3)
    for hidden, width in zip(forward(policy, x).inputs[1:], sizes[1:-1], strict=True):
        original = hidden[:, :width]
        assume(original.std(axis=0).min() > 0.05)
        assume(np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(original.T))).min() > 0.02)  # nobody does another's work
    merged = merge(policy, x, tolerance=1e-3)
    assert merged.sizes == sizes
    y = policy.outputs(x)
    np.testing.assert_allclose(merged.outputs(x), y, rtol=0, atol=ROUNDING * max(1.0, np.abs(y).max()))
    elsewhere = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)  # equal everywhere, not only here
    np.testing.assert_allclose(
        merged.outputs(elsewhere), policy.outputs(elsewhere), rtol=0, atol=2 * ROUNDING * max(1.0, np.abs(y).max())
    )


@pytest.mark.parametrize("head", HEADS, ids=[head.kind for head in HEADS])
@pytest.mark.parametrize("tolerance", [0.02, 0.2, 0.8])
def test_no_action_changes_by_more_than_the_tolerance(head: Head, tolerance: float) -> None:
    x = states(4)
    policy = replace(redundant(head), normalizer=Normalizer(np.full(4, 0.2), np.full(4, 1.5), 2.0))
    merged = merge(policy, x, tolerance=tolerance)
    before, after = policy(x), merged(x)
    if head.kind == "argmax":
        y = policy.outputs(x)
        ranked = np.sort(y, axis=1)
        lost = ranked[:, -1] - np.take_along_axis(y, after[:, None], axis=1)[:, 0]
        change = lost / np.median(ranked[:, -1] - ranked[:, -2])
        assert (change > 0).any() == (before != after).any()
    else:
        change = np.abs(before - after) / (1 if head.kind == "raw" else (head.high - head.low) / 2)
    assert 0 < change.max() <= tolerance * (1 + 1e-6)
    assert sum(merged.sizes) < sum(policy.sizes)
    assert (merged.head, merged.normalizer) == (policy.head, policy.normalizer)


def test_what_was_merged_is_merged_further_beside_the_teacher() -> None:
    x, policy = states(4), redundant()
    merged = policy
    for tolerance in (0.05, 0.1, 0.1001, 0.1002):
        merged = merge(merged, x, tolerance=tolerance, teacher=policy)
    assert np.abs(merged.outputs(x) - policy.outputs(x)).max() <= 0.1002
    drifted = merge(merge(policy, x, tolerance=0.1), x, tolerance=0.1)
    assert np.abs(drifted.outputs(x) - policy.outputs(x)).max() > 0.1002  # so it is the teacher that was asked


def test_nothing_to_merge_gives_the_same_network() -> None:
    policy = network((3, 4, 2), "tanh", 0)
    assert merge(policy, states(3), tolerance=1e-3) is policy
    linear = network((3, 2), "identity", 0)
    assert merge(linear, states(3), tolerance=1.0) is linear


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_every_layer_keeps_a_unit_even_where_all_are_constant(activation: str) -> None:
    policy, x = network((3, 6, 5, 2), activation, 1), states(3)
    assert merge(policy, x, tolerance=1e6).sizes == (3, 1, 1, 2)
    still = policy.with_parts([np.zeros_like(part) if part.ndim == 2 else part for part in policy.parts])
    merged = merge(still, x, tolerance=1e-6)
    assert merged.sizes == (3, 1, 1, 2)
    np.testing.assert_allclose(merged.outputs(x), still.outputs(x), rtol=0, atol=1e-6)


def test_a_unit_that_is_not_seen_at_work_goes_and_is_missed_elsewhere() -> None:
    """What is measured on some states says nothing of others."""
    policy = NetworkPolicy((Layer([[1.0], [-1.0]], [0.0, 0.0], "relu"), Layer([[1.0, 5.0]], [0.0])))
    seen = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    merged = merge(policy, seen, tolerance=1e-6)
    assert merged.sizes == (1, 1, 1)
    np.testing.assert_array_equal(merged.outputs(seen), policy.outputs(seen))
    assert (merged.outputs(-seen[1:]) != policy.outputs(-seen[1:])).all()


@pytest.mark.parametrize("head", [Head(), Head("clip", [-50, -1], [50, 1])], ids=["raw", "clip"])
def test_the_unit_that_the_actions_miss_least_goes_first(head: Head) -> None:
    """Unit 7 moves most, but hardly anything of it arrives, or it arrives where the action is at its bound."""
    weight = np.eye(10)
    weight[7, 7] = 4.0
    sent = np.vstack([np.ones(10), np.zeros(10)])
    sent[:, 7] = (0.001, 0.0) if head.kind == "raw" else (0.0, 1.0)
    policy = NetworkPolicy((Layer(weight, np.zeros(10), "tanh"), Layer(sent, [0.0, 90.0])), head)
    merged = merge(policy, states(10), tolerance=0.002)
    assert merged.layers[0].weight.tolist() == np.delete(weight, 7, axis=0).tolist()


def test_the_same_states_give_the_same_bits() -> None:
    policy, x = network((4, 20, 20, 2), "relu", 2, Head("argmax")), states(4)
    first, second = (merge(policy, x, tolerance=0.3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first.parts, second.parts, strict=True))


def test_a_change_is_counted_in_half_ranges_or_in_the_median_lead() -> None:
    clip = Head("clip", [-1, 0], [1, 10])
    before, after = np.array([[0.0, 5.0], [3.0, 5.0]]), np.array([[0.5, 6.0], [9.0, 4.0]])
    unit = action_unit(clip, before)
    assert unit.tolist() == [1, 5]
    np.testing.assert_allclose(action_change(clip, before, after, unit=unit), [0.5, 0.2], rtol=1e-6)
    scores = np.array([[1.0, 3.0, 0.0], [5.0, 1.0, 2.0], [0.0, 0.0, 4.0]])  # leads of 2, 3 and 4
    unit = action_unit(Head("argmax"), scores)
    assert unit.tolist() == [3] == [median_lead(scores)]
    other = np.array([[2.0, 1.0, 0.0], [9.0, 8.0, 7.0], [1.0, 0.0, 0.0]])
    assert action_change(Head("argmax"), scores, other, unit=unit).tolist() == [2 / 3, 0, 4 / 3]
    assert action_unit(Head("clip", [-np.inf], [1.0]), before).tolist() == [1]


@pytest.mark.parametrize("kind", ["raw", "argmax"])
@pytest.mark.parametrize(
    ("x", "tolerance", "message"),
    [
        (states(3), -0.1, "at least 0, got -0.1"),
        (states(3), float("nan"), "at least 0, got nan"),
        (states(2), 0.1, r"\[N, 3\], at least one, got the shape \(400, 2\)"),
        (states(3)[:0], 0.1, r"got the shape \(0, 3\)"),
        (np.zeros(3), 0.1, r"got the shape \(3,\)"),
        (np.full((5, 3), np.inf, dtype=np.float32), 0.1, "observations are not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_wrong_use_is_refused(kind: HeadKind, x: np.ndarray, tolerance: float, message: str) -> None:
    with pytest.raises(NiwakiError, match=message):
        merge(network((3, 4, 2), "relu", 0, Head(kind)), x, tolerance=tolerance)
