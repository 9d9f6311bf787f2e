"""Find scenarios on which a policy breaks a specification."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.falsification.confirm import confirm
from niwaki.falsification.portfolio import portfolio
from niwaki.falsification.searches import MakeSearch, Search
from niwaki.falsification.space import Space, search_space
from niwaki.falsification.trials import Outcomes, Trials, together
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.rollout import Progress
from niwaki.types import Counterexample, Floats, NiwakiError, Policy, Simulator, Spec

SIMULATIONS = 2000  # unless a budget is given: about ten times SANP's 205
BATCHES = 40  # asks in a search: it needs some rounds to learn from
SMALLEST_BATCH, LARGEST_BATCH, TIMED_BATCH = 8, 1024, 64
FALSIFICATION = 0xFA15  # keeps the scenarios of a search apart from those of an evaluation with the same seed


@dataclass(frozen=True, eq=False)
class Findings:
    """What a search has found, and everything it has tried."""

    counterexamples: tuple[Counterexample, ...]  # distinct, replayed; by specification, the teacher's successes first
    spec_names: tuple[str, ...]
    scenarios: Floats  # [N, K], as the search tried them
    margins: Floats  # [N, P]
    teacher_margins: Floats  # [N, P], NaN where the teacher was not flown
    simulations: int  # scenarios tried: the N and those that made counterexamples simpler
    unconfirmed: int  # failures of the search that did not fail again when they were replayed
    seconds: float

    @property
    def failed(self) -> NDArray[np.bool_]:
        """[N, P]: the policy broke the specification and the teacher, where there is one, did not."""
        return (self.margins < 0) & ~(self.teacher_margins < 0)

    @property
    def found(self) -> int:
        """Scenarios of the search on which any specification failed in that way, near or far from each other."""
        return int(self.failed.any(axis=1).sum())

    @property
    def worst(self) -> Floats:
        """[N, P]: the lowest margin so far, simulation by simulation."""
        return np.minimum.accumulate(self.margins, axis=0)


def falsify(
    simulator: Simulator,
    policy: Policy,
    specs: Sequence[Spec],
    *,
    search: MakeSearch = portfolio,
    simulations: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    teacher: Policy | None = None,
    simplify: bool = True,
    progress: Progress | None = None,
) -> Findings:
    """Look within the simulator's search bounds, seeds included, for scenarios on which the policy breaks a spec.

    Every specification has a search of its own, and they take turns, so that large units do not hide small
    ones; each scenario is judged by all. What guides a search is in `Outcomes.losses`. With a teacher, only
    failures that it avoids count, and starts on which both fail are reported as such.

    The budget is a number of simulations (2000 unless there is a limit in seconds), of which up to a quarter
    are kept back to make what was found simpler. Whatever is reported has then been flown once more by
    itself, as a NetworkPolicy is deployed, and the teacher beside it. The same seed gives the same findings, but
    for a limit in seconds. `progress` is told how many more scenarios were tried.

    Finding nothing shows that N tries found nothing. It is no proof, and no statistical statement either: searches
    do not draw from the sample distribution. Raises NiwakiError for wrong arguments, or nothing to search.
    """
    specs = tuple(specs)
    _check(specs, simulations, seconds, seed)
    if simulations is None and seconds is None:
        simulations = SIMULATIONS
    space = search_space(simulator)
    other = None if teacher is None else _deployed(teacher)
    trials = Trials(simulator, _deployed(policy), other, specs, simulations, seconds, progress)
    dice = np.random.default_rng([seed, FALSIFICATION]).spawn(len(specs))
    searches = [search(space.categorical, rng) for rng in dice]
    tried = together(list(_search(searches, space, trials, simplify)))
    counterexamples, unconfirmed = confirm(tried, space, trials, simplify=simplify)
    return Findings(
        counterexamples,
        tuple(spec.name for spec in specs),
        tried.scenarios,
        tried.margins,
        tried.teacher_margins,
        trials.flown,
        unconfirmed,
        trials.elapsed,
    )


def _search(searches: list[Search], space: Space, trials: Trials, simplify: bool) -> Iterator[Outcomes]:
    """The searches take turns, one for each specification, until the budget is spent."""
    batch = TIMED_BATCH
    if trials.simulations is not None:
        batch = min(max(trials.simulations // BATCHES, SMALLEST_BATCH), LARGEST_BATCH)
    failures = 0
    for p in itertools.cycle(range(len(searches))):
        n = trials.allowed(batch, failures if simplify else 0)
        if n == 0:
            return
        rows = searches[p].ask(n)
        outcomes = trials.fly(space.scenarios(rows))
        for search, losses in zip(searches, outcomes.losses.T, strict=True):
            search.tell(rows, losses)
        failures += int((outcomes.margins < 0).sum())
        yield outcomes


def _deployed(policy: Policy) -> Policy:
    return deployed(policy) if isinstance(policy, NetworkPolicy) else policy


def _check(specs: tuple[Spec, ...], simulations: int | None, seconds: float | None, seed: int) -> None:
    if not specs:
        raise NiwakiError("there is no specification to break: give one, such as always(abs(x) <= 2.4)")
    if simulations is not None and simulations < 1:
        raise NiwakiError(f"simulations must be at least 1, got {simulations}")
    if seconds is not None and not seconds > 0:
        raise NiwakiError(f"seconds must be above 0, got {seconds}")
    if seed < 0:
        raise NiwakiError(f"the seed must not be negative, got {seed}")
