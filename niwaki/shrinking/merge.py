"""Merge: take out hidden units whose work the others of their layer can do. Nothing is trained.

A unit whose activation is nearly an affine combination of the other units' activations is replaced by it: the next
layer's weights add up. One that is nearly constant and two that are nearly the same are the simplest cases (the
surgery of Srinivas & Babu, BMVC 2015). Fitting the combination by least squares over all that are left is the
reweighting of Mariet & Sra (ICLR 2016) and the interpolation of Chee et al. (NeurIPS 2022); which unit goes next is
decided here by what its loss does to the actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from niwaki.imitation import half_range, median_lead
from niwaki.policies.gradients import ForwardPass, backward, forward
from niwaki.policies.network import Head, Layer, NetworkPolicy, apply_head
from niwaki.types import Floats, NiwakiError

MEASURED = 6  # units that are cheapest by their slopes, of which the actions decide
RIDGE = 1e-6  # of a layer's mean variance: no combination of large numbers that cancel
LEAST_REACH = 1e-3  # of a unit's mean: slopes say nothing of a state in which an action is at its bound


def merge(
    network: NetworkPolicy, observations: Floats, *, tolerance: float, teacher: NetworkPolicy | None = None
) -> NetworkPolicy:
    """The network with fewer hidden units, each in turn the one whose loss changes the actions least.

    In no observation [N, O] does the action change by more than `tolerance`, in units of `action_unit`; of other
    observations nothing is said. Every layer keeps at least one unit, and the network itself is returned where
    none can go. `teacher` is the network whose actions are to be kept, where that is another one: what was merged
    can be merged further. Raises NiwakiError for observations that do not fit, for units that are not finite, and
    for a tolerance that is negative or not finite.
    """
    if not 0 <= tolerance < np.inf:
        raise NiwakiError(f"the tolerance must be a finite number of at least 0, got {tolerance}")
    observations = np.asarray(observations)
    size, shape = network.observation_size, observations.shape
    if len(shape) != 2 or shape[0] < 1 or shape[1] != size:
        raise NiwakiError(f"merging needs observations [N, {size}], at least one, got the shape {shape}")
    before = (teacher or network).outputs(observations)
    unit = action_unit(network.head, before)
    while True:
        tried = [_without(network, fold) for fold in _cheapest(network, observations, unit)]
        changes = [action_change(network.head, before, other.outputs(observations), unit=unit) for other in tried]
        fitting = [(float(change.mean()), i) for i, change in enumerate(changes) if change.max() <= tolerance]
        if not fitting:
            return network
        network = tried[min(fitting)[1]]


def action_unit(head: Head, outputs: Floats) -> Floats:
    """What a change of an action counts in: half its range, or where one is chosen the median lead of the best
    score over the next, float64 [A] or [1]. 1 where there is no range. `outputs` [N, out] are those of the teacher."""
    if head.kind == "argmax":
        return np.array([median_lead(outputs)])
    return half_range(head).astype(np.float64) if head.kind != "raw" else np.ones(1)


def action_change(head: Head, before: Floats, after: Floats, *, unit: Floats) -> Floats:
    """By how much each action changes [N], in units, when the outputs `before` [N, out] become `after`.

    Of several continuous actions the one that changes most; where one is chosen, by how much the new choice was
    behind the old one, 0 for the same choice.
    """
    if head.kind == "argmax":
        chosen = after.argmax(axis=1)
        return (before.max(axis=1) - before[np.arange(len(before)), chosen]) / unit
    moved = np.abs(apply_head(head, after).astype(np.float64) - apply_head(head, before))
    return np.asarray((moved / unit).max(axis=1))


@dataclass(frozen=True, eq=False)
class _Fold:
    """One unit as an affine combination of the others of its layer."""

    cost: float  # mean square of the actions' change, to first order
    layer: int
    unit: int
    weights: Floats  # [units], zero for the unit itself
    constant: float


def _cheapest(network: NetworkPolicy, observations: Floats, unit: Floats) -> list[_Fold]:
    """The folds that cost least, of all hidden layers."""
    with np.errstate(over="ignore", invalid="ignore"):
        seen = forward(network, observations)
    if not all(np.isfinite(values).all() for values in (*seen.inputs, seen.outputs)):
        raise NiwakiError("units cannot be merged: the observations are not finite, or the network overflows on them")
    folds: list[_Fold] = []
    for layer, reach in enumerate(_reach(network, seen, unit)):
        activations = seen.inputs[layer + 1]
        if activations.shape[1] == 1:
            continue
        weights, constants, left_over = _explained(activations)
        costs = (left_over**2 * (reach + LEAST_REACH * reach.mean(axis=0))).mean(axis=0)
        rows = zip(costs.tolist(), weights, constants.tolist(), strict=True)
        folds += [_Fold(cost, layer, i, row, constant) for i, (cost, row, constant) in enumerate(rows)]
    return sorted(folds, key=lambda fold: fold.cost)[:MEASURED]


def _explained(activations: Floats) -> tuple[Floats, Floats, Floats]:
    """Every unit by least squares from all others: weights [units, units], constants [units] and what is left
    unexplained [N, units].

    With P the inverse of the covariance, the weights of unit i are -P_ij / P_ii: one inverse serves all units.
    """
    mean = activations.mean(axis=0)
    moved = activations - mean
    covariance = moved.T @ moved / len(moved)
    covariance[np.diag_indices(len(mean))] += RIDGE * np.trace(covariance) / len(mean) + np.finfo(float).tiny
    precision = np.linalg.inv(covariance)
    weights = -precision / np.diag(precision)[:, None]
    np.fill_diagonal(weights, 0)
    return weights, mean - weights @ mean, moved - moved @ weights.T


def _reach(network: NetworkPolicy, seen: ForwardPass, unit: Floats) -> list[Floats]:
    """The squared slope of the actions, in units, by every hidden unit's activation: [N, units] per hidden layer."""
    following = [layer.weight.astype(np.float64) for layer in network.layers[1:]]
    reach = [np.zeros_like(activations) for activations in seen.inputs[1:]]
    for slopes in _slopes(network.head, seen.outputs, unit):
        for squares, delta, weight in zip(reach, backward(network, seen, slopes)[1:], following, strict=True):
            squares += (delta @ weight) ** 2
    return reach


def _slopes(head: Head, outputs: Floats, unit: Floats) -> Iterator[Floats]:
    """The slope of each action, in units, by the outputs [N, out]. Of scores only the differences count."""
    n, size = outputs.shape
    steep = np.ones_like(outputs)
    if head.kind == "squash":
        steep = 1 - np.tanh(np.clip(outputs, -head.limit, head.limit)) ** 2
    if head.kind == "clip":
        steep = ((outputs > head.low) & (outputs < head.high)) / unit
    for k in range(size):
        one = np.eye(size)[k]
        yield np.tile((one - 1 / size) / unit, (n, 1)) if head.kind == "argmax" else steep * one


def _without(network: NetworkPolicy, fold: _Fold) -> NetworkPolicy:
    """The network without a unit, the next layer's weights and biases making up for it; rounded once."""
    layers = list(network.layers)
    layer, following = layers[fold.layer], layers[fold.layer + 1]
    kept = np.arange(len(layer.bias)) != fold.unit
    sent = following.weight[:, fold.unit].astype(np.float64)
    weight = following.weight + np.outer(sent, fold.weights)
    layers[fold.layer] = Layer(layer.weight[kept], layer.bias[kept], layer.activation)
    layers[fold.layer + 1] = Layer(weight[:, kept], following.bias + sent * fold.constant, following.activation)
    return replace(network, layers=tuple(layers))
