"""adapt: a task policy, held near a validated base so that it fails no more often than a bound that is known before.

    base -> its database -> budget -> adapted policy -> fresh flights -> certificate      (stagewise: from there again)
                                 |
                       base -> finetuned task policy, where none is given

Every stage goes into the run's ledger, so a run that was killed goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import Budget, Odometer, confidence_shares
from niwaki.adaptation.c_adapted import FILES as C_FILES
from niwaki.adaptation.c_adapted import c_adapted
from niwaki.adaptation.database import NAME, Database, load_database
from niwaki.adaptation.learning import Surrogate, settings_for
from niwaki.adaptation.saved import FILES, adapted_digest, plain, save_adapted
from niwaki.certification.artefact import describe_task, fingerprints, machine, versions
from niwaki.certification.bounds import clopper_pearson
from niwaki.certification.certificate import FILE
from niwaki.policies.files import write_whole
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.sampled import SampledPolicy, sampled
from niwaki.policies.storage import fingerprint
from niwaki.recipes import adapted_certificate as words
from niwaki.recipes.adaptation_stages import database_stage, training
from niwaki.recipes.adapted_certificate import AdaptedCertificate, Method, write_adapted
from niwaki.recipes.adapted_certificate import Stage as Adaptation
from niwaki.recipes.ledger import Facts, Ledger, identity
from niwaki.recipes.prior import RULES, Rule, grid_of, prior
from niwaki.recipes.validate import CONFIDENCE, VALIDATION, fly_database
from niwaki.rollout import Stages, rollout
from niwaki.tasks import Task
from niwaki.tasks.fitting import fit
from niwaki.types import EpisodicPolicy, NiwakiError

ADAPTED, GLANCE = 0xADA9, 0x61A9C  # families of dice: the adapted policies' flights, and those that compare widths
GLANCED = 50  # episodes of the base in whose states the widths are compared
WIDE = 0.5  # share of states and components in which a task policy may be wider than the base, of methods on ratios
METHODS: tuple[Method, ...] = get_args(Method)
PAGE = "report.html"
STILL = Odometer(risk=1.0, log_budget=0.0)  # a budget for no move at all
MOST_STAGES = 20


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    method: Method = "ratio"
    bound: float = 0.1
    confidence: float = CONFIDENCE
    episodes: int = 10_000  # of the base, where it is not validated yet, and of every adapted policy
    horizon: int | None = None
    stages: int = 3  # of the method stagewise
    rule: Rule = "ratio"  # of each of its stages
    finetune: Surrogate | None = None  # train the task policy within the (first) budget
    steps: int | None = None  # of that training; None: as many as usual
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise NiwakiError(f"unknown method {self.method!r}; there are {', '.join(METHODS)}")
        if self.rule not in RULES:
            raise NiwakiError(f"a stage uses one of {', '.join(RULES)}, got {self.rule!r}")
        if self.finetune is not None:
            settings_for(self.finetune, self.steps)  # refuses wrong ones
        if not 0 < self.bound <= 1:
            raise NiwakiError(f"the wanted bound must be above 0 and at most 1, got {self.bound}")
        if not 0 < self.confidence < 1:
            raise NiwakiError(f"the confidence must be between 0 and 1, got {self.confidence}")
        if self.episodes < 1:
            raise NiwakiError(f"the number of episodes must be at least 1, got {self.episodes}")
        if not 1 <= self.stages <= MOST_STAGES:
            raise NiwakiError(f"there are 1 to {MOST_STAGES} stages, got {self.stages}")
        if self.seed < 0:
            raise NiwakiError(f"the seed must not be negative, got {self.seed}")

    @property
    def step_rule(self) -> Rule:
        """The rule of the budgets."""
        return self.rule if self.method == "stagewise" else self.method

    @property
    def planned(self) -> int:
        """Adapted policies that will be flown, at most."""
        return self.stages if self.method == "stagewise" else 1

    @property
    def confidences(self) -> tuple[float, ...]:
        """Of the base's database, then of every adapted policy's. Stage by stage all hold together; otherwise the
        one that is known before and the one that is measured afterwards stand each by itself."""
        if self.method == "stagewise":
            return confidence_shares(self.confidence, self.stages + 1)
        return self.confidence, self.confidence


@dataclass(frozen=True)
class Adapted:
    """The outcome; `asdict` gives the JSON of `niwaki adapt`."""

    method: str
    bound: float
    base_steps_to_goal: float | None
    steps_to_goal: float | None
    violations: int
    episodes: int
    violation_rate: float
    posterior_bound: float
    horizon: int
    base_failure_bound: float
    base_violations: int
    base_episodes: int
    wider: float  # share of states and components in which the task policy is wider than the base
    stages: tuple[Facts, ...]
    finetune: Facts | None  # how the task policy was trained, where it was
    certificate: Facts
    holds: bool
    out: str
    seconds: float


def adapt(
    base: GaussianPolicy,
    task_policy: GaussianPolicy | None,
    task: Task,
    out: str | Path,
    order: Order = Order(),
    *,
    database: Path | None = None,
    command: Sequence[str] = (),
    restart: bool = False,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Adapted:
    """Adapt, fly, certify, and write everything into the folder `out`.

    Without a task policy, `order.finetune` says how one is trained: from the base, within the budget.
    `database`: the folder that `niwaki validate` wrote for this base and task; without it the base is flown first.
    A run that was stopped in `out` goes on; `restart` begins anew. Raises NiwakiError for policies that do not fit
    each other or the task, a bound below the base's own, a database of another policy or task, and when `out` holds
    another run.
    """
    if (task_policy is None) != (order.finetune is not None):
        raise NiwakiError("either give a task policy, or have one trained from the base by fine-tuning")
    task_policy = task_policy or base
    flying = sampled(fit(base, task)), sampled(fit(task_policy, task))
    c_adapted(AdaptedPolicy(*flying, STILL))  # refuses other heads, and what C cannot hold, before anything is flown
    given = None if database is None else given_database(database, base, task)
    grid_of(order.step_rule, task.simulator.horizon, order.horizon)  # refuses a wrong horizon
    out = Path(out)
    asked = {
        "task_policy": fingerprint(task_policy),
        "base_policy": fingerprint(base),
        "order": asdict(order),
        "database": None if given is None else given.facts.arrays_sha256,
    }
    outcome = (*FILES, *C_FILES, *_names(NAME), FILE, PAGE)
    ledger = Ledger(out, identity(base.network, task, **asked), outcome=outcome, restart=restart)
    run = _Run(base, task_policy, flying, task, order, ledger, given, workers, progress, note)
    found = run.outcome()
    ledger.close({"command": list(command), "outcome": asdict(found)})
    return found


def given_database(folder: Path, base: GaussianPolicy, task: Task) -> Database:
    """The database in a folder. Raises NiwakiError when it is about another policy or another task."""
    database = load_database(folder)
    if database.facts.policy_sha256 != fingerprint(base):
        raise NiwakiError(f"the database in {str(folder)!r} is about another policy than the base: validate this one")
    same_task(database, task)
    return database


def same_task(database: Database, task: Task) -> None:
    """Raises NiwakiError when the database is about another task, or other specifications."""
    here, specs = describe_task(task)["simulator"], {spec.name: spec.text for spec in task.specs}
    if (database.facts.task.get("simulator"), database.facts.specs) != (here, specs):
        name = str(database.facts.task.get("name"))[:60]
        raise NiwakiError(f"the database is about the task {name} as it was validated, not about {task.name} as it is")


class _Run:
    """One run: its stages in order."""

    def __init__(
        self,
        base: GaussianPolicy,
        task_policy: GaussianPolicy,
        flying: tuple[SampledPolicy, SampledPolicy],
        task: Task,
        order: Order,
        ledger: Ledger,
        given: Database | None,
        workers: int | None,
        progress: Stages,
        note: Callable[[str], None],
    ) -> None:
        self.base, self.task_policy, self.flying = base, task_policy, flying
        self.task, self.order = task, order
        self.ledger, self.given, self.workers, self.progress, self.note = ledger, given, workers, progress, note
        self.budgets: tuple[Budget, ...] = ()
        self.adaptations: list[Adaptation] = []

    def outcome(self) -> Adapted:
        first = self._database("base", NAME, self._fly_base)
        trained = None if self.order.finetune is None else self._finetune(first, self.order.finetune)
        wider = self._widths()
        horizon, last = self._adapt(first)
        folder = self.ledger.folder
        save_adapted(self.base, self.task_policy, self.budgets, folder)
        self._write_c()
        certificate = self._certify(first, horizon)
        final = self.adaptations[-1]
        return Adapted(
            method=self.order.method,
            bound=self.order.bound,
            base_steps_to_goal=first.steps_to_goal(horizon),
            steps_to_goal=last.steps_to_goal(horizon),
            violations=final.violations,
            episodes=final.episodes,
            violation_rate=final.violations / final.episodes,
            posterior_bound=final.posterior_bound,
            horizon=horizon,
            base_failure_bound=self.adaptations[0].base_risk,
            base_violations=self.adaptations[0].base_failures,
            base_episodes=len(first),
            wider=wider,
            stages=tuple(asdict(each) for each in self.adaptations),
            finetune=trained,
            certificate=asdict(certificate),
            holds=certificate.claimed,
            out=str(folder),
            seconds=round(self.ledger.seconds, 3),
        )

    def _adapt(self, database: Database) -> tuple[int, Database]:
        """All stages: each policy's own flights are the next one's database."""
        order, shares = self.order, self.order.confidences
        grid = grid_of(order.step_rule, self.task.simulator.horizon, order.horizon)
        horizon = 0
        for number in range(1, order.planned + 1):
            before = shares[number - 1]
            try:
                found = prior(database, order.step_rule, wanted=order.bound, confidence=before, grid=grid)
            except NiwakiError:
                if number == 1:
                    raise
                break  # the last policy's own promise stays, but nothing can be built on it
            horizon, grid = found.horizon, (found.horizon,)  # one event for all stages
            self.budgets = (*self.budgets, found.budget)
            digest = adapted_digest(self.base, self.task_policy, self.budgets)
            flown = self._database(f"adapt {number}", f"adapted-{number}", partial(self._fly_adapted, digest))
            violations = int(flown.failed(horizon).sum())
            self.adaptations.append(
                Adaptation(
                    budget=plain(found.budget),
                    base_episodes=len(database),
                    base_failures=found.failures,
                    base_risk=found.risk,
                    prior_confidence=before,
                    episodes=len(flown),
                    violations=violations,
                    posterior_bound=clopper_pearson(violations, len(flown), confidence=shares[number]),
                    posterior_confidence=shares[number],
                )
            )
            database = flown
            self.note(
                f"{order.method} {number}: {violations:,} of {len(flown):,} failed within {horizon} steps, "
                f"{order.bound:g} was promised"
            )
        return horizon, database

    def _certify(self, first: Database, horizon: int) -> AdaptedCertificate:
        order, folder = self.order, self.ledger.folder
        names = [*_names(NAME)]
        names += [*(file for i in range(len(self.adaptations)) for file in _names(f"adapted-{i + 1}"))]
        certificate = words.in_words(
            AdaptedCertificate(
                format=words.FORMAT,
                kind=words.KIND,  # type: ignore[arg-type]
                claimed=False,
                reason=None,
                statement="",
                method=order.method,
                rule=order.step_rule,
                bound=order.bound,
                confidence=order.confidence,
                horizon=horizon,
                asked_horizon=order.horizon,
                planned_stages=order.planned,
                stages=tuple(self.adaptations),
                policy_sha256=adapted_digest(self.base, self.task_policy, self.budgets),
                base_sha256=fingerprint(self.base),
                task=describe_task(self.task),
                specs=first.facts.specs,
                files=fingerprints(folder, [*FILES, *names, *C_FILES]),
                versions=versions(),
                platform=machine(),
                assumptions=(),
                not_claimed=(),
            )
        )
        write_adapted(certificate, folder)
        return certificate

    def _write_c(self) -> None:
        for name, text in c_adapted(AdaptedPolicy.staged(*self.flying, self.budgets)).items():
            write_whole(self.ledger.folder / name, text.encode("ascii"))

    # the stages ---------------------------------------------------------------------------------------------------

    def _database(self, stage: str, name: str, fly: Callable[[], Database]) -> Database:
        return database_stage(self.ledger, stage, self.ledger.folder, name, fly)

    def _finetune(self, first: Database, surrogate: Surrogate) -> Facts:
        """Train the task policy under the budget that the base's database permits."""
        order, confidence = self.order, self.order.confidences[0]
        grid = grid_of(order.step_rule, self.task.simulator.horizon, order.horizon)
        found = prior(first, order.step_rule, wanted=order.bound, confidence=confidence, grid=grid)

        def work() -> tuple[Facts, NetworkPolicy]:
            facts, network = training(
                self.base,
                found.budget,
                self.task,
                surrogate,
                order.steps,
                horizon=found.horizon,
                seed=order.seed,
                workers=self.workers,
                progress=self.progress,
            )
            origin = (
                ("source", "niwaki adapt --finetune"),
                ("task", self.task.name),
                ("base", fingerprint(self.base)),
                ("budget", str(plain(found.budget))),
                ("surrogate", surrogate),
                ("seed", str(order.seed)),
            )
            return facts, replace(network, origin=origin)

        stage = self.ledger.stage("finetune", work)
        assert stage.network is not None
        self.task_policy = replace(self.base, network=stage.network)
        self.flying = self.flying[0], sampled(self.task_policy)
        updates = stage.facts["updates"]
        return {
            "surrogate": surrogate,
            "steps": updates[-1]["steps"],
            "episodes": sum(update["episodes"] for update in updates),
            "failures": sum(update["failures"] for update in updates),
        }

    def _fly_base(self) -> Database:
        if self.given is not None:
            return self.given
        return self._fly(self.flying[0], fingerprint(self.base), VALIDATION, "flying the base")

    def _fly_adapted(self, digest: str) -> Database:
        policy = AdaptedPolicy.staged(*self.flying, self.budgets)
        return self._fly(policy, digest, ADAPTED, f"flying adapted policy {len(self.budgets)}")

    def _fly(self, policy: EpisodicPolicy, digest: str, family: int, doing: str) -> Database:
        return fly_database(
            policy,
            digest,
            self.task,
            family=family,
            seed=self.order.seed,
            n=self.order.episodes,
            workers=self.workers,
            progress=self.progress,
            doing=doing,
        )

    def _widths(self) -> float:
        """How often the task policy is the wider one. Raises NiwakiError where a method on ratios cannot follow it."""
        facts = self.ledger.stage("widths", lambda: ({"wider": self._wider()}, None)).facts
        wider = float(facts["wider"])
        if wider > WIDE and self.order.step_rule != "gaussian" and self.order.finetune is None:
            raise NiwakiError(
                f"the task policy's deviations are above the base's in {wider:.0%} of the states that the base visits, "
                f"where its ratio to the base has no bound: the method {self.order.method} needs a narrower task "
                "policy or a wider base, the method gaussian does not"
            )
        return wider

    def _wider(self) -> float:
        rows = self.task.simulator.sample(np.random.default_rng([self.order.seed, GLANCE]), GLANCED)
        base, policy = self.flying
        flights = rollout(self.task.simulator, base, rows, record=True, workers=self.workers)
        assert flights.recording is not None
        seen = flights.recording.observations[:, :-1][flights.alive(flights.recording.rewards.shape[1])]
        return float((policy.distribution(seen).std > base.distribution(seen).std).mean())


def _names(name: str) -> tuple[str, str]:
    return f"{name}.npz", f"{name}.json"
