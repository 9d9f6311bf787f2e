"""shrink: the smallest policy that still does its teacher's work, and the whole front on the way to it.

    teacher -> shape -> whittle -> exam -> round -> C and ONNX, front, baseline

Every stage goes into the run's ledger, so a run that was killed goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from niwaki.evaluation import Row, policy_row
from niwaki.export.export import export_policy
from niwaki.gates import Gate, Verdict, judge
from niwaki.imitation import choose, distil, gather
from niwaki.policies.c_source import table_bytes
from niwaki.policies.compact import compact
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.pruning.surgeon import round_weights
from niwaki.recipes.exam import Exam, Rule, examine
from niwaki.recipes.ledger import Facts, Ledger, Stage, Work, identity
from niwaki.recipes.order import SELECTION
from niwaki.recipes.shape import CURVATURE_LESSONS, Attempt, effort, seedling, shape
from niwaki.recipes.stages import FILES, attempts_of, fly_teacher
from niwaki.recipes.whittling import Whittler
from niwaki.rollout import Stages, counted, rollout
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError, Policy, Trajectories

TRIAL, FRONT, SHOWN, ROUNDING = 0xF791, 0xF407, 0x5409, 0xB17E  # families of dice
TRIAL_EPISODES, ENGINE_TRIAL_EPISODES = 4000, 400  # with which the gate decides about a network that was whittled
FRONT_EPISODES, ENGINE_FRONT_EPISODES = 1000, 200  # of each row of the front and of the baseline
EXAMS, LARGER = 5, 1.25  # candidates that are examined, the smallest first, and how much larger each next one is
BASELINE_WIDTHS = (0, 1, 2, 4, 8, 16)
BASELINE_STEPS = 10_000  # gradient steps of a direct distillation


@dataclass(frozen=True)
class Wish:
    """What is asked of the small policy."""

    rule: Rule = field(default_factory=Rule)
    most_parameters: int | None = None  # non-zero weights and biases
    seconds: float = float("inf")  # after which nothing new is tried
    seed: int = 0

    def __post_init__(self) -> None:
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
    front: tuple[Row, ...]  # all that no smaller one matches, the smallest first
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
    asked = {
        "rule": asdict(wish.rule),
        "most_parameters": wish.most_parameters,
        "seed": wish.seed,
    }  # time is none of it
    ledger = Ledger(out, identity(teacher, task, **asked), outcome=FILES, restart=restart)
    save_policy(teacher, out / "teacher.safetensors")
    shrunk = _Run(teacher, task, wish, ledger, progress, note).outcome()
    ledger.close({"command": list(command), "outcome": asdict(shrunk)})
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
        self.passed: list[NetworkPolicy] = []  # all that passed a trial, in the order in which they were found

    def outcome(self) -> Shrunk:
        first = partial(fly_teacher, self.teacher, self.task, seed=self.wish.seed, progress=self.progress)
        pilot = self._stage("teacher", first).facts["teacher"]
        self._shape(pilot["length_mean"])
        self._whittle()
        candidates = sorted(self.passed, key=lambda network: network.nonzero_parameters)
        exam, network = self._examine(candidates)
        if network is not None and (rounded := self._in_bytes(network)) is not None:
            exam, network = rounded
            candidates.append(network)
        front = self._stage("front", partial(self._front, candidates)).facts["rows"]
        baseline = self._stage("baseline", self._baseline).facts["rows"]
        reason = self._reason(exam, network)
        if network is not None:
            self._stage("export", partial(self._export, network))
        return Shrunk(
            passed=not reason,
            reason=reason,
            teacher=exam["teacher"] if exam else pilot,
            policy=exam["policy"] if exam and network is not None else pilot,
            front=tuple(front),
            baseline=tuple(baseline),
            out=str(self.ledger.folder),
            seconds=round(self.ledger.seconds, 1),
        )

    def _reason(self, exam: Facts | None, network: NetworkPolicy | None) -> str:
        if exam is None:
            return "no smaller network passed the trials"
        if network is None:
            return f"none of the smallest passed the exam: {exam['reason']}"
        most, left = self.wish.most_parameters, network.nonzero_parameters
        if most is not None and left > most:
            return f"the smallest that passed has {left:,} parameters, {most:,} were asked for"
        return ""

    # the stages --------------------------------------------------------------------------------------------------

    def _shape(self, length: float) -> None:
        attempts: list[Attempt] = []

        def begin() -> Iterator[Attempt]:
            return shape(
                self.teacher,
                self.task,
                gate=self.gate,
                effort=effort(self.simulator, length, 1000, seconds=self.wish.seconds - self.ledger.seconds),
                seed=self.wish.seed,
                done=tuple(attempts),
                progress=lambda text: self.progress(text, 0, 0),
            )

        for attempt in attempts_of(self._stage, begin, attempts):
            if attempt.verdict.passed:
                self.passed.append(attempt.network)

    def _whittle(self) -> None:
        """Take numbers out of the smallest that was confirmed, one after the other."""
        loss = SELECTION * self.wish.rule.return_loss
        one_less = Whittler(self.teacher, self.task, self._try, loss, self.wish.seed, self.progress)
        network = self.passed[-1] if self.passed else None
        number = 0
        while network is not None and one_less.worth_while(network):
            number += 1
            if self.ledger.seconds > self.wish.seconds and not self.ledger.has(f"whittle {number}"):
                return
            network = self._stage(f"whittle {number}", partial(one_less, network, number)).network
            if network is not None:
                self.passed.append(network)

    def _try(self, network: NetworkPolicy) -> Verdict:
        return judge(self.gate, self.simulator, deployed(network), self._trial_bench, specs=self.task.specs)

    @cached_property
    def _trial_bench(self) -> Trajectories:
        return self._fly(deployed(self.teacher), TRIAL, TRIAL_EPISODES if self.quick else ENGINE_TRIAL_EPISODES)

    def _examine(self, candidates: list[NetworkPolicy]) -> tuple[Facts | None, NetworkPolicy | None]:
        """The last exam, and the network that passed it. After one that failed, the next is clearly larger."""
        exam: Facts | None = None
        number, least = 0, 0.0
        for network in candidates:
            if network.nonzero_parameters < least or number == EXAMS:
                continue
            number, least = number + 1, LARGER * network.nonzero_parameters
            stage = self._stage(f"exam {number}", partial(self._exam, network, number))
            exam = stage.facts
            if exam["passed"]:
                return exam, stage.network
        return exam, None

    def _exam(self, network: NetworkPolicy, number: int) -> tuple[Facts, NetworkPolicy]:
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

    def _in_bytes(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy] | None:
        """The network with weights of one byte each, and its exam, where that is smaller and passes as well."""
        rounded = self._stage("bytes", partial(self._round, network)).network
        if rounded is None:
            return None
        stage = self._stage("exam of bytes", partial(self._exam, rounded, EXAMS + 1))
        return (stage.facts, rounded) if stage.facts["passed"] else None

    def _round(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy | None]:
        self.progress("rounding weights to bytes", 0, 0)
        flights = self._fly(deployed(network), ROUNDING, self._many, record=True)
        lessons = choose(
            gather(self.teacher, flights), CURVATURE_LESSONS, np.random.default_rng([self.wish.seed, ROUNDING, 1])
        )
        rounded = round_weights(network, lessons)
        if table_bytes(rounded) >= table_bytes(compact(network)):
            return {"exhausted": True}, None
        verdict = self._try(rounded)
        return {"verdict": asdict(verdict)}, rounded if verdict.passed else None

    def _front(self, candidates: list[NetworkPolicy]) -> tuple[Facts, None]:
        """Rows of the teacher and of all that passed, without those that a smaller one matches."""
        return {"rows": pareto([self._row(network) for network in [*candidates, self.teacher]])}, None

    def _baseline(self) -> tuple[Facts, None]:
        """Dense networks that were distilled from the teacher's own flights, without a closed loop."""
        flights = self._fly(deployed(self.teacher), SHOWN, self._many, record=True)
        lessons, rows = gather(self.teacher, flights), []
        for width in BASELINE_WIDTHS:
            student = seedling(self.teacher, width, np.random.default_rng([self.wish.seed, width]))
            if student.parameters >= self.teacher.parameters:
                break
            self.progress(f"distilling into {student.parameters} parameters", 0, 0)
            student = distil(student, lessons, steps=BASELINE_STEPS, seed=self.wish.seed)
            rows.append(self._row(student))
        return {"rows": rows}, None

    @property
    def _many(self) -> int:
        return FRONT_EPISODES if self.quick else ENGINE_FRONT_EPISODES

    def _export(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy]:
        save_policy(network, self.ledger.folder / "policy.safetensors")
        exported = export_policy(network, self.ledger.folder, seed=self.wish.seed)
        return {"export": asdict(exported)}, network

    # what they share ---------------------------------------------------------------------------------------------

    def _fly(self, policy: Policy, family: int, n: int, *, record: bool = False) -> Trajectories:
        rows = self.simulator.sample(np.random.default_rng([self.wish.seed, family]), n)
        count = counted(self.progress, "flying", n)
        return rollout(self.simulator, policy, rows, specs=self.task.specs, record=record, progress=count)

    def _row(self, network: NetworkPolicy) -> Row:
        """Over the front's flights, the same for all."""
        flying = deployed(network)
        flights = self._fly(flying, FRONT, self._many)
        return policy_row(compact(network), trajectories=flights, ns_per_call=ns_per_call(flying))

    def _stage(self, name: str, work: Work) -> Stage:
        stage = self.ledger.stage(name, work)
        self.note(in_words(stage))
        return stage


def pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows for which no other has as few parameters, as much return and as few violations; the smallest first."""

    def key(row: Row) -> tuple[float, float, float]:
        return float(row["nonzero_parameters"]), -float(row["return_mean"]), float(row["violation_rate"])  # type: ignore[arg-type]

    kept: list[Row] = []
    for row in sorted(rows, key=key):
        if not any(all(a <= b for a, b in zip(key(other), key(row), strict=True)) for other in kept):
            kept.append(row)
    return kept


def in_words(stage: Stage) -> str:
    """What a stage has found, in one line."""
    facts, kind = stage.facts, stage.name.split()[0]
    size = "" if stage.network is None else f"{stage.network.nonzero_parameters:,} parameters"
    if kind == "teacher":
        return f"teacher: return {facts['teacher']['return_mean']:.1f}"
    if kind in ("shape", "whittle", "bytes"):
        if stage.network is None:
            return f"{kind}: nothing smaller passed"
        verdict = facts["verdict"]
        return f"{kind}: {size}, return {verdict['return_mean']:.1f}, {'passed' if verdict['passed'] else 'refused'}"
    if kind == "exam":
        row = facts["policy"]
        said = f"return {row['return_mean']:.1f} over {row['episodes']:,} fresh episodes"
        return f"exam: {size}, {said}, {'passed' if facts['passed'] else facts['reason']}"
    return f"{kind}: done" if kind != "export" else f"export: {size}"
