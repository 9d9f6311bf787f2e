"""Polish: move the few numbers of a small network until it flies well. It needs no gradient and no teacher."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from niwaki.policies.network import NetworkPolicy
from niwaki.types import SEED_LIMIT, Floats, Integers

FIRST_STEP = 0.1  # standard deviation of the first moves, in units of each number's own size
MOST_MOVED = 100  # numbers whose covariance a few dozen generations can learn; of more, only the output layer's move
FAIR = 1 / 3  # share of the generations after which it is asked whether enough will be reached
LEAST_SIZE = 0.1  # of a number's unit, as a share of the largest in its layer

Fitness = Callable[[Sequence[NetworkPolicy], int], Sequence[float]]  # (networks, draw): the larger the better
JUDGING = 0  # the draw that says what is handed over


def polish(
    network: NetworkPolicy,
    fitness: Fitness,
    *,
    enough: float = float("inf"),
    needed: float | None = None,
    generations: int = 30,
    late: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> tuple[NetworkPolicy, float]:
    """The fittest centre of the generations of CMA-ES, and its fitness: it moves all non-zero weights and biases, or
    only those of the output layer where there are more than MOST_MOVED.

    `fitness` says how well networks fly, the larger the better, all on the flights of one draw. Every generation is
    compared on a draw of its own, so that what seldom goes wrong is seen in one of them, and its centre, an average
    of many networks, on the draw JUDGING: the best of one generation has mostly been lucky
    (Hansen 2016, arXiv:1604.00772, as in pycma). It ends with the first centre whose fitness is `enough`, after so
    many generations, or, once a FAIR share of them is over, where it is behind the straight line to what is `needed`
    (where that is not given, to `enough`): the first generations bring most. It ends between two generations where it
    is `late`. A fitness that is not finite counts as
    the worst. The given network is returned where nothing better is found.
    """
    best, first = network, _fits(fitness, [network], JUDGING)[0]
    most, goal = first, enough if needed is None else needed
    values, units, moving = numbers(network), _units(network), _moving(network)
    if most >= enough or not len(moving):
        return best, most
    rng = np.random.default_rng(seed)
    search = _cma_es(len(moving), generations, rng)

    def shifted(move: Floats) -> NetworkPolicy:
        there = values.copy()
        there[moving] += units[moving] * move[: len(moving)]
        return with_numbers(network, there)

    while most < enough and not search.stop() and not late():
        moves, draw = search.ask(), int(rng.integers(JUDGING + 1, SEED_LIMIT))
        search.tell(moves, [-fit for fit in _fits(fitness, [shifted(move) for move in moves], draw)])
        centre = shifted(search.mean)
        if (fit := _fits(fitness, [centre], JUDGING)[0]) > most:
            best, most = centre, fit
        share = search.countiter / generations
        if share >= FAIR and np.isfinite(goal) and most < first + share * (goal - first):
            break
    return best, most


def moved(network: NetworkPolicy) -> int:
    """How many of the network's numbers a polish moves."""
    return len(_moving(network))


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


def _moving(network: NetworkPolicy) -> Integers:
    """Which of `numbers` are moved."""
    there = [int((part != 0).sum()) for part in network.parts]
    if sum(there) <= MOST_MOVED:
        return np.arange(sum(there))
    last = np.arange(len(there)) % len(network.layers) == len(network.layers) - 1  # weights come first, then biases
    return np.flatnonzero(np.repeat(last, there))


def _units(network: NetworkPolicy) -> Floats:
    """By how much each number may well be moved: its own size, or a share of its layer's largest."""
    sizes = []
    for part in network.parts:
        there = np.abs(part[part != 0]).astype(np.float64)
        sizes.append(np.maximum(there, LEAST_SIZE * there.max(initial=0.0)))
    return np.concatenate(sizes)


def _cma_es(n: int, most: int, rng: np.random.Generator) -> Any:
    """pycma's search over n numbers (at least 2: it knows no single one), from 0, for so many generations at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about plotting libraries that are not there
        import cma
    options = {"verbose": -9, "seed": np.nan, "randn": lambda *shape: rng.standard_normal(shape), "maxiter": most}
    return cma.CMAEvolutionStrategy(np.zeros(max(n, 2)), FIRST_STEP, options)


def _fits(fitness: Fitness, networks: Sequence[NetworkPolicy], draw: int) -> list[float]:
    """The fitness of each; the worst where it is not finite."""
    return [fit if np.isfinite(fit) else -1e300 for fit in fitness(networks, draw)]
