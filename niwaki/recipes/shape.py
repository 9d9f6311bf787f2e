"""Shape: the sparsest network that still does its teacher's work, and the whole path to it.

A small student learns from the teacher in the closed loop, then loses its cheapest weights a few at a time
and learns again, for as long as the gate lets it pass. It starts from random weights, not from the teacher's:
what heavy pruning leaves of a large network is a small network with an unlucky start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from niwaki.gates import FIRST_LOOK, Gate, Verdict, judge, patient
from niwaki.imitation import MOST_LESSONS, Lessons, attention, choose, distil, gather, join
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.surgeon import MOST_PARAMETERS, operate
from niwaki.recipes.fitness import Fitness
from niwaki.recipes.ledger import OutOfTime
from niwaki.rollout import rollout
from niwaki.shrinking.polish import polish
from niwaki.shrinking.widths import newborn
from niwaki.specs import Formula
from niwaki.tasks import Task
from niwaki.types import Floats, Lockstep, Simulator, Trajectories

PRACTICE, TRIAL, CONFIRMATION, START = 0x9AC7, 0x791A, 0xC0F1, 0x57A7  # families of dice, apart from all others
FIRST_WIDTH = 8  # hidden units of the first student that has any
DEEP_FROM = 16  # hidden units of the first student that has a second layer: below, a wider layer does more
FIRST_CUT, LAST_CUT = 0.3, 0.1  # shares of the weights that are taken away at once
GLANCE = 0.05  # more violations than the teacher's among the practice flights, and there is no trial yet
HOPE = 3  # fits after which a network that is refused at a glance is given up,
IN_A_ROW = 2  # where that happens so often: a single fit may be an unlucky one
POLISH = 3  # fits of a network that is to be confirmed
SEARCHING = 4  # times the practice flights before each of these: the failures that are left are rare
NEARLY = 0.05  # share of the confirmation that a network flew which is not hopeless
CURVATURE_LESSONS = 4000
TRIAL_STEPS, CONFIRMATION_STEPS = 100_000, 600_000  # that a policy flies on an engine, at most

Report = Callable[[str], None]
Can = Callable[["Step"], bool]  # whether a student can be tried


@dataclass(frozen=True)
class Effort:
    """How much is tried. All but `seconds` leaves the result a function of the seed."""

    flights: int = 48  # practice episodes of a student after every fit
    trials: int = 200  # episodes of the gate for every size
    confirmations: int = 1000  # other episodes of the gate for the network that is handed over
    rounds: int = 6  # fits that a size may take to pass
    longer: int = 1  # times as many for a student that misses by little
    steps: int = 3000  # gradient steps of a fit; twice as many for a network that is to be confirmed
    generations: int = 12  # of a polish, by flights alone, of a network that hardly fails to be confirmed
    seconds: float = float("inf")  # after which no new size is tried


def effort(simulator: Simulator, length: float, confirmations: int, *, seconds: float = float("inf")) -> Effort:
    """What is worth trying where a teacher's episodes are so long, in steps, and a gate needs so many confirmations.

    Lockstep simulators fly thousands of episodes a second: enough to find what a certificate would find."""
    if isinstance(simulator, Lockstep):
        return Effort(trials=2000, confirmations=20_000, steps=2000, seconds=seconds)
    return Effort(
        trials=episodes_in(TRIAL_STEPS, length, 200, 400),
        confirmations=episodes_in(CONFIRMATION_STEPS, length, 200, min(confirmations, 2000)),
        seconds=seconds,
    )


def episodes_in(steps: float, length: float, least: int, most: int) -> int:
    """Episodes of this length, in steps, that so many steps are enough for, within limits."""
    return int(np.clip(steps / length, least, most))


@dataclass(frozen=True, eq=False)
class Attempt:
    """One size that was tried: the network, and what the gate said."""

    step: Step
    network: NetworkPolicy
    verdict: Verdict
    fits: int  # that it took


@dataclass(frozen=True)
class Step:
    """What to try next: a student of so many hidden units, one of so many weights, or the choice of an attempt."""

    kind: Literal["grow", "thin", "confirm"]
    size: int  # hidden units of each layer (0: a linear map), weights to keep, or the index of the attempt
    depth: int = 1  # hidden layers of a student that has hidden units

    @property
    def student(self) -> str:
        """The hidden layers of a student, such as 16-16, or linear."""
        return "-".join([str(self.size)] * self.depth) if self.size else "linear"


def plan(attempts: Sequence[Attempt], *, late: bool = False, can: Can = lambda step: True) -> Step | None:
    """What comes after these attempts; None when the search is over.

    grow: a linear map; after a refusal a student with one hidden layer, then, from DEEP_FROM units on, one with two
    such layers, then one twice as wide, each of them if it `can` be tried. thin: 30 % of the weights less than the last
    network that passed; half of that share after every refusal. confirm: the passed network with the fewest weights,
    then the next, until one passes again on other and more episodes. Where none of them does, a larger student is
    grown.
    """
    last = attempts[-1] if attempts else None
    if last and last.step.kind == "confirm" and last.verdict.passed:
        return None
    grown = [i for i, a in enumerate(attempts) if a.step.kind == "grow"]
    kin = range(grown[-1], len(attempts)) if grown else range(0)  # the widest student and those thinned from it
    passed = [i for i in kin if attempts[i].step.kind != "confirm" and attempts[i].verdict.passed]
    confirming = any(attempts[i].step.kind == "confirm" for i in kin)
    if passed and not late and not confirming and (thin := _thinner([attempts[i] for i in kin])):
        return thin
    refused = {a.step.size for a in attempts if a.step.kind == "confirm"}
    if open_ones := [i for i in passed if i not in refused]:
        return Step("confirm", open_ones[-1])
    last_grown = attempts[grown[-1]].step if grown else None
    return None if late else next(filter(can, _larger(last_grown)), None)


def _larger(student: Step | None) -> list[Step]:
    """What may be tried after a student that was not good enough, the smallest first."""
    if student is None:
        return [Step("grow", 0)]
    wider = Step("grow", max(FIRST_WIDTH, 2 * student.size))
    return [replace(student, depth=2), wider] if student.size >= DEEP_FROM and student.depth == 1 else [wider]


def _thinner(kin: Sequence[Attempt]) -> Step | None:
    """The next size below those of a student and of the networks thinned from it; None where none is left."""
    weights = [a.network.nonzero_weights for a in kin if a.verdict.passed][-1]
    refused = [a.step.size for a in kin if not a.verdict.passed]
    cut = FIRST_CUT / 2 ** len(refused)
    while cut >= LAST_CUT:
        keep = min(weights - 1, round(weights * (1 - cut)))
        if keep > max(refused, default=0):
            return Step("thin", keep)
        cut /= 2
    return None


def shape(
    teacher: NetworkPolicy,
    task: Task,
    *,
    gate: Gate,
    effort: Effort | None = None,
    seed: int = 0,
    usual: float | None = None,
    done: Sequence[Attempt] = (),
    progress: Report | None = None,
) -> Iterator[Attempt]:
    """Yields every attempt as it ends; the answer is `shaped` of all of them.

    Between its fits a student flies and the teacher says what it would have done. An interrupted run goes on
    with `done`, what it yielded before, to the same end: the lessons of an attempt are those of the networks
    that the attempts before it ended with, and its own. `usual` is how often the teacher violates, where an exam
    follows: trials and confirmations are so short that the teacher may have been lucky, and then go by that.
    `progress` is told in words what is tried. Raises OutOfTime where there is more to try, and no time for it.
    """
    effort, started = effort or Effort(), time.monotonic()
    attempts, can = list(done), partial(worth_trying, teacher)
    workshop: _Workshop | None = None
    while step := plan(attempts, late=time.monotonic() - started > effort.seconds, can=can):
        if progress is not None:
            progress(_words(step, attempts))
        workshop = workshop or _Workshop(teacher, task, gate, effort, seed, usual, done)
        attempt = workshop.do(step, attempts)
        workshop.remember(attempt, len(attempts))
        attempts.append(attempt)
        yield attempt
    if plan(attempts, can=can) is not None:
        raise OutOfTime


def worth_trying(teacher: NetworkPolicy, step: Step) -> bool:
    """Whether a student is small enough, to operate on and to be worth while, and no deeper than the teacher."""
    if step.size and step.depth >= len(teacher.layers):
        return False
    student = seedling(teacher, step.size, np.random.default_rng(0), depth=step.depth)
    return student.parameters <= MOST_PARAMETERS and student.weights <= teacher.weights


def shaped(attempts: Sequence[Attempt]) -> NetworkPolicy | None:
    """The network to hand over: the one that was confirmed, or None."""
    last = attempts[-1] if attempts else None
    return last.network if last and last.step.kind == "confirm" and last.verdict.passed else None


def seedling(teacher: NetworkPolicy, width: int, rng: np.random.Generator, *, depth: int = 1) -> NetworkPolicy:
    """A student of the teacher's inputs, activation and head, with so many hidden layers, as a rule one, of random
    weights; a linear map where the width is 0."""
    return newborn(teacher, (width,) * depth if width else (), rng)


def _words(step: Step, attempts: Sequence[Attempt]) -> str:
    if step.kind == "grow":
        return f"learning with {step.student} units" if step.size else "learning a linear map"
    if step.kind == "thin":
        return f"learning with {step.size} weights"
    return f"confirming {attempts[step.size].network.nonzero_weights} weights"


class _Workshop:
    """The teacher, the task and the lessons so far."""

    def __init__(
        self,
        teacher: NetworkPolicy,
        task: Task,
        gate: Gate,
        effort: Effort,
        seed: int,
        usual: float | None = None,
        done: Sequence[Attempt] = (),
    ) -> None:
        self.teacher, self.task, self.gate, self.effort, self.seed = teacher, task, gate, effort, seed
        self.known = usual
        self._latest: tuple[int, int, Trajectories] | None = None  # number, fits, and the practice flights after them
        flown = self._practise(teacher, 0, 0)
        self.usual = float(flown.violated.mean())  # share of the teacher's flights that break a specification
        self.lessons = self._lessons(flown)
        self.benches: dict[int, Trajectories] = {}  # the teacher's flights, by family
        self.fitness = Fitness(teacher, task, seed)
        for number, attempt in enumerate(done):
            self.remember(attempt, number)

    def _student(self, step: Step) -> NetworkPolicy:
        return seedling(self.teacher, step.size, self._rng(START), depth=step.depth)

    def do(self, step: Step, attempts: Sequence[Attempt]) -> Attempt:
        number = len(attempts)
        if step.kind == "confirm":
            return self._confirm(step, attempts[step.size].network, number)
        if step.kind == "grow":
            return self._teach(step, self._student(step), number)
        passed = [a for a in attempts if a.verdict.passed]
        few = choose(self.lessons, CURVATURE_LESSONS, self._rng(START, step.size))
        return self._teach(step, operate(passed[-1].network, few, keep=step.size), number)

    def remember(self, attempt: Attempt, number: int) -> None:
        """Add where an attempt's last network flew to all later lessons."""
        if attempt.step.kind != "confirm":
            met = self._lessons(self._practise(attempt.network, number, attempt.fits))
            self.lessons = self._join([met, self.lessons], number, attempt.fits)

    def _practise(self, network: NetworkPolicy, number: int, fits: int, *, times: int = 1) -> Trajectories:
        """Flights of the network, recorded. Those of a network that was just flown are at hand."""
        if self._latest is None or self._latest[:2] != (number, fits):
            rows = self._scenarios(times * self.effort.flights, PRACTICE, number, fits)
            self._latest = number, fits, self._fly(network, rows, record=True)
        return self._latest[2]

    def _lessons(self, flown: Trajectories) -> Lessons:
        """What the teacher would have done in these flights."""
        lost = [spec.lost(flown) for spec in self.task.specs if isinstance(spec, Formula)]
        weights = attention(flown, lost=np.min(lost, axis=0) if lost else None)
        return gather(self.teacher, flown, weights=weights)

    def _join(self, parts: Sequence[Lessons], number: int, fits: int) -> Lessons:
        return join(parts, most=MOST_LESSONS, rng=self._rng(PRACTICE, number, fits, 1))

    def _teach(self, step: Step, network: NetworkPolicy, number: int) -> Attempt:
        """Fit and fly until the gate lets the network pass, or its rounds are over."""
        lessons = self.lessons
        rounds, hopeless = self.effort.rounds, 0
        for fits in range(1, rounds * (self.effort.longer if step.kind == "grow" else 1) + 1):
            network = distil(network, lessons, steps=self.effort.steps, seed=self._dice(number, fits))
            flown = self._practise(network, number, fits)
            plain = flown.violated.mean() > self.usual + GLANCE  # a trial would only say what is plain already
            if not plain or fits >= min(HOPE, rounds):
                verdict = self._judge(network, TRIAL, self.effort.trials)
                hopeless = hopeless + 1 if fits >= HOPE and verdict.episodes <= 2 * FIRST_LOOK else 0
                nearly = verdict.episodes == self.effort.trials
                if verdict.passed or hopeless == IN_A_ROW or (fits >= rounds and not nearly):
                    break
            lessons = self._join([self._lessons(flown), lessons], number, fits)
        return Attempt(step, network, verdict, fits)

    def _confirm(self, step: Step, network: NetworkPolicy, number: int) -> Attempt:
        """Polish with long fits on ever more lessons, until the network passes, clearly fails or its rounds are over.

        A trial has few episodes and a network passes it as soon as it can: the rare failures are left over. Those of an
        engine are not learned away by so few lessons: what still goes wrong more often than with the teacher is
        polished by flights."""
        lessons, quick = self.lessons, self.fitness.quick
        for fits in range(1, (POLISH if quick else 1) + 1):
            met = self._practise(network, number, fits, times=SEARCHING)
            lessons = self._join([self._lessons(met), lessons], number, fits)
            network = distil(network, lessons, steps=2 * self.effort.steps, seed=self._dice(number, fits))
            verdict = self._judge(network, CONFIRMATION, self.effort.confirmations)
            if verdict.passed or verdict.episodes <= self.effort.confirmations / 2:  # or it is far from passing
                break
        usual = float(self.benches[CONFIRMATION].violated.mean())
        worse = not verdict.passed or verdict.violation_rate > usual
        if not quick and worse and verdict.episodes > NEARLY * self.effort.confirmations:
            better, _ = polish(network, self.fitness, generations=self.effort.generations, seed=self._dice(number, 0))
            again = self._judge(better, CONFIRMATION, self.effort.confirmations)
            if (again.passed, -again.violation_rate) > (verdict.passed, -verdict.violation_rate):
                network, verdict = better, again
        return Attempt(step, network, verdict, fits)

    def _dice(self, number: int, fits: int) -> int:
        return int(self._rng(PRACTICE, number, fits, 2).integers(2**31))

    def _judge(self, network: NetworkPolicy, family: int, episodes: int) -> Verdict:
        if family not in self.benches:
            self.benches[family] = self._fly(self.teacher, self._scenarios(episodes, family))
        bench = self.benches[family]
        strict = family == CONFIRMATION and self.known is None
        gate = self.gate if strict else patient(self.gate, bench, usual=self.known or 0.0)
        return judge(gate, self.task.simulator, deployed(network), bench, specs=self.task.specs)

    def _fly(self, network: NetworkPolicy, scenarios: Floats, *, record: bool = False) -> Trajectories:
        return rollout(self.task.simulator, deployed(network), scenarios, specs=self.task.specs, record=record)

    def _scenarios(self, n: int, *family: int) -> Floats:
        return self.task.simulator.sample(self._rng(*family), n)

    def _rng(self, *family: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *family])
