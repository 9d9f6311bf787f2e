"""The part of a simulator's scenarios that a search may vary, as a unit cube."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from niwaki.falsification.searches import Mask
from niwaki.types import Floats, Integers, Lockstep, NiwakiError, Simulator

PROBES = 8  # scenarios on which a column must change nothing to be left out


@dataclass(frozen=True, eq=False)
class Space:
    """Which columns vary, between which bounds; all others keep the nominal value."""

    nominal: Floats  # [K], within the bounds
    bounds: Floats  # [K, 2]
    integer: Mask  # [K]
    varying: Integers  # [D], column numbers

    @property
    def categorical(self) -> Mask:
        """[D]: whole-number columns are names, such as a seed: 7 is no nearer to 8 than to 99."""
        return self.integer[self.varying]

    def scenarios(self, rows: Floats) -> Floats:
        """Scenarios [n, K] of rows [n, D] in the unit cube."""
        low, high = self.bounds[self.varying].T
        whole = np.minimum(np.floor(low + rows * (high - low + 1)), high)
        scenarios = np.tile(self.nominal, (len(rows), 1))
        scenarios[:, self.varying] = np.where(self.categorical, whole, low + rows * (high - low))
        return scenarios

    def distances(self, scenario: Floats, others: Floats) -> Floats:
        """[n]: the largest difference of a column, as a fraction of its range, plus 1 where names differ."""
        low, high = self.bounds[self.varying].T
        apart = np.abs(others[:, self.varying] - scenario[self.varying]) / (high - low)
        named, numbers = apart[:, self.categorical], apart[:, ~self.categorical]
        distances: Floats = numbers.max(axis=1, initial=0.0) + (named > 0).any(axis=1)
        return distances

    def most_distinct(self, scenarios: Floats, *, at_most: int, apart: float) -> Floats:
        """Of scenarios [n, K] the first and then, again and again, the one that is farthest from those chosen, until
        there are `at_most` or none is farther than `apart`."""
        if len(scenarios) == 0:
            return scenarios
        chosen = [0]
        nearest = self.distances(scenarios[0], scenarios)
        while len(chosen) < at_most and nearest.max() > apart:
            chosen.append(int(np.argmax(nearest)))
            nearest = np.minimum(nearest, self.distances(scenarios[chosen[-1]], scenarios))
        return scenarios[chosen]


def search_space(simulator: Simulator) -> Space:
    """What a falsifier may vary: the columns with low < high, but not a seed that a lockstep simulator does
    not use. Raises NiwakiError when nothing is left."""
    bounds = simulator.bounds
    integer = np.array([column.integer for column in simulator.columns])
    nominal = np.clip(simulator.nominal, bounds[:, 0], bounds[:, 1])
    varying = np.array(
        [
            k
            for k, (low, high) in enumerate(bounds)
            if low < high and not (integer[k] and isinstance(simulator, Lockstep) and _is_idle(simulator, k))
        ],
        dtype=int,
    )
    if len(varying) == 0:
        raise NiwakiError(
            f"{simulator.name} has no column to vary: give one a range [low, high] in the task's [search]"
        )
    return Space(nominal, bounds, integer, varying)


def _is_idle(simulator: Lockstep, column: int) -> bool:
    """Whether a column changes no start state. A lockstep state is all there is, so nothing else can differ."""
    rng = np.random.default_rng(0)
    low, high = simulator.bounds.T
    probes = rng.uniform(low, high, size=(PROBES, len(low)))
    probes[:, column] = np.floor(probes[:, column])
    moved = probes.copy()
    moved[:, column] = np.where(probes[:, column] == low[column], high[column], low[column])
    return simulator.reset(probes).tobytes() == simulator.reset(moved).tobytes()
