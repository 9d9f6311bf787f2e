"""Ten thousand repeated certificates of policies whose risk is known: how often the certified bound lies below it.

    python benchmarks/sport/coverage.py

Episodes are drawn as coin tosses of the known risk, so that nothing but the bound is judged. `fixed`: the number of
episodes is fixed beforehand. `stopped`: somebody looks after every episode and stops as soon as the bound is below the
truth; this is the worst stopping rule there is, and only `anytime` allows it. Bounds of the whole chain, prior and
posterior, are judged too: a base of known risk is validated, an alpha follows, and the claim is wrong where
alpha^T times the true risk, the most that an adversary can reach, is above the promised bound.
"""

from __future__ import annotations

import numpy as np

from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.certification.bounds import anytime, clopper_pearson

REPEATS, CONFIDENCE, FAMILY = 10_000, 0.95, 0x5907
KNOWN = ((0.005, 1000), (0.02, 500), (0.1, 300), (0.5, 100))  # true risk, episodes
HORIZON, WANTED = 21, 0.1  # of the chain


def table(bound, n: int) -> np.ndarray:
    """The bound after 0, 1, ... n violations of n."""
    return np.array([bound(k, n, confidence=CONFIDENCE) for k in range(n + 1)])


def fixed(bound, risk: float, n: int, rng: np.random.Generator) -> float:
    """Share of certificates that are wrong, of a number of episodes fixed beforehand."""
    return float((table(bound, n)[rng.binomial(n, risk, size=REPEATS)] < risk).mean())


def stopped(bound, risk: float, n: int, rng: np.random.Generator) -> float:
    """The same where one may stop after any of at most n episodes, and stops when the bound is wrong."""
    least, k = [], 0  # the fewest violations with which the bound is right, after 1, 2, ... episodes
    for seen in range(1, n + 1):
        while k <= seen and bound(k, seen, confidence=CONFIDENCE) < risk:
            k += 1
        least.append(k)
    wrong = 0
    for _ in range(10):
        violations = np.cumsum(rng.random((REPEATS // 10, n)) < risk, axis=1)
        wrong += int((violations < np.array(least)).any(axis=1).sum())
    return wrong / REPEATS


def chain(risk: float, n: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of promises that a worst task policy breaks, whose base of known risk was validated on n episodes."""
    failures = rng.binomial(n, risk, size=REPEATS)
    broken = {"ratio": 0, "odometer": 0, "gaussian": 0}
    for k, count in zip(*np.unique(failures, return_counts=True), strict=True):
        measured = clopper_pearson(int(k), n, confidence=CONFIDENCE)
        if measured >= WANTED:
            continue  # refused
        ratio = FixedRatio.within(WANTED, risk=measured, horizon=HORIZON)
        odometer = Odometer.within(WANTED, risk=measured)
        gaussian = GaussianShift.within(WANTED, risk=measured, horizon=HORIZON)
        reached = {  # by the task policy that does the most with its budget, from the true risk
            "ratio": FixedRatio(risk, HORIZON, ratio.log_alpha_per_step).bound,
            "odometer": Odometer(risk, odometer.log_budget).bound,
            "gaussian": GaussianShift(risk, HORIZON, gaussian.shift).bound,
        }
        for method, truth in reached.items():
            broken[method] += int(count) * (truth > WANTED)
    return {method: wrong / REPEATS for method, wrong in broken.items()}


def main() -> None:
    print(f"{REPEATS:,} certificates at confidence {CONFIDENCE}: share that is wrong, allowed {1 - CONFIDENCE:.2f}")
    print("| bound | known risk | episodes | number fixed | stopped at the worst moment |\n|---|---|---|---|---|")
    for i, (risk, n) in enumerate(KNOWN):
        for j, bound in enumerate((clopper_pearson, anytime)):
            rng = np.random.default_rng([FAMILY, i, j])
            line = fixed(bound, risk, n, rng), stopped(bound, risk, n, rng)
            print(f"| {bound.__name__} | {risk} | {n:,} | {line[0]:.4f} | {line[1]:.4f} |", flush=True)
    print(f"\n| prior, bound {WANTED}, T = {HORIZON} | known risk of the base | episodes | wrong |\n|---|---|---|---|")
    for i, (risk, n) in enumerate(((0.005, 1000), (0.01, 2000), (0.05, 500))):
        for method, wrong in chain(risk, n, np.random.default_rng([FAMILY, 9, i])).items():
            print(f"| {method} | {risk} | {n:,} | {wrong:.4f} |", flush=True)


if __name__ == "__main__":
    main()
