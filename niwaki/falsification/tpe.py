"""Tree-structured Parzen estimators: try what looks like the good rows and unlike the others."""

from __future__ import annotations

import numpy as np

from niwaki.falsification.searches import Mask, reflected, with_names_of
from niwaki.types import Floats

FIRST = 20  # uniform rows before there is anything to learn from
CANDIDATES = 24
GOOD, GOOD_AT_MOST, OTHERS_AT_MOST = 0.1, 25, 200
NARROW = 0.02  # smallest kernel width


class TpeSearch:
    """TPE (Bergstra et al. 2011) with kernels over whole rows, so that coordinates may depend on each other.

    l(x) is the kernel density of the best tenth of the rows, at most 25, g(x) that of the others, both with a
    uniform part. Every new row is the best by l/g of some candidates drawn from l.
    """

    def __init__(self, categorical: Mask, rng: np.random.Generator) -> None:
        self.categorical, self.rng = categorical, rng
        self.rows, self.losses = np.empty((0, len(categorical))), np.empty(0)

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them, see `Search`."""
        self.rows, self.losses = np.concatenate((self.rows, rows)), np.concatenate((self.losses, losses))

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], see `Search`."""
        fresh = self.rng.random((n * CANDIDATES, len(self.categorical)))
        if len(self.losses) < FIRST:
            return fresh[:n]
        order = np.argsort(self.losses, kind="stable")
        count = min(max(2, int(GOOD * len(order))), GOOD_AT_MOST)
        good, others = self.rows[order[:count]], self.rows[order[count:]]
        if len(others) > OTHERS_AT_MOST:
            others = others[self.rng.choice(len(others), OTHERS_AT_MOST, replace=False)]
        candidates = self._drawn(good, fresh)
        ratio = np.log(self._density(good, candidates)) - np.log(self._density(others, candidates))
        best = np.argmax(ratio.reshape(n, CANDIDATES), axis=1)
        return candidates.reshape(n, CANDIDATES, -1)[np.arange(n), best]

    def _drawn(self, centres: Floats, fresh: Floats) -> Floats:
        """Rows from the mixture of kernels around the centres [C, D] and the uniform rows `fresh`."""
        which = self.rng.integers(len(centres) + 1, size=len(fresh))
        near = centres[np.minimum(which, len(centres) - 1)]
        moved = reflected(self.rng.normal(near, self._widths(centres)))
        moved[:, self.categorical] = fresh[:, self.categorical]
        moved = with_names_of(near, moved, self.categorical, self.rng)
        return np.where((which < len(centres))[:, None], moved, fresh)

    def _density(self, centres: Floats, rows: Floats) -> Floats:
        """Up to a factor: the mean of the kernels around the centres and of a uniform one. A kernel is one
        half for rows with another name, so that a name seen once does not decide alone."""
        widths = self._widths(centres)[~self.categorical]
        z = (rows[:, None, ~self.categorical] - centres[None, :, ~self.categorical]) / widths
        kernels = np.exp(-0.5 * np.sum(z**2, axis=2)) / np.prod(widths * np.sqrt(2 * np.pi))
        same = np.all(rows[:, None, self.categorical] == centres[None, :, self.categorical], axis=2)
        kernels *= np.where(same, 1.0, 0.5)
        return (kernels.sum(axis=1) + 1.0) / (len(centres) + 1)

    def _widths(self, centres: Floats) -> Floats:
        """Scott's rule, [D]."""
        spread = centres.std(axis=0) * len(centres) ** (-1 / (len(self.categorical) + 4))
        return np.clip(spread, NARROW, 0.5)
