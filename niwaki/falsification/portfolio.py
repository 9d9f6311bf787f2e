"""Several searches side by side, and the combination that is used unless another is named."""

from __future__ import annotations

import numpy as np

from niwaki.falsification.cma_es import CmaEsSearch
from niwaki.falsification.gaussian_process import GaussianProcessSearch
from niwaki.falsification.searches import Mask, Search
from niwaki.types import Floats


class Portfolio:
    """Several searches side by side: each gets an equal share of every batch and hears of all rows."""

    def __init__(self, *members: Search) -> None:
        self.members = members
        self.asked = 0
        self.parts: list[tuple[Search, int]] = []

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], see `Search`."""
        turns = (self.asked + np.arange(n)) % len(self.members)  # a batch of one goes to each in turn
        counts = np.bincount(turns, minlength=len(self.members))
        self.asked += n
        self.parts = [(member, int(count)) for member, count in zip(self.members, counts, strict=True) if count]
        return np.concatenate([member.ask(count) for member, count in self.parts])

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them, see `Search`."""
        ends = np.cumsum([count for _, count in self.parts])[:-1]
        for part, result in zip(np.split(rows, ends), np.split(losses, ends), strict=True):
            for member in self.members:
                member.tell(part, result)


def portfolio(categorical: Mask, rng: np.random.Generator) -> Portfolio:
    """CMA-ES, which follows a slope to its end, beside Bayesian optimisation, which finds the slopes. Each alone
    misses what the other finds: see benchmarks/falsification/RESULTS.md."""
    one, other = rng.spawn(2)
    return Portfolio(CmaEsSearch(categorical, one), GaussianProcessSearch(categorical, other))
