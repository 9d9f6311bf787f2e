"""The outlook of a run: the best so far, and how long the rest may take."""

from __future__ import annotations

from collections.abc import Sequence

from niwaki.recipes.ledger import Stage

USUAL_SIZES = 10  # that shaping tries, confirmations included
FIT_SECONDS = 5.0  # of a size, beside its flights


def best_so_far(stages: Sequence[Stage]) -> str:
    """The smallest network that has passed and that nothing has refused since, in words; empty without one."""
    best = None
    for stage in stages:
        passed = stage.facts.get("passed", stage.facts.get("verdict", {}).get("passed"))
        if stage.network is not None and passed:
            best = stage.network.nonzero_weights
    return "" if best is None else f"best so far {best:,} weights"


def seconds_left(stages: Sequence[Stage], *, trial: int, search: int, certificate: int) -> float:
    """What is still to be done, by what the stages so far have taken. `trial`, `search` and `certificate` are the
    episodes of each; the first stage is the teacher's. A guess: nobody knows how many sizes will be tried."""
    first, last = stages[0], stages[-1].name.split()[0]
    each = first.seconds / first.facts["teacher"]["episodes"]
    over = last in ("certificate", "front", "baseline")
    left = 0.0 if over else certificate * each
    if last in ("teacher", "shape"):
        sizes = [stage.seconds for stage in stages if stage.name.startswith("shape")]
        size = sum(sizes) / len(sizes) if sizes else trial * each + FIT_SECONDS
        confirmed = bool(sizes) and stages[-1].facts.get("step", {}).get("kind") == "confirm"
        left += 0.0 if confirmed else size * max(USUAL_SIZES - len(sizes), 1)
    if not over:
        rounds = 1 if last in ("search", "repair") else 2
        left += rounds * search * each
    return left
