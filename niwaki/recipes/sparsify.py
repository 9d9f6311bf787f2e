"""sparsify: the sparsest form of a policy, by pruning alone, that passes a gate.

teacher -> scenarios -> visited states -> scores -> prune <-> gate
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from niwaki.gates import Gate, Verdict, judge
from niwaki.imitation import choose, gather
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.prune import Scope, prune_gradually, prune_units
from niwaki.pruning.schedules import Schedule, one_shot
from niwaki.pruning.scores import Score, taylor, unit_taylor
from niwaki.pruning.search import Attempt, Sparsest, ladder, sparsest
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import Floats, NiwakiError, Trajectories

SELECTION = 0x5E1E  # family of dice: the scenarios by which a network is chosen
MOST_STATES = 4096  # visited states that scores are taken over


class Pruner(Protocol):
    """What is pruned, and by which score."""

    def counts(self, network: NetworkPolicy) -> list[int]:
        """How many may be left: all of them first, then fewer and fewer."""
        ...

    def __call__(self, network: NetworkPolicy, observations: Floats, /, *, keep: int) -> NetworkPolicy:
        """The network with `keep` of them left."""
        ...


@dataclass(frozen=True)
class Weights:
    """Single weights."""

    score: Score = taylor
    scope: Scope = "global"
    schedule: Schedule = one_shot
    rounds: int = 1

    def counts(self, network: NetworkPolicy) -> list[int]:
        """The sizes to try, largest first."""
        return ladder(network.weights)

    def __call__(self, network: NetworkPolicy, observations: Floats, /, *, keep: int) -> NetworkPolicy:
        return prune_gradually(
            network, self.score, observations, keep=keep, scope=self.scope, schedule=self.schedule, rounds=self.rounds
        )


@dataclass(frozen=True)
class Units:
    """Hidden units, of all layers together."""

    score: Score = unit_taylor

    def counts(self, network: NetworkPolicy) -> list[int]:
        """The sizes to try, largest first."""
        hidden = network.sizes[1:-1]
        if not hidden:
            raise NiwakiError("the policy has no hidden units to prune: prune weights instead")
        return [n for n in ladder(sum(hidden)) if n >= len(hidden)]  # a layer keeps at least one

    def __call__(self, network: NetworkPolicy, observations: Floats, /, *, keep: int) -> NetworkPolicy:
        return prune_units(network, self.score(network, observations), observations, keep=keep)


@dataclass(frozen=True, eq=False)
class Bench:
    """Where networks are chosen: the teacher's flights, and states that it visits."""

    flights: Trajectories
    observations: Floats  # [N, O]


def bench(teacher: NetworkPolicy, task: Task, *, episodes: int = 100, seed: int = 0) -> Bench:
    """The teacher flown on fresh scenarios of the family that selects, apart from those of any evaluation."""
    if episodes < 1:
        raise NiwakiError(f"episodes must be at least 1, got {episodes}")
    if seed < 0:
        raise NiwakiError(f"the seed must not be negative, got {seed}")
    rng = np.random.default_rng([seed, SELECTION])
    scenarios = task.simulator.sample(rng, episodes)
    flights = rollout(task.simulator, deployed(teacher), scenarios, specs=task.specs, record=True)
    return Bench(flights, choose(gather(teacher, flights), MOST_STATES, rng).observations)


def sparsify(
    teacher: NetworkPolicy,
    task: Task,
    at: Bench,
    pruner: Pruner,
    *,
    gate: Gate,
    progress: Callable[[Attempt], None] = lambda attempt: None,
) -> Sparsest:
    """The sparsest network that passes the gate at the bench, each flown as compiled C, and all that was tried.

    Raises NiwakiError when the teacher itself does not earn what is asked for, or has nothing to prune.
    """
    mean, least = float(at.flights.returns.mean()), gate.least_return(at.flights)
    if mean < least:
        raise NiwakiError(
            f"the teacher's own mean return is {mean:.1f} over {len(at.flights)} episodes, below the {least:g} "
            "that is asked for: ask for less"
        )

    def prune_to(keep: int) -> NetworkPolicy:
        return pruner(teacher, at.observations, keep=keep)

    def trial(network: NetworkPolicy) -> Verdict:
        return judge(gate, task.simulator, deployed(network), at.flights, specs=task.specs)

    return sparsest(prune_to, pruner.counts(teacher), trial, progress=progress)
