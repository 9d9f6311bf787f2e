"""Which search finds counterexamples: all of them on the same policies, with the same number of simulations.

A run is one call of `falsify` without simplification. For every case, budget and search it prints

- found: in how many runs there was a counterexample, and the 95 % interval of that probability (Clopper & Pearson);
- first: the simulation that was the first counterexample (a run without one counts as beyond its budget);
- failures: simulations that were counterexamples;
- distinct: those of them that differ by a tenth of some column's range, or in the seed;
- search, flight: CPU milliseconds of one simulation that went into choosing it, wall-clock ones into flying it.

first, failures and distinct are medians, with the 95 % interval of the median (order statistics). The line
`chance` is no run: it is 1 - (1 - p)^n, where p is the share of counterexamples among uniform scenarios.

    python benchmarks/falsification/sweep.py [--cases cartpole ...] [--searches random ...] [--budgets 200 1000]
        [--seeds 20]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import beta, binom

from niwaki.cli.falsifying import SEARCHES
from niwaki.falsification.falsify import falsify
from niwaki.falsification.searches import MakeSearch, Mask
from niwaki.falsification.space import search_space
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.pruning.prune import prune
from niwaki.pruning.scores import activation
from niwaki.rollout import rollout
from niwaki.tasks import load_task
from niwaki.types import Floats, Lockstep, Simulator, Spec, Trajectories

SANP = Path(__file__).parents[3] / "shared/sanp_lander/ppo_actor_refinedLunarLanderContinuous-v2.pth"
PLANT = {  # what may vary of a cart and a pole, beside the start
    "cart_mass": (0.5, 2.0),
    "pole_mass": (0.05, 0.3),
    "pole_half_length": (0.25, 1.0),
    "force": (7.0, 13.0),
    "gravity": (9.0, 11.0),
}
APART = 0.1


@dataclass(frozen=True, eq=False)
class Subject:
    """A policy that fails now and then, where it flies, and the teacher that may fly better."""

    specs: tuple[Spec, ...]
    simulator: Simulator
    policy: NetworkPolicy
    teacher: NetworkPolicy | None = None


def leaning(weights: Sequence[float], **ranges: tuple[float, float]) -> Subject:
    """A CartPole student of four weights: pushes where their sum over the observation is positive."""
    task = load_task("cartpole-v0")
    columns = tuple(replace(c, search=ranges.get(c.name, c.search)) for c in task.simulator.columns)
    layer = Layer(np.array([[-0.5], [0.5]]) * np.array(weights), np.zeros(2))
    policy = NetworkPolicy((layer,), Head()).for_actions(task.simulator.action_space)
    return Subject(task.specs, replace(task.simulator, columns=columns), policy)


@dataclass(frozen=True)
class Cone:
    """A planted failure at the end of a slope: a ball of half a percent of the range around a start of CartPole."""

    name: str
    centre: tuple[float, float, float]  # of x, x_dot, theta
    scale: float
    text: str = "planted"
    recorded: bool = False

    def __call__(self, flown: Trajectories, /) -> Floats:
        """Margins [B], by the scenarios alone."""
        return self.scale * (np.linalg.norm(flown.scenarios[:, :3] - self.centre, axis=1) - 0.0005)


def planted() -> Subject:
    """Two cones, in units that differ by a million."""
    subject = leaning((0, 0, 1, 0.02))
    cones = (Cone("large", (0.045, -0.04, 0.01), 1e3), Cone("small", (-0.03, 0.03, -0.035), 1e-3))
    return replace(subject, specs=cones, simulator=replace(subject.simulator, horizon=1))


def pruned(name: str, amount: float, *, part: float = 1.0, against: bool = False) -> Subject:
    """The bundled policy after one-shot pruning; `part` of each search range around its nominal value."""
    task = load_task(name)
    columns = tuple(
        c if c.integer else replace(c, search=tuple(c.nominal + part * (end - c.nominal) for end in c.search))
        for c in task.simulator.columns
    )
    simulator = replace(task.simulator, columns=columns)
    teacher = load_policy(name).for_actions(simulator.action_space)
    seen = rollout(simulator, deployed(teacher), simulator.sample(np.random.default_rng(0), 20), record=True)
    observations = seen.recording.observations.reshape(-1, teacher.observation_size)
    policy = prune(teacher, activation(teacher, observations), amount=amount)
    return Subject(task.specs, simulator, policy, teacher if against else None)


def published() -> Subject:
    """The refined LunarLander network that SANP's authors published."""
    task = load_task("lunarlander-continuous")
    policy = load_policy(str(SANP), activation="relu").for_actions(task.simulator.action_space)
    return Subject(task.specs, task.simulator, policy)


CASES: dict[str, Callable[[], Subject]] = {
    "planted": planted,
    "cartpole": lambda: leaning((0, 0, 1, 0.02)),
    "cartpole-plant": lambda: leaning((0, 0.02, 1, 0.05), **PLANT),
    "pendulum": lambda: pruned("pendulum", 0.24),
    "lander-half": lambda: pruned("lunarlander-continuous", 0.4, part=0.5, against=True),
    "lander": lambda: pruned("lunarlander-continuous", 0.4, against=True),
    "lander-sanp": published,
}


