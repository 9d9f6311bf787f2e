"""How well a network flies beside its teacher, as one number: what polishing and whittling go by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from joblib import Parallel, delayed

from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import rollout, rollouts
from niwaki.shrinking.polish import JUDGING
from niwaki.tasks import Task
from niwaki.types import Floats, Lockstep, Trajectories

FITNESS = 0xF17E  # family of dice
EPISODES = 256  # of a lockstep simulator, on which networks are judged
STEPS, LEAST, MOST = 32_000, 16, 64  # of an engine: flown to judge a network, in episodes from LEAST to MOST
SHARE = 2  # the flights of one generation of a polish are so many times fewer: its centre averages over all of them
PRICE = 5.0  # of a violation: it costs as much as five times the return


@dataclass(frozen=True)
class Fitness:
    """The larger the better: the return as a share of the teacher's, less the violations at their PRICE, or return
    would be bought with them. In the draw JUDGING, how much better than the teacher in both, and no reward for fewer
    violations."""

    teacher: NetworkPolicy
    task: Task
    seed: int

    def __call__(self, networks: Sequence[NetworkPolicy], draw: int) -> list[float]:
        """Of each network, on the same flights."""
        shown = self.bench
        rows = shown.scenarios if draw == JUDGING else self._rows(draw)
        if self.quick:  # uncompiled: compiling costs more than it saves
            flights = rollouts(self.task.simulator, networks, rows, specs=self.task.specs)
            return [self._of(flown, draw) for flown in flights]
        if len(networks) == 1:
            return [self._of(self._fly(networks[0], rows, None), draw)]
        jobs = (delayed(self._fly)(network, rows, 1) for network in networks)  # nobody waits for the others' flights
        return [self._of(flown, draw) for flown in Parallel(n_jobs=os.cpu_count() or 1)(jobs)]

    def _fly(self, network: NetworkPolicy, rows: Floats, workers: int | None) -> Trajectories:
        return rollout(self.task.simulator, deployed(network), rows, specs=self.task.specs, workers=workers)

    def _of(self, flown: Trajectories, draw: int) -> float:
        usual, violated = float(self.bench.returns.mean()), float(flown.violated.mean())
        size, mean = max(abs(usual), 1e-9), float(flown.returns.mean())
        if draw != JUDGING:
            return mean / size - PRICE * violated
        return (mean - usual) / size - PRICE * max(0.0, violated - float(self.bench.violated.mean()))

    @cached_property
    def bench(self) -> Trajectories:
        """The teacher's flights in the draw JUDGING."""
        return rollout(self.task.simulator, deployed(self.teacher), self._rows(JUDGING), specs=self.task.specs)

    @property
    def quick(self) -> bool:
        """Whether flights cost next to nothing."""
        return isinstance(self.task.simulator, Lockstep)

    @cached_property
    def _episodes(self) -> int:
        if self.quick:
            return EPISODES
        few = self._sample(JUDGING, LEAST)
        length = rollout(self.task.simulator, deployed(self.teacher), few, specs=()).lengths.mean()
        return int(np.clip(STEPS / length, LEAST, MOST))

    def _rows(self, draw: int) -> Floats:
        return self._sample(draw, self._episodes if draw == JUDGING else self._episodes // SHARE)

    def _sample(self, draw: int, n: int) -> Floats:
        return self.task.simulator.sample(np.random.default_rng([self.seed, FITNESS, draw]), n)
