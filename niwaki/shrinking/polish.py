"""Polish: move the few numbers of a small network until it flies well. It needs no gradient and no teacher."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from niwaki.policies.network import NetworkPolicy
from niwaki.types import Floats

FIRST_STEP = 0.2  # standard deviation of the first moves, in units of each number's own size
LEAST_SIZE = 0.1  # of a number's unit, as a share of the largest in its layer

Tell = Callable[[list[Floats], list[float]], None]  # (moves, losses)
Fitness = Callable[[NetworkPolicy], float]  # the larger the better


def polish(
    network: NetworkPolicy, fitness: Fitness, *, enough: float = float("inf"), generations: int = 30, seed: int = 0
) -> tuple[NetworkPolicy, float]:
    """The fittest network that CMA-ES finds by moving all non-zero weights and biases, and its fitness.

    It ends with the first network whose fitness is `enough`, or after so many generations (Hansen 2016,
    arXiv:1604.00772, as in pycma). A fitness that is not finite counts as the worst. The given network is returned
    where nothing better is found.
    """
    best, most = network, _finite(fitness(network))
    values = numbers(network)
    if most >= enough or not len(values):
        return best, most
    units = _units(network)
    for moves, tell in _generations(len(values), generations, seed):
        tried = [with_numbers(network, values + units * move[: len(values)]) for move in moves]
        fits = [_finite(fitness(other)) for other in tried]
        tell(moves, [-fit for fit in fits])
        i = int(np.argmax(fits))
        if fits[i] > most:
            best, most = tried[i], fits[i]
        if most >= enough:
            break
    return best, most


def numbers(network: NetworkPolicy) -> Floats:
    """The non-zero weights, then the non-zero biases, layer by layer, float64 [P]."""
    return np.concatenate([part[part != 0] for part in network.parts]).astype(np.float64)


def with_numbers(network: NetworkPolicy, values: Floats) -> NetworkPolicy:
    """The network with other non-zero weights and biases, in the order of `numbers`."""
    parts = [part.copy() for part in network.parts]
    start = 0
    for part in parts:
        there = part != 0
        part[there] = values[start : start + int(there.sum())]
        start += int(there.sum())
    return network.with_parts(parts)


def _units(network: NetworkPolicy) -> Floats:
    """By how much each number may well be moved: its own size, or a share of its layer's largest."""
    sizes = []
    for part in network.parts:
        there = np.abs(part[part != 0]).astype(np.float64)
        sizes.append(np.maximum(there, LEAST_SIZE * there.max(initial=0.0)))
    return np.concatenate(sizes)


def _generations(n: int, most: int, seed: int) -> Iterator[tuple[list[Floats], Tell]]:
    """Yields (moves, tell) of each generation, in units, n numbers a move (at least 2: pycma knows no single one)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about plotting libraries that are not there
        import cma
    rng = np.random.default_rng(seed)
    options = {"verbose": -9, "seed": np.nan, "randn": lambda *shape: rng.standard_normal(shape), "maxiter": most}
    search = cma.CMAEvolutionStrategy(np.zeros(max(n, 2)), FIRST_STEP, options)
    while not search.stop():
        yield search.ask(), search.tell


def _finite(fitness: float) -> float:
    return fitness if np.isfinite(fitness) else -1e300