@dataclass(frozen=True)
class Run:
    """What one search did."""

    first: float  # simulations until the first counterexample, infinite without one
    failures: int
    distinct: int
    search: float  # ms of a simulation
    flight: float


class Timed:
    """A search whose thinking is timed."""

    def __init__(self, make: MakeSearch) -> None:
        self.make, self.seconds = make, 0.0

    def __call__(self, categorical: Mask, rng: np.random.Generator) -> Timed._Search:
        return self._Search(self, self.make(categorical, rng))

    class _Search:
        def __init__(self, clock: Timed, search: object) -> None:
            self.clock, self.search = clock, search

        def ask(self, n: int) -> Floats:
            return self._clocked(self.search.ask, n)

        def tell(self, rows: Floats, losses: Floats) -> None:
            self._clocked(self.search.tell, rows, losses)

        def _clocked(self, method: Callable, *arguments: object) -> Floats:
            start = time.process_time()
            answer = method(*arguments)
            self.clock.seconds += time.process_time() - start
            return answer


def run(subject: Subject, make: MakeSearch, budget: int, seed: int) -> Run:
    """One search."""
    search, start = Timed(make), time.perf_counter()
    found = falsify(
        subject.simulator,
        subject.policy,
        subject.specs,
        search=search,
        simulations=budget,
        seed=seed,
        teacher=subject.teacher,
        simplify=False,
    )
    seconds = time.perf_counter() - start
    failed = found.failed.any(axis=1)
    space = search_space(subject.simulator)
    return Run(
        first=float(np.argmax(failed)) + 1 if failed.any() else float("inf"),
        failures=int(failed.sum()),
        distinct=len(space.most_distinct(found.scenarios[failed], at_most=budget, apart=APART)),
        search=1e3 * search.seconds / budget,
        flight=1e3 * (seconds - search.seconds) / budget,
    )


def chance(subject: Subject) -> tuple[int, int]:
    """How many of how many uniform scenarios of the search space are counterexamples."""
    space = search_space(subject.simulator)
    n = 50_000 if isinstance(subject.simulator, Lockstep) else 600
    rows = space.scenarios(np.random.default_rng(2**40).random((n, len(space.varying))))
    fails = rollout(subject.simulator, deployed(subject.policy), rows, specs=subject.specs).margins < 0
    some = fails.any(axis=1)
    if subject.teacher is not None and some.any():
        teacher = rollout(subject.simulator, deployed(subject.teacher), rows[some], specs=subject.specs)
        fails[some] &= ~(teacher.margins < 0)
    return int(fails.any(axis=1).sum()), n


def probability(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a probability of which k of n came true (Clopper & Pearson)."""
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return float(low), float(high)


def middle(values: Sequence[float], beyond: int) -> str:
    """The median and its 95 % interval; `beyond` is what cannot be exceeded."""
    ordered, n = sorted(values), len(values)
    r = int(binom.ppf(0.025, n, 0.5))  # P(fewer than r values below the median) <= 2.5 %
    low, high = (ordered[r - 1], ordered[n - r]) if r else (float("-inf"), float("inf"))

    def shown(value: float) -> str:
        return f"{value:.0f}" if abs(value) <= beyond else "-" if value < 0 else f">{beyond}"

    return f"{shown(statistics.median(ordered))} ({shown(low)} to {shown(high)})"


def report(case: str, budgets: Sequence[int], searches: Sequence[str], seeds: int) -> None:
    """The lines of one case."""
    subject = CASES[case]()
    k, n = chance(subject)
    low, high = probability(k, n)
    for budget in budgets:
        by_chance = [100 * (1 - (1 - p) ** budget) for p in (k / n, low, high)]
        chances = "{:.0f} % ({:.0f} to {:.0f})".format(*by_chance)
        print(f"| {case} | {budget} | chance, p = {k / n:.2%} | {chances} | - | {budget * k / n:.1f} | - | - | - |")
        for name in searches:
            runs = [run(subject, SEARCHES[name], budget, seed) for seed in range(seeds)]
            hits = sum(r.failures > 0 for r in runs)
            low_found, high_found = probability(hits, seeds)
            print(
                f"| {case} | {budget} | {name} | {hits} of {seeds} ({100 * low_found:.0f} to {100 * high_found:.0f} %) "
                f"| {middle([r.first for r in runs], budget)} | {middle([r.failures for r in runs], budget)} "
                f"| {middle([r.distinct for r in runs], budget)} | {statistics.median(r.search for r in runs):.2f} "
                f"| {statistics.median(r.flight for r in runs):.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=[c for c in CASES if c != "lander-sanp" or SANP.exists()]
    )
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--budgets", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    print("| case | budget | search | found (95 %) | first | failures | distinct | search, ms | flight, ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in args.cases:
        report(case, args.budgets, args.searches, args.seeds)


if __name__ == "__main__":
    main()
