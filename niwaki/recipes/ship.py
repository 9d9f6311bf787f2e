"""ship: a trained policy and a specification go in; the sparsest policy that still does the job comes out, as C
that was certified.

    teacher -> shape -> search <-> repair -> export -> certify

Every stage goes into the run's ledger, so a run that was killed goes on, and the same seed gives the same policy.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from niwaki.certification.bounds import clopper_pearson_lower
from niwaki.certification.certificate import Certificate, Plan, summary
from niwaki.certification.certify import certify
from niwaki.certification.plan import plan
from niwaki.counterexamples import write_counterexamples
from niwaki.evaluation import Row, paired_difference, policy_row
from niwaki.export.export import export_policy
from niwaki.falsification.falsify import falsify
from niwaki.gates import Gate, Verdict
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.recipes.ledger import Facts, Ledger, Stage
from niwaki.recipes.repair import repair
from niwaki.recipes.shape import Attempt, Effort, Step, shape, shaped
from niwaki.recipes.story import as_facts, counterexample, in_words, nonzero_parameters, story
from niwaki.rollout import rollout
from niwaki.tasks import Task
from niwaki.types import Counterexample, Lockstep, NiwakiError, Simulator

PILOT, RETRIAL = 0x9107, 0x2E7A  # families of dice: the teacher's first flights, a repaired policy's trial
PILOT_EPISODES = 1000
LEAST_EPISODES = 5000  # of a certificate: what a comparison of rare violations with the teacher's needs
CERTIFICATES = 3  # policies that are put to the test, the sparsest first
SEARCH_STEPS = 600_000  # that an engine flies in one search, at most
CANDIDATE = "candidate"  # folder of the policy that is being certified
SELECTION = 0.5  # share of what may be lost that the trials allow: a certificate's bound needs the rest


@dataclass(frozen=True)
class Order:
    """What is asked of the policy that is shipped. None: the task's own, or what the rest needs."""

    return_threshold: float | None = None  # mean return at least this
    return_loss: float = 0.02  # share of the teacher's return that may be lost (one-sided, 95 %)
    more_violations: float = 0.005  # by which the violation rate may exceed the teacher's (one-sided, 95 %)
    risk: float | None = None  # violation rate that the certificate must rule out
    confidence: float = 0.999999
    episodes: int | None = None  # that the certificate may fly
    simulations: int | None = None  # of every search for counterexamples
    rounds: int = 2  # of search and repair
    even_so: bool = False  # go on where the teacher itself violates more often than the risk
    seed: int = 0


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
    """Who looks on: `advance` hears (stage, done, in all), `note` what a stage has found, in words."""

    advance: Callable[[str, int, int], None] = field(default_factory=lambda: lambda stage, done, total: None)
    note: Callable[[str], None] = field(default_factory=lambda: lambda text: None)


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
    holds another run.
    """
    order = _completed(order or Order(), task)
    out = Path(out)
    ledger = Ledger(out, _identity(teacher, task, order), restart=restart)
    save_policy(teacher, out / "teacher.safetensors")
    run = _Run(teacher, task, order, ledger, watch or Watch())
    shipped = run.outcome()
    write_counterexamples(out / "counterexamples.json", task, run.found)
    ledger.close(story(asdict(shipped), task, ledger, command=command, order=asdict(order), weights=teacher.weights))
    return shipped


def _completed(order: Order, task: Task) -> Order:
    """The order with the task's own figures where none are given, checked before anything flies."""
    if not task.specs:
        raise NiwakiError(f"{task.name} has no specification: give one, such as --spec 'always(abs(x) <= 2.4)'")
    order = replace(
        order,
        risk=task.risk if order.risk is None else order.risk,
        return_threshold=task.return_threshold if order.return_threshold is None else order.return_threshold,
    )
    plan(order.risk or 0.0, confidence=order.confidence, episodes=order.episodes)
    if order.rounds < 0:
        raise NiwakiError(f"rounds must not be negative, got {order.rounds}")
    return order


