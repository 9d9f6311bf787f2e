"""Microseconds of one projection per state: ours on a batch, and a convex solver (CVXPY with CLARABEL) state by state.

    python benchmarks/sport/projection.py

States are drawn around a base of two action components: the task's mean some deviations away, its width half to twice
the base's, alpha between 1.05 and 2. The solver gets the problem compiled once, with parameters, which is its quickest
way. Also printed: by how much the solver exceeds the allowed log ratio, and whose divergence is smaller after the
solver's answer was drawn to the base until it is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cvxpy
import numpy as np

from niwaki.adaptation.ratio import kl_divergence, log_max_ratio, project

BATCH, SOLVED, ACTIONS, REPEATS = 10_000, 300, 2, 5
Arrays = tuple[np.ndarray, ...]


def problems(n: int) -> Arrays:
    rng = np.random.default_rng(0)
    base_mean, base_std = rng.normal(size=(n, ACTIONS)), np.exp(rng.normal(size=(n, ACTIONS)) / 2)
    mean = base_mean + base_std * rng.normal(size=(n, ACTIONS)) * 2
    std = base_std * 2.0 ** rng.uniform(-1, 1, size=(n, ACTIONS))
    return mean, std, base_mean, base_std, np.log(rng.uniform(1.05, 2, size=n))


def solver() -> Callable[..., Arrays]:
    """One state in units of the base's deviation: distance d and 1 / tau, where tau is the task's variance."""
    shift, variance = cvxpy.Variable(ACTIONS), cvxpy.Variable(ACTIONS)
    scaled, precision, limit = (
        cvxpy.Parameter(ACTIONS),
        cvxpy.Parameter(ACTIONS, nonneg=True),
        cvxpy.Parameter(nonneg=True),
    )
    root = cvxpy.Parameter(ACTIONS, nonneg=True)
    distance = cvxpy.square(cvxpy.multiply(root, shift) - scaled)
    narrowing = -cvxpy.sum(cvxpy.log(variance)) / 2
    moved = sum(cvxpy.quad_over_lin(shift[i], 2 * (1 - variance[i])) for i in range(ACTIONS))
    kl = narrowing + cvxpy.sum(cvxpy.multiply(precision, variance) + distance) / 2
    problem = cvxpy.Problem(cvxpy.Minimize(kl), [narrowing + moved <= limit, variance <= 1])

    def solve(d: np.ndarray, tau: np.ndarray, log_alpha: float) -> Arrays:
        precision.value, root.value, scaled.value, limit.value = 1 / tau, tau**-0.5, d * tau**-0.5, log_alpha
        problem.solve(solver=cvxpy.CLARABEL)
        return shift.value, variance.value

    return solve


def seconds(*task: np.ndarray) -> float:
    start = time.perf_counter()
    project(*task)
    return time.perf_counter() - start


def main() -> None:
    task = problems(BATCH)
    ours_us = min(seconds(*task) for _ in range(REPEATS)) / BATCH * 1e6
    few = tuple(array[:SOLVED] for array in task)
    single_us = sum(seconds(*(array[i : i + 1] for array in few)) for i in range(SOLVED)) / SOLVED * 1e6
    mean, std, base_mean, base_std, limit = few
    found, solve = project(*few), solver()
    d, tau = (mean - base_mean) / base_std, (std / base_std) ** 2
    solve(d[0], tau[0], limit[0])  # compiles
    start = time.perf_counter()
    answers = [solve(d[i], tau[i], limit[i]) for i in range(SOLVED)]
    theirs_us = (time.perf_counter() - start) / SOLVED * 1e6

    shift, variance = (np.array(part) for part in zip(*answers, strict=True))

    def answer(part: np.ndarray) -> Arrays:
        part = part[:, None]
        return base_mean + base_std * part * shift, base_std * np.sqrt(np.minimum(1 + part * (variance - 1), 1))

    def excess(part: np.ndarray) -> np.ndarray:
        return log_max_ratio(*answer(part), base_mean, base_std) - limit

    part = np.ones(SOLVED)
    raw = excess(part)
    for bits in range(40, -1, -1):
        part = np.where(excess(part) > 0, 1 - 2.0**-bits, part)
    ours, theirs = kl_divergence(found.mean, found.std, mean, std), kl_divergence(*answer(part), mean, std)
    beyond, often, quicker = raw.max(), np.mean(raw > 0), theirs_us / ours_us
    ours_beyond = (found.log_ratio - limit).max()
    print(f"| ours, {BATCH:,} at once | {ours_us:.1f} us a state | largest excess {ours_beyond:.0e} |")
    print(f"| ours, one by one | {single_us:.0f} us a state | |")
    print(f"| CVXPY, one by one | {theirs_us:.0f} us a state | largest excess {beyond:.0e}, above 0 in {often:.0%} |")
    print(f"| quicker by | {quicker:.0f} x | divergence above CVXPY's at most {(ours - theirs).max():.0e} |")


if __name__ == "__main__":
    main()
