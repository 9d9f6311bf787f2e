"""pops: policy pruning and shrinking, as its paper has it, to compare with (D. Livne & K. Cohen: PoPS, IEEE Journal of
Selected Topics in Signal Processing 14(4), 2020, arXiv:2001.05012).

    teacher -> prune on the way -> redundancy -> widths -> smaller dense network -> distil -> (again) -> judge

Every stage goes into the run's ledger, so a run that was killed goes on. `niwaki.recipes.shrink` is what we would use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from niwaki.certification.artefact import TEACHER
from niwaki.evaluation import Row, policy_row
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.recipes import rounds
from niwaki.recipes.ipp import Loop
from niwaki.recipes.ledger import Facts, Ledger, Stage, Work, identity
from niwaki.recipes.rounds import Iteration, Rounds, check_shrinkable
from niwaki.recipes.stages import FILES, export, fly, fly_teacher
from niwaki.rollout import Stages
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError

JUDGEMENT = 0x30D6  # family of dice
PICTURE = "pops.html"  # drawn from run.json by whoever shows the run
JUDGED, ENGINE_JUDGED = 1000, 300  # episodes of the last judgement
JUDGEMENTS = 5  # networks that are judged, the smallest first


@dataclass(frozen=True, eq=False)
class Popped:
    """The outcome; `asdict` gives the JSON of `niwaki pops`."""

    passed: bool
    reason: str
    teacher: Row
    policy: Row  # the smallest that passed the judgement; the teacher's where none did
    iterations: tuple[Iteration, ...]
    out: str
    seconds: float


def loop_for(task: Task, *, objective: float | None = None, lower_bound: float | None = None, **rest: float) -> Loop:
    """The loop with the task's return threshold for an objective, where none is given, and the paper's lower bound.

    Raises NiwakiError where the task has no threshold.
    """
    objective = task.return_threshold if objective is None else objective
    if objective is None:
        raise NiwakiError(f"{task.name} has no return threshold: say which mean return is needed, with --objective")
    if lower_bound is None:
        lower_bound = rounds.lower_bound(objective)
    return Loop(objective, lower_bound, **rest)  # type: ignore[arg-type]


def pops(
    teacher: NetworkPolicy,
    task: Task,
    out: str | Path,
    loop: Loop,
    *,
    command: Sequence[str] = (),
    restart: bool = False,
    progress: Stages = lambda stage, done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Popped:
    """Prune and shrink as PoPS does and write the smallest network that keeps the objective into the folder `out`.

    What is distilled is the teacher's softmax over its actions; a teacher of continuous actions has none, so its
    actions are imitated (`niwaki.imitation.slopes`). A run that was stopped in `out` goes on; `restart` begins anew.
    Raises NiwakiError for a teacher without hidden units, and when `out` holds another run.
    """
    check_shrinkable(teacher)
    out = Path(out)
    ledger = Ledger(out, identity(teacher, task, loop=asdict(loop)), outcome=(*FILES, PICTURE), restart=restart)
    save_policy(teacher, out / TEACHER)
    popped = _Run(teacher, task, loop, ledger, progress, note).outcome()
    ledger.close({"command": list(command), "outcome": asdict(popped)})
    return popped


class _Run:
    """One run: its stages in order, and what they have found so far."""

    def __init__(
        self,
        teacher: NetworkPolicy,
        task: Task,
        loop: Loop,
        ledger: Ledger,
        progress: Stages,
        note: Callable[[str], None],
    ) -> None:
        self.teacher, self.task, self.loop, self.ledger = teacher, task, loop, ledger
        self.progress, self.note = progress, note
        self.quick = isinstance(task.simulator, Lockstep)
        self.iterations: list[Iteration] = []
        self.reached: list[NetworkPolicy] = []  # dense networks that reached the objective, ever smaller

    def outcome(self) -> Popped:
        first = partial(fly_teacher, self.teacher, self.task, seed=self.loop.seed, progress=self.progress)
        pilot = self._stage("teacher", first).facts["teacher"]
        reason = self._too_much(pilot) or self._iterate(pilot["length_mean"])
        judged, network = self._judge()
        if network is not None:
            reason = ""
            self._stage("export", partial(export, network, self.ledger.folder, seed=self.loop.seed))
        elif judged is not None:
            low = judged["policy"]["return_low"]
            reason = f"the last that was judged may return {low:.1f}, {self.loop.objective:g} is asked for"
        return Popped(
            passed=network is not None,
            reason=reason,
            teacher=judged["teacher"] if judged else pilot,
            policy=judged["policy"] if judged and network is not None else pilot,
            iterations=tuple(self.iterations),
            out=str(self.ledger.folder),
            seconds=round(self.ledger.seconds, 1),
        )

    def _too_much(self, pilot: Facts) -> str:
        mean, objective = pilot["return_mean"], self.loop.objective
        if mean >= objective:
            return ""
        return f"the teacher's own mean return is {mean:.1f}, below the objective of {objective:g}"

    # the stages --------------------------------------------------------------------------------------------------

    def _iterate(self, length: float) -> str:
        """All rounds; why nothing was found, for the case that nothing was."""
        going = Rounds(self.teacher, self.task, self.loop, self._stage, self.progress)
        for iteration, stage in going(length):
            self.iterations.append(iteration)
            if stage.network is not None:
                self.reached.append(stage.network)
        return going.reason

    def _judge(self) -> tuple[Facts | None, NetworkPolicy | None]:
        """The last judgement, and the network that passed it: the smallest goes first, each on fresh episodes."""
        facts: Facts | None = None
        for number, network in enumerate(self.reached[::-1][:JUDGEMENTS], start=1):
            stage = self._stage(f"judge {number}", partial(self._judgement, network, number))
            facts = stage.facts
            if facts["policy"]["return_low"] >= self.loop.objective:
                return facts, stage.network
        return facts, None

    def _judgement(self, network: NetworkPolicy, number: int) -> tuple[Facts, NetworkPolicy]:
        """The rows of the network and its teacher, over the same episodes."""
        facts, n = {}, JUDGED if self.quick else ENGINE_JUDGED
        for name, each in (("policy", network), ("teacher", self.teacher)):
            flying = deployed(each)
            flights = fly(flying, self.task, (self.loop.seed, JUDGEMENT, number), n, progress=self.progress)
            facts[name] = policy_row(each, trajectories=flights, ns_per_call=ns_per_call(flying))
        return facts, network

    def _stage(self, name: str, work: Work) -> Stage:
        stage = self.ledger.stage(name, work)
        self.note(in_words(stage))
        return stage


def in_words(stage: Stage) -> str:
    """What a stage has found, in one line."""
    facts, kind = stage.facts, stage.name.split()[0]
    if kind == "teacher":
        return f"teacher: return {facts['teacher']['return_mean']:.1f}"
    if kind in ("prune", "distil"):
        return rounds.in_words(stage)
    if kind == "judge":
        row = facts["policy"]
        return f"judge: {row['weights']:,} weights, return {row['return_mean']:.1f} over {row['episodes']:,} episodes"
    return "export: done"
