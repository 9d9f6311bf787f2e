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

import numpy as np

from niwaki.evaluation import Row, policy_row
from niwaki.export.export import export_policy
from niwaki.imitation import MOST_LESSONS, Lessons, gather, join
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.recipes.ipp import Course, Fly, Loop, distil_dense, prune_on_the_way
from niwaki.recipes.ledger import Facts, Ledger, Stage, Work, identity
from niwaki.recipes.stages import FILES, fly_teacher
from niwaki.rollout import Stages, counted, rollout
from niwaki.shrinking.widths import narrower, newborn, redundancy
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError, Policy, Trajectories

LESSON, GLANCE, BIRTH, JUDGEMENT = 0x1E55, 0x6A9C, 0xB127, 0x30D6  # families of dice
PICTURE = "pops.html"  # drawn from run.json by whoever shows the run
NEW_STEPS = 25_000  # that the teacher flies for every iteration
BUFFER = 4  # iterations whose flights are learned from: 100,000 steps, as in the paper
LOOK_EPISODES, ENGINE_LOOK_EPISODES = 100, 25
JUDGED, ENGINE_JUDGED = 1000, 300  # episodes of the last judgement
JUDGEMENTS = 5  # networks that are judged, the smallest first
LEAST_FALL = 0.0005  # share of the teacher's weights; a step that gains less is the last
LOWER_SHARE = 80 / 190  # the paper's lower bound on CartPole, as a share of its objective


@dataclass(frozen=True)
class Iteration:
    """One round of the loop: what pruning left of a network, and the smaller dense network that took its place."""

    nonzero_weights: int  # that pruning left
    redundancy: tuple[float, ...]  # of each layer
    widths: tuple[int, ...]  # of the dense network, from observation to output
    weights: int
    parameters: int
    score: float  # of the dense network, at its last look
    reached: bool  # the objective
    seconds: float


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

    The bound lies below the objective by 110/190 of its size. Raises NiwakiError where the task has no threshold.
    """
    objective = task.return_threshold if objective is None else objective
    if objective is None:
        raise NiwakiError(f"{task.name} has no return threshold: say which mean return is needed, with --objective")
    if lower_bound is None:
        lower_bound = objective - (1 - LOWER_SHARE) * abs(objective)
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
    if len(teacher.layers) < 2:
        raise NiwakiError("the policy has no hidden units to shrink")
    out = Path(out)
    ledger = Ledger(out, identity(teacher, task, loop=asdict(loop)), outcome=(*FILES, PICTURE), restart=restart)
    save_policy(teacher, out / "teacher.safetensors")
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
        self._flown: dict[int, Lessons] = {}

    def outcome(self) -> Popped:
        first = partial(fly_teacher, self.teacher, self.task, seed=self.loop.seed, progress=self.progress)
        pilot = self._stage("teacher", first).facts["teacher"]
        reason = self._too_much(pilot) or self._iterate(pilot["length_mean"])
        judged, network = self._judge()
        if network is not None:
            reason = ""
            self._stage("export", partial(self._export, network))
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
        """Prune and shrink until little is gained; why nothing was found, for the case that nothing was."""
        # As large as the teacher, but not its copy: large Q values that differ by little are a bad start for logits.
        network = self._newborn(self.teacher.sizes[1:-1], 0)
        for number in range(1, self.loop.iterations + 1):
            pruned = self._stage(f"prune {number}", partial(self._prune, network, number, length))
            if pruned.network is None:
                return "no pruned network reached the objective"
            widths = narrower(network.sizes[1:-1], pruned.facts["redundancy"])
            if widths == network.sizes[1:-1]:
                return "what pruning left needs a network as wide as before"
            shrunk = self._stage(f"distil {number}", partial(self._distil, widths, number, length))
            self.iterations.append(_iteration(pruned, shrunk))
            if shrunk.network is None:
                return f"no dense network of {self.iterations[-1].weights:,} weights reached the objective"
            self.reached.append(shrunk.network)
            fall = network.weights - shrunk.network.weights
            network = shrunk.network
            if fall < LEAST_FALL * self.teacher.weights:
                break
        return ""

    def _prune(self, network: NetworkPolicy, number: int, length: float) -> tuple[Facts, NetworkPolicy | None]:
        self.progress(f"pruning {network.weights:,} weights", 0, 0)
        course = prune_on_the_way(
            network,
            self._lessons(number, length),
            self._fly_look(number, 0),
            self.loop,
            iteration=number,
        )
        facts = _facts(course)
        if course.network is not None:
            facts["redundancy"] = redundancy(course.network)
        return facts, course.network

    def _distil(self, widths: tuple[int, ...], number: int, length: float) -> tuple[Facts, NetworkPolicy | None]:
        student = self._newborn(widths, number)
        self.progress(f"distilling into {student.weights:,} weights", 0, 0)
        course = distil_dense(
            student,
            self._lessons(number, length),
            self._fly_look(number, 1),
            self.loop,
            iteration=number,
        )
        facts = _facts(course) | {
            "widths": student.sizes,
            "weights": student.weights,
            "parameters": student.parameters,
        }
        return facts, course.network

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
        facts = {}
        for name, each in (("policy", network), ("teacher", self.teacher)):
            flying = deployed(each)
            flights = self._fly(flying, (JUDGEMENT, number), JUDGED if self.quick else ENGINE_JUDGED)
            facts[name] = policy_row(each, trajectories=flights, ns_per_call=ns_per_call(flying))
        return facts, network

    def _export(self, network: NetworkPolicy) -> tuple[Facts, NetworkPolicy]:
        save_policy(network, self.ledger.folder / "policy.safetensors")
        return {"export": asdict(export_policy(network, self.ledger.folder, seed=self.loop.seed))}, network

    # what they share ---------------------------------------------------------------------------------------------

    def _newborn(self, widths: tuple[int, ...], number: int) -> NetworkPolicy:
        return newborn(self.teacher, widths, np.random.default_rng([self.loop.seed, BIRTH, number]))

    def _lessons(self, number: int, length: float) -> Lessons:
        """The teacher's last flights up to this iteration: some new ones, and those of the iterations before."""
        episodes = max(1, round(NEW_STEPS / length))
        recent = range(max(1, number - BUFFER + 1), number + 1)
        for i in recent:
            if i not in self._flown:
                flights = self._fly(deployed(self.teacher), (LESSON, i), episodes, record=True)
                self._flown[i] = gather(self.teacher, flights)
        rng = np.random.default_rng([self.loop.seed, LESSON, number, 1])
        return join([self._flown[i] for i in recent], most=MOST_LESSONS, rng=rng)

    def _fly_look(self, number: int, kind: int) -> Fly:
        """Mean returns for the looks of a course, each on scenarios of its own."""

        def fly(student: NetworkPolicy, look: int) -> float:
            n = LOOK_EPISODES if self.quick else ENGINE_LOOK_EPISODES
            flying: Policy = student if self.quick else deployed(student)  # compiling costs more than it saves
            return float(self._fly(flying, (GLANCE, number, kind, look), n).returns.mean())

        return fly

    def _fly(self, policy: Policy, family: tuple[int, ...], n: int, *, record: bool = False) -> Trajectories:
        rows = self.task.simulator.sample(np.random.default_rng([self.loop.seed, *family]), n)
        count = counted(self.progress, "flying", n)
        return rollout(self.task.simulator, policy, rows, specs=self.task.specs, record=record, progress=count)

    def _stage(self, name: str, work: Work) -> Stage:
        stage = self.ledger.stage(name, work)
        self.note(in_words(stage))
        return stage


