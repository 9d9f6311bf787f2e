"""Where shrink's candidates come from: networks smaller than the teacher that have passed a trial.

They come of a search (shape, polish, whittle), of PoPS's rounds, or of merging the teacher's own units.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import count
from typing import Literal, get_args

from niwaki.gates import Gate, Verdict, judge, patient
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.exam import Rule
from niwaki.recipes.front import Candidate
from niwaki.recipes.ipp import Loop
from niwaki.recipes.ledger import Facts, Ledger, OutOfTime, Stage, Work
from niwaki.recipes.merging import PATIENCE, TOLERANCES, Merger
from niwaki.recipes.order import SELECTION
from niwaki.recipes.rounds import Rounds, lower_bound
from niwaki.recipes.rounds import in_words as half_a_round
from niwaki.recipes.shape import Attempt, Step, effort, shape
from niwaki.recipes.stages import attempts_of, fly, fly_teacher
from niwaki.recipes.whittling import Whittler
from niwaki.rollout import Stages
from niwaki.shrinking.polish import moved
from niwaki.shrinking.whittle import MOST, next_share
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError, Trajectories

TRIAL = 0xF791  # family of dice
TRIAL_EPISODES, ENGINE_TRIAL_EPISODES = 4000, 400  # with which the gate decides about a network that was whittled
POLISHED = 120  # numbers of a network that are moved, at most, if it is polished: beyond, CMA-ES takes too many flights
AHEAD = 0.03  # share by which a network earns more than its teacher that was polished: shaping does where it has to
GAMBLE = 1 / 2  # share of the time that is left for the polish of a refused linear map, half as much for each wider one
LONGER = 2  # times the fits of shaping for a student that misses by little

Change = Callable[[NetworkPolicy], tuple[Facts, NetworkPolicy | None]]  # facts of a stage, what it makes of a network
Method = Literal["search", "pops", "compact"]  # what gives the candidates: see FINDERS


@dataclass(frozen=True)
class Wish:
    """What is asked of the small policy."""

    rule: Rule = field(default_factory=Rule)
    method: Method = "search"
    most_parameters: int | None = None  # non-zero weights and biases
    seconds: float = float("inf")  # after which nothing new is tried
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise NiwakiError(f"the method must be one of {', '.join(get_args(Method))}, got {self.method!r}")
        if self.most_parameters is not None and self.most_parameters < 1:
            raise NiwakiError(f"a policy needs at least one parameter, got {self.most_parameters}")
        if not self.seconds > 0:
            raise NiwakiError(f"the budget must be a positive time, got {self.seconds:g} s")
        if self.seed < 0:
            raise NiwakiError(f"the seed must not be negative, got {self.seed}")


class Finder:
    """What one run looks for candidates with, and the stages that it has been through."""

    def __init__(
        self,
        teacher: NetworkPolicy,
        task: Task,
        wish: Wish,
        ledger: Ledger,
        progress: Stages,
        note: Callable[[str], None],
    ) -> None:
        self.teacher, self.task, self.wish, self.ledger = teacher, task, wish, ledger
        self.progress, self.note = progress, note
        self.gate = Gate(
            return_loss=SELECTION * wish.rule.return_loss,
            more_violations=SELECTION * wish.rule.more_violations if task.specs else None,
        )
        self._begun = time.monotonic()  # the stage that is under way

    def stage(self, name: str, work: Work, *, about: str = "") -> Stage:
        """A stage of the run: read back where it is finished, otherwise worked for; said in a line."""
        self._begun = time.monotonic()
        stage = self.ledger.stage(name, work, about=about)
        self.note(in_words(stage))
        return stage

    def candidate(self, network: NetworkPolicy, stage: str) -> Candidate:
        """What a stage left, to be examined."""
        return Candidate(network, self.ledger.file(stage))

    def passes(self, network: NetworkPolicy) -> Verdict:
        """Whether a network is worth an exam: a trial on flights that neither its training nor the exam has."""
        bench = self._trial_bench
        usual = at_most(self._broken + float(bench.violated.sum()), self.pilot["episodes"] + len(bench))
        gate = patient(self.gate, bench, usual=usual)
        return judge(gate, self.task.simulator, deployed(network), bench, specs=self.task.specs)

    @cached_property
    def pilot(self) -> Facts:
        """The teacher's row, of its first flights."""
        first = partial(fly_teacher, self.teacher, self.task, seed=self.wish.seed, progress=self.progress)
        return dict(self.stage("teacher", first).facts["teacher"])

    def by_search(self) -> Iterator[Candidate]:
        """What shaping confirms, up to the first student that holds once it is polished; else the smallest of it,
        polished; and what whittling leaves of the smallest of all."""
        found: list[Candidate] = []
        loss = SELECTION * self.wish.rule.return_loss
        whittler = Whittler(self.teacher, self.task, self.passes, loss, self.wish.seed, self.progress, self._left)
        share = 1.0
        for number, attempt in enumerate(self._shapes(self.pilot["length_mean"]), start=1):
            tried = self.candidate(attempt.network, f"shape {number}")
            if attempt.verdict.passed:
                found.append(tried)
                yield tried
            linear = attempt.step == Step("grow", 0)
            refused = attempt.step.kind == "grow" and not attempt.verdict.passed
            name = f"polish {attempt.step.student}"
            share *= GAMBLE if attempt.step.kind == "grow" else 1
            if (linear or refused) and (better := self._polish(tried, name, partial(whittler.polished, share=share))):
                found.append(better)
                yield better
                break
            if linear and found:
                break
        else:
            best = smallest_first(found)[0] if found and not self._ahead(attempt.verdict) else None
            if best is not None and (better := self._polish(best, "polish", whittler.polished)):
                found.append(better)
                yield better
        if found:
            yield from self._whittle(smallest_first(found)[0], whittler)

    def by_pops(self) -> Iterator[Candidate]:
        """The dense networks of PoPS's rounds, whose objective is the least return that a trial lets pass."""
        usual = self.pilot["return_mean"]
        objective = usual - SELECTION * self.wish.rule.return_loss * abs(usual)
        loop = Loop(objective, lower_bound(objective), seed=self.wish.seed)
        rounds = Rounds(self.teacher, self.task, loop, self.stage, self.progress)
        for number, (_, dense) in enumerate(rounds(self.pilot["length_mean"]), start=1):
            if dense.network is not None:
                trial = self.stage(f"trial {number}", partial(self._trial, dense.network))
                if trial.facts["verdict"]["passed"]:
                    yield self.candidate(dense.network, dense.name)
            if self._late(f"prune {number + 1}"):
                return

    def by_merging(self) -> Iterator[Candidate]:
        """What merging leaves of the teacher, each tolerance going on from the stricter one before. No training."""
        merger = Merger(self.teacher, self.task, self.passes, self.wish.seed, self.progress)
        network, refused = self.teacher, 0
        for number, tolerance in enumerate(TOLERANCES, start=1):
            if refused == PATIENCE or self._late(f"merge {number}"):
                return
            merged = self.stage(f"merge {number}", partial(merger, network, tolerance))
            if merged.network is None:
                continue
            network, passed = merged.network, merged.facts["verdict"]["passed"]
            refused = 0 if passed else refused + 1
            if passed and network.nonzero_parameters < self.teacher.nonzero_parameters:
                yield self.candidate(network, merged.name)

    def _shapes(self, length: float) -> Iterator[Attempt]:
        attempts: list[Attempt] = []

        def begin() -> Iterator[Attempt]:
            asked = effort(self.task.simulator, length, 1000, seconds=self.wish.seconds - self.ledger.seconds)
            return shape(
                self.teacher,
                self.task,
                gate=self.gate,
                effort=replace(
                    asked,
                    longer=LONGER,
                    confirmations=min(asked.confirmations, TRIAL_EPISODES),  # the exam flies more
                ),
                seed=self.wish.seed,
                usual=at_most(self._broken, self.pilot["episodes"]),
                done=tuple(attempts),
                progress=lambda text: self.progress(text, 0, 0),
            )

        return attempts_of(self.stage, begin, attempts)

    def _ahead(self, verdict: Verdict) -> bool:
        """Whether a network that was confirmed earns clearly more than its teacher."""
        usual = self.pilot["return_mean"]
        return not isinstance(self.task.simulator, Lockstep) and verdict.return_mean > usual + AHEAD * abs(usual)

    def _polish(self, candidate: Candidate, name: str, polished: Change) -> Candidate | None:
        return None if moved(candidate.network) > POLISHED else self._better(candidate, name, polished)

    def _whittle(self, candidate: Candidate, whittler: Whittler) -> Iterator[Candidate]:
        """Take numbers out, as many at a time as may go."""
        share = MOST
        for number in count(1):
            if not whittler.worth_while(candidate.network):
                return
            work = partial(whittler, number=number, share=share)
            smaller = self._better(candidate, f"whittle {number}", work)
            if smaller is None:
                return
            share = next_share(share, candidate.network, smaller.network)
            candidate = smaller
            yield smaller

    def _better(self, candidate: Candidate, name: str, work: Change) -> Candidate | None:
        """What a stage makes of a candidate within the time that is left; None where that is nothing, or not in
        time."""
        if self._late(name, about=candidate.file):
            return None
        try:
            stage = self.stage(name, partial(work, candidate.network), about=candidate.file)
        except OutOfTime:
            return None
        return None if stage.network is None else self.candidate(stage.network, stage.name)

    def _trial(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy]:
        return {"verdict": asdict(self.passes(network))}, network

    def _late(self, name: str, *, about: str = "") -> bool:
        """Whether the time is over, and the stage is not one that an earlier run finished."""
        return self.ledger.seconds > self.wish.seconds and not self.ledger.has(name, about=about)

    def _left(self) -> float:
        """Seconds that are left, in the middle of a stage."""
        return self.wish.seconds - self.ledger.seconds - (time.monotonic() - self._begun)

    @property
    def _broken(self) -> float:
        """How many of the teacher's first flights violate."""
        return float(self.pilot["violation_rate"]) * self.pilot["episodes"]

    @cached_property
    def _trial_bench(self) -> Trajectories:
        n = TRIAL_EPISODES if isinstance(self.task.simulator, Lockstep) else ENGINE_TRIAL_EPISODES
        return fly(deployed(self.teacher), self.task, (self.wish.seed, TRIAL), n, progress=self.progress)


