"""When the base fails and succeeds, from its scenario database: every horizon, and the stopping-time bound.

An episode of the database says after how many steps it ended (`lengths` [N], counted from 1) and whether it had
reached its goal by then (`succeeded` [N]). Within a horizon T it fails (F_T) unless it succeeded in at most T steps,
and it fails at step min(length, T): a time-out is a failure at T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from niwaki.adaptation.budget import RatioBudget, permitted_alpha
from niwaki.types import Floats, Integers, NiwakiError

Bound = Callable[..., float]  # (violations, n, *, confidence) -> upper bound, such as clopper_pearson
TOLERANCE = 1e-12  # of the search for the logarithm of alpha, relatively


class Horizon(NamedTuple):
    """What the base promises within T steps, and what that permits."""

    horizon: int
    failures: int
    risk: float  # upper bound on P_b(F_T)
    alpha: float  # permitted ratio per step; below 1 where the base's own risk is above the wanted bound


def horizon_table(
    lengths: Integers,
    succeeded: NDArray[np.bool_],
    grid: Sequence[int],
    *,
    wanted: float,
    confidence: float,
    bound: Bound,
) -> list[Horizon]:
    """Every horizon of the grid with its risk and the alpha it permits for the wanted failure bound.

    All risks hold together with `confidence` (each has its share of the error, 1 / len(grid)), so that any of them
    may be chosen after the data were seen; the grid must not have been. Raises NiwakiError for an empty database.
    """
    lengths, succeeded = _database(lengths, succeeded)
    horizons = _grid(grid)
    each = 1 - (1 - confidence) / len(horizons)
    table = []
    for horizon in horizons:
        failures = int((~(succeeded & (lengths <= horizon))).sum())
        risk = bound(failures, len(lengths), confidence=each)
        table.append(Horizon(horizon, failures, risk, math.exp(math.log(wanted / risk) / horizon)))
    return table


@dataclass(frozen=True)
class FailureTimes:
    """P_b(F, and not before step k) <= risks for a fixed grid of steps k, all together with one confidence."""

    horizon: int
    after: tuple[int, ...]  # 0 = k_0 < k_1 < ... < horizon: fails after more than k_j steps
    risks: tuple[float, ...]  # falling

    def growth(self, log_alpha: float) -> float:
        """Upper bound on E_b[alpha^tau; F], tau the step of the failure.

        alpha^tau is at most alpha to the next step of the grid, a sum of increments each of which counts only
        where the failure came later: alpha^(k_1) risk_0 + sum over j >= 1 of (alpha^(k_(j+1)) - alpha^(k_j)) risk_j.
        """
        ends = np.array([*self.after[1:], self.horizon], dtype=np.float64)
        with np.errstate(over="ignore"):
            powers = np.exp(log_alpha * np.concatenate(([0.0], ends)))
            return float(self.risks[0] + np.diff(powers) @ np.array(self.risks))


def failure_times(
    lengths: Integers,
    succeeded: NDArray[np.bool_],
    horizon: int,
    grid: Sequence[int],
    *,
    confidence: float,
    bound: Bound,
) -> FailureTimes:
    """When the base fails within `horizon` steps, from its database: one exact bound for each step of the grid (those
    at or beyond the horizon are left out), with equal shares of the error. Raises NiwakiError for an empty database.
    """
    lengths, succeeded = _database(lengths, succeeded)
    after = (0, *(step for step in _grid(grid) if step < horizon))
    each = 1 - (1 - confidence) / len(after)
    failed = ~(succeeded & (lengths <= horizon))
    late = [int((failed & (np.minimum(lengths, horizon) > step)).sum()) for step in after]
    risks = np.minimum.accumulate([bound(k, len(lengths), confidence=each) for k in late])
    return FailureTimes(horizon, after, tuple(risks.tolist()))


@dataclass(frozen=True)
class StoppingRatio(RatioBudget):
    """P(F) <= E_b[alpha^tau; F]: a ratio of alpha per step, counted only until the failure at step tau <= T.

    Assumes: F is decided at step tau <= T, and `times` bounds its distribution under the base for all alpha at once,
    so that alpha may be chosen from the same data. Far better than alpha^T P_b(F) where failures come early.
    Proof sketch: F happens at tau, so P(F) = E_b[product of the first tau ratios; F] by optional stopping.
    """

    times: FailureTimes
    log_alpha_per_step: float

    @classmethod
    def within(cls, bound: float, *, times: FailureTimes) -> StoppingRatio:
        """The largest alpha under which the bound holds, from its allowed side."""
        permitted_alpha(times.risks[0], horizon=times.horizon, bound=bound)  # refuses what cannot be promised
        low, high = 0.0, 1 / times.horizon
        while times.growth(high) <= bound:
            low, high = high, 2 * high
        while high - low > TOLERANCE * high:
            middle = (low + high) / 2
            low, high = (middle, high) if times.growth(middle) <= bound else (low, middle)
        return cls(times, low)

    @property
    def bound(self) -> float:
        return min(1.0, self.times.growth(self.log_alpha_per_step))

    def begin(self, episodes: int) -> Floats:
        """Nothing to remember."""
        return np.zeros(episodes)

    def log_alpha(self, t: int, memory: Floats) -> Floats:
        """The same in every step until the horizon."""
        return np.full(len(memory), self.log_alpha_per_step if t < self.times.horizon else 0.0)

    def spend(self, memory: Floats, log_ratio: Floats) -> Floats:
        """Nothing: what an action did not use is lost."""
        return memory


def _database(lengths: Integers, succeeded: NDArray[np.bool_]) -> tuple[NDArray, NDArray[np.bool_]]:
    lengths, succeeded = np.asarray(lengths), np.asarray(succeeded, dtype=bool)
    if lengths.ndim != 1 or lengths.shape != succeeded.shape:
        raise NiwakiError(f"a database needs one length and one outcome an episode, got {lengths.shape}")
    if not len(lengths):
        raise NiwakiError("the scenario database is empty: validate the base policy first")
    if (lengths < 1).any():
        raise NiwakiError(f"steps are counted from 1: an episode cannot end after {lengths.min()}")
    return lengths, succeeded


def _grid(grid: Sequence[int]) -> list[int]:
    steps = sorted(set(grid))
    if not steps or steps[0] < 1:
        raise NiwakiError(f"a grid of steps needs whole numbers from 1, got {list(grid)[:5]}")
    return steps
