"""Where to look next: the ask/tell shape of every search, and the simple ones.

A search works in the unit cube, one coordinate per scenario column that may vary. Coordinates marked
`categorical` (such as a seed) are names: two of them are equal or not, never near each other. A search is
told losses: lower is closer to a failure, negative is one. Only their order matters, never their unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from niwaki.types import Floats

Mask = NDArray[np.bool_]


class Search(Protocol):
    """Each `ask` is followed by one `tell` about the same rows."""

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], within [0, 1]."""
        ...

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them: rows [n, D], losses [n]."""
        ...


MakeSearch = Callable[[Mask, np.random.Generator], Search]
"""Makes a search from `categorical` [D] and its own dice; D is at least 1. Every search class is one."""


class RandomSearch:
    """Uniform and independent: the yardstick of all others."""

    def __init__(self, categorical: Mask, rng: np.random.Generator) -> None:
        self.dimensions, self.rng = len(categorical), rng

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], see `Search`."""
        return self.rng.random((n, self.dimensions))

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them, see `Search`."""
        pass


class SobolSearch:
    """Scrambled Sobol points (Owen 1998): they fill the cube more evenly than independent draws."""

    BLOCK = 1024  # points of a Sobol sequence are balanced in powers of two

    def __init__(self, categorical: Mask, rng: np.random.Generator) -> None:
        self.points = qmc.Sobol(len(categorical), scramble=True, seed=rng)
        self.waiting = np.empty((0, len(categorical)))

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], see `Search`."""
        while len(self.waiting) < n:
            self.waiting = np.concatenate((self.waiting, self.points.random(self.BLOCK)))
        rows, self.waiting = self.waiting[:n], self.waiting[n:]
        return rows

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them, see `Search`."""
        pass


class CrossEntropySearch:
    """The cross-entropy method (Rubinstein 1999): a normal distribution with independent coordinates,
    refitted to the best fifth of each generation.

    It starts again from uniform rows when the distribution has become narrow or half a generation
    failed: that failure is found, others may lie elsewhere.
    """

    GENERATION, ELITE, NARROW = 40, 0.2, 0.01

    def __init__(self, categorical: Mask, rng: np.random.Generator) -> None:
        self.categorical, self.rng = categorical, rng
        self.elite: Floats | None = None  # [E, D]; None: uniform
        self.generation: list[tuple[Floats, Floats]] = []

    def ask(self, n: int) -> Floats:
        """The next n rows to try [n, D], see `Search`."""
        rows = self.rng.random((n, len(self.categorical)))
        if self.elite is None:
            return rows
        numbers = self.elite[:, ~self.categorical]
        rows[:, ~self.categorical] = reflected(
            self.rng.normal(numbers.mean(axis=0), numbers.std(axis=0), size=(n, numbers.shape[1]))
        )
        parents = self.elite[self.rng.integers(len(self.elite), size=n)]
        return with_names_of(parents, rows, self.categorical, self.rng)

    def tell(self, rows: Floats, losses: Floats) -> None:
        """What came of them, see `Search`."""
        self.generation.append((rows, losses))
        rows, losses = (np.concatenate(part) for part in zip(*self.generation, strict=True))
        if len(losses) < self.GENERATION:
            return
        self.generation = []
        elite = rows[np.argsort(losses, kind="stable")[: int(self.ELITE * len(losses))]]
        wide = elite[:, ~self.categorical].std(axis=0).max(initial=0.0) > self.NARROW
        self.elite = elite if wide and np.mean(losses < 0) < 0.5 else None


def reflected(x: Floats) -> Floats:
    """x folded into [0, 1] at its walls.

    >>> reflected(np.array([-0.25, 0.5, 1.25])).tolist()
    [0.25, 0.5, 0.75]
    """
    return 1.0 - np.abs(1.0 - np.mod(x, 2.0))


def with_names_of(parents: Floats, rows: Floats, categorical: Mask, rng: np.random.Generator) -> Floats:
    """The rows [n, D], of which about half take the categorical coordinates of their parents [n, D]: a good
    name is worth another look, and only new names can be better. Where there is nothing but names, another look
    would be the same one."""
    if categorical.all():
        return rows
    kept = rng.random(len(rows)) < 0.5
    return np.where(kept[:, None] & categorical, parents, rows)
