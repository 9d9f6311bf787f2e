"""ship: a trained policy and a specification go in; the sparsest policy that still does the job comes out, as C
that was certified.

    teacher -> shape (-> whittle) -> search <-> repair -> export -> certify (-> front, baseline)

Every stage goes into the run's ledger, so a run that was killed goes on, and the same seed gives the same policy.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from niwaki.certification.artefact import TEACHER
from niwaki.certification.certificate import summary
from niwaki.counterexamples import write_counterexamples
from niwaki.evaluation import Row
from niwaki.falsification.falsify import falsify
from niwaki.gates import Verdict, judge
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.recipes.attest import attest
from niwaki.recipes.compare import shares
from niwaki.recipes.exam import Rule
from niwaki.recipes.front import Candidate, Lineup, by_size, pareto, portrait, recommended
from niwaki.recipes.ledger import Facts, Ledger, Stage, Work, identity
from niwaki.recipes.order import SELECTION, Order, certificate_plan, completed, confirmations, gate, refusal, shortfall
from niwaki.recipes.outlook import best_so_far, seconds_left
from niwaki.recipes.repair import repair, unharmed
from niwaki.recipes.shape import Attempt, Effort, effort, episodes_in, shape, shaped
from niwaki.recipes.stages import FILES, attempts_of, fly, fly_teacher
from niwaki.recipes.story import as_facts, counterexample, in_words, story
from niwaki.recipes.whittling import Whittler
from niwaki.refinement.refine import Guard
from niwaki.rollout import counted
from niwaki.shrinking.whittle import MOST, next_share
from niwaki.tasks import Task
from niwaki.types import Counterexample, Lockstep, NiwakiError, Simulator, Trajectories

RETRIAL = 0x2E7A  # family of dice: a repaired policy's trial
RETRIAL_EPISODES, RETRIAL_STEPS = 10_000, 250_000  # of a lockstep simulator, of an engine
CERTIFICATES = 3  # policies that are put to the test, the sparsest first
SEARCH_STEPS = 200_000  # that an engine flies in one search, at most
CANDIDATE = "candidate"  # folder of the policy that is being certified
OUTCOME = (CANDIDATE, *FILES, "certificate.json", "counterexamples.json")


@dataclass(frozen=True, eq=False)
class Shipped:
    """The outcome; `asdict` gives the JSON of `niwaki ship`."""

    shipped: bool
    reason: str
    teacher: Row
    policy: Row
    pruned: float  # share of the teacher's weights that are gone, without biases
    pruned_with_biases: float
    counterexamples_found: int
    counterexamples_left: int
    search_simulations: int
    certificate: dict[str, Any] | None
    out: str
    seconds: float


@dataclass(frozen=True)
class Watch:
    """Who looks on: `advance` hears (stage, done, in all), `note` what a stage has found, in words, and `outlook`
    the best so far and the seconds that are left, roughly."""

    advance: Callable[[str, int, int], None] = field(default_factory=lambda: lambda stage, done, total: None)
    note: Callable[[str], None] = field(default_factory=lambda: lambda text: None)
    outlook: Callable[[str, float], None] = field(default_factory=lambda: lambda best, seconds: None)


def ship(
    teacher: NetworkPolicy,
    task: Task,
    out: str | Path,
    order: Order | None = None,
    *,
    command: Sequence[str] = (),
    restart: bool = False,
    watch: Watch | None = None,
) -> Shipped:
    """Shape, mend, export and certify the policy into the folder `out`; `Shipped.reason` says why where it is not.

    A run that was stopped in `out` goes on; `restart` begins anew. Raises NiwakiError for an order that cannot
    be met whatever the policy (too few episodes for the risk, a task without specifications), and when `out`
    holds another run, or a policy of no run.
    """
    order = completed(order or Order(), task)
    out = Path(out)
    ledger = Ledger(out, identity(teacher, task, **asdict(order)), outcome=OUTCOME, restart=restart)
    save_policy(teacher, out / TEACHER)
    run = _Run(teacher, task, order, ledger, watch or Watch())
    shipped = run.outcome()
    write_counterexamples(out / "counterexamples.json", task, run.found)
    told = story(asdict(shipped), task, ledger, command=command, order=asdict(order), weights=teacher.weights)
    ledger.close(told | {"fronts": run.fronts})
    return shipped


class _Run:
    """One run: its stages in order, and what they have found so far."""

    def __init__(self, teacher: NetworkPolicy, task: Task, order: Order, ledger: Ledger, watch: Watch) -> None:
        self.teacher, self.task, self.order, self.ledger, self.watch = teacher, task, order, ledger, watch
        self.simulator: Simulator = task.simulator
        self.attempts: list[Attempt] = []
        self.passed: dict[str, list[Candidate]] = {"shaped": [], "whittled": [], "mended": []}  # by what made them
        self.fronts: Facts | None = None  # of the picture
        self.found: list[Counterexample] = []
        self.left: list[Counterexample] = []
        self.simulations = 0
        self.stages: list[Stage] = []
        self.pilot: Facts = {}  # the teacher's row, of its first flights

    def outcome(self) -> Shipped:
        """All stages, up to the first policy that passes them, or to the reason why none does."""
        seed, advance = self.order.seed, self.watch.advance
        pilot = self._stage("teacher", lambda: fly_teacher(self.teacher, self.task, seed=seed, progress=advance))
        self.pilot = pilot.facts["teacher"]
        if reason := refusal(self.order, self.pilot):
            return self._ended(None, reason, pilot.facts)
        self._look_ahead()
        reason = "no smaller network passed the trials"
        for number in range(1, CERTIFICATES + 1):
            if short := self._too_few(number):
                reason = f"{reason}; one more attempt is not possible: {short}"
                break
            candidate = self._shape()
            if candidate is None:
                break
            candidate = self._mend(self._whittle(candidate, number), number)
            stage = self._stage(f"certificate {number}", partial(self._certify, candidate.network, number))
            if stage.facts["passed"]:
                self._see_files()
                self._compare(candidate)
                return self._ended(stage.network, "", stage.facts)
            reason = stage.facts["reason"]
            self._refuse_last()
        self._compare(None)
        return self._ended(None, reason, pilot.facts)

    def _too_few(self, attempt: int) -> str:
        """Why this attempt's share of the confidence needs more episodes than there are; empty when not."""
        try:
            certificate_plan(self.order, self.pilot, attempt=attempt)
        except NiwakiError as error:
            return str(error)
        return ""

    def _see_files(self) -> None:
        for name in ("policy.c", "certificate.json"):
            if not (self.ledger.folder / name).exists():
                raise NiwakiError(f"{self.ledger.folder / name} is gone from a finished run: begin anew with --restart")

    # shape ------------------------------------------------------------------------------------------------------

    def _shape(self) -> Candidate | None:
        """The sparsest network that passes the trials and was not refused before."""
        for attempt in attempts_of(self._stage, self._shapes, self.attempts):
            if attempt.verdict.passed:
                self._keep("shaped", attempt.network, f"shape {len(self.attempts)}")
            if shaped(self.attempts) is not None:
                return self.passed["shaped"][-1]
        return None

    def _shapes(self) -> Iterator[Attempt]:
        return shape(
            self.teacher,
            self.task,
            gate=gate(self.order, self.pilot),
            effort=self._effort(),
            seed=self.order.seed,
            done=tuple(self.attempts),
            progress=lambda text: self.watch.advance(text, 0, 0),
        )

    def _refuse_last(self) -> None:
        """What did not pass its certificate did not pass at all: shaping goes on with the next sparsest."""
        last = self.attempts[-1]
        self.attempts[-1] = replace(last, verdict=replace(last.verdict, passed=False))

    def _effort(self) -> Effort:
        return effort(self.simulator, self.pilot["length_mean"], confirmations(self.order, self.pilot))

    def _whittle(self, candidate: Candidate, number: int) -> Candidate:
        """Ever fewer numbers, where the smallest network is wanted."""
        if not self.order.smallest:
            return candidate
        loss = SELECTION * self.order.return_loss
        one_less = Whittler(self.teacher, self.task, self._retry, loss, self.order.seed, self.watch.advance)
        turn, share = 0, MOST
        while one_less.worth_while(candidate.network):
            turn += 1
            stage = self._stage(f"whittle {number}.{turn}", partial(one_less, candidate.network, turn, share))
            if stage.network is None:
                break
            share = next_share(share, candidate.network, stage.network)
            candidate = self._keep("whittled", stage.network, stage.name)
        return candidate

    def _keep(self, how: str, network: NetworkPolicy, stage: str) -> Candidate:
        """Remember what passed its trial, for the fronts."""
        self.passed[how].append(Candidate(network, self.ledger.file(stage)))
        return self.passed[how][-1]

    # search and repair ------------------------------------------------------------------------------------------

    def _mend(self, candidate: Candidate, number: int) -> Candidate:
        """Search for counterexamples and refine, until none is found or nothing helps."""
        for r in range(self.order.rounds + 1):
            search = self._stage(f"search {number}.{r}", partial(self._search, candidate.network, 100 * number + r))
            self.left = [counterexample(entry) for entry in search.facts["counterexamples"]]
            self.found += self.left
            self.simulations += search.facts["simulations"]
            avoidable = [c for c in self.left if c.teacher_margin is None or c.teacher_margin >= 0]
            if not avoidable or r == self.order.rounds:
                break
            work = partial(self._repair, candidate.network, tuple(avoidable), r)
            mended = self._stage(f"repair {number}.{r}", work)
            if not mended.facts["accepted"] or mended.network is None:
                break
            candidate = self._keep("mended", mended.network, mended.name)
        return candidate

    def _search(self, network: NetworkPolicy, seed: int) -> tuple[Facts, NetworkPolicy]:
        budget = self._simulations()
        findings = falsify(
            self.simulator,
            network,
            self.task.specs,
            simulations=budget,
            seed=self.order.seed + seed,
            teacher=self.teacher,
            progress=counted(self.watch.advance, "searching for counterexamples", budget),
        )
        facts = {
            "simulations": findings.simulations,
            "failures": findings.found,
            "counterexamples": [as_facts(c) for c in findings.counterexamples],
        }
        return facts, network

    def _simulations(self) -> int:
        if self.order.simulations is not None:
            return self.order.simulations
        if isinstance(self.simulator, Lockstep):
            return 2050  # ten times the budget of SANP's search
        return episodes_in(SEARCH_STEPS, self.pilot["length_mean"], 100, 2050)

    def _repair(
        self, network: NetworkPolicy, counterexamples: tuple[Counterexample, ...], r: int
    ) -> tuple[Facts, NetworkPolicy]:
        seed = self.order.seed + r
        mended = repair(
            network,
            self.teacher,
            self.task,
            counterexamples,
            guard=self._guard(network),
            seed=seed,
            progress=self.watch.advance,
        )
        facts: Facts = {
            "counterexamples": mended.counterexamples,
            "corrected": mended.corrected,
            "recoveries": [{"step": v.step, "observation": v.observation.tolist()} for v in mended.recoveries],
            "accepted": mended.network is not network,
        }
        return facts, mended.network

    def _guard(self, network: NetworkPolicy) -> Guard:
        """What lets a repair of the network pass: it is still good enough, and no worse than the network was. One that
        was polished by its own flights is easily spoilt by lessons of its teacher's."""
        harmless = unharmed(network, self.task, seed=self.order.seed)

        def guard(other: NetworkPolicy) -> Verdict:
            verdict = harmless(other)
            return self._retry(other) if verdict.passed else verdict

        return guard

    def _retry(self, network: NetworkPolicy) -> Verdict:
        """Whether a repaired network still passes the gate, on scenarios that shaping has not seen."""
        return judge(
            gate(self.order, self.pilot), self.simulator, deployed(network), self._retrial_bench, specs=self.task.specs
        )

    @cached_property
    def _retrial_bench(self) -> Trajectories:
        n = RETRIAL_EPISODES
        if not isinstance(self.simulator, Lockstep):
            n = episodes_in(RETRIAL_STEPS, self.pilot["length_mean"], 200, confirmations(self.order, self.pilot))
        dice, doing = (self.order.seed, RETRIAL), "flying the teacher"
        return fly(deployed(self.teacher), self.task, dice, n, progress=self.watch.advance, doing=doing)

    # export and certify -----------------------------------------------------------------------------------------

    def _certify(self, network: NetworkPolicy, number: int) -> tuple[Facts, NetworkPolicy]:
        folder = self.ledger.folder / CANDIDATE  # what is refused shall not lie about as policy.c
        folder.mkdir(exist_ok=True)
        facts = attest(
            network,
            self.teacher,
            self.task,
            folder,
            plan=certificate_plan(self.order, self.pilot, attempt=number),
            seed=self.order.seed,
            progress=self.watch.advance,
        )
        certificate = facts.pop("certificate")
        reason = "" if facts["export"]["bit_exact"] is not False else "the C and its reference differ"
        reason = reason or shortfall(self.order, self.pilot, certificate)
        if not reason:
            for file in sorted(folder.iterdir()):
                file.replace(self.ledger.folder / file.name)
        shutil.rmtree(folder)
        return {"passed": not reason, "reason": reason, "certificate": summary(certificate), **facts}, network

    # the fronts -------------------------------------------------------------------------------------------------

    def _compare(self, shipped: Candidate | None) -> None:
        """Fly all that passed a trial side by side, and direct distillation with them, where the smallest is wanted."""
        if not self.order.smallest:
            return
        lineup = Lineup(self.teacher, self.task, self.order.seed, self.watch.advance)
        everyone = [candidate for kept in self.passed.values() for candidate in kept]
        rows = self._stage("front", partial(lineup.front, everyone)).facts["rows"]
        baseline = self._stage("baseline", lineup.baseline).facts["rows"]
        row_of, rule = {row["file"]: row for row in rows}, Rule(self.order.return_loss, self.order.more_violations)
        policy = None if shipped is None else row_of[shipped.file]
        series = {how: by_size([row_of[each.file] for each in kept]) for how, kept in self.passed.items() if kept}
        self.fronts = portrait(
            series | {"direct distillation": baseline},
            teacher=rows[-1],
            policy=policy,
            knee=None if policy is None else recommended(pareto(rows), policy, rule),
            rule=rule,
        )

    # the end ----------------------------------------------------------------------------------------------------

    def _ended(self, network: NetworkPolicy | None, reason: str, facts: Facts) -> Shipped:
        shipped = network is not None
        network = network or self.teacher
        return Shipped(
            shipped=shipped,
            reason=reason or "every condition held on the fresh episodes of the certificate",
            teacher=facts["teacher"],
            policy=facts["policy"] if shipped else facts["teacher"],
            **shares(network, self.teacher),
            counterexamples_found=len(self.found),
            counterexamples_left=len(self.left),
            search_simulations=self.simulations,
            certificate=facts.get("certificate"),
            out=str(self.ledger.folder),
            seconds=round(self.ledger.seconds, 1),
        )

    def _stage(self, name: str, work: Work) -> Stage:
        stage = self.ledger.stage(name, work)
        self.stages.append(stage)
        self.watch.note(in_words(stage))
        self._look_ahead()
        return stage

    def _look_ahead(self) -> None:
        """Tell the watcher the best so far and the time left."""
        if self.pilot:
            plan = certificate_plan(self.order, self.pilot, attempt=1)
            trial, search = self._effort().trials, self._simulations()
            seconds = seconds_left(self.stages, trial=trial, search=search, certificate=2 * plan.episodes)
            self.watch.outlook(best_so_far(self.stages), seconds)
