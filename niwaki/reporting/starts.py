"""The map of start states: where a run starts, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.reporting.flights import Pair
from niwaki.types import Floats, Simulator

OUTCOMES = ("safe", "counterexample", "both", "teacher")  # who broke a specification: nobody, the policy, ...
SAME = 0.999  # two axes that correlate so well say the same
FEW = 3  # episodes that a group must have before it is compared with the others


@dataclass(frozen=True, eq=False)
class StartMap:
    """N starts on C axes. `first` and `second` are the most telling axes; None where no two axes vary."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Floats  # [N, C]
    outcomes: NDArray  # [N], indices into OUTCOMES
    origins: NDArray  # [N], indices into flights.ORIGINS
    policy_returns: Floats  # [N]
    teacher_returns: Floats  # [N]
    first: int | None
    second: int | None


def start_map(simulator: Simulator, pair: Pair) -> StartMap:
    """Scenario columns and first signals that vary, with the outcome of every start.

    What the scenario leaves to its seed shows in the first signals only, so both are axes; a signal that
    repeats a column is left out.
    """
    names, units, columns = _axes(simulator, pair)
    ranked = np.argsort([-telling(column, pair) for column in columns], kind="stable")
    enough = len(ranked) >= 2
    policy, teacher = pair.policy.violated, pair.teacher.violated
    return StartMap(
        names,
        units,
        np.array(columns).reshape(len(columns), len(policy)).T,
        np.select([policy & ~teacher, policy & teacher, teacher], [1, 2, 3], 0),
        pair.origins,
        pair.policy.returns,
        pair.teacher.returns,
        int(ranked[0]) if enough else None,
        int(ranked[1]) if enough else None,
    )


def telling(values: Floats, pair: Pair) -> float:
    """How well one axis [N] tells violations from safe runs: the Kolmogorov-Smirnov distance in [0, 1].

    Where there are too few of either, the lowest quarter of the returns stands for the violations.
    """
    bad = pair.policy.violated
    if min(bad.sum(), (~bad).sum()) < FEW:
        bad = pair.policy.returns < np.quantile(pair.policy.returns, 0.25)
    if not bad.any() or bad.all():
        return 0.0
    levels = np.sort(values)
    below = (
        np.searchsorted(np.sort(group), levels, side="right") / len(group) for group in (values[bad], values[~bad])
    )
    return float(np.abs(next(below) - next(below)).max())


def _axes(simulator: Simulator, pair: Pair) -> tuple[tuple[str, ...], tuple[str, ...], list[Floats]]:
    recording = pair.policy.recording
    assert recording is not None
    candidates = [
        (column.name, column.unit, values)
        for column, values in zip(simulator.columns, pair.policy.scenarios.T, strict=True)
        if column.name != "seed"
    ]
    candidates += [
        (f"{signal.name} at the start", signal.unit, values)
        for signal, values in zip(simulator.signals, recording.signals[:, 0].T, strict=True)
    ]
    kept: list[tuple[str, str, Floats]] = []
    for name, unit, values in candidates:
        if np.ptp(values) > 0 and not any(_repeats(values, other) for *_, other in kept):
            kept.append((name, unit, values))
    return tuple(k[0] for k in kept), tuple(k[1] for k in kept), [k[2] for k in kept]


def _repeats(a: Floats, b: Floats) -> bool:
    return len(a) > 2 and abs(float(np.corrcoef(a, b)[0, 1])) > SAME
