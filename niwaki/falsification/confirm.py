"""From everything that was tried to the counterexamples worth showing: distinct, simple, and flown again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.falsification.simplify import simplify as simplified
from niwaki.falsification.space import Space
from niwaki.falsification.trials import Outcomes, Trials
from niwaki.rollout import rollout
from niwaki.types import Counterexample, Floats, Integers, Policy

KEEP, KEEP_HOPELESS = 20, 5  # counterexamples of one specification; of those, on which the teacher fails too
NEAR = 0.02  # scenarios within this fraction of every column's range are one finding


@dataclass(frozen=True, eq=False)
class _Kind:
    """Failures of one specification, which the teacher avoids or, when they are hopeless, does not."""

    spec: int
    hopeless: bool

    def among(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        failed, teacher_failed = outcomes.margins[:, self.spec] < 0, outcomes.teacher_margins[:, self.spec] < 0
        return failed & (teacher_failed == self.hopeless)


def confirm(tried: Outcomes, space: Space, trials: Trials, *, simplify: bool) -> tuple[tuple[Counterexample, ...], int]:
    """The counterexamples among what was tried, and how many of them did not fail when they were replayed."""
    kinds = [_Kind(spec, hopeless) for spec in range(len(trials.specs)) for hopeless in (False, True)]
    found = {kind: _distinct(kind, tried, space) for kind in kinds}
    if simplify:
        found = _simpler(found, space, trials)
    replayed = {kind: [_replay(row, kind, trials) for row in rows] for kind, rows in found.items()}
    confirmed = {kind: [c for c in cases if c.margin < 0] for kind, cases in replayed.items()}
    in_order = [c for cases in confirmed.values() for c in sorted(cases, key=lambda c: c.margin)]
    return tuple(in_order), sum(map(len, replayed.values())) - len(in_order)


def _distinct(kind: _Kind, tried: Outcomes, space: Space) -> Floats:
    """The worst failure of a kind and those that differ most, [n, K]."""
    which = np.flatnonzero(kind.among(tried))
    worst_first = tried.scenarios[which[np.argsort(tried.margins[which, kind.spec], kind="stable")]]
    at_most = KEEP_HOPELESS if kind.hopeless else KEEP
    return space.most_distinct(worst_first, at_most=at_most, apart=NEAR)


def _simpler(found: dict[_Kind, Floats], space: Space, trials: Trials) -> dict[_Kind, Floats]:
    """The scenarios made simpler, all kinds side by side; what became the same is one finding."""
    kinds = [kind for kind, rows in found.items() for _ in rows]

    def still_fails(which: Integers, rows: Floats) -> NDArray[np.bool_]:
        n = trials.allowed(len(rows))
        if n == 0:
            return np.zeros(0, dtype=bool)
        outcomes = trials.fly(rows[:n])
        return np.array([kinds[i].among(outcomes)[row] for row, i in enumerate(which[:n].tolist())])

    rows = simplified(np.concatenate(list(found.values())), space, still_fails)
    return {
        kind: space.most_distinct(rows[[other is kind for other in kinds]], at_most=KEEP, apart=NEAR) for kind in found
    }


def _replay(scenario: Floats, kind: _Kind, trials: Trials) -> Counterexample:
    """Flown alone, in this process, without anything of the search."""

    def margin(policy: Policy) -> float:
        flown = rollout(trials.simulator, policy, scenario, specs=trials.specs, workers=1)
        return float(np.asarray(flown.margins)[0, kind.spec])

    teacher_margin = None if trials.teacher is None else margin(trials.teacher)
    return Counterexample(scenario, trials.specs[kind.spec].name, margin(trials.policy), teacher_margin)
