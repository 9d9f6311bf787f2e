"""The simplest scenario that still fails, in the spirit of Hypothesis: what is not needed goes back to normal."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

from niwaki.falsification.space import Space
from niwaki.types import Floats, Integers

HALVINGS = 5  # of one column's distance from its nominal value
DIGITS = (2, 3)  # significant digits to round to, the first that still fails

StillFails = Callable[[Integers, Floats], NDArray[np.bool_]]
"""Which scenario each row came from [n], rows to try [n, K] -> whether they fail in the same way [n]. May answer
for fewer rows than it was given, or none, when the budget is spent."""


def simplify(scenarios: Floats, space: Space, still_fails: StillFails) -> Floats:
    """Scenarios [C, K] that fail too, each as near to nominal as a greedy walk comes.

    Columns are set to nominal one by one, the least deviating first; the distances of those that are
    needed are halved while the failure stays; at last the numbers are rounded. All scenarios take a step
    together, so that a lockstep simulator flies them at once.
    """
    simplest = np.array(scenarios)
    walks = {i: _walk(row, space) for i, row in enumerate(scenarios)}
    tried = {i: candidate for i, walk in walks.items() if (candidate := next(walk, None)) is not None}
    while tried:
        which = np.array(list(tried))
        verdicts = still_fails(which, np.array(list(tried.values())))
        if len(verdicts) == 0:
            break
        for i, fails in zip(which.tolist(), verdicts, strict=False):
            candidate = tried.pop(i)
            if fails:
                simplest[i] = candidate
            try:
                tried[i] = walks[i].send(bool(fails))
            except StopIteration:
                continue
    return simplest


def _walk(row: Floats, space: Space) -> Generator[Floats, bool, None]:
    """Yields simpler candidates; is sent whether the last one still fails."""
    nominal = space.nominal

    def order(k: int) -> float:
        low, high = space.bounds[k]
        return -1.0 if space.integer[k] else float(abs(row[k] - nominal[k]) / (high - low))

    for k in sorted(np.flatnonzero(row != nominal).tolist(), key=order):
        candidate = _with(row, k, nominal[k])
        if (yield candidate):
            row = candidate
    for k in np.flatnonzero((row != nominal) & ~space.integer).tolist():
        for _ in range(HALVINGS):
            candidate = _with(row, k, (row[k] + nominal[k]) / 2)
            if not (yield candidate):
                break
            row = candidate
    for digits in DIGITS:
        candidate = _rounded(row, digits, space)
        if np.array_equal(candidate, row) or (yield candidate):
            return


def _with(row: Floats, k: int, value: float) -> Floats:
    changed = row.copy()
    changed[k] = value
    return changed


def _rounded(row: Floats, digits: int, space: Space) -> Floats:
    short = np.array([float(f"{value:.{digits}g}") for value in row])
    inside = np.clip(short, space.bounds[:, 0], space.bounds[:, 1])
    return np.where(space.integer | (row == space.nominal), row, inside)