def at_most(broken: float, episodes: int) -> float:
    """The rate at which so many are broken, and a standard deviation more: a trial errs towards the exam."""
    return (broken + math.sqrt(max(broken, 1.0))) / episodes


def smallest_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The smallest first; of those that are as small, the one that was found last: it was polished."""
    ranked = sorted(enumerate(candidates), key=lambda pair: (pair[1].network.nonzero_parameters, -pair[0]))
    return [candidate for _, candidate in ranked]


FINDERS: dict[Method, Callable[[Finder], Iterator[Candidate]]] = {
    "search": Finder.by_search,
    "pops": Finder.by_pops,
    "compact": Finder.by_merging,
}


def in_words(stage: Stage) -> str:
    """What a stage has found, in one line."""
    facts, kind = stage.facts, stage.name.split()[0]
    size = "" if stage.network is None else f"{stage.network.nonzero_parameters:,} parameters"
    if kind == "teacher":
        return f"teacher: return {facts['teacher']['return_mean']:.1f}"
    if kind in ("prune", "distil"):
        return half_a_round(stage)
    if kind in ("shape", "polish", "whittle", "trial", "bytes"):
        if stage.network is None:
            return f"{kind}: nothing smaller passed"
        verdict = facts["verdict"]
        return f"{kind}: {size}, return {verdict['return_mean']:.1f}, {'passed' if verdict['passed'] else 'refused'}"
    if kind == "merge":
        if stage.network is None:
            return f"merge: no unit can go within a tolerance of {facts['tolerance']:g}"
        verdict, most = facts["verdict"], facts["change"]["exceeding_upper"]
        said = f"actions change by more than {facts['tolerance']:g} in at most {most:.2%} of the teacher's states"
        return f"merge: {size}, {said}, {'passed' if verdict['passed'] else 'refused'}"
    if kind == "exam":
        row = facts["policy"]
        said = f"return {row['return_mean']:.1f} over {row['episodes']:,} fresh episodes"
        return f"exam: {size}, {said}, {'passed' if facts['passed'] else facts['reason']}"
    return f"{kind}: done" if kind != "export" else f"export: {size}"
