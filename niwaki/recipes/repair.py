"""repair: from counterexamples to a policy that no longer fails on them.

counterexamples -> recorded flights -> recovery states -> imitate or restore
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.refinement.recover import Recovery, recover
from niwaki.refinement.refine import Practice, imitate
from niwaki.refinement.restore import restore
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import Counterexample, Floats, NiwakiError

Method = Literal["imitate", "restore"]
Progress = Callable[[str, int, int], None]  # (stage, done, in all)


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
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Repair:
    """The network, refined until it keeps the specifications on the counterexamples, as far as that goes.

    Starts on which the teacher fails too are left out: it has nothing to teach there. Raises NiwakiError for an
    unknown method, and for `restore` when network and teacher differ in shape.
    """
    if method not in ("imitate", "restore"):
        raise NiwakiError(f"the ways to refine are imitate and restore, got {method!r}")
    scenarios = to_correct(task, network, teacher, counterexamples)
    if not len(scenarios):
        return Repair(network, 0, 0, (), 0)
    failing = rollout(task.simulator, deployed(network), scenarios, specs=task.specs, record=True)
    progress("recovery states", 0, len(scenarios))
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
        return Repair(restored.network, len(scenarios), int(restored.corrected.sum()), recoveries, restored.restored)
    imitated = imitate(
        task.simulator,
        network,
        teacher,
        scenarios=scenarios,
        observations=observations,
        specs=task.specs,
        practice=Practice(seed=seed),
        progress=progress,
    )
    return Repair(imitated.network, len(scenarios), int(imitated.corrected.sum()), recoveries, 0)


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
