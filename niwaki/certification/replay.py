"""Flying a certificate's episodes again, and comparing them one by one with its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from niwaki.certification.artefact import SOURCE, describe_task, elsewhere
from niwaki.certification.certificate import Certificate, Record
from niwaki.certification.episodes import BLOCK, block_digests, broken, draw, fly, recall, scenario_digest
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.specs import parse_spec
from niwaki.tasks import Task, load_task, task_names
from niwaki.types import Floats, Integers, NiwakiError, Trajectories

Progress = Callable[[int], None]


class Refused(Exception):
    """One sentence that speaks against a certificate."""


@dataclass(frozen=True)
class Rerun:
    """Some episodes of a certificate, ready to be flown again."""

    certificate: Certificate
    task: Task
    rows: Integers  # [m], numbers of the episodes, whole blocks of them
    scenarios: Floats  # [m, K]


def certified_task(described: Mapping[str, Any], specs: Mapping[str, str], given: Task | None) -> Task:
    """A certificate's task under its specifications, texts by name: the bundled one of that name, or the one given.

    Raises NiwakiError when neither is there, Refused when it is another task than the certified one.
    """
    name, simulator = described.get("name"), described.get("simulator")
    if given is None and name not in task_names():
        raise NiwakiError(f"the certificate is about {str(name)[:60]!r}, which is no bundled task: give it with --task")
    task = given or load_task(str(name))
    here = describe_task(task)["simulator"]
    if here != simulator:
        known = simulator if isinstance(simulator, dict) else {}
        other = next(key for key in sorted({*here, *known}) if here.get(key) != known.get(key))
        raise Refused(
            f"the task {task.name} is another one than was certified: its simulator differs in {other[:60]!r}"
        )
    try:
        parsed = tuple(parse_spec(text, task.simulator, name=name) for name, text in specs.items())
    except NiwakiError as error:
        raise Refused(f"a certified specification cannot be read here: {error}") from error
    return replace(task, specs=parsed)


def certified_scenarios(certificate: Certificate, task: Task) -> Floats:
    """The certificate's scenarios [n, K], drawn again. Raises Refused when they are others."""
    plan, source = certificate.plan, certificate.files[SOURCE]
    where = elsewhere(certificate.versions, certificate.platform)
    scenarios = draw(task.simulator, source, attempt=plan.attempt, n=plan.episodes)[: certificate.episodes]
    if scenario_digest(scenarios) != certificate.scenarios_sha256:
        raise Refused(f"the scenarios that follow from {SOURCE} are not the certified ones{where}")
    return scenarios


def rerun(certificate: Certificate, given: Task | None, *, episodes: int, seed: int | None) -> Rerun:
    """At least so many episodes, in whole blocks drawn at random. Raises as the functions above."""
    specs = {spec.name: spec.text for spec in certificate.specs}  # their names are different ones: checked before
    task = certified_task(certificate.task, specs, given)
    scenarios = certified_scenarios(certificate, task)
    n, blocks = certificate.episodes, -(-certificate.episodes // BLOCK)
    chosen = np.random.default_rng(seed).choice(blocks, size=min(blocks, -(-episodes // BLOCK)), replace=False)
    rows = np.concatenate([np.arange(b * BLOCK, min((b + 1) * BLOCK, n)) for b in np.sort(chosen)])
    return Rerun(certificate, task, rows, scenarios[rows])


def fly_again(
    rerun: Rerun, record: Record, network: NetworkPolicy, *, workers: int | None, progress: Progress
) -> tuple[Trajectories, bool]:
    """The episodes flown again, and whether their returns, lengths and endings are the recorded ones to the bit.

    Raises Refused when an episode broke other specifications than recorded, or, with the same packages on the
    same kind of machine, when a bit is another one.
    """
    flights = fly(rerun.task, deployed(network), rerun.scenarios, workers=workers, progress=progress)
    rows, where = rerun.rows, elsewhere(rerun.certificate.versions, rerun.certificate.platform)
    names = [spec.name for spec in rerun.certificate.specs]
    recorded = recall(record, names, rerun.certificate.episodes)[rows]
    other = rows[(broken(flights) != recorded).any(axis=1)]
    if len(other):
        raise Refused(
            f"{len(other)} of {len(rows)} episodes flown again broke other specifications than recorded, the first is "
            f"episode {other[0]}{where}"
        )
    same = block_digests(flights) == tuple(record.digests[row // BLOCK] for row in rows[::BLOCK])
    if not same and not where:
        raise Refused("episodes flown again gave other returns, lengths or endings than recorded")
    return flights, same
