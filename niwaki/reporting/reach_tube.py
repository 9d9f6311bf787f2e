"""The reach tube: between which values a signal was over many runs, step by step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.reporting.flights import ORIGINS, Pair
from niwaki.types import Floats, Signal, Spec, Trajectories

MOMENTS = 160  # instants shown at most
LEVELS = (0.0, 0.05, 0.5, 0.95, 1.0)  # quantiles shown: the whole range, the middle nine tenths, the median
ENOUGH = 20  # episodes below which a twentieth is less than one of them: only the whole range is shown

_VALUE = r"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)"
_TERM = rf"(?:{_VALUE}\s*\*\s*)?([A-Za-z_][\w.\[\]]*)"
_BOUND = re.compile(rf"\s*always\s*\(\s*(?:abs\s*\(\s*{_TERM}\s*\)|{_TERM})\s*(<=?|>=?)\s*{_VALUE}\s*\)\s*")


@dataclass(frozen=True, eq=False)
class Tube:
    """One policy's tube."""

    bands: Floats  # [S, Q, M], quantiles LEVELS; NaN where no episode goes on
    running: NDArray  # [M], episodes that still ran


@dataclass(frozen=True, eq=False)
class ReachTube:
    """Teacher's and policy's signals over the drawn scenarios."""

    steps: NDArray  # [M]
    episodes: int
    teacher: Tube
    policy: Tube


@dataclass(frozen=True)
class Limit:
    """A value that a signal must not pass, by a specification."""

    signal: str
    value: float
    spec: str


def reach_tube(pair: Pair) -> ReachTube:
    """Both tubes, over the drawn scenarios only: the search's are chosen to be bad, and say nothing of
    how a run usually goes."""
    drawn = np.flatnonzero(pair.origins == ORIGINS.index("drawn"))
    longest = int(max(pair.teacher.lengths[drawn].max(), pair.policy.lengths[drawn].max()))
    steps = np.unique(np.linspace(0, longest, min(longest + 1, MOMENTS)).round().astype(int))
    return ReachTube(steps, len(drawn), _tube(pair.teacher, drawn, steps), _tube(pair.policy, drawn, steps))


def _tube(flown: Trajectories, rows: NDArray, steps: NDArray) -> Tube:
    assert flown.recording is not None
    lengths, signals = flown.lengths[rows], flown.recording.signals[rows]
    bands = np.full((signals.shape[2], len(LEVELS), len(steps)), np.nan)
    for m, step in enumerate(steps):
        running = signals[lengths >= step, min(step, signals.shape[1] - 1)]
        if len(running):
            bands[:, :, m] = np.quantile(running, LEVELS, axis=0).T
        if len(running) < ENOUGH:
            bands[:, 1:-1, m] = np.nan
    return Tube(bands, (lengths[:, None] >= steps).sum(axis=0))


def limits(specs: Sequence[Spec], signals: Sequence[Signal]) -> tuple[Limit, ...]:
    """Limits of the specifications of the form always(abs(k * signal) <= c) or always(signal >= c).

    Others hold no single line that could be drawn, and give none.
    """
    known = {signal.name for signal in signals}
    found: list[Limit] = []
    for spec in specs:
        match = _BOUND.fullmatch(spec.text)
        if match is None:
            continue
        inner_factor, inner, factor, outer, sign, bound = match.groups()
        name, scale = inner or outer, float(inner_factor or factor or 1.0)
        if name not in known or scale == 0 or (inner and sign.startswith(">")):
            continue
        value = float(bound) / scale
        found += [Limit(name, value, spec.name)] + [Limit(name, -value, spec.name)] * bool(inner)
    return tuple(found)
