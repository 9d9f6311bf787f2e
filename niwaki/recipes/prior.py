"""prior: from what the base did to how far a policy may go from it, by any of the methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from scipy.special import ndtri

from niwaki.adaptation.budget import Budget, FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.database import Database, horizon_grid
from niwaki.adaptation.horizons import Horizon, horizon_table
from niwaki.certification.bounds import clopper_pearson
from niwaki.types import NiwakiError

Rule = Literal["ratio", "odometer", "gaussian"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class Prior:
    """What a database promises of its policy within the chosen horizon, and the budget that follows."""

    horizon: int
    failures: int
    risk: float  # upper bound on the probability of a failure, with its share of the confidence
    grid: tuple[int, ...]  # among which the horizon was chosen
    budget: Budget


def grid_of(rule: Rule, episode: int, horizon: int | None) -> tuple[int, ...]:
    """The horizons to choose from, fixed before the data: the one that was asked for; of the odometer, which knows
    no horizon, the whole episode; else the grid. Raises NiwakiError for a horizon that no episode reaches."""
    if horizon is not None:
        if not 1 <= horizon <= episode:
            raise NiwakiError(f"the horizon must be from 1 to the {episode} steps of an episode, got {horizon}")
        return (horizon,)
    return (episode,) if rule == "odometer" else horizon_grid(episode)


def prior(
    database: Database,
    rule: Rule,
    *,
    wanted: float,
    confidence: float,
    grid: tuple[int, ...],
    bound: Callable[..., float] = clopper_pearson,
) -> Prior:
    """The budget under which the adapted policy fails with probability at most `wanted`, with this confidence.

    Raises NiwakiError where the base's own risk is above the wanted bound.
    """
    if not 0 < wanted <= 1:
        raise NiwakiError(f"the wanted bound must be above 0 and at most 1, got {wanted}")
    rows = horizon_table(database.lengths, database.succeeded, grid, wanted=wanted, confidence=confidence, bound=bound)
    best = best_of(rows, rule, wanted=wanted)
    budget: Budget
    if rule == "ratio":
        budget = FixedRatio.within(wanted, risk=best.risk, horizon=best.horizon)
    elif rule == "odometer":
        budget = Odometer.within(wanted, risk=best.risk)
    else:
        budget = GaussianShift.within(wanted, risk=best.risk, horizon=best.horizon)
    return Prior(best.horizon, best.failures, best.risk, grid, budget)


def best_of(rows: Sequence[Horizon], rule: Rule, *, wanted: float) -> Horizon:
    """Of the horizons of a grid the one that leaves each step the most: the largest ratio, or the largest shift."""
    return max(rows, key=lambda row: _room(row, rule, wanted))


def _room(row: Horizon, rule: Rule, wanted: float) -> float:
    """How far a step may go."""
    if rule == "gaussian":
        return float(ndtri(wanted) - ndtri(row.risk)) / math.sqrt(row.horizon) if row.risk < 1 else -math.inf
    return row.alpha
