"""Pruning: zeros in the place of the least important weights, or fewer units.

Zeros in the weights are the mask. A weight that is zero stays zero, biases are never pruned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.gradients import forward
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.pruning.schedules import Schedule, one_shot
from niwaki.pruning.scores import Score, Scores
from niwaki.types import Floats, NiwakiError

Scope = Literal["layer", "global"]


def prune(
    network: NetworkPolicy,
    scores: Scores,
    *,
    amount: float | None = None,
    keep: int | None = None,
    scope: Scope = "layer",
) -> NetworkPolicy:
    """The network with its least important weights at zero; `scores` [out, in] per layer.

    Give either `amount`, the share of all weights that is zero afterwards, or `keep`, how many are left.
    Weights that are zero already count, so pruning twice equals pruning once. With the scope "layer" every
    layer keeps its share, at least one weight where `keep` allows; with "global" all weights compete.
    Raises NiwakiError for scores that do not fit or are not finite, and for an amount or a count out of range.
    """
    sizes = [layer.weight.size for layer in network.layers]
    _check_scores(scores, [layer.weight.shape for layer in network.layers])
    left = _how_many(sum(sizes), amount, keep)
    ranks = [
        np.where(layer.weight == 0, -np.inf, score).ravel() for layer, score in zip(network.layers, scores, strict=True)
    ]
    if scope == "global":
        masks = np.split(_largest(np.concatenate(ranks), left), np.cumsum(sizes)[:-1])
    else:
        masks = [_largest(rank, count) for rank, count in zip(ranks, _shares(sizes, left), strict=True)]
    layers = tuple(
        replace(layer, weight=np.where(mask.reshape(layer.weight.shape), layer.weight, 0))
        for layer, mask in zip(network.layers, masks, strict=True)
    )
    return replace(network, layers=layers)


def prune_gradually(
    network: NetworkPolicy,
    score: Score,
    observations: Floats,
    *,
    keep: int,
    scope: Scope = "layer",
    schedule: Schedule = one_shot,
    rounds: int = 1,
) -> NetworkPolicy:
    """Prune to `keep` weights in rounds along a schedule; what is left is scored anew before each round.

    Raises what `prune` raises, and NiwakiError for fewer than one round.
    """
    if rounds < 1:
        raise NiwakiError(f"rounds must be at least 1, got {rounds}")
    for r in range(1, rounds + 1):
        left = network.weights - round(schedule(r / rounds) * (network.weights - keep))
        network = prune(network, score(network, observations), keep=left, scope=scope)
    return network


def prune_units(
    network: NetworkPolicy,
    scores: Scores,
    observations: Floats,
    *,
    widths: tuple[int, ...] | None = None,
    keep: int | None = None,
) -> NetworkPolicy:
    """The network with only its most important hidden units; `scores` [units] per hidden layer.

    Give either `widths`, the units left in each hidden layer, or `keep`, how many are left in all: then the
    units of all layers compete, and each layer keeps at least one. What a removed unit sends on average over
    the observations [N, O] moves into the biases that it fed. Raises NiwakiError for scores that do not fit
    or are not finite, and for widths or a count out of range.
    """
    own = network.sizes[1:-1]
    _check_scores(scores, [(width,) for width in own])
    if (widths is None) == (keep is None):
        raise NiwakiError(f"give either widths or keep, got widths={widths} and keep={keep}")
    if keep is not None:
        widths = _widths(scores, keep)
    assert widths is not None
    if len(widths) != len(own) or not all(1 <= w <= most for w, most in zip(widths, own, strict=False)):
        raise NiwakiError(f"widths must be from 1 to {own}, one for each hidden layer, got {widths}")
    hidden = forward(network, observations).inputs[1:]
    layers = list(network.layers)
    for i, (score, width) in enumerate(zip(scores, widths, strict=True)):
        kept = _largest(score, width)
        layer, following = layers[i], layers[i + 1]
        constant = following.weight[:, ~kept].astype(np.float64) @ hidden[i][:, ~kept].mean(axis=0)
        layers[i] = Layer(layer.weight[kept], layer.bias[kept], layer.activation)
        layers[i + 1] = Layer(following.weight[:, kept], following.bias + constant, following.activation)
    return replace(network, layers=tuple(layers))


def _widths(scores: Scores, keep: int) -> tuple[int, ...]:
    """Units left in each layer when `keep` are left in all, the best of each layer among them."""
    own = [len(score) for score in scores]
    if not len(own) <= keep <= sum(own):
        raise NiwakiError(f"keep must be from {len(own)} to the network's {sum(own)} hidden units, got {keep}")
    ranks = [np.where(np.arange(len(s)) == np.argmax(s), np.inf, s) for s in scores]
    masks = np.split(_largest(np.concatenate(ranks), keep), np.cumsum(own)[:-1])
    return tuple(int(mask.sum()) for mask in masks)


def _check_scores(scores: Scores, shapes: list[tuple[int, ...]]) -> None:
    got = [score.shape for score in scores]
    if got != shapes:
        raise NiwakiError(f"the network needs scores of the shapes {shapes}, got {got}")
    if not all(np.isfinite(score).all() for score in scores):
        raise NiwakiError("scores must be finite: the network's outputs may overflow on these observations")


def _how_many(weights: int, amount: float | None, keep: int | None) -> int:
    if (amount is None) == (keep is None):
        raise NiwakiError(f"give either amount or keep, got amount={amount} and keep={keep}")
    if amount is not None:
        if not 0 <= amount <= 1:
            raise NiwakiError(f"amount must be from 0 to 1, got {amount}")
        return weights - round(amount * weights)
    assert keep is not None
    if not 0 <= keep <= weights:
        raise NiwakiError(f"keep must be from 0 to the network's {weights} weights, got {keep}")
    return keep


def _largest(values: Floats, count: int) -> NDArray[np.bool_]:
    """Mask of the `count` largest values; of equals, the first ones."""
    mask = np.zeros(len(values), dtype=bool)
    mask[np.argsort(-values, kind="stable")[:count]] = True
    return mask


def _shares(sizes: list[int], total: int) -> list[int]:
    """`total` dealt out in proportion to the sizes, at least one each where there are enough of them."""
    least = 1 if total >= len(sizes) else 0
    rest = total - least * len(sizes)
    exact = [rest * (size - least) / max(1, sum(sizes) - least * len(sizes)) for size in sizes]
    shares = [least + int(e) for e in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: int(exact[i]) - exact[i])
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
