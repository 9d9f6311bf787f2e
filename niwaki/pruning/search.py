"""The sparsest network that passes a gate."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from niwaki.gates import Verdict
from niwaki.policies.network import NetworkPolicy
from niwaki.types import NiwakiError

PATIENCE = 6  # counts that are tried in vain before a search gives up


@dataclass(frozen=True, eq=False)
class Attempt:
    """One network that was tried."""

    keep: int  # weights that were to be left
    network: NetworkPolicy
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Sparsest:
    """What a search found. `network` is None when no attempt passed."""

    network: NetworkPolicy | None
    attempts: tuple[Attempt, ...]  # in the order in which they were tried


def sparsest(
    prune_to: Callable[[int], NetworkPolicy],
    counts: Sequence[int],
    judge: Callable[[NetworkPolicy], Verdict],
    *,
    progress: Callable[[Attempt], None] = lambda attempt: None,
) -> Sparsest:
    """The network of the smallest of `counts` that passes, as far as a quick search can tell.

    `prune_to(keep)` makes the network with so many weights left. Bisection takes it that what passes goes on
    passing with more weights. It need not, so smaller counts are then tried one after the other until
    `PATIENCE` of them in a row have failed. Raises NiwakiError without counts.
    """
    counts = sorted(set(counts))
    if not counts:
        raise NiwakiError("a search needs at least one number of weights to try")
    attempts: dict[int, Attempt] = {}

    def passes(i: int) -> bool:
        if i not in attempts:
            network = prune_to(counts[i])
            attempts[i] = Attempt(counts[i], network, judge(network))
            progress(attempts[i])
        return attempts[i].verdict.passed

    best = bisect_left(range(len(counts)), True, key=passes)
    i = best - 1
    while i >= 0 and best - i <= PATIENCE:
        if passes(i):
            best = i
        i -= 1
    network = attempts[best].network if best < len(counts) else None
    return Sparsest(network, tuple(attempts.values()))


def ladder(weights: int, *, ratio: float = 0.9) -> list[int]:
    """Numbers of weights to try, each `ratio` times the one before, from all of them down to one.

    >>> ladder(10, ratio=0.5)
    [10, 5, 2, 1]
    """
    if not 0 < ratio < 1:
        raise NiwakiError(f"ratio must be between 0 and 1, got {ratio}")
    rungs = [weights]
    while rungs[-1] > 1:
        rungs.append(max(1, min(rungs[-1] - 1, int(rungs[-1] * ratio))))
    return rungs
