"""sport: the two experiments of Safe Policy Ratio, and every method of ours beside the paper's at one bound.

    base -> pilot: which horizon -> fresh database: its risk -> one policy for each alpha -> paired flights
                                                          \\-> niwaki adapt by every method -> paired flights

on one fixed layout, as published, and on random ones. All policies of a layout fly the same scenarios with the same
noise, so that their differences are paired. (Cloete, Vertovec, Abate: SPoRt, IJCAI 2025, arXiv 2504.06386.)
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio
from niwaki.adaptation.database import NAME, Database, horizon_grid, load_database
from niwaki.adaptation.saved import BASE, TASK, adapted, load_parts
from niwaki.certification.bounds import clopper_pearson, clopper_pearson_lower
from niwaki.evaluation import finite_or_none, mean_interval
from niwaki.policies.files import make_folder, write_whole
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.sampled import SampledPolicy, sampled
from niwaki.policies.storage import fingerprint, save_policy
from niwaki.recipes.adapt import STILL, adapt
from niwaki.recipes.adaptation_stages import database_stage, training
from niwaki.recipes.experiment import (
    LAYOUTS,
    METHODS,
    PAGE,
    PUBLISHED,
    RECIPE,
    Compared,
    Flown,
    Order,
    Point,
    Result,
    Sport,
    method_folder,
)
from niwaki.recipes.ledger import Facts, Ledger, identity
from niwaki.recipes.prior import prior
from niwaki.recipes.validate import VALIDATION, fly_database, summarise
from niwaki.rollout import Stages
from niwaki.tasks import Task, parse_task
from niwaki.tasks.fitting import fit
from niwaki.types import EpisodicPolicy, NiwakiError

PILOT, PAIRED = 0x5901, 0x5902  # families of dice: what chooses the horizon, and what every policy flies


def sport(
    base: GaussianPolicy,
    task_policy: GaussianPolicy,
    task: Task,
    out: str | Path,
    order: Order,
    *,
    command: Sequence[str] = (),
    restart: bool = False,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Sport:
    """Fly the sweep over alpha and every method at the wanted bound, on both layouts, into the folder `out`.

    A run that was stopped goes on; `restart` begins anew. Raises NiwakiError for policies that do not fit each other
    or the task, a task whose layout cannot be fixed, and when `out` holds another run.
    """
    flying = sampled(fit(base, task)), sampled(fit(task_policy, task))
    AdaptedPolicy(*flying, STILL)  # refuses other heads
    tasks = {"fixed": with_fixed_layout(task), "random": task}
    out = Path(out)
    asked = {"recipe": RECIPE, "task_policy": fingerprint(task_policy), "base_policy": fingerprint(base)}
    files = (BASE, TASK, PAGE, *LAYOUTS, *(f"{layout}.toml" for layout in LAYOUTS))
    ledger = Ledger(
        out, identity(base.network, task, order=asdict(order), **asked), outcome=files, restart=restart
    )  # fmt: skip
    save_policy(base, out / BASE)
    save_policy(task_policy, out / TASK)
    results = []
    for layout, its_task in tasks.items():
        write_whole(out / f"{layout}.toml", its_task.source.encode())
        run = _Layout(layout, its_task, (base, task_policy), flying, order, ledger, workers, progress, note)
        results.append(run.result())
    found = Sport(
        experiment=order.experiment,
        task=task.name,
        bound=order.bound,
        confidence=order.confidence,
        seed=order.seed,
        episodes=order.episodes,
        layouts=tuple(results),
        holds=all(kept(result, order) for result in results),
        out=str(out),
        seconds=round(ledger.seconds, 3),
    )
    ledger.close({"command": list(command), "outcome": asdict(found)})
    return found


def with_fixed_layout(task: Task) -> Task:
    """The task in one layout: every scenario column but the seed, which the noise follows, keeps its nominal value.

    Raises NiwakiError for a task without a seed column or file, or whose file narrows its own ranges.
    """
    columns = task.simulator.columns
    if not task.source or columns[-1].name != "seed":
        raise NiwakiError(f"{task.name} has no layout to fix: it needs a task file and scenarios with a seed")
    if "sample" in tomllib.loads(task.source):
        raise NiwakiError(f"{task.name} has a [sample] table of its own: leave it out, one layout is fixed here")
    lines = [f"{column.name} = {float(column.nominal)!r}" for column in columns[:-1]]
    return parse_task(f"{task.name}-fixed", "\n".join([task.source.rstrip(), "", "[sample]", *lines, ""]))


def saved_policy(folder: Path, flying: tuple[SampledPolicy, SampledPolicy]) -> AdaptedPolicy:
    """The adapted policy of a method's folder. Where it is made of the policies that fly already they are used: a
    network is compiled once."""
    base, task, budgets = load_parts(folder)
    if (fingerprint(base), fingerprint(task)) == (fingerprint(flying[0].policy), fingerprint(flying[1].policy)):
        return AdaptedPolicy.staged(*flying, budgets)
    return adapted(base, task, budgets)


class _Layout:
    """One layout of a run: its stages in order."""

    def __init__(
        self,
        name: str,
        task: Task,
        policies: tuple[GaussianPolicy, GaussianPolicy],
        flying: tuple[SampledPolicy, SampledPolicy],
        order: Order,
        ledger: Ledger,
        workers: int | None,
        progress: Stages,
        note: Callable[[str], None],
    ) -> None:
        self.name, self.task, self.policies, self.flying = name, task, policies, flying
        self.order, self.ledger, self.workers, self.progress, self.note = order, ledger, workers, progress, note
        self.folder = make_folder(ledger.folder / name)
        both = "".join(map(fingerprint, policies)).encode()
        self.digest = hashlib.sha256(both).hexdigest()  # first the policies, then the dice of the paired flights

    def result(self) -> Result:
        order, digest = self.order, fingerprint(self.policies[0])
        pilot = self._database("pilot", self.flying[0], digest, PILOT)
        grid = horizon_grid(self.task.simulator.horizon)
        chosen = summarise(pilot, grid, confidence=order.confidence, bound=order.bound)
        first = self._database(NAME, self.flying[0], digest, VALIDATION)
        self.horizon = chosen.horizon
        failures = int(first.failed(self.horizon).sum())
        self.risk = clopper_pearson(failures, len(first), confidence=order.confidence)
        alpha = math.exp(math.log(order.bound / self.risk) / self.horizon)
        self.note(
            f"{self.name}: T = {self.horizon} steps, within which the base fails at most {self.risk:.3g} of the time; "
            f"for a bound of {order.bound:g} alpha = {alpha:.4f} is permitted"
        )
        return Result(
            layout=self.name,
            horizon=self.horizon,
            horizons=chosen.horizons,
            base_episodes=len(first),
            base_failures=failures,
            base_failure_bound=self.risk,
            permitted_alpha=alpha if self.risk <= order.bound else None,
            base=self._flown("base", self.flying[0]),
            task_policy=self._flown("task", self.flying[1]),
            points=tuple(self._point(alpha) for alpha in order.alphas),
            methods=tuple(self._method(method) for method in order.methods),
        )

    def _point(self, alpha: float) -> Point:
        budget = FixedRatio(self.risk, self.horizon, math.log(alpha))
        task = self.flying[1] if self.order.experiment == 1 else self._trained(alpha, budget)
        flown = self._flown(f"alpha {alpha:g}", AdaptedPolicy(self.flying[0], task, budget))
        self.note(_line(f"{self.name}, alpha {alpha:g}", flown, budget.bound))
        published = PUBLISHED[self.order.experiment].get(alpha, (None, None))
        return Point(alpha, budget.bound, flown, *published)

    def _trained(self, alpha: float, budget: FixedRatio) -> SampledPolicy:
        """The task policy that Projected PPO as published finds from the base within the budget."""

        def named(stage: str, done: int, total: int) -> None:
            self.progress(f"{self.name}: training, alpha {alpha:g}", done, total)

        work = partial(
            training,
            self.policies[0],
            budget,
            self.task,
            "published",
            self.order.steps,
            horizon=self.horizon,
            seed=self.order.seed,
            workers=self.workers,
            progress=named,
        )
        stage = self.ledger.stage(f"{self.name} train alpha {alpha:g}", work)
        assert stage.network is not None
        return sampled(replace(self.policies[0], network=stage.network))

    def _method(self, method: str) -> Compared:
        """`niwaki adapt` by one method into a folder of its own, then its policy over the paired scenarios."""
        facts = self.ledger.stage(f"{self.name} {method}", partial(self._adapt, method)).facts
        found: Compared = TypeAdapter(Compared).validate_python(facts)
        if found.flown is not None:
            self.note(_line(f"{self.name}, {method}", found.flown, self.order.bound))
        return found

    def _adapt(self, method: str) -> tuple[Facts, None]:
        folder = self.ledger.folder / method_folder(self.name, method)
        order = self.order.adapting(method, horizon=self.horizon)

        def named(stage: str, done: int, total: int) -> None:
            self.progress(f"{self.name}, {method}: {stage}", done, total)

        try:
            own = adapt(
                self.policies[0],
                None if order.finetune else self.policies[1],
                self.task,
                folder,
                order,
                database=self.folder,
                workers=self.workers,
                progress=named,
            )
        except NiwakiError as error:
            return asdict(Compared(method, str(error), 0, None, None, None, self._anyway(method))), None
        flown = self._judge(method, saved_policy(folder, self.flying))
        found = Compared(
            method, None, len(own.stages), own.violations, own.episodes, own.posterior_bound, flown
        )  # fmt: skip
        return asdict(found), None

    def _anyway(self, method: str) -> Flown | None:
        """What its budget does where `niwaki adapt` refuses a task policy that is mostly wider than the base: the bound
        holds all the same. None for methods in stages or with training, and where no budget keeps the bound."""
        way = METHODS[method]
        if way.method == "stagewise" or way.finetune is not None or self.risk > self.order.bound:
            return None
        database = load_database(self.folder)
        order = self.order
        found = prior(database, way.method, wanted=order.bound, confidence=order.confidence, grid=(self.horizon,))
        return self._judge(method, AdaptedPolicy(*self.flying, found.budget))

    # flights ------------------------------------------------------------------------------------------------------

    def _database(self, name: str, policy: EpisodicPolicy, digest: str, family: int) -> Database:
        """Fresh flights of a policy, written down, or read back where that is done."""

        def fly() -> Database:
            return self._fly(policy, digest, family, f"flying the base, {name}")

        return database_stage(self.ledger, f"{self.name} {name}", self.folder, name, fly)

    def _flown(self, who: str, policy: EpisodicPolicy) -> Flown:
        stage = self.ledger.stage(f"{self.name} {who}", lambda: (asdict(self._judge(who, policy)), None))
        flown: Flown = TypeAdapter(Flown).validate_python(stage.facts)
        return flown

    def _judge(self, who: str, policy: EpisodicPolicy) -> Flown:
        """The policy over the paired scenarios, beside the base."""
        flown = self._paired if policy is self.flying[0] else self._fly(policy, self.digest, PAIRED, f"flying {who}")
        failed, n = flown.failed(self.horizon), len(flown)
        k = int(failed.sum())
        both = ~failed & ~self._paired.failed(self.horizon)
        base_steps = self._paired.lengths[both].astype(np.float64)
        sooner = mean_interval(base_steps - flown.lengths[both])
        return Flown(
            episodes=n,
            violations=k,
            violation_rate=k / n,
            violation_low=clopper_pearson_lower(k, n, confidence=0.975),
            violation_high=clopper_pearson(k, n, confidence=0.975),
            posterior_bound=clopper_pearson(k, n, confidence=self.order.confidence),
            steps_to_goal=flown.steps_to_goal(self.horizon),
            sooner=finite_or_none(sooner.mean),
            sooner_low=finite_or_none(sooner.low),
            sooner_high=finite_or_none(sooner.high),
            reduction=float(sooner.mean / base_steps.mean()) if both.any() else None,
        )

    @cached_property
    def _paired(self) -> Database:
        """The base over the paired scenarios; flown again where a run goes on, with the same bits."""
        return self._fly(self.flying[0], self.digest, PAIRED, "flying the base, paired")

    def _fly(self, policy: EpisodicPolicy, digest: str, family: int, doing: str) -> Database:
        return fly_database(
            policy, digest, self.task, family=family, seed=self.order.seed, n=self.order.episodes,
            workers=self.workers, progress=self.progress, doing=f"{self.name}: {doing}",
        )  # fmt: skip


def kept(result: Result, order: Order) -> bool:
    """Whether no policy failed, with the order's confidence, more often than was promised."""
    seen = [(point.flown, point.prior_bound) for point in result.points]
    seen += [(each.flown, order.bound) for each in result.methods if each.flown is not None]
    least = (clopper_pearson_lower(f.violations, f.episodes, confidence=order.confidence) for f, _ in seen)
    return all(low <= bound for low, (_, bound) in zip(least, seen, strict=True))


def _line(who: str, flown: Flown, bound: float) -> str:
    steps = "no goal" if flown.steps_to_goal is None else f"{flown.steps_to_goal:.2f} steps"
    return f"{who}: {steps}, {flown.violations:,} of {flown.episodes:,} failed, {bound:.3g} was promised"
