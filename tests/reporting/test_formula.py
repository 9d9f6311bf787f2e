"""A small policy written out: the formulas give its actions when they are worked out by hand."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from niwaki.policies.network import Head, Layer, NetworkPolicy, Normalizer
from niwaki.reporting.formula import READABLE, formulas

BOX = Head("clip", np.array([-1.0]), np.array([1.0]))


def worked_out(lines: tuple[str, ...], observation: np.ndarray) -> dict[str, float]:
    """The quantities of the formulas: a second reader, of the text alone."""
    names: dict[str, float] = {f"o{i}": float(v) for i, v in enumerate(observation)}
    known = {
        "tanh": math.tanh,
        "relu": lambda v: max(v, 0.0),
        "clip": lambda v, low, high: min(max(v, low), high),
    }
    for text in lines[:-1]:
        name, formula = text.replace("−", "-").split(" = ")
        product = re.sub(r"(\d) ([onhy])", r"\1 * \2", formula)
        names[name] = float(eval(product, {"__builtins__": {}}, known | names))
    return names


@pytest.mark.parametrize("normalized", [False, True])
def test_the_formulas_give_the_networks_outputs(normalized: bool) -> None:
    rng = np.random.default_rng(1)
    layers = (
        Layer(rng.normal(size=(3, 4)), rng.normal(size=3), "tanh"),
        Layer(rng.normal(size=(1, 3)), rng.normal(size=1)),
    )
    normalizer = Normalizer(rng.normal(size=4), np.exp(rng.normal(size=4)), 10.0) if normalized else None
    policy = NetworkPolicy(layers, BOX, normalizer)
    lines = formulas(policy)
    for observation in rng.normal(size=(20, 4)).astype(np.float32):
        expected = float(policy.outputs(observation[None])[0, 0])
        assert worked_out(lines, observation)["y0"] == pytest.approx(expected, abs=0.01)
    assert lines[-1] == "action = y0; clip [−1, 1]"


def test_dead_units_and_unread_observations_are_left_out() -> None:
    first = Layer(np.array([[0.0, 2.0], [3.0, 0.0]]), np.array([-1.0, 5.0]), "relu")
    policy = NetworkPolicy((first, Layer(np.array([[-1.0, 0.0], [0.0, 0.0]]), np.zeros(2))), Head("argmax"))
    assert formulas(policy) == (
        "h0 = relu(2 o1 − 1)",
        "y0 = −h0",
        "y1 = 0",
        "action = the index of the largest of y0, y1 (the first one on ties)",
    )


def test_a_large_policy_is_not_written_out() -> None:
    assert formulas(NetworkPolicy((Layer(np.ones((1, READABLE)), np.zeros(1)),), BOX)) != ()
    assert formulas(NetworkPolicy((Layer(np.ones((1, READABLE + 1)), np.zeros(1)),), BOX)) == ()


def test_bounds_and_heads_are_told() -> None:
    layer = Layer(np.eye(2), np.zeros(2))
    squash = Head("squash", np.array([-1.0, 0.0]), np.array([1.0, 2.5]))
    assert formulas(NetworkPolicy((layer,), squash))[-1] == "action = y0, y1; tanh, scaled to [−1, 1], [0, 2.5]"
    assert formulas(NetworkPolicy((layer,)))[-1] == "action = y0, y1"
