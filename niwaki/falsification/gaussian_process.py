"""Bayesian optimisation: a Gaussian process models the loss, expected improvement says where to look."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from niwaki.falsification.searches import Mask, reflected, with_names_of
from niwaki.types import Floats

FIRST = 5  # uniform rows before the first model, as SANP has it
REMEMBERED = 200  # rows in the model: its cost grows with their cube
CANDIDATES = 1000
LENGTHS, NOISES = (0.1, 0.2, 0.4, 0.8, 1.6), (1e-4, 1e-2, 1e-1)
OTHER_NAMES = (0.5, 0.95)  # correlation of rows that differ in their categorical names only

Kernel = Callable[[Floats, Mask], Floats]


class GaussianProcessSearch:
    """Expected improvement (Jones et al. 1998) on a Gaussian process with a Matern 5/2 kernel.

    Losses enter as normal scores of their ranks, so that outliers and units do not matter. Length, noise and what
    a name matters are the most likely ones of a small grid. Beyond 200 rows, half of the model are the best
    rows and half are drawn from the others. In a batch, each row is chosen as if the rows before it had
    come out as predicted.
    """

    def __init__(self, categorical: Mask, rng: np.random.Generator) -> None:
        self.categorical, self.rng = categorical, rng
        self.rows, self.losses = np.empty((0, len(categorical))), np.empty(0)

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them, see `Search`."""
        self.rows, self.losses = np.concatenate((self.rows, rows)), np.concatenate((self.losses, losses))

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], see `Search`."""
        if len(self.losses) < FIRST:
            return self.rng.random((n, len(self.categorical)))
        rows, scores = self._remembered()
        candidates = self._candidates(rows[np.argsort(scores, kind="stable")[:5]], max(CANDIDATES, 4 * n))
        kernel, noise = self._most_likely(rows, scores)
        factor = np.linalg.cholesky(kernel(*self._apart(rows, rows)) + noise * np.eye(len(rows)))
        # Every column of `explained` is one candidate's covariance with what is known, whitened.
        explained = np.zeros((len(rows) + n, len(candidates)))
        explained[: len(rows)] = solve_triangular(factor, kernel(*self._apart(rows, candidates)), lower=True)
        mean = explained[: len(rows)].T @ solve_triangular(factor, scores, lower=True)
        variance = 1.0 - np.sum(explained**2, axis=0)
        open_to_choice, chosen = np.ones(len(candidates), dtype=bool), []
        for step in range(n):
            gain = expected_improvement(mean, variance, scores.min())
            i = int(np.argmax(np.where(open_to_choice, gain, -1.0)))
            chosen.append(i)
            open_to_choice[i] = False
            shared = kernel(*self._apart(candidates[i : i + 1], candidates))[0] - explained.T @ explained[:, i]
            explained[len(rows) + step] = shared / np.sqrt(max(variance[i], 0.0) + noise)
            variance = variance - explained[len(rows) + step] ** 2
        return candidates[chosen]

    def _remembered(self) -> tuple[Floats, Floats]:
        """The rows of the model and the normal scores of their losses."""
        order = np.argsort(self.losses, kind="stable")
        if len(order) > REMEMBERED:
            rest = self.rng.choice(order[REMEMBERED // 2 :], REMEMBERED // 2, replace=False)
            order = np.concatenate((order[: REMEMBERED // 2], rest))
        losses = self.losses[order]
        return self.rows[order], ndtri((rankdata(losses) - 0.5) / len(losses))

    def _most_likely(self, rows: Floats, scores: Floats) -> tuple[Kernel, float]:
        """The kernel and the noise of the grid with the largest marginal likelihood."""
        distances, same = self._apart(rows, rows)
        best: tuple[float, Kernel, float] | None = None
        for length, other_name in itertools.product(LENGTHS, OTHER_NAMES if self.categorical.any() else (1.0,)):
            kernel = partial(matern, length=length, other_name=other_name)
            covariance = kernel(distances, same)
            for noise in NOISES:
                factor = np.linalg.cholesky(covariance + noise * np.eye(len(rows)))
                whitened = solve_triangular(factor, scores, lower=True)
                surprise = float(0.5 * whitened @ whitened + np.log(np.diag(factor)).sum())
                if best is None or surprise < best[0]:
                    best = surprise, kernel, noise
        assert best is not None
        return best[1:]

    def _candidates(self, best: Floats, count: int) -> Floats:
        """Half uniform, half around the best rows, at distances of all sizes."""
        rows = self.rng.random((count, len(self.categorical)))
        near = best[self.rng.integers(len(best), size=count // 2)]
        reach = 10 ** self.rng.uniform(-3, -0.5, size=(count // 2, 1))
        moved = reflected(self.rng.normal(near, reach))
        moved[:, self.categorical] = rows[: count // 2, self.categorical]
        rows[: count // 2] = with_names_of(near, moved, self.categorical, self.rng)
        return rows

    def _apart(self, a: Floats, b: Floats) -> tuple[Floats, Mask]:
        """How far the numbers of rows a [n, D] are from those of b [m, D], and whether all names agree; [n, m]."""
        numbers = ~self.categorical
        distances = cdist(a[:, numbers], b[:, numbers]) if numbers.any() else np.zeros((len(a), len(b)))
        return distances, np.all(a[:, None, self.categorical] == b[None, :, self.categorical], axis=2)


def matern(distances: Floats, same: Mask, *, length: float, other_name: float) -> Floats:
    """The Matern 5/2 kernel of distances, times `other_name` where the names differ."""
    r = np.sqrt(5.0) / length * distances
    kernel: Floats = (1 + r + r**2 / 3) * np.exp(-r)
    return kernel if other_name == 1 else kernel * np.where(same, 1.0, other_name)


def expected_improvement(mean: Floats, variance: Floats, best: float) -> Floats:
    """E[max(best - Y, 0)] for Y normal with mean [n] and variance [n] (Jones et al. 1998, equation 15)."""
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    z = (best - mean) / deviation
    return deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
