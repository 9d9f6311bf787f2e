"""Covariance matrix adaptation: learns the directions in which the loss falls."""

from __future__ import annotations

import math

import numpy as np

from niwaki.falsification.searches import Mask, reflected
from niwaki.types import Floats

START_STEP, SMALLEST_STEP = 0.2, 0.005
PATIENCE = 12  # generations without a better row


class CmaEsSearch:
    """CMA-ES (Hansen: The CMA evolution strategy: a tutorial, 2016, arXiv:1604.00772), with restarts.

    Each run begins with uniform rows and goes on around the best of them, with its categorical names: in one
    run they do not change, so the loss is a function. A run ends when the steps have become small,
    nothing got better for some generations, or half a generation failed: that failure is found.
    """

    def __init__(self, categorical: Mask, rng: np.random.Generator) -> None:
        self.categorical, self.rng = categorical, rng
        self.numbers = int(np.sum(~categorical))
        self.population = 4 + int(3 * math.log(max(self.numbers, 1)))
        self.run: _Run | None = None
        self.asked = np.empty((0, len(categorical)))
        self.generation: list[tuple[Floats, Floats]] = []

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], see `Search`."""
        rows = self.rng.random((n, len(self.categorical)))
        if self.run is not None:
            rows[:, ~self.categorical] = self.run.sample(n, self.rng)
            rows[:, self.categorical] = self.names
        self.asked = rows
        return rows

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them, see `Search`."""
        if not np.array_equal(rows, self.asked):
            return  # the sums below are about rows drawn from the current distribution
        self.generation.append((rows, losses))
        rows, losses = (np.concatenate(part) for part in zip(*self.generation, strict=True))
        if len(losses) < self.population * (1 if self.run else 4):
            return
        self.generation = []
        if np.mean(losses < 0) >= 0.5 or self.numbers == 0:
            self.run = None
        elif self.run is None:
            best = rows[np.argmin(losses)]
            self.run, self.names = _Run(best[~self.categorical]), best[self.categorical]
        else:
            self.run.adapt(rows[:, ~self.categorical], losses)
            if self.run.over:
                self.run = None


class _Run:
    """One run, in Hansen's notation: mean m, step size sigma, covariance C, evolution paths p."""

    def __init__(self, mean: Floats) -> None:
        self.m, self.sigma, n = mean, START_STEP, len(mean)
        self.C, self.p_sigma, self.p_c = np.eye(n), np.zeros(n), np.zeros(n)
        self.B, self.D = np.eye(n), np.ones(n)  # C = B diag(D^2) B^T
        self.generations, self.best, self.stale = 0, math.inf, 0

    @property
    def over(self) -> bool:
        return self.sigma * self.D.max() < SMALLEST_STEP or self.stale > PATIENCE

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        z = rng.standard_normal((count, len(self.m)))
        return reflected(self.m + self.sigma * (z * self.D) @ self.B.T)

    def adapt(self, x: Floats, losses: Floats) -> None:
        """One generation x [lambda, n]. Reflected rows count where they landed."""
        n, mu = len(self.m), len(x) // 2
        w = math.log(mu + 0.5) - np.log(np.arange(1, mu + 1))
        w /= w.sum()
        mu_eff = 1 / np.sum(w**2)
        c_sigma = (mu_eff + 2) / (n + mu_eff + 5)
        d_sigma = 1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma
        c_c = (4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n)
        c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)
        c_mu = min(1 - c_1, 2 * (mu_eff - 2 + 1 / mu_eff) / ((n + 2) ** 2 + mu_eff))
        chi = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))  # expected length of a standard normal vector

        order = np.argsort(losses, kind="stable")
        y = (x[order[:mu]] - self.m) / self.sigma
        step = w @ y
        self.m = self.m + self.sigma * step
        self.generations += 1
        whitened = self.B @ ((self.B.T @ step) / self.D)
        self.p_sigma = (1 - c_sigma) * self.p_sigma + math.sqrt(c_sigma * (2 - c_sigma) * mu_eff) * whitened
        length = float(np.linalg.norm(self.p_sigma))
        expected = math.sqrt(1 - (1 - c_sigma) ** (2 * self.generations)) * chi
        moving = length / expected < 1.4 + 2 / (n + 1)
        self.p_c = (1 - c_c) * self.p_c + moving * math.sqrt(c_c * (2 - c_c) * mu_eff) * step
        forgotten = 1 - c_1 - c_mu + (not moving) * c_1 * c_c * (2 - c_c)
        self.C = forgotten * self.C + c_1 * np.outer(self.p_c, self.p_c) + c_mu * (y.T * w) @ y
        self.sigma = min(self.sigma * math.exp(c_sigma / d_sigma * (length / chi - 1)), 2 * START_STEP)
        variances, self.B = np.linalg.eigh((self.C + self.C.T) / 2)
        self.D = np.sqrt(np.maximum(variances, 1e-12))
        improved = losses[order[0]] < self.best
        self.best, self.stale = (float(losses[order[0]]), 0) if improved else (self.best, self.stale + 1)
