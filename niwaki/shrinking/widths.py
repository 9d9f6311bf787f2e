"""Widths: how wide a dense network has to be to hold what pruning has left of a wider one.

The question is PoPS's (D. Livne & K. Cohen: PoPS: policy pruning and shrinking for deep reinforcement learning, 2020,
arXiv:2001.05012): pruning measures how redundant each layer is, and a smaller dense network takes its place. The rule
is our own: the paper's code has one that is not monotone and can give a width of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.types import NiwakiError

ROUNDING = 1e-9  # what is a whole number but for rounding is not rounded up


def redundancy(pruned: NetworkPolicy) -> tuple[float, ...]:
    """1 - non-zero weights / weights of each layer, from 0 to 1."""
    return tuple(1 - np.count_nonzero(layer.weight) / layer.weight.size for layer in pruned.layers)


def narrower(widths: Sequence[int], redundancies: Sequence[float]) -> tuple[int, ...]:
    """Hidden widths of a dense network about as large as what is left of one with these hidden widths.

    A hidden layer of h units, between matrices of which the shares d and e are left, becomes
    ceil(h (d e)^(1/4)) units wide, at least 1. Where the same share d is left everywhere, a matrix between two hidden
    layers then has d times its weights: as many as pruning left. More redundancy never gives a wider layer, and no
    layer becomes wider than it was. `redundancies` has one entry more than `widths`. Raises NiwakiError where it has
    not, or where one is not from 0 to 1.

    >>> narrower((256, 256, 128), (0.99, 0.99, 0.99, 0.99))
    (26, 26, 13)
    """
    if len(redundancies) != len(widths) + 1:
        raise NiwakiError(f"{len(widths)} hidden layers need {len(widths) + 1} redundancies, got {len(redundancies)}")
    if not all(0 <= r <= 1 for r in redundancies):
        raise NiwakiError(f"a redundancy must be from 0 to 1, got {list(redundancies)}")
    left = [((1 - before) * (1 - after)) ** 0.25 for before, after in pairwise(redundancies)]
    return tuple(
        max(1, min(width, math.ceil(width * share - ROUNDING))) for width, share in zip(widths, left, strict=True)
    )


def newborn(like: NetworkPolicy, widths: Sequence[int], rng: np.random.Generator) -> NetworkPolicy:
    """A dense network with these hidden widths and random weights of standard deviation 1 / sqrt(inputs); its inputs,
    activations, outputs and head are those of another, which has as many hidden layers or more."""
    sizes = (like.observation_size, *widths, like.output_size)
    activations = (*(layer.activation for layer in like.layers[: len(widths)]), "identity")
    layers = tuple(
        Layer(rng.normal(size=(n, m)) / np.sqrt(m), np.zeros(n), name)
        for (m, n), name in zip(pairwise(sizes), activations, strict=True)
    )
    return replace(like, layers=layers)
