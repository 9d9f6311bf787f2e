"""Gaussian noise that belongs to a scenario: number j of step t is a pure function of the scenario's bits, t and j.

A counter-based generator: no state, so that it gives the same numbers for one episode or a thousand, from any step
on, in any order. The hash is SplitMix64's, applied to one 64-bit word after the other.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from niwaki.splitmix import Words, mixed
from niwaki.types import Floats

FAMILY = np.uint64(0x6E6F697365)  # apart from every other use of a hash of a scenario


def episode_keys(scenarios: Floats) -> Words:
    """One key [B] for each scenario [B, K], of all its bits (-0 counts as 0)."""
    words = np.ascontiguousarray(np.asarray(scenarios, dtype=np.float64) + 0.0).view(np.uint64)
    keys = np.full(len(words), FAMILY)
    for column in words.T:
        keys = mixed(keys ^ column)
    return keys


def normals(keys: Words, t: int, count: int) -> Floats:
    """Standard normal numbers [n, count] of step t for episodes with keys [n].

    The 2^52 equally likely values of a uniform number through the inverse distribution function: the largest
    magnitude is 8.2.

    >>> normals(episode_keys(np.array([[0.1, 7.0]])), 3, 2).round(6)
    array([[ 0.954744, -0.727726]])
    """
    step = mixed(keys ^ np.uint64(t))
    words = mixed(step[:, None] ^ np.arange(count, dtype=np.uint64))
    return ndtri(((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)  # exact: never 0, never 1
