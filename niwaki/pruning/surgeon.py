"""Optimal brain surgeon (Hassibi & Stork 1993): take away a weight, or round it, and let all others make up for it.

For a network with few parameters the whole curvature of the imitation loss is a small matrix, so the
cheapest weight to lose, and the best answer of the others to its loss, are known exactly to second order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from niwaki.imitation import Lessons, action_targets, half_range
from niwaki.policies.compact import compact
from niwaki.policies.gradients import backward, forward
from niwaki.policies.grid import LARGEST, step_for
from niwaki.policies.network import Head, NetworkPolicy
from niwaki.types import Floats, NiwakiError

MOST_PARAMETERS = 4096  # the curvature is a matrix of this side
DAMPING = 1e-4  # of the mean curvature: what no lesson tells about costs a little too


def operate(network: NetworkPolicy, lessons: Lessons, *, keep: int) -> NetworkPolicy:
    """The network with at most `keep` non-zero weights, the others adapted, without dead units.

    The saliency of weight q is w_q^2 / (2 [H^-1]_qq); losing it moves the rest by -w_q [H^-1]_q / [H^-1]_qq
    (their equation 5). H is the Gauss-Newton curvature of the loss that `distil` minimises, over all lessons
    given: a few thousand will do. Raises NiwakiError for a network with more than MOST_PARAMETERS parameters.
    """
    if keep < 0:
        raise NiwakiError(f"the number of weights to keep must not be negative, got {keep}")
    if network.parameters > MOST_PARAMETERS:
        raise NiwakiError(f"{network.parameters} parameters are too many for a surgeon; {MOST_PARAMETERS} at most")
    return compact(_settled(network, lessons, lambda values, index: np.zeros(len(values)), keep))


def round_weights(network: NetworkPolicy, lessons: Lessons) -> NetworkPolicy:
    """The network with weights of one byte (`niwaki.policies.grid`), the others and the biases adapted.

    One weight after the other is moved to the nearest multiple of its layer's step, the one that costs least first,
    and the rest that is not zero makes up for it (Frantar & Alistarh 2022, Optimal Brain Compression, section 5). A
    network that is too large for the surgeon is rounded as it is.
    """
    steps = np.concatenate([np.full(layer.weight.size, step_for(layer.weight)) for layer in network.layers])

    def nearest(values: Floats, index: NDArray[np.intp]) -> Floats:
        step = np.append(steps, np.ones(network.parameters - network.weights))[index]
        return np.clip(np.rint(values / step), -LARGEST, LARGEST) * step

    if network.parameters > MOST_PARAMETERS:
        values = _values(network)
        values[: network.weights] = nearest(values, np.arange(network.parameters))[: network.weights]
        return compact(_rebuilt(network, values))
    return compact(_settled(network, lessons, nearest, 0, bare=True))


def _settled(
    network: NetworkPolicy,
    lessons: Lessons,
    goal: Callable[[Floats, NDArray[np.intp]], Floats],
    free: int,
    *,
    bare: bool = False,
) -> NetworkPolicy:
    """The network with its weights moved to their goals, given (values, their indices), until so many are free. Biases
    take part, those that are zero too unless `bare`."""
    values = _values(network)
    present = values != 0
    if not bare:
        present[network.weights :] = True
    index = np.flatnonzero(present)
    curvature = _curvature(network, lessons)[np.ix_(index, index)]
    curvature[np.diag_indices(len(index))] += DAMPING * np.trace(curvature) / len(index) + 1e-12
    weights = index < network.weights
    values[index] = _settle(values[index], np.linalg.inv(curvature), weights, lambda v: goal(v, index), free)
    return _rebuilt(network, values)


def _settle(
    values: Floats, inverse: Floats, movable: NDArray[np.bool_], goal: Callable[[Floats], Floats], free: int
) -> Floats:
    """Values with one movable entry after the other moved to its goal, each time the one of least saliency."""
    values, left, settled = values.copy(), movable.copy(), np.zeros_like(values)
    while left.sum() > free:
        diagonal = np.maximum(np.diag(inverse), 1e-300)
        goals = goal(values)
        away = values - goals
        q = int(np.argmin(np.where(left, away * away / diagonal, np.inf)))
        column = inverse[:, q].copy()
        values -= away[q] / diagonal[q] * column
        inverse -= np.outer(column, column / diagonal[q])
        left[q], settled[q] = False, goals[q]
        done = movable & ~left
        values[done] = settled[done]  # exactly, whatever was rounded
    return values


def _values(network: NetworkPolicy) -> Floats:
    """All parameters in one row, float64."""
    return np.concatenate([part.ravel() for part in network.parts]).astype(np.float64)


def _curvature(network: NetworkPolicy, lessons: Lessons) -> Floats:
    """Gauss-Newton curvature [P, P] over all parameters, weights first, then biases."""
    seen = forward(network, lessons.observations)
    share = lessons.weights / lessons.weights.sum()
    total = np.zeros((network.parameters, network.parameters))
    for factor in _factors(network.head, seen.outputs, lessons.outputs):
        deltas = backward(network, seen, factor * np.sqrt(share)[:, None])
        weights = [np.einsum("no,ni->noi", d, x).reshape(len(d), -1) for d, x in zip(deltas, seen.inputs, strict=True)]
        jacobian = np.concatenate([*weights, *deltas], axis=1)
        total += jacobian.T @ jacobian
    return total


def _factors(head: Head, outputs: Floats, taught: Floats) -> list[Floats]:
    """Vectors [N, out] whose outer products add up to the loss's curvature at the outputs."""
    size = outputs.shape[1]
    unit = np.eye(size)
    if head.kind == "argmax":  # diag(q) - q q^T = sum_k q_k (e_k - q)(e_k - q)^T
        raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        q = raised / raised.sum(axis=1, keepdims=True)
        return [np.sqrt(q[:, k, None]) * (unit[k] - q) for k in range(size)]
    slope = np.ones_like(outputs)
    if head.kind == "squash":
        slope = 1 - np.tanh(outputs) ** 2
    if head.kind == "clip":
        targets = action_targets(head, taught)
        beyond = ((outputs >= head.high) & (targets >= head.high)) | ((outputs <= head.low) & (targets <= head.low))
        slope = ~beyond / np.sqrt(half_range(head))
    return [slope[:, k, None] * unit[k] for k in range(size)]


def _rebuilt(network: NetworkPolicy, values: Floats) -> NetworkPolicy:
    split = np.split(values, np.cumsum([part.size for part in network.parts])[:-1])
    return network.with_parts([new.reshape(old.shape) for new, old in zip(split, network.parts, strict=True)])
