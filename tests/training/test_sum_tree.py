"""The tree against sums and searches written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from niwaki.training.sum_tree import SumTree

WHOLE = st.lists(st.integers(0, 50), min_size=1, max_size=40)  # whole numbers: their sums are exact


def tree_of(weights: list[int]) -> SumTree:
    tree = SumTree(len(weights))
    tree.put(np.arange(len(weights)), np.array(weights, dtype=float))
    return tree


@given(WHOLE)
def test_a_point_falls_where_a_search_in_the_running_sums_puts_it(weights: list[int]) -> None:
    tree = tree_of(weights)
    points = np.arange(sum(weights)) + 0.5
    assert tree.find(points).tolist() == np.searchsorted(np.cumsum(weights), points, side="right").tolist()
    assert tree.find(points - 0.5).tolist() == tree.find(points).tolist()  # an interval holds its lower end


@given(WHOLE, st.lists(st.tuples(st.integers(0, 39), st.integers(0, 50)), max_size=30))
def test_after_any_changes_it_is_the_tree_of_the_new_weights(
    weights: list[int], changes: list[tuple[int, int]]
) -> None:
    tree = tree_of(weights)
    changes = [(leaf % len(weights), weight) for leaf, weight in changes]
    if changes:
        leaves, new = np.array(changes).T
        tree.put(leaves, new)
        for leaf, weight in changes:
            weights[leaf] = weight
    assert np.array_equal(tree.sums, tree_of(weights).sums)
    assert tree.total == sum(weights)
    assert tree.weights(np.arange(len(weights))).tolist() == weights


@given(st.lists(st.sampled_from([0.0, 1e-12, 0.1, 0.7, 3e8]), min_size=2, max_size=33).filter(any))
def test_nothing_of_weight_zero_is_ever_found(weights: list[float]) -> None:
    tree = SumTree(len(weights))
    tree.put(np.arange(len(weights)), np.array(weights))
    ends = np.array([0.0, np.nextafter(tree.total, 0.0), tree.total])  # the last as a rounded product may give it
    found = tree.find(np.concatenate((ends, np.cumsum(weights))))
    assert (tree.weights(found) > 0).all()
