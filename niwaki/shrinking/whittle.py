"""Whittle: take the numbers that are missed least out of a small network that goes on doing its job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from niwaki.policies.compact import compact, is_constant
from niwaki.policies.network import NetworkPolicy
from niwaki.shrinking.polish import JUDGING, Fitness, numbers, polish, with_numbers
from niwaki.types import Floats

MOST = 0.3  # share of the numbers that are left out together, at most
NEARLY = 0.75  # of a share: weights went, and biases stayed

Passes = Callable[[NetworkPolicy], bool]
Teach = Callable[[NetworkPolicy], NetworkPolicy]  # (network) -> the same numbers, with other values


def left_out(network: NetworkPolicy, fitness: Fitness, *, share: float = MOST, tries: int = 4) -> list[NetworkPolicy]:
    """The network without those of its non-zero weights and biases that are missed least, dead units removed: first
    without a share of them together, then without half of it, then without each of so many alone. Every number is left
    out once to see."""
    values = numbers(network)
    alone = {i: other for i in range(len(values)) if (other := _without(network, values, [i]))}
    missed = dict(zip(alone, fitness(list(alone.values()), JUDGING), strict=True))
    ranked = sorted(missed, key=lambda i: (-missed[i], i))
    counts = sorted({round(part * len(values)) for part in (share, share / 2)} - {0, 1}, reverse=True)
    together = (_without(network, values, ranked[:n]) for n in counts if n <= len(ranked))
    return [other for other in together if other] + [alone[i] for i in ranked[:tries]]


def next_share(share: float, before: NetworkPolicy, after: NetworkPolicy) -> float:
    """What share to begin with next: twice as much where that is what went, else what did go. What was too much a
    moment ago would only be polished in vain once more."""
    gone = 1 - after.nonzero_parameters / before.nonzero_parameters
    if gone >= NEARLY * share:
        return min(MOST, 2 * share)
    while gone < NEARLY * share:
        share /= 2
    return share


def whittle(
    chosen: Sequence[NetworkPolicy],
    fitness: Fitness,
    passes: Passes,
    *,
    enough: float,
    teach: Teach = lambda network: network,
    generations: int = 30,
    late: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> NetworkPolicy | None:
    """The first of the chosen networks that passes: each as it is, or else taught again; then each polished, as long as
    it is not `late`; or None.

    `passes` may cost much more than `fitness`, so that it is asked only where the fitness is `enough`.
    """
    tried: list[tuple[float, NetworkPolicy]] = []
    for fit, other in zip(fitness(chosen, JUDGING), chosen, strict=True):
        if fit >= enough and passes(other):
            return other
        taught = teach(other)
        again = fitness([taught], JUDGING)[0] if taught is not other else fit
        if again >= enough and taught is not other and passes(taught):
            return taught
        tried.append(max((again, taught), (fit, other), key=lambda pair: pair[0]))
    for fit, other in tried:
        if late():
            return None
        goal = enough if fit < enough else float("inf")  # what was refused needs more than enough
        polished, reached = polish(other, fitness, enough=goal, generations=generations, late=late, seed=seed)
        if reached >= enough and passes(polished):
            return polished
    return None


def _without(network: NetworkPolicy, values: Floats, which: Sequence[int]) -> NetworkPolicy | None:
    """The network without these of its numbers; None where it would always do the same."""
    left = values.copy()
    left[which] = 0.0
    other = compact(with_numbers(network, left))
    return None if is_constant(other) or other.nonzero_parameters >= len(values) else other
