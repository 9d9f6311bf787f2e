"""Whittle: take one number after the other out of a small network that goes on doing its job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from niwaki.policies.compact import compact, is_constant
from niwaki.policies.network import NetworkPolicy
from niwaki.shrinking.polish import JUDGING, Fitness, numbers, polish, with_numbers
from niwaki.types import Floats

CUTS = (0.3, 0.15)  # shares of the numbers that are left out together

Passes = Callable[[NetworkPolicy], bool]
Teach = Callable[[NetworkPolicy], NetworkPolicy]  # (network) -> the same numbers, with other values


@dataclass(frozen=True)
class Whittling:
    """How much is tried."""

    tries: int = 4  # of the numbers that are missed least, one at a time
    generations: int = 30  # of a polish


def whittle(
    network: NetworkPolicy,
    fitness: Fitness,
    passes: Passes,
    *,
    enough: float,
    teach: Teach = lambda network: network,
    whittling: Whittling | None = None,
    seed: int = 0,
) -> NetworkPolicy | None:
    """The network with at least one non-zero weight or bias fewer, or None where none was found that passes.

    Every number is left out once; those that are missed least are tried, first many of them together (CUTS), then one
    alone: as they are, then with all others taught again, then with them polished. `passes` may cost much more than
    `fitness`, so that it is asked only where the fitness is `enough`.
    """
    whittling = whittling or Whittling()
    values = numbers(network)
    alone = {i: other for i in range(len(values)) if (other := _left_out(network, values, [i]))}
    missed = {i: fitness(other, JUDGING) for i, other in alone.items()}
    ranked = sorted(missed, key=lambda i: (-missed[i], i))
    together = [_left_out(network, values, ranked[:n]) for n in _cuts(len(values)) if n <= len(ranked)]
    chosen = [(fitness(other, JUDGING), other) for other in together if other]
    chosen += [(missed[i], alone[i]) for i in ranked[: whittling.tries]]
    for fit, other in chosen:
        if fit >= enough and passes(other):
            return other
    for i, (fit, other) in enumerate(chosen):
        taught = teach(other)
        again = fitness(taught, JUDGING) if taught is not other else fit
        if again >= enough and taught is not other and passes(taught):
            return taught
        chosen[i] = max((again, taught), (fit, other), key=lambda pair: pair[0])
    for fit, other in chosen:
        goal = enough if fit < enough else float("inf")  # what was refused needs more than enough
        polished, reached = polish(other, fitness, enough=goal, generations=whittling.generations, seed=seed)
        if reached >= enough and passes(polished):
            return polished
    return None


def _cuts(n: int) -> list[int]:
    """How many of n numbers are tried together, the most first."""
    return sorted({round(share * n) for share in CUTS} - {0, 1}, reverse=True)


def _left_out(network: NetworkPolicy, values: Floats, which: Sequence[int]) -> NetworkPolicy | None:
    """The network without these of its numbers, dead units removed; None where it would always do the same."""
    left = values.copy()
    left[which] = 0.0
    other = compact(with_numbers(network, left))
    return None if is_constant(other) or other.nonzero_parameters >= len(values) else other
