"""Whittle: take one number after the other out of a small network that goes on doing its job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from niwaki.policies.compact import compact, is_constant
from niwaki.policies.network import NetworkPolicy
from niwaki.shrinking.polish import Fitness, numbers, polish, with_numbers

Passes = Callable[[NetworkPolicy], bool]
Teach = Callable[[NetworkPolicy], NetworkPolicy]  # (network) -> the same numbers, with other values


@dataclass(frozen=True)
class Whittling:
    """How much is tried."""

    tries: int = 4  # of the numbers that are missed least
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

    Every number is left out once, and those that are missed least are tried: as they are, then with all others taught
    again, then with them polished. `passes` may cost much more than `fitness`, so that it is asked only where the
    fitness is `enough`.
    """
    whittling = whittling or Whittling()
    ranked = sorted(((fitness(other), i, other) for i, other in enumerate(_each_left_out(network))), reverse=True)
    chosen = [(fit, other) for fit, _, other in ranked[: whittling.tries]]
    for fit, other in chosen:
        if fit >= enough and passes(other):
            return other
    for i, (fit, other) in enumerate(chosen):
        taught = teach(other)
        again = fitness(taught) if taught is not other else fit
        if again >= enough and taught is not other and passes(taught):
            return taught
        chosen[i] = max((again, taught), (fit, other), key=lambda pair: pair[0])
    for fit, other in chosen:
        goal = enough if fit < enough else float("inf")  # what was refused needs more than enough
        polished, reached = polish(other, fitness, enough=goal, generations=whittling.generations, seed=seed)
        if reached >= enough and passes(polished):
            return polished
    return None


def _each_left_out(network: NetworkPolicy) -> list[NetworkPolicy]:
    """The network without each of its numbers, dead units removed; not those that would always do the same."""
    values = numbers(network)
    without = (np.where(np.arange(len(values)) == i, 0.0, values) for i in range(len(values)))
    others = (compact(with_numbers(network, left)) for left in without)
    return [other for other in others if not is_constant(other) and other.nonzero_parameters < len(values)]
