"""merging: units go whose work others can do, within a tolerance that is measured again where nobody looked.

teacher -> flights -> merge -> gate
                  other flights -> how much the actions change, with a bound
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from niwaki.certification.bounds import clopper_pearson
from niwaki.evaluation import finite_or_none
from niwaki.gates import Verdict
from niwaki.policies.arithmetic import mirror_outputs
from niwaki.policies.compact import compact
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.ledger import Facts
from niwaki.rollout import Stages, counted, rollout
from niwaki.shrinking.merge import action_change, action_unit, merge
from niwaki.tasks import Task
from niwaki.types import Floats, Lockstep, Trajectories

MET, UNSEEN = 0x3E26, 0x3E27  # families of dice: the states by which units are merged, and those by which it is judged
MET_EPISODES, ENGINE_MET_EPISODES = 200, 100
MOST_STATES = 2048  # of those that are met
UNSEEN_EPISODES, ENGINE_UNSEEN_EPISODES = 2000, 400  # one state of each
CONFIDENCE = 0.95  # of the bound, one-sided
# In units of `action_unit`, from strict to loose. The teacher's leads know no limit, a continuous action moves by 2.
TOLERANCES = (0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0)
PATIENCE = 2  # tolerances that the gate refuses one after the other, before a looser one is not tried


@dataclass(frozen=True)
class Change:
    """How much the actions of a merged network differ from its teacher's, in states by which nothing was merged.

    The states are independent: one of each flight of the teacher, every step of it equally likely. The bound is
    about that distribution. It holds for a network that was chosen without looking at these states, as the one that
    passes its trial and its exam is; not for the best of several by this very figure.
    """

    states: int
    largest: float | None  # in units of `action_unit`; None where an output overflows
    mean: float | None
    other_choices: float | None  # share of the states in which another action is chosen; None for continuous ones
    exceeding: int  # states in which the change exceeds the tolerance
    exceeding_upper: float  # exact one-sided upper bound on their share
    confidence: float


@dataclass(frozen=True)
class Merger:
    """What a network is merged beside and by: its teacher, and what lets a network pass."""

    teacher: NetworkPolicy
    task: Task
    passes: Callable[[NetworkPolicy], Verdict]
    seed: int
    progress: Stages = field(default_factory=lambda: lambda stage, done, total: None)

    def __call__(self, network: NetworkPolicy, tolerance: float) -> tuple[Facts, NetworkPolicy | None]:
        """The network with all units merged that the tolerance allows, and the facts of a stage; None where none is."""
        self.progress(f"merging {sum(network.sizes[1:-1])} units", 0, 0)
        merged = merge(network, self._met, tolerance=tolerance, teacher=self.teacher)
        if merged is network:
            return {"tolerance": tolerance}, None
        change = self.change(merged, tolerance)
        return {"tolerance": tolerance, "change": asdict(change), "verdict": asdict(self.passes(merged))}, merged

    def change(self, network: NetworkPolicy, tolerance: float) -> Change:
        """By how much the network's actions differ from the teacher's in the unseen states, as they are deployed."""
        head, before = self.teacher.head, mirror_outputs(compact(self.teacher), self._unseen)
        after = mirror_outputs(compact(network), self._unseen)
        changes = action_change(head, before, after, unit=self._unit)
        exceeding = int((~(changes <= tolerance)).sum())
        others = float((before.argmax(axis=1) != after.argmax(axis=1)).mean()) if head.kind == "argmax" else None
        return Change(
            states=len(changes),
            largest=finite_or_none(float(changes.max())),
            mean=finite_or_none(float(changes.mean())),
            other_choices=others,
            exceeding=exceeding,
            exceeding_upper=clopper_pearson(exceeding, len(changes), confidence=CONFIDENCE),
            confidence=CONFIDENCE,
        )

    @cached_property
    def _met(self) -> Floats:
        """The states by which units are merged [N, O]."""
        flights, observations = self._fly(MET, MET_EPISODES if self._quick else ENGINE_MET_EPISODES)
        met = observations[flights.alive(observations.shape[1])]
        return met[np.random.default_rng([self.seed, MET, 1]).permutation(len(met))[:MOST_STATES]]

    @cached_property
    def _unseen(self) -> Floats:
        """The states by which merging is judged [N, O]: one of each flight, so that they are independent."""
        flights, observations = self._fly(UNSEEN, UNSEEN_EPISODES if self._quick else ENGINE_UNSEEN_EPISODES)
        steps = np.random.default_rng([self.seed, UNSEEN, 1]).integers(flights.lengths)
        return observations[np.arange(len(flights)), steps]

    @cached_property
    def _unit(self) -> Floats:
        return action_unit(self.teacher.head, self.teacher.outputs(self._met))

    def _fly(self, family: int, n: int) -> tuple[Trajectories, Floats]:
        """The teacher's flights, and what it saw before each step [B, T, O]."""
        simulator, count = self.task.simulator, counted(self.progress, "flying the teacher", n)
        rows = simulator.sample(np.random.default_rng([self.seed, family]), n)
        flights = rollout(simulator, deployed(self.teacher), rows, record=True, progress=count)
        assert flights.recording is not None
        return flights, flights.recording.observations[:, :-1]

    @property
    def _quick(self) -> bool:
        return isinstance(self.task.simulator, Lockstep)
