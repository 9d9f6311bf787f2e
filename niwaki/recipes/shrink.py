"""shrink: the smallest policy that still does its teacher's work, and the whole front on the way to it.

    teacher -> candidates -> exam -> bytes -> front, baseline, C and ONNX

Candidates come of a search (shape, then whittle), of PoPS's rounds, or of merging the teacher's own units.
Every stage goes into the run's ledger, so a run that was killed goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from niwaki.certification.artefact import TEACHER
from niwaki.evaluation import Row
from niwaki.imitation import choose, gather
from niwaki.policies.c_source import table_bytes
from niwaki.policies.compact import compact
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.pruning.surgeon import round_weights
from niwaki.recipes.candidates import FINDERS, Finder, Wish, smallest_first
from niwaki.recipes.exam import Exam, examine
from niwaki.recipes.front import Candidate, Lineup, pareto, portrait, recommended
from niwaki.recipes.ledger import Facts, Ledger, Stage, identity
from niwaki.recipes.rounds import check_shrinkable
from niwaki.recipes.shape import CURVATURE_LESSONS
from niwaki.recipes.stages import FILES, export, fly
from niwaki.recipes.story import setting, stage_rows
from niwaki.rollout import Stages
from niwaki.tasks import Task

ROUNDING = 0xB17E  # family of dice
ROUNDING_EPISODES = 100  # whose states say how a weight that is rounded is made up for
EXAMS, LARGER = 5, 1.25  # candidates that are examined, the smallest first, and how much larger each next one is


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
    run = _Run(Finder(teacher, task, wish, ledger, progress, note))
    shrunk = run.outcome()
    outcome = {key: value for key, value in asdict(shrunk).items() if key != "out"}
    ledger.close(outcome | setting(task, command=command, seed=wish.seed) | run.story)
    return shrunk


class _Run:
    """One run, from its candidates to what is handed over."""

    def __init__(self, finder: Finder) -> None:
        self.finder = finder
        self.teacher, self.task, self.wish, self.ledger = finder.teacher, finder.task, finder.wish, finder.ledger
        self.progress = finder.progress
        self.story: Facts = {}  # what the report needs beside the outcome

    def outcome(self) -> Shrunk:
        found = FINDERS[self.wish.method](self.finder)
        candidates = smallest_first(list(found))
        last, smallest = self._examine(candidates)
        if smallest is not None and (rounded := self._in_bytes(smallest)) is not None:
            last, smallest = rounded
            candidates.append(smallest)
        lineup, files = Lineup(self.teacher, self.task, self.wish.seed, self.progress), [c.file for c in candidates]
        rows = self.finder.stage("front", partial(lineup.front, candidates), about=" ".join(files)).facts["rows"]
        baseline = self.finder.stage("baseline", lineup.baseline).facts["rows"]
        if smallest is not None:
            work = partial(export, smallest.network, self.ledger.folder, seed=self.wish.seed)
            self.finder.stage("export", work, about=smallest.file)
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
            teacher=exam["teacher"] if exam else self.finder.pilot,
            policy=exam["policy"] if exam and smallest is not None else self.finder.pilot,
            front=tuple(front),
            knee=knee,
            baseline=tuple(baseline),
            out=str(self.ledger.folder),
            seconds=round(self.ledger.seconds, 1),
        )

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
        return self.finder.stage(name, partial(self._examined, candidate.network, number), about=candidate.file)

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
        stage = self.finder.stage("bytes", partial(self._round, candidate.network), about=candidate.file)
        if stage.network is None:
            return None
        rounded = self.finder.candidate(stage.network, stage.name)
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
        verdict = self.finder.passes(rounded)
        return {"verdict": asdict(verdict)}, rounded if verdict.passed else None
