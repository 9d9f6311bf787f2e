"""SumTree: draw an index with a probability proportional to its weight, and change weights, in logarithmic time."""

from __future__ import annotations

import numpy as np

from niwaki.types import Floats, Integers


class SumTree:
    """Weights of `size` leaves, all 0 at first, below a binary tree of their sums.

    Node 1 is the root, nodes 2i and 2i + 1 are the children of i, so that a level is one slice. Sums are made anew
    from both children, never by adding differences: no rounding error gathers.
    """

    def __init__(self, size: int) -> None:
        self.depth = max(1, size - 1).bit_length()
        self.sums = np.zeros(2 << self.depth)

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self.sums[1])

    def weights(self, leaves: Integers) -> Floats:
        """The weights [n] of leaves [n]."""
        return self.sums[leaves + (1 << self.depth)]

    def put(self, leaves: Integers, weights: Floats) -> None:
        """Set the weights [n] of leaves [n]. Of a leaf that is named twice the last weight holds."""
        nodes = leaves + (1 << self.depth)
        self.sums[nodes] = weights
        for _ in range(self.depth):
            nodes = nodes // 2
            self.sums[nodes] = self.sums[2 * nodes] + self.sums[2 * nodes + 1]

    def find(self, points: Floats) -> Integers:
        """The leaves [n] that points [n] in [0, total) fall on, where weights lie side by side like intervals.

        Never a leaf of weight 0, whatever the sums were rounded to. Only for a total above 0.
        """
        points, nodes = np.array(points), np.ones(len(points), dtype=np.intp)
        for _ in range(self.depth):
            left = self.sums[2 * nodes]
            right = (points >= left) & (self.sums[2 * nodes + 1] > 0)
            points -= np.where(right, left, 0.0)
            nodes = 2 * nodes + right
        return nodes - (1 << self.depth)
