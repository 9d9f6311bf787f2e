"""Imitate: mend a sparse network by showing it what its teacher would have done where it went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from niwaki.imitation import Lessons, distil, gather, join
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import rollout
from niwaki.types import Floats, NiwakiError, Simulator, Spec, Trajectories

REPAIR, GUARD = 0x2EFA, 0x90A2D  # families of dice, apart from those of search and certificate
MISTAKE = 4.0  # a step of a flight that breaks a specification counts as much as so many others
RECOVERY_SHARE = 0.05  # of all lessons' weight goes to the recovery states
MOST_LESSONS = 400_000


@dataclass(frozen=True)
class Practice:
    """How much is tried, and what must not be lost by it."""

    rounds: int = 6  # fits
    flights: int = 32  # ordinary scenarios flown beside the counterexamples in every round
    guard: int = 200  # scenarios on which what was safe has to stay safe,
    may_break: float = 0.0  # but for this share of them,
    may_lose: float = 0.02  # and the mean return may fall by this share of its size
    steps: int = 2000  # gradient steps of a fit
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Round:
    """What one fit led to."""

    remaining: int  # counterexamples on which a specification is still broken
    broken: int  # scenarios of the guard that were safe and are not any more
    return_mean: float  # over the guard
    accepted: bool


@dataclass(frozen=True, eq=False)
class Imitation:
    """The best network that was accepted, or the one that was given when none was better."""

    network: NetworkPolicy
    corrected: NDArray[np.bool_]  # [B], of the counterexamples, as replayed
    history: tuple[Round, ...]

    @property
    def remaining(self) -> int:
        """Counterexamples on which the network still breaks a specification."""
        return int((~self.corrected).sum())


def imitate(
    simulator: Simulator,
    network: NetworkPolicy,
    teacher: NetworkPolicy,
    *,
    scenarios: Floats,
    observations: Floats,
    specs: Sequence[Spec],
    practice: Practice | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Imitation:
    """The sparse network after lessons from its teacher; its zero weights stay zero.

    In every round the network flies the counterexamples `scenarios` [B, K] and ordinary scenarios, the
    teacher says what it would have done at every step, and the fit weighs steps of failing flights and the
    recovery states `observations` [N, O] more. A candidate is accepted when it corrects more counterexamples
    than any before it and keeps what the guard asks for (`Practice`): scenarios on which the given network was
    safe stay safe, and its return stays. Ends when none is left, or after `practice.rounds`.
    Raises NiwakiError when there are no specifications or no counterexamples.
    """
    practice = practice or Practice()
    scenarios = np.atleast_2d(np.asarray(scenarios, dtype=np.float64))
    if not specs or not scenarios.size:
        raise NiwakiError("to refine by imitation, give specifications and the counterexamples that break them")

    def fly(policy: NetworkPolicy, rows: Floats, *, record: bool = False) -> Trajectories:
        return rollout(simulator, deployed(policy), rows, specs=specs, record=record)

    guard = simulator.sample(np.random.default_rng([practice.seed, GUARD]), practice.guard)
    before = fly(network, guard)
    best = Imitation(network, ~fly(network, scenarios).violated, ())
    recoveries = _recovery_lessons(teacher, observations)
    met: list[Lessons] = []
    history: list[Round] = []
    candidate = network
    for number in range(practice.rounds):
        if not best.remaining:
            break
        rng = np.random.default_rng([practice.seed, REPAIR, number])
        rows = np.concatenate([scenarios, simulator.sample(rng, practice.flights)])
        for pilot in (teacher, candidate) if number == 0 else (candidate,):
            met.append(_weighed(teacher, fly(pilot, rows, record=True)))
        met = [join(met, most=MOST_LESSONS, rng=rng)]
        lessons = join([met[0], _counting(recoveries, met[0])], most=2 * MOST_LESSONS, rng=rng)
        candidate = distil(candidate, lessons, steps=practice.steps, seed=practice.seed + number)
        corrected = ~fly(candidate, scenarios).violated
        after = fly(candidate, guard)
        kept, broken = _kept(before, after, practice)
        accepted = kept and corrected.sum() > best.corrected.sum()
        history.append(Round(int((~corrected).sum()), broken, float(after.returns.mean()), accepted))
        if accepted:
            best = Imitation(candidate, corrected, ())
        progress("imitate", number + 1, practice.rounds)
    return Imitation(best.network, best.corrected, tuple(history))


def _recovery_lessons(teacher: NetworkPolicy, observations: Floats) -> Lessons:
    met = np.asarray(observations, dtype=np.float32).reshape(-1, teacher.observation_size)
    return Lessons(met, teacher.outputs(met), np.ones(len(met), dtype=np.float32))


def _weighed(teacher: NetworkPolicy, flights: Trajectories) -> Lessons:
    return gather(teacher, flights, weights=np.where(flights.violated, MISTAKE, 1.0))


def _counting(recoveries: Lessons, others: Lessons) -> Lessons:
    """The recovery states with their share of the weight beside all other lessons."""
    each = RECOVERY_SHARE / (1 - RECOVERY_SHARE) * others.weights.sum() / max(len(recoveries), 1)
    return replace(recoveries, weights=np.full(len(recoveries), each, dtype=np.float32))


def _kept(before: Trajectories, after: Trajectories, practice: Practice) -> tuple[bool, int]:
    """Whether the guard is content, and how many of its scenarios are safe no longer."""
    broken = int((after.violated & ~before.violated).sum())
    mean = float(before.returns.mean())
    enough = float(after.returns.mean()) >= mean - practice.may_lose * abs(mean)
    return enough and broken <= practice.may_break * len(before), broken