def _facts(course: Course) -> Facts:
    return {"looks": [asdict(look) for look in course.looks]}


def _iteration(pruned: Stage, shrunk: Stage) -> Iteration:
    assert pruned.network is not None
    return Iteration(
        nonzero_weights=pruned.network.nonzero_weights,
        redundancy=tuple(pruned.facts["redundancy"]),
        widths=tuple(shrunk.facts["widths"]),
        weights=shrunk.facts["weights"],
        parameters=shrunk.facts["parameters"],
        score=shrunk.facts["looks"][-1]["score"],
        reached=shrunk.network is not None,
        seconds=round(pruned.seconds + shrunk.seconds, 1),
    )


def in_words(stage: Stage) -> str:
    """What a stage has found, in one line."""
    facts, kind = stage.facts, stage.name.split()[0]
    if kind == "teacher":
        return f"teacher: return {facts['teacher']['return_mean']:.1f}"
    if kind == "prune":
        if stage.network is None:
            return "prune: nothing reached the objective"
        return f"prune: {stage.network.nonzero_weights:,} of {stage.network.weights:,} weights are left"
    if kind == "distil":
        said = "reached" if stage.network is not None else "not reached"
        return f"distil: {facts['weights']:,} weights, return {facts['looks'][-1]['score']:.1f}, objective {said}"
    if kind == "judge":
        row = facts["policy"]
        return f"judge: {row['weights']:,} weights, return {row['return_mean']:.1f} over {row['episodes']:,} episodes"
    return "export: done"
