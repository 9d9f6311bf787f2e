"""shrink: the smallest policy that still does its teacher's work, and the whole front on the way to it.

    teacher -> candidates -> exam -> bytes -> front, baseline, C and ONNX

Candidates come of a search (shape, then whittle), of PoPS's rounds, or of merging the teacher's own units.
Every stage goes into the run's ledger, so a run that was killed goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from niwaki.certification.artefact import TEACHER
from niwaki.evaluation import Row
from niwaki.gates import Gate, Verdict, judge, patient
from niwaki.imitation import choose, gather
from niwaki.policies.c_source import table_bytes
from niwaki.policies.compact import compact
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.pruning.surgeon import round_weights
from niwaki.recipes.exam import Exam, Rule, examine
from niwaki.recipes.front import Candidate, Lineup, pareto, portrait, recommended
from niwaki.recipes.ipp import Loop
from niwaki.recipes.ledger import Facts, Ledger, Stage, Work, identity
from niwaki.recipes.merging import PATIENCE, TOLERANCES, Merger
from niwaki.recipes.order import SELECTION
from niwaki.recipes.rounds import Rounds, check_shrinkable, lower_bound
from niwaki.recipes.rounds import in_words as half_a_round
from niwaki.recipes.shape import CURVATURE_LESSONS, Attempt, Step, effort, shape
from niwaki.recipes.stages import FILES, attempts_of, export, fly, fly_teacher
from niwaki.recipes.story import setting, stage_rows
from niwaki.recipes.whittling import OutOfTime, Whittler
from niwaki.rollout import Stages
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError, Trajectories

TRIAL, ROUNDING = 0xF791, 0xB17E  # families of dice
ROUNDING_EPISODES = 100  # whose states say how a weight that is rounded is made up for
TRIAL_EPISODES, ENGINE_TRIAL_EPISODES = 4000, 400  # with which the gate decides about a network that was whittled
POLISHED = 120  # numbers of a network, at most, that is polished: beyond, CMA-ES takes too many flights
LONGER = 2  # times the fits of shaping for a student that misses by little
EXAMS, LARGER = 5, 1.25  # candidates that are examined, the smallest first, and how much larger each next one is

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


@dataclass(frozen=True, eq=False)
class Shrunk:
    """The outcome; `asdict` gives the JSON of `niwaki shrink`."""

    passed: bool
    reason: str
    teacher: Row
    policy: Row  # the smallest that passed its exam; the teacher's where none did
    front: tuple[Row, ...]  # all that no smaller one matches, the smallest first, each with its `file`
    knee: Row | None  # the row that is recommended; None where none passed
    baseline: tuple[Row, ...]  # direct distillation into dense networks, on the same episodes
    out: str
    seconds: float


def shrink(
    teacher: NetworkPolicy,
    task: Task,
    out: str | Path,
    wish: Wish | None = None,
    *,
    command: Sequence[str] = (),
    restart: bool = False,
    progress: Stages = lambda stage, done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Shrunk:
    """Find the smallest policy that passes its exam and write it into the folder `out`, as C and ONNX too.

    A run that was stopped in `out` goes on; `restart` begins anew. Raises NiwakiError when `out` holds another run.
    """
    wish, out = wish or Wish(), Path(out)
    if wish.method == "pops":
        check_shrinkable(teacher)
    asked = {
        "method": wish.method,
        "rule": asdict(wish.rule),
        "most_parameters": wish.most_parameters,
        "seed": wish.seed,
    }  # time is none of it
    ledger = Ledger(out, identity(teacher, task, **asked), outcome=FILES, restart=restart)
    save_policy(teacher, out / TEACHER)
    run = _Run(teacher, task, wish, ledger, progress, note)
    shrunk = run.outcome()
    outcome = {key: value for key, value in asdict(shrunk).items() if key != "out"}
    ledger.close(outcome | setting(task, command=command, seed=wish.seed) | run.story)
    return shrunk


class _Run:
    """One run: its stages in order, and what they have found so far."""

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
        self.simulator, self.quick = task.simulator, isinstance(task.simulator, Lockstep)
        self.gate = Gate(
            return_loss=SELECTION * wish.rule.return_loss,
            more_violations=SELECTION * wish.rule.more_violations if task.specs else None,
        )
        self._begun = time.monotonic()  # the stage that is under way
        self.story: Facts = {}  # what the report needs beside the outcome

    def outcome(self) -> Shrunk:
        found = FINDERS[self.wish.method](self)
        candidates = smallest_first(list(found))
        last, smallest = self._examine(candidates)
        if smallest is not None and (rounded := self._in_bytes(smallest)) is not None:
            last, smallest = rounded
            candidates.append(smallest)
        lineup, files = Lineup(self.teacher, self.task, self.wish.seed, self.progress), [c.file for c in candidates]
        rows = self._stage("front", partial(lineup.front, candidates), about=" ".join(files)).facts["rows"]
        baseline = self._stage("baseline", lineup.baseline).facts["rows"]
        if smallest is not None:
            work = partial(export, smallest.network, self.ledger.folder, seed=self.wish.seed)
            self._stage("export", work, about=smallest.file)
        front, row_of = pareto(rows), {row["file"]: row for row in rows}
        shown = None if smallest is None else row_of[smallest.file]
        knee = None if shown is None else recommended(front, shown, self.wish.rule)
        fronts = portrait(
            {"front": front, "direct distillation": baseline},
            teacher=row_of[TEACHER],
            policy=shown,
            knee=knee,
            rule=self.wish.rule,
        )
        exam = None if last is None else last.facts
        self.story = self._story(last, fronts)
        reason = self._reason(exam, smallest)
        return Shrunk(
            passed=not reason,
            reason=reason,
            teacher=exam["teacher"] if exam else self.pilot,
            policy=exam["policy"] if exam and smallest is not None else self.pilot,
            front=tuple(front),
            knee=knee,
            baseline=tuple(baseline),
            out=str(self.ledger.folder),
            seconds=round(self.ledger.seconds, 1),
        )

    @cached_property
    def pilot(self) -> Facts:
        """The teacher's row, of its first flights."""
        first = partial(fly_teacher, self.teacher, self.task, seed=self.wish.seed, progress=self.progress)
        return dict(self._stage("teacher", first).facts["teacher"])

    def _story(self, last: Stage | None, fronts: Facts) -> Facts:
        """What run.json says for the report: the last exam with its rule, a row for every stage, the picture."""
        shipped = last.name if last is not None and last.facts["passed"] else None
        return {
            "shipped": shipped is not None,
            "shrunk": {
                "rule": asdict(self.wish.rule),
                "most_parameters": self.wish.most_parameters,
                "exams": sum(stage.name.startswith("exam") for stage in self.ledger.stages()),
                "exam": None if last is None else last.facts,
            },
            "stages": stage_rows(self.ledger, self.teacher.weights, shipped=shipped),
            "fronts": fronts,
        }

    def _reason(self, exam: Facts | None, smallest: Candidate | None) -> str:
        if exam is None:
            return "no smaller network passed the trials"
        if smallest is None:
            return f"none of the smallest passed the exam: {exam['reason']}"
        most, left = self.wish.most_parameters, smallest.network.nonzero_parameters
        if most is not None and left > most:
            return f"the smallest that passed has {left:,} parameters, {most:,} were asked for"
        return ""

    # what gives candidates: all that passed a trial, in the order in which they are found -------------------------

    def by_search(self) -> Iterator[Candidate]:
        """What shaping confirms, up to the first student that holds once it is polished; else the smallest of it,
        polished; and what whittling leaves of the smallest of all."""
        found: list[Candidate] = []
        loss = SELECTION * self.wish.rule.return_loss
        whittler = Whittler(self.teacher, self.task, self._try, loss, self.wish.seed, self.progress, self._over)
        for number, attempt in enumerate(self._shapes(self.pilot["length_mean"]), start=1):
            if attempt.verdict.passed:
                found.append(self._candidate(attempt.network, f"shape {number}"))
                yield found[-1]
            linear = attempt.step == Step("grow", 0)
            refused = attempt.step.kind == "grow" and not attempt.verdict.passed
            name = f"polish {attempt.step.student}"
            if (linear or refused) and (better := self._polish(attempt.network, name, whittler)):
                found.append(better)
                yield better
                break
            if linear and found:
                break
        else:
            if found and (better := self._polish(smallest_first(found)[0].network, "polish", whittler)):
                found.append(better)
                yield better
        if found:
            yield from self._whittle(smallest_first(found)[0].network, whittler)

    def _polish(self, network: NetworkPolicy, name: str, whittler: Whittler) -> Candidate | None:
        if network.nonzero_parameters > POLISHED:
            return None
        return self._found(name, partial(whittler.polished, network))

    def _found(self, name: str, work: Work) -> Candidate | None:
        """What a stage finds within the time that is left; None where it finds nothing, or not in time."""
        if self._late(name):
            return None
        try:
            stage = self._stage(name, work)
        except OutOfTime:
            return None
        return None if stage.network is None else self._candidate(stage.network, stage.name)

    def by_pops(self) -> Iterator[Candidate]:
        """The dense networks of PoPS's rounds, whose objective is the least return that a trial lets pass."""
        usual = self.pilot["return_mean"]
        objective = usual - SELECTION * self.wish.rule.return_loss * abs(usual)
        loop = Loop(objective, lower_bound(objective), seed=self.wish.seed)
        rounds = Rounds(self.teacher, self.task, loop, self._stage, self.progress)
        for number, (_, dense) in enumerate(rounds(self.pilot["length_mean"]), start=1):
            if dense.network is not None:
                trial = self._stage(f"trial {number}", partial(self._trial, dense.network))
                if trial.facts["verdict"]["passed"]:
                    yield self._candidate(dense.network, dense.name)
            if self._late(f"prune {number + 1}"):
                return

    def _trial(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy]:
        return {"verdict": asdict(self._try(network))}, network

    def by_merging(self) -> Iterator[Candidate]:
        """What merging leaves of the teacher, each tolerance going on from the stricter one before. No training."""
        merger = Merger(self.teacher, self.task, self._try, self.wish.seed, self.progress)
        network, refused = self.teacher, 0
        for number, tolerance in enumerate(TOLERANCES, start=1):
            if refused == PATIENCE or self._late(f"merge {number}"):
                return
            merged = self._stage(f"merge {number}", partial(merger, network, tolerance))
            if merged.network is None:
                continue
            network, passed = merged.network, merged.facts["verdict"]["passed"]
            refused = 0 if passed else refused + 1
            if passed and network.nonzero_parameters < self.teacher.nonzero_parameters:
                yield self._candidate(network, merged.name)

    def _shapes(self, length: float) -> Iterator[Attempt]:
        attempts: list[Attempt] = []

        def begin() -> Iterator[Attempt]:
            asked = effort(self.simulator, length, 1000, seconds=self.wish.seconds - self.ledger.seconds)
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

        return attempts_of(self._stage, begin, attempts)

    def _whittle(self, network: NetworkPolicy, one_less: Whittler) -> Iterator[Candidate]:
        """Take numbers out, one after the other."""
        for number in count(1):
            if not one_less.worth_while(network):
                return
            smaller = self._found(f"whittle {number}", partial(one_less, network, number))
            if smaller is None:
                return
            network = smaller.network
            yield smaller

    def _candidate(self, network: NetworkPolicy, stage: str) -> Candidate:
        return Candidate(network, self.ledger.file(stage))

    def _late(self, name: str) -> bool:
        """Whether the time is over, and the stage is not one that an earlier run finished."""
        return self.ledger.seconds > self.wish.seconds and not self.ledger.has(name)

    def _over(self) -> bool:
        """Whether the time is over, in the middle of a stage."""
        return self.ledger.seconds + time.monotonic() - self._begun > self.wish.seconds

    def _try(self, network: NetworkPolicy) -> Verdict:
        bench = self._trial_bench
        usual = at_most(self._broken + float(bench.violated.sum()), self.pilot["episodes"] + len(bench))
        gate = patient(self.gate, bench, usual=usual)
        return judge(gate, self.simulator, deployed(network), bench, specs=self.task.specs)

    @property
    def _broken(self) -> float:
        """How many of the teacher's first flights violate."""
        return float(self.pilot["violation_rate"]) * self.pilot["episodes"]

    @cached_property
    def _trial_bench(self) -> Trajectories:
        n = TRIAL_EPISODES if self.quick else ENGINE_TRIAL_EPISODES
        return fly(deployed(self.teacher), self.task, (self.wish.seed, TRIAL), n, progress=self.progress)

    # the exam, and what is handed over ---------------------------------------------------------------------------

    def _examine(self, candidates: list[Candidate]) -> tuple[Stage | None, Candidate | None]:
        """The last exam, and the candidate that passed it. After one that failed, the next is clearly larger."""
        last: Stage | None = None
        tried, least = 0, 0.0
        for candidate in candidates:
            left = candidate.network.nonzero_parameters
            again = self.ledger.has(self._exam_of(candidate)[0])  # at an earlier end, if not in this run
            if not again and (left < least or tried == EXAMS):
                continue
            tried, least, last = tried + 1, LARGER * left, self._exam(candidate)
            if last.facts["passed"]:
                return last, candidate
        return last, None

    def _exam(self, candidate: Candidate) -> Stage:
        name, number = self._exam_of(candidate)
        return self._stage(name, partial(self._examined, candidate.network, number), about=candidate.file)

    def _exam_of(self, candidate: Candidate) -> tuple[str, int]:
        """Name and number of the stage in which a candidate is examined: its own, or the first that is free."""
        for number in count(1):
            name = f"exam {number}"
            if not self.ledger.has(name) or self.ledger.has(name, about=candidate.file):
                break
        return name, number

    def _examined(self, network: NetworkPolicy, number: int) -> tuple[Facts, NetworkPolicy]:
        exam: Exam = examine(
            network,
            self.teacher,
            self.task,
            self.wish.rule,
            seed=self.wish.seed,
            number=number,
            progress=self.progress,
        )
        return asdict(exam), network

    def _in_bytes(self, candidate: Candidate) -> tuple[Stage, Candidate] | None:
        """The candidate with weights of one byte each, and its exam, where that is smaller and passes as well."""
        stage = self._stage("bytes", partial(self._round, candidate.network), about=candidate.file)
        if stage.network is None:
            return None
        rounded = self._candidate(stage.network, stage.name)
        exam = self._exam(rounded)
        return (exam, rounded) if exam.facts["passed"] else None

    def _round(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy | None]:
        self.progress("rounding weights to bytes", 0, 0)
        dice = (self.wish.seed, ROUNDING)
        met = fly(deployed(network), self.task, dice, ROUNDING_EPISODES, progress=self.progress, record=True)
        rng = np.random.default_rng([self.wish.seed, ROUNDING, 1])
        rounded = round_weights(network, choose(gather(self.teacher, met), CURVATURE_LESSONS, rng))
        if table_bytes(rounded) >= table_bytes(compact(network)):
            return {"exhausted": True}, None
        verdict = self._try(rounded)
        return {"verdict": asdict(verdict)}, rounded if verdict.passed else None

    def _stage(self, name: str, work: Work, *, about: str = "") -> Stage:
        self._begun = time.monotonic()
        stage = self.ledger.stage(name, work, about=about)
        self.note(in_words(stage))
        return stage


def at_most(broken: float, episodes: int) -> float:
    """The rate at which so many are broken, and a standard deviation more: a trial errs towards the exam."""
    return (broken + math.sqrt(max(broken, 1.0))) / episodes


def smallest_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The smallest first; of those that are as small, the one that was found last: it was polished."""
    ranked = sorted(enumerate(candidates), key=lambda pair: (pair[1].network.nonzero_parameters, -pair[0]))
    return [candidate for _, candidate in ranked]


FINDERS: dict[Method, Callable[[_Run], Iterator[Candidate]]] = {
    "search": _Run.by_search,
    "pops": _Run.by_pops,
    "compact": _Run.by_merging,
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
