"""repair: from counterexamples to a policy that no longer fails on them.

counterexamples -> recorded flights -> recovery states -> imitate or restore -> guard
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from niwaki.gates import Gate, Verdict, judge
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.refinement.recover import Recovery, recover
from niwaki.refinement.refine import Guard, Practice, imitate
from niwaki.refinement.restore import restore
from niwaki.rollout import Stages, rollout
from niwaki.tasks import Task
from niwaki.types import Counterexample, Floats, Lockstep, NiwakiError, Trajectories

Method = Literal["imitate", "restore"]

GUARD = 0x90A2D  # family of dice
UNHARMED = Gate(return_loss=0.02)  # beside the network that is given: no more violations
GUARD_EPISODES, QUICK_GUARD_EPISODES = 200, 2000  # of an engine, of a lockstep simulator
ENGINE_STEPS = 500_000  # that practice may take
MOST_RECOVERIES = 16  # that an engine looks for: each takes some ten flights


@dataclass(frozen=True, eq=False)
class Repair:
    """What a repair led to."""

    network: NetworkPolicy
    counterexamples: int  # that the teacher can avoid: those that were to be corrected
    corrected: int  # of these, as replayed
    recoveries: tuple[Recovery, ...]  # where the teacher could still have saved a failing run
    restored: int  # weights given back by `restore`

    @property
    def remaining(self) -> int:
        """Counterexamples on which the network still breaks a specification."""
        return self.counterexamples - self.corrected


def repair(
    network: NetworkPolicy,
    teacher: NetworkPolicy,
    task: Task,
    counterexamples: Sequence[Counterexample],
    *,
    method: Method = "imitate",
    guard: Guard | None = None,
    seed: int = 0,
    progress: Stages = lambda stage, done, total: None,
) -> Repair:
    """The network, refined until it keeps the specifications on the counterexamples, as far as that goes.

    Starts on which the teacher fails too are left out: it has nothing to teach there. Counterexamples come from
    the bounds of a search, so the guard looks at what claims are about, the sample distribution: what it does not
    let pass is never returned. Without a guard of yours, it is `unharmed`. Raises NiwakiError for an unknown
    method, and for `restore` when network and teacher differ in shape.
    """
    if method not in ("imitate", "restore"):
        raise NiwakiError(f"the ways to refine are imitate and restore, got {method!r}")
    scenarios = to_correct(task, network, teacher, counterexamples)
    if not len(scenarios):
        return Repair(network, 0, 0, (), 0)
    guard = guard or unharmed(network, task, seed=seed)
    quick = isinstance(task.simulator, Lockstep)
    failing = rollout(
        task.simulator,
        deployed(network),
        scenarios[: None if quick else MOST_RECOVERIES],
        specs=task.specs,
        record=True,
    )
    progress("recovery states", 0, len(failing))
    found = recover(task.simulator, deployed(teacher), failing, specs=task.specs)
    recoveries = tuple(recovery for recovery in found if recovery is not None)
    observations = np.array([r.observation for r in recoveries]).reshape(-1, network.observation_size)
    if method == "restore":
        restored = restore(
            task.simulator,
            network,
            teacher,
            scenarios=scenarios,
            observations=observations,
            specs=task.specs,
            progress=progress,
        )
        if not guard(restored.network).passed:
            return Repair(network, len(scenarios), 0, recoveries, 0)
        return Repair(restored.network, len(scenarios), int(restored.corrected.sum()), recoveries, restored.restored)
    imitated = imitate(
        task.simulator,
        network,
        teacher,
        scenarios=scenarios,
        observations=observations,
        specs=task.specs,
        guard=guard,
        practice=Practice(seed=seed) if quick else Practice(budget=ENGINE_STEPS, seed=seed),
        progress=progress,
    )
    return Repair(imitated.network, len(scenarios), int(imitated.corrected.sum()), recoveries, 0)


def unharmed(network: NetworkPolicy, task: Task, *, seed: int = 0) -> Guard:
    """Whether another network breaks the specifications no more often and returns nearly as much as this one, on
    fresh scenarios of the sample distribution. This one flies them only when the first question is asked."""
    quick = isinstance(task.simulator, Lockstep)
    n = QUICK_GUARD_EPISODES if quick else GUARD_EPISODES

    @cache
    def bench() -> Trajectories:
        rows = task.simulator.sample(np.random.default_rng([seed, GUARD]), n)
        return rollout(task.simulator, deployed(network), rows, specs=task.specs)

    def guard(other: NetworkPolicy) -> Verdict:
        return judge(UNHARMED, task.simulator, deployed(other), bench(), specs=task.specs)

    return guard


def to_correct(
    task: Task, network: NetworkPolicy, teacher: NetworkPolicy, counterexamples: Sequence[Counterexample]
) -> Floats:
    """The scenarios [B, K], each once, on which the network fails and the teacher does not."""
    if not counterexamples:
        return np.zeros((0, len(task.simulator.columns)))
    scenarios = np.unique(np.array([c.scenario for c in counterexamples]), axis=0)
    fails = rollout(task.simulator, deployed(network), scenarios, specs=task.specs).violated
    hopeless = rollout(task.simulator, deployed(teacher), scenarios, specs=task.specs).violated
    return np.asarray(scenarios[fails & ~hopeless])
