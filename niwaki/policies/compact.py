"""Exact removal of dead units: the same function, fewer numbers, before C is emitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from niwaki.policies import arithmetic
from niwaki.policies.network import Layer, NetworkPolicy


def compact(policy: NetworkPolicy) -> NetworkPolicy:
    """The policy without hidden units that cannot matter.

    A unit without outgoing weights is dropped. A unit without incoming weights is a constant: what it
    sends is folded into the next layer's biases (in float64, rounded once). Repeated until nothing
    changes, so compacting twice equals compacting once. A network with no path left from input to output
    becomes one layer of zero weights (`is_constant`).
    """
    layers = list(policy.layers)
    changed = True
    while changed:
        changed = False
        for i in range(len(layers) - 1):
            kept = _alive(layers[i], layers[i + 1])
            if kept.all():
                continue
            if not kept.any():
                return replace(policy, layers=(_constant_layer(policy, layers[i:]),))
            layers[i], layers[i + 1] = _drop(layers[i], layers[i + 1], kept)
            changed = True
    return replace(policy, layers=tuple(layers))


def is_constant(policy: NetworkPolicy) -> bool:
    """Whether no path of non-zero weights leads from any observation to any output."""
    reached = np.ones(policy.observation_size, dtype=bool)
    for layer in policy.layers:
        reached = (layer.weight[:, reached] != 0).any(axis=1)
    return not reached.any()


def _alive(layer: Layer, following: Layer) -> np.ndarray:
    """[units]: has both an incoming and an outgoing weight."""
    return (layer.weight != 0).any(axis=1) & (following.weight != 0).any(axis=0)


def _drop(layer: Layer, following: Layer, kept: np.ndarray) -> tuple[Layer, Layer]:
    constant = ~kept & (layer.weight == 0).all(axis=1)
    values = arithmetic.activate(layer.activation, layer.bias[constant]).astype(np.float64)
    bias = following.bias + following.weight[:, constant].astype(np.float64) @ values
    return (
        Layer(layer.weight[kept], layer.bias[kept], layer.activation),
        Layer(following.weight[:, kept], bias, following.activation),
    )


def _constant_layer(policy: NetworkPolicy, layers: list[Layer]) -> Layer:
    """One layer that ignores its inputs and gives what the remaining layers give from constant units."""
    first = layers[0]
    x = np.where((first.weight == 0).all(axis=1), arithmetic.activate(first.activation, first.bias), np.float32(0))
    for layer in layers[1:-1]:
        x = arithmetic.activate(layer.activation, arithmetic.linear(layer, x[None])[0])
    last = layers[-1]
    bias = last.bias + last.weight.astype(np.float64) @ x
    return Layer(np.zeros((len(bias), policy.observation_size)), bias, last.activation)
