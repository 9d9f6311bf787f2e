"""Gradients of a network, sample by sample, without ever building them.

For one sample the gradient of a layer's weights is an outer product, delta (x) input, where delta is the
gradient at the layer's sums. So one batched backward pass gives every sample's gradient in factors, and
means, absolute means and mean squares over the samples are single matrix products of them:
mean |g| = |delta|^T |input| / N, mean g^2 = (delta^2)^T (input^2) / N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from niwaki.policies.network import LEAKY_SLOPE, NetworkPolicy, activate
from niwaki.types import Floats


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What every layer saw, in float64."""

    inputs: tuple[Floats, ...]  # [N, in] per layer, the first one after the normaliser
    sums: tuple[Floats, ...]  # [N, out] per layer, before the activation
    outputs: Floats  # [N, out] of the last layer, before the head


def forward(network: NetworkPolicy, observations: Floats) -> ForwardPass:
    """The network's forward pass on observations [N, O], with all that a backward pass needs."""
    x: Floats = np.asarray(observations, dtype=np.float64)
    if network.normalizer is not None:
        n = network.normalizer
        x = np.clip((x - n.mean) / n.scale, -n.clip, n.clip)
    inputs, sums = [], []
    for layer in network.layers:
        inputs.append(x)
        sums.append(x @ layer.weight.T.astype(np.float64) + layer.bias)
        x = activate(layer.activation, sums[-1])
    return ForwardPass(tuple(inputs), tuple(sums), x)


def backward(network: NetworkPolicy, seen: ForwardPass, gradients: Floats) -> tuple[Floats, ...]:
    """Deltas [N, out] per layer: the gradient at its sums, given `gradients` [N, out] at the outputs."""
    deltas: list[Floats] = []
    for layer, sums in zip(reversed(network.layers), reversed(seen.sums), strict=True):
        deltas.append(gradients * derivative(layer.activation, sums))
        gradients = deltas[-1] @ layer.weight.astype(np.float64)
    return tuple(reversed(deltas))


def weight_gradients(network: NetworkPolicy, seen: ForwardPass, gradients: Floats) -> tuple[Floats, ...]:
    """The mean over samples of every layer's weight gradient [out, in], zero weights included."""
    deltas = backward(network, seen, gradients)
    return tuple(delta.T @ x / len(x) for delta, x in zip(deltas, seen.inputs, strict=True))


def derivative(name: str, sums: Floats) -> Floats:
    """The derivative of an activation at its sums; at a kink, the one from the left."""
    if name == "identity":
        return np.ones_like(sums)
    if name == "relu":
        return (sums > 0).astype(sums.dtype)
    if name == "tanh":
        return 1 - np.tanh(sums) ** 2
    if name == "elu":
        return np.exp(np.minimum(sums, 0))
    if name == "leaky_relu":
        return np.where(sums > 0, 1.0, LEAKY_SLOPE)
    gate = activate("sigmoid", sums)
    if name == "sigmoid":
        return gate * (1 - gate)
    return gate * (1 + sums * (1 - gate))  # silu
