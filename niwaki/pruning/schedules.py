"""Schedules: what share of the pruning is done at a progress from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[float], float]


def one_shot(progress: float) -> float:
    """Everything at once, at the start."""
    return 1.0


def cubic(progress: float) -> float:
    """1 - (1 - progress)^3: much while much is redundant, little towards the end (M. Zhu & S. Gupta: To prune,
    or not to prune, 2017, equation 1).

    >>> [cubic(p) for p in (0.0, 0.5, 1.0)]
    [0.0, 0.875, 1.0]
    """
    return 1.0 - (1.0 - progress) ** 3
