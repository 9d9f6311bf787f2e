"""Scores: how much each weight, or each whole unit, matters. The least important go first.

A score of weights is a function (network, observations [N, O]) -> one array [out, in] per layer; a score of
units gives one array [units] per hidden layer. Larger means more important, and only the order counts.
`observations` are states that the policy visits: what a weight does elsewhere is of no concern.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from niwaki.policies.gradients import backward, forward
from niwaki.policies.network import NetworkPolicy
from niwaki.types import Floats

Scores = tuple[Floats, ...]
Score = Callable[[NetworkPolicy, Floats], Scores]


def magnitude(network: NetworkPolicy, observations: Floats) -> Scores:
    """|w| (S. Han et al.: Learning both weights and connections for efficient neural networks, 2015)."""
    return tuple(np.abs(layer.weight) for layer in network.layers)


def activation(network: NetworkPolicy, observations: Floats) -> Scores:
    """|w| times the mean |input|: what a weight carries over the visited states. SANP's score
    (B. Gangopadhyay et al., 2023); with a root mean square instead, Wanda's (M. Sun et al., 2024)."""
    inputs = forward(network, observations).inputs
    return tuple(np.abs(layer.weight) * np.abs(x).mean(axis=0) for layer, x in zip(network.layers, inputs, strict=True))


def taylor(network: NetworkPolicy, observations: Floats) -> Scores:
    """Sum over the outputs y of the mean |w dy/dw|: how far removing a weight moves the outputs, to first
    order (P. Molchanov et al.: Pruning convolutional neural networks for resource efficient inference, 2017)."""
    seen = forward(network, observations)
    total = [np.zeros(layer.weight.shape) for layer in network.layers]
    for gradients in _one_output_each(seen.outputs):
        for sums, delta, x in zip(total, backward(network, seen, gradients), seen.inputs, strict=True):
            sums += np.abs(delta).T @ np.abs(x) / len(x)
    return tuple(np.abs(layer.weight) * sums for layer, sums in zip(network.layers, total, strict=True))


def fisher(network: NetworkPolicy, observations: Floats) -> Scores:
    """w^2 times the diagonal of the Fisher information: how far removing a weight moves the distribution of
    actions, to second order (L. Theis et al.: Faster gaze prediction with dense networks and Fisher pruning,
    2018; the curvature of Y. LeCun et al.: Optimal brain damage, 1990). Scores of an argmax head are taken
    as logits, continuous outputs as means of unit variance; the expectation over actions is exact."""
    seen = forward(network, observations)
    gradients = _softmax_gradients(seen.outputs) if network.discrete else _one_output_each(seen.outputs)
    total = [np.zeros(layer.weight.shape) for layer in network.layers]
    for each in gradients:
        for sums, delta, x in zip(total, backward(network, seen, each), seen.inputs, strict=True):
            sums += (delta**2).T @ x**2 / len(x)
    return tuple(layer.weight.astype(np.float64) ** 2 * sums for layer, sums in zip(network.layers, total, strict=True))


def random(seed: int) -> Score:
    """A score of chance alone: what any other has to beat."""

    def score(network: NetworkPolicy, observations: Floats) -> Scores:
        rng = np.random.default_rng(seed)
        return tuple(rng.random(layer.weight.shape) for layer in network.layers)

    return score


def unit_spread(network: NetworkPolicy, observations: Floats) -> Scores:
    """Standard deviation of a unit's activation times the norm of its outgoing weights: what is lost when
    the unit is replaced by its mean (after H. Hu et al.: Network trimming, 2016)."""
    hidden = _hidden(network, observations)
    return tuple(
        h.std(axis=0) * np.linalg.norm(layer.weight, axis=0)
        for h, layer in zip(hidden, network.layers[1:], strict=True)
    )


def unit_taylor(network: NetworkPolicy, observations: Floats) -> Scores:
    """Sum over the outputs y of the mean |(h - mean h) dy/dh|: how far replacing a unit by its mean moves the
    outputs, to first order (Molchanov et al. 2017, there for removing it)."""
    seen, hidden = forward(network, observations), _hidden(network, observations)
    total = [np.zeros(h.shape[1]) for h in hidden]
    for gradients in _one_output_each(seen.outputs):
        deltas = backward(network, seen, gradients)[1:]
        for sums, h, delta, layer in zip(total, hidden, deltas, network.layers[1:], strict=True):
            sums += np.abs((h - h.mean(axis=0)) * (delta @ layer.weight)).mean(axis=0)
    return tuple(total)


def _hidden(network: NetworkPolicy, observations: Floats) -> tuple[Floats, ...]:
    """What every hidden layer sends on, [N, units]."""
    return forward(network, observations).inputs[1:]


def _one_output_each(outputs: Floats) -> list[Floats]:
    """The gradient of each output by itself, [N, out] for each of them."""
    return [np.broadcast_to(row, outputs.shape) for row in np.eye(outputs.shape[1])]


def _softmax_gradients(logits: Floats) -> list[Floats]:
    """sqrt(p_a) times the gradient of log p_a for each action a: their squares add up to the expectation."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return [np.sqrt(p[:, a : a + 1]) * (row - p) for a, row in enumerate(np.eye(p.shape[1]))]