def _identity(teacher: NetworkPolicy, task: Task, order: Order) -> Facts:
    """What makes two runs the same run."""
    arrays = (array for layer in teacher.layers for array in (layer.weight, layer.bias))
    return {
        "teacher": hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest(),
        "task": task.name,
        "task_file": hashlib.sha256(task.source.encode()).hexdigest(),
        "specifications": {spec.name: spec.text for spec in task.specs},
        **asdict(order),
        "niwaki": version("niwaki"),
    }


class _Run:
    """One run: its stages in order, and what they have found so far."""

    def __init__(self, teacher: NetworkPolicy, task: Task, order: Order, ledger: Ledger, watch: Watch) -> None:
        self.teacher, self.task, self.order, self.ledger, self.watch = teacher, task, order, ledger, watch
        self.simulator: Simulator = task.simulator
        self.attempts: list[Attempt] = []
        self.found: list[Counterexample] = []
        self.left: list[Counterexample] = []
        self.simulations = 0
        self.pilot: Facts = {}  # of the teacher's first flights

    def outcome(self) -> Shipped:
        """All stages, up to the first policy that passes them, or to the reason why none does."""
        pilot = self._stage("teacher", self._fly_teacher)
        self.pilot = pilot.facts
        if refusal := self._refusal(pilot.facts):
            return self._ended(None, refusal, pilot.facts)
        reason = "no smaller network passed the trials"
        for number in range(1, CERTIFICATES + 1):
            network = self._shape()
            if network is None:
                break
            network = self._mend(network, number)
            stage = self._stage(f"certificate {number}", partial(self._certify, network, number))
            if stage.facts["passed"]:
                return self._ended(stage.network, "", stage.facts)
            reason = stage.facts["reason"]
            self._refuse_last()
        return self._ended(None, reason, pilot.facts)

    # the teacher ------------------------------------------------------------------------------------------------

    def _fly_teacher(self) -> tuple[Facts, None]:
        rows = self.simulator.sample(np.random.default_rng([self.order.seed, PILOT]), PILOT_EPISODES)
        flying, count = deployed(self.teacher), self._counter("flying the teacher", len(rows))
        flights = rollout(self.simulator, flying, rows, specs=self.task.specs, progress=count)
        row = policy_row(self.teacher, trajectories=flights, ns_per_call=ns_per_call(flying))
        return {"teacher": row, "violations": int(flights.violated.sum())}, None

    def _refusal(self, facts: Facts) -> str:
        """Why nothing is to be shaped from this teacher; empty where something is."""
        row, order, n = facts["teacher"], self.order, facts["teacher"]["episodes"]
        threshold = order.return_threshold
        if threshold is not None and row["return_high"] is not None and row["return_high"] < threshold:
            return (
                f"the teacher's own mean return is {row['return_mean']:.1f} over {n:,} episodes, below the "
                f"{threshold:g} that is asked for: no smaller policy is expected to do better, ask for less"
            )
        if self._beyond_risk() and not order.even_so:
            worst = max(row["violations"], key=row["violations"].get)
            return (
                f"the teacher itself breaks the specification in {row['violation_rate']:.1%} of {n:,} episodes, most "
                f"often {worst}, more than the risk of {order.risk:g}: mend the teacher or the specification, "
                "or go on with --even-so and be measured against the teacher alone"
            )
        return ""

    # shape ------------------------------------------------------------------------------------------------------

    def _shape(self) -> NetworkPolicy | None:
        """The sparsest network that passes the trials and was not refused before."""
        coming = None
        while (confirmed := shaped(self.attempts)) is None:
            name = f"shape {len(self.attempts) + 1}"
            if coming is None and not self.ledger.has(name):
                coming = shape(
                    self.teacher,
                    self.task,
                    gate=self._gate(),
                    effort=self._effort(),
                    seed=self.order.seed,
                    done=tuple(self.attempts),
                    progress=lambda text: self.watch.advance(text, 0, 0),
                )
            stage = self._stage(name, partial(self._next_attempt, coming))
            if stage.network is None:
                return None
            facts = stage.facts
            verdict = Verdict(**facts["verdict"])
            self.attempts.append(Attempt(Step(**facts["step"]), stage.network, verdict, stage.seconds))
        return confirmed

    def _next_attempt(self, coming: Any) -> tuple[Facts, NetworkPolicy | None]:
        attempt = next(coming, None)
        if attempt is None:
            return {"exhausted": True}, None
        return {"step": asdict(attempt.step), "verdict": asdict(attempt.verdict)}, attempt.network

    def _refuse_last(self) -> None:
        """What did not pass its certificate did not pass at all: shaping goes on with the next sparsest."""
        last = self.attempts[-1]
        self.attempts[-1] = replace(last, verdict=replace(last.verdict, passed=False))

    def _gate(self) -> Gate:
        order = self.order
        return Gate(order.return_threshold, SELECTION * order.return_loss, SELECTION * order.more_violations)

    def _effort(self) -> Effort:
        # Lockstep simulators fly thousands of episodes a second: enough to find what a certificate would find
        return Effort(trials=2000, confirmations=20_000) if isinstance(self.simulator, Lockstep) else Effort()

    # search and repair ------------------------------------------------------------------------------------------

    def _mend(self, network: NetworkPolicy, number: int) -> NetworkPolicy:
        """Search for counterexamples and refine, until none is found or nothing helps."""
        for r in range(self.order.rounds + 1):
            search = self._stage(f"search {number}.{r}", partial(self._search, network, 100 * number + r))
            self.left = [counterexample(entry) for entry in search.facts["counterexamples"]]
            self.found += self.left
            self.simulations += search.facts["simulations"]
            avoidable = [c for c in self.left if c.teacher_margin is None or c.teacher_margin >= 0]
            if not avoidable or r == self.order.rounds:
                break
            mended = self._stage(f"repair {number}.{r}", partial(self._repair, network, tuple(avoidable), r))
            if not mended.facts["accepted"] or mended.network is None:
                break
            network = mended.network
        return network

    def _search(self, network: NetworkPolicy, seed: int) -> tuple[Facts, NetworkPolicy]:
        budget = self._simulations()
        findings = falsify(
            self.simulator,
            network,
            self.task.specs,
            simulations=budget,
            seed=self.order.seed + seed,
            teacher=self.teacher,
            progress=self._counter("searching for counterexamples", budget),
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
        pilot = self.pilot["teacher"]["length_mean"]
        return int(np.clip(SEARCH_STEPS / pilot, 100, 2050))

    def _repair(
        self, network: NetworkPolicy, counterexamples: tuple[Counterexample, ...], r: int
    ) -> tuple[Facts, NetworkPolicy]:
        seed = self.order.seed + r
        mended = repair(network, self.teacher, self.task, counterexamples, seed=seed, progress=self.watch.advance)
        facts: Facts = {
            "counterexamples": mended.counterexamples,
            "corrected": mended.corrected,
            "recoveries": [{"step": v.step, "observation": v.observation.tolist()} for v in mended.recoveries],
            "accepted": mended.network is not network,
        }
        return facts, mended.network

    # export and certify -----------------------------------------------------------------------------------------

    def _certify(self, network: NetworkPolicy, number: int) -> tuple[Facts, NetworkPolicy]:
        folder = self.ledger.folder / CANDIDATE  # what is refused shall not lie about as policy.c
        folder.mkdir(exist_ok=True)
        save_policy(network, folder / "policy.safetensors")
        comparing = partial(self.watch.advance, "comparing bits")
        exported = export_policy(network, folder, seed=self.order.seed, progress=comparing)
        certified = certify(folder, self.task, self._plan(number), teacher=self.teacher, progress=self.watch.advance)
        certificate = certified.certificate
        reason = "the C and its reference differ" if exported.bit_exact is False else self._shortfall(certificate)
        bound = {"violation_bound": certificate.bound, "confidence": certificate.attempt_confidence}
        policy = policy_row(network, trajectories=certified.flights, ns_per_call=exported.ns_per_call) | bound
        assert certified.teacher_flights is not None
        teacher = policy_row(
            self.teacher, trajectories=certified.teacher_flights, ns_per_call=self.pilot["teacher"]["ns_per_call"]
        )
        if not reason:
            for file in sorted(folder.iterdir()):
                file.replace(self.ledger.folder / file.name)
        shutil.rmtree(folder)
        facts: Facts = {
            "passed": not reason,
            "reason": reason,
            "policy": policy,
            "teacher": teacher,
            "paired_difference": paired_difference(certified.flights, certified.teacher_flights),
            "export": asdict(exported),
            "certificate": summary(certificate),
        }
        return facts, network

    def _plan(self, attempt: int) -> Plan:
        order = self.order
        assert order.risk is not None
        if self._beyond_risk():
            return Plan(order.risk, order.confidence, order.episodes or LEAST_EPISODES, False, attempt)
        rate = self.pilot["teacher"]["violation_rate"]
        planned = plan(
            order.risk, confidence=order.confidence, episodes=order.episodes, expected_rate=rate, attempt=attempt
        )
        return planned if order.episodes else replace(planned, episodes=max(planned.episodes, LEAST_EPISODES))

    def _beyond_risk(self) -> bool:
        """Whether no policy as good as the teacher could keep the risk: --even-so leaves the comparison with it."""
        n, k = self.pilot["teacher"]["episodes"], self.pilot["violations"]
        return clopper_pearson_lower(k, n, confidence=0.95) > (self.order.risk or 0.0)

    def _shortfall(self, certificate: Certificate) -> str:
        """What the certificate's episodes say against shipping; empty when nothing."""
        order, beside, returns = self.order, certificate.teacher, certificate.returns
        if not certificate.claimed and not self._beyond_risk():
            return str(certificate.reason)
        if beside is None or returns is None:
            return "some return was not finite"
        threshold = order.return_threshold
        if threshold is not None and (returns.lower is None or returns.lower < threshold):
            return f"the mean return {returns.mean:.1f} is not clearly at least {threshold:g}"
        worse = beside.rate_difference_upper
        if worse is None or worse > order.more_violations:
            return (
                f"it may violate up to {worse:.2%} more often than its teacher; {order.more_violations:.2%} is allowed"
            )
        least = -order.return_loss * abs(beside.return_mean)
        lost = beside.return_difference_lower
        if lost is None or lost < least:
            return f"it may earn up to {-(lost or np.inf):.1f} less than its teacher; {-least:.1f} is allowed"
        return ""

    # the end ----------------------------------------------------------------------------------------------------

    def _ended(self, network: NetworkPolicy | None, reason: str, facts: Facts) -> Shipped:
        shipped = network is not None
        network = network or self.teacher
        return Shipped(
            shipped=shipped,
            reason=reason or "every condition held on the fresh episodes of the certificate",
            teacher=facts["teacher"],
            policy=facts["policy"] if shipped else facts["teacher"],
            pruned=1 - network.nonzero_weights / self.teacher.weights,
            pruned_with_biases=1 - nonzero_parameters(network) / self.teacher.parameters,
            counterexamples_found=len(self.found),
            counterexamples_left=len(self.left),
            search_simulations=self.simulations,
            certificate=facts.get("certificate"),
            out=str(self.ledger.folder),
            seconds=round(self.ledger.seconds, 1),
        )

    def _counter(self, stage: str, total: int) -> Callable[[int], None]:
        done = 0

        def advance(n: int) -> None:
            nonlocal done
            done = min(done + n, total)
            self.watch.advance(stage, done, total)

        return advance

    def _stage(self, name: str, work: Callable[[], tuple[Facts, NetworkPolicy | None]]) -> Stage:
        stage = self.ledger.stage(name, work)
        self.watch.note(in_words(stage))
        return stage
