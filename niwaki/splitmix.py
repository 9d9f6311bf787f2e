"""SplitMix64's mixing function (Steele, Lea & Flood, Fast splittable pseudorandom number generators, OOPSLA 2014): the
hash from which chance is drawn that belongs to a scenario."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))

Words = NDArray[np.uint64]


def mixed(words: Words) -> Words:
    """The generator's next output from each state: every bit of the input turns every bit of the output.

    >>> hex(mixed(np.zeros(1, np.uint64))[0])
    '0xe220a8397b1dcdaf'
    """
    words = words + GOLDEN
    for shift, factor in ROUNDS:
        words = (words ^ (words >> np.uint64(shift))) * factor
    return words ^ (words >> np.uint64(31))
