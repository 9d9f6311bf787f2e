"""The front: how well policies of every size do over the same episodes, with direct distillation beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from niwaki.certification.artefact import TEACHER
from niwaki.evaluation import Row, policy_row
from niwaki.imitation import distil, gather
from niwaki.policies.compact import compact
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.recipes.exam import Rule
from niwaki.recipes.ledger import Facts
from niwaki.recipes.shape import seedling
from niwaki.recipes.stages import fly
from niwaki.rollout import Stages
from niwaki.tasks import Task
from niwaki.types import Lockstep, NiwakiError, Policy, Trajectories

FRONT, SHOWN = 0xF407, 0x5409  # families of dice
FRONT_EPISODES, ENGINE_FRONT_EPISODES = 1000, 200  # of each row of the front and of the baseline
BASELINE_WIDTHS = (0, 1, 2, 4, 8, 16)
BASELINE_STEPS, BASELINE_BATCH = 10_000, 256  # many small steps: as good as with large ones, in half the time


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network, and the file that holds it in the run's folder."""

    network: NetworkPolicy
    file: str


@dataclass(frozen=True)
class Lineup:
    """What policies of all sizes fly beside and over, so that their rows can be compared."""

    teacher: NetworkPolicy
    task: Task
    seed: int
    progress: Stages

    def front(self, candidates: Sequence[Candidate]) -> tuple[Facts, None]:
        """Rows of all candidates and of the teacher, each with its `file`: the facts of a stage."""
        everyone = [*candidates, Candidate(self.teacher, TEACHER)]
        return {"rows": [self._row(each.network) | {"file": each.file} for each in everyone]}, None

    def baseline(self) -> tuple[Facts, None]:
        """Rows of dense networks that were distilled from the teacher's own flights, without a closed loop: the facts
        of a stage."""
        lessons, rows = gather(self.teacher, self._fly(deployed(self.teacher), SHOWN, record=True)), []
        for width in BASELINE_WIDTHS:
            student = seedling(self.teacher, width, np.random.default_rng([self.seed, width]))
            if student.parameters >= self.teacher.parameters:
                break
            self.progress(f"distilling into {student.parameters} parameters", 0, 0)
            student = distil(student, lessons, steps=BASELINE_STEPS, batch=BASELINE_BATCH, seed=self.seed)
            rows.append(self._row(student))
        return {"rows": rows}, None

    def _row(self, network: NetworkPolicy) -> Row:
        flying = deployed(network)  # once: compiling takes longer than many flights
        return policy_row(compact(network), trajectories=self._fly(flying, FRONT), ns_per_call=ns_per_call(flying))

    def _fly(self, policy: Policy, family: int, *, record: bool = False) -> Trajectories:
        n = FRONT_EPISODES if isinstance(self.task.simulator, Lockstep) else ENGINE_FRONT_EPISODES
        return fly(policy, self.task, (self.seed, family), n, progress=self.progress, record=record)


def by_size(rows: Sequence[Row]) -> list[Row]:
    """The smallest first; the better one first where two are as small."""
    return sorted(rows, key=_key)


def pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows for which no other has as few parameters, as much return and as few violations; the smallest first."""
    kept: list[Row] = []
    for row in by_size(rows):
        if not any(all(a <= b for a, b in zip(_key(other), _key(row), strict=True)) for other in kept):
            kept.append(row)
    return kept


def knee(rows: Sequence[Row], rule: Rule) -> Row:
    """The smallest row that is about as good as the best: what an exam would forgive is not worth more parameters.

    Safety first: of the rows that violate at most `rule.more_violations` more often than the safest, those that earn
    at most the share `rule.return_loss` less than the best of them, and of these the smallest. It is the rule of one
    standard error, by which a pruned tree is chosen (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3), with
    what the user allows in the place of the standard error. Raises NiwakiError when there is no row.
    """
    if not rows:
        raise NiwakiError("a knee needs at least one row to be found on")
    least = min(_key(row)[2] for row in rows)
    safe = [row for row in rows if _key(row)[2] <= least + rule.more_violations]
    best = max(-_key(row)[1] for row in safe)
    good = [row for row in safe if -_key(row)[1] >= best - rule.return_loss * abs(best)]
    return min(good, key=_key)


def recommended(front: Sequence[Row], policy: Row, rule: Rule) -> Row:
    """The knee among the policy that was examined and what is larger: what is smaller did not come through."""
    return knee([policy, *(row for row in front if _key(row)[0] >= _key(policy)[0])], rule)


def portrait(
    series: Mapping[str, Sequence[Row]], *, teacher: Row, policy: Row | None, knee: Row | None, rule: Rule
) -> Facts:
    """What run.json says for the picture of the fronts: `series` by name, all rows over the same episodes, and the
    rule by which the knee was found."""
    named = [{"name": name, "rows": list(rows)} for name, rows in series.items()]
    return {"series": named, "teacher": teacher, "policy": policy, "knee": knee, "rule": asdict(rule)}


def _key(row: Row) -> tuple[float, float, float]:
    """Parameters, return with its sign turned, violation rate: the less the better."""
    return float(row["nonzero_parameters"]), -float(row["return_mean"]), float(row["violation_rate"])  # type: ignore[arg-type]
