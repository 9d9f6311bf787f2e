"""Imitate: mend a sparse network by showing it what its teacher would have done where it went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from niwaki.gates import Verdict
from niwaki.imitation import MOST_LESSONS, Lessons, attention, distil, gather, join, median_lead
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import rollout
from niwaki.types import Floats, NiwakiError, Simulator, Spec, Trajectories

REPAIR = 0x2EFA  # family of dice, apart from those of search, guard and certificate
RECOVERY_SHARE = 0.05  # of all lessons' weight goes to the recovery states
PATIENCE = 2  # fits without any progress, after which no other is tried
QUESTIONS = 2  # that the guard is asked at the end of the practice

Guard = Callable[[NetworkPolicy], Verdict]  # whether a network is still good enough where it was good before


@dataclass(frozen=True)
class Practice:
    """How much is tried."""

    rounds: int = 6  # fits
    flights: int = 64  # other scenarios flown beside the counterexamples in every round
    steps: int = 2000  # gradient steps of a fit
    budget: float = np.inf  # environment steps; no other fit is begun whose flights would go beyond it
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Round:
    """What one fit led to."""

    network: NetworkPolicy
    corrected: NDArray[np.bool_]  # [B], of the counterexamples, as replayed
    failures: int  # scenarios of the practice on which a specification is broken, counterexamples included
    verdict: Verdict | None = None  # the guard's; None where it was not asked


@dataclass(frozen=True, eq=False)
class Imitation:
    """The best network that the guard let pass, or the one that was given when there was none."""

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
    guard: Guard,
    practice: Practice | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Imitation:
    """The sparse network after lessons from its teacher; its zero weights stay zero.

    The network flies the counterexamples `scenarios` [B, K] and other scenarios, from the sample distribution and
    from all that a search may try. Where it was safe its own answers are the lessons, so that this stays; where
    only the teacher was safe, the teacher's answers are; where neither was, nobody knows better and there is no
    lesson. The teacher's answers at the recovery states `observations` [N, O] are added. Each fit flies the same
    scenarios: that shows what it corrects, and where it went is what the next one learns about.

    This ends with the first network that corrects all counterexamples and that the guard lets pass, or when
    nothing gets better or the practice is over. Then the guard, which may cost more flights than all the
    practice, is asked about the two that fail least. What does not correct more counterexamples than the given
    network, or fails more often over the whole practice, is never taken. Raises NiwakiError when there are no
    specifications or no counterexamples.
    """
    practice = practice or Practice()
    scenarios = np.atleast_2d(np.asarray(scenarios, dtype=np.float64))
    if not specs or not scenarios.size:
        raise NiwakiError("to refine by imitation, give specifications and the counterexamples that break them")

    def fly(policy: NetworkPolicy, rows: Floats) -> Trajectories:
        return rollout(simulator, deployed(policy), rows, specs=specs, record=True)

    rng = np.random.default_rng([practice.seed, REPAIR])
    rows = np.concatenate([scenarios, _others(simulator, practice.flights, rng)])
    shown, flown = fly(teacher, rows), fly(network, rows)
    keeps, shows = ~flown.violated, flown.violated & ~shown.violated
    given = _round(network, flown, len(scenarios))
    spent = int(shown.lengths.sum() + flown.lengths.sum())
    met = _answers(teacher, shown, shows)
    rounds: list[Round] = []
    for number in range(practice.rounds):
        answers = (_answers(given.network, flown, keeps), _answers(teacher, flown, shows))
        met = join([met, *answers], most=MOST_LESSONS, rng=rng)
        lessons = join([met, _at_recoveries(teacher, observations, met)], most=2 * MOST_LESSONS, rng=rng)
        network = distil(network, lessons, steps=practice.steps, seed=practice.seed + number)
        flown = fly(network, rows)
        spent += int(flown.lengths.sum())
        rounds.append(_round(network, flown, len(scenarios)))
        if rounds[-1].corrected.all():
            rounds[-1] = replace(rounds[-1], verdict=guard(network))
        progress("imitate", number + 1, practice.rounds)
        if _passed(rounds[-1]) or _at_a_standstill(rounds) or spent + flown.lengths.sum() > practice.budget:
            break
    best = _first_that_passes(rounds, guard, better_than=given)
    return Imitation(best.network, best.corrected, tuple(rounds))


def _round(network: NetworkPolicy, flown: Trajectories, counterexamples: int) -> Round:
    return Round(network, ~flown.violated[:counterexamples], int(flown.violated.sum()))


def _passed(tried: Round) -> bool:
    return tried.verdict is not None and tried.verdict.passed


def _at_a_standstill(rounds: list[Round]) -> bool:
    failures = [r.failures for r in rounds]
    return len(rounds) - 1 - failures.index(min(failures)) >= PATIENCE


def _first_that_passes(rounds: list[Round], guard: Guard, *, better_than: Round) -> Round:
    """Of the rounds that fail least, the first that the guard lets pass; verdicts are noted."""
    better = [i for i, tried in enumerate(rounds) if _is_better(tried, better_than)]
    for i in sorted(better, key=lambda i: rounds[i].failures)[:QUESTIONS]:
        rounds[i] = replace(rounds[i], verdict=rounds[i].verdict or guard(rounds[i].network))
        if _passed(rounds[i]):
            return rounds[i]
    return better_than


def _is_better(tried: Round, given: Round) -> bool:
    return tried.failures <= given.failures and bool(tried.corrected.sum() > given.corrected.sum())


def _others(simulator: Simulator, n: int, rng: np.random.Generator) -> Floats:
    """A quarter of n scenarios [n, K] as claims are about, the rest from all that a search may try."""
    searched = replace(simulator, columns=tuple(replace(c, sample=c.search) for c in simulator.columns))
    return np.concatenate([simulator.sample(rng, n // 4), searched.sample(rng, n - n // 4)])


def _answers(expert: NetworkPolicy, flights: Trajectories, chosen: NDArray[np.bool_]) -> Lessons:
    """What the expert would have done in the chosen flights [B]."""
    weights = np.where(chosen, attention(flights), 0.0)
    return _comparable(expert, gather(expert, flights, weights=weights))


def _at_recoveries(teacher: NetworkPolicy, observations: Floats, others: Lessons) -> Lessons:
    """The teacher's answers at the recovery states, with their share of the weight beside all other lessons."""
    met = np.asarray(observations, dtype=np.float32).reshape(-1, teacher.observation_size)
    each = RECOVERY_SHARE / (1 - RECOVERY_SHARE) * others.weights.sum() / max(len(met), 1)
    return _comparable(teacher, Lessons(met, teacher.outputs(met), np.full(len(met), each, dtype=np.float32)))


def _comparable(expert: NetworkPolicy, lessons: Lessons) -> Lessons:
    """The lessons in units in which two experts can be mixed: actions are, but scores of choices have any scale
    and take their median lead of the best over the next as their unit."""
    if expert.head.kind != "argmax" or not len(lessons):
        return lessons
    return replace(lessons, outputs=lessons.outputs / np.float32(median_lead(lessons.outputs)))
