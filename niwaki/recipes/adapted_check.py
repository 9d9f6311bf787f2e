"""adapted_check: is the certificate of an adapted policy still true of the files beside it.

Nothing in the folder is trusted. The files are those of the certificate, the databases are about these very policies,
every number is worked out again from them (the bounds by lines of their own), the scenarios are drawn again, and
episodes of base and adapted policies are flown again and compared one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import confidence_shares
from niwaki.adaptation.c_adapted import FILES as C_FILES
from niwaki.adaptation.c_adapted import c_adapted
from niwaki.adaptation.database import NAME, Database, draw, load_database
from niwaki.adaptation.saved import FILES, adapted_digest, load_parts, plain
from niwaki.certification.artefact import differences_here, elsewhere, fingerprints
from niwaki.certification.check import Check, expect_certificate
from niwaki.certification.consistency import same_numbers, upper_bound
from niwaki.certification.episodes import scenario_digest
from niwaki.certification.replay import Refused, certified_task
from niwaki.compiler import find_compiler
from niwaki.policies.files import read_bytes
from niwaki.policies.sampled import sampled
from niwaki.policies.storage import fingerprint
from niwaki.recipes.adapt import ADAPTED
from niwaki.recipes.adapted_certificate import AdaptedCertificate, Stage, in_words, read_adapted
from niwaki.recipes.prior import grid_of, prior
from niwaki.recipes.validate import VALIDATION, outcomes
from niwaki.rollout import Stages, counted
from niwaki.tasks import Task
from niwaki.types import EpisodicPolicy, NiwakiError


@dataclass(frozen=True)
class _Flown:
    """A policy and its database."""

    who: str
    policy: EpisodicPolicy
    digest: str
    family: int
    database: Database


def check_adapted(
    folder: str | Path,
    *,
    task: Task | None = None,
    episodes: int = 200,
    full: bool = False,
    seed: int | None = None,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
) -> Check[AdaptedCertificate]:
    """Verify the certificate of an adapted policy: hashes, numbers, then so many episodes of every policy again.

    Which ones is drawn with `seed`; None: so that nobody can know it beforehand. Raises NiwakiError when there is no
    certificate, or it needs the `task`; whatever speaks against it is reported, not raised.
    """
    folder = Path(folder)
    expect_certificate(folder, episodes, written_by="niwaki adapt")
    try:
        certificate = read_adapted(folder)
    except NiwakiError as error:
        return Check(None, (str(error),), (), 0)
    notes = tuple(differences_here(certificate.versions, certificate.platform))
    try:
        known = certified_task(certificate.task, certificate.specs, task)
        flown = _belonging(certificate, folder, known)
        refused = tuple(_contradictions(certificate, [each.database for each in flown], known))
        if refused:
            return Check(certificate, refused, notes, 0)
        where = elsewhere(certificate.versions, certificate.platform)
        dice, replayed = np.random.default_rng(seed), 0
        for each in flown:
            count = len(each.database) if full else min(episodes, len(each.database))
            _fly_again(each, known, count, dice, workers, progress, where)
            replayed += count
    except Refused as reason:
        return Check(certificate, (str(reason),), notes, 0)
    if not find_compiler():
        notes = (*notes, "no C compiler is here: the same bits were flown in NumPy")
    return Check(certificate, (), notes, replayed)


def _belonging(c: AdaptedCertificate, folder: Path, task: Task) -> list[_Flown]:
    """The policies that flew, each with its database: the base, then every adapted one. Raises Refused when a file is
    another one than was certified, or is about something else."""
    count = len(c.stages)
    names = [NAME, *(f"adapted-{i + 1}" for i in range(count))]
    needed = {*FILES, *C_FILES, *(f"{name}{kind}" for name in names for kind in (".npz", ".json"))}
    if not task.specs:
        raise Refused("the certificate names no specification")
    if not c.stages or set(c.files) != needed:
        other = sorted(set(c.files) ^ needed)
        raise Refused(f"the certificate does not bind the files of its stages, {', '.join(other)[:100]}")
    try:
        for file, digest in sorted(c.files.items()):
            if fingerprints(folder, [file])[file] != digest:
                raise Refused(f"{file} was changed after it was certified")
        base, task_policy, budgets = load_parts(folder)
        databases = [load_database(folder, name) for name in names]
    except NiwakiError as error:
        raise Refused(str(error)) from error
    if (fingerprint(base), adapted_digest(base, task_policy, budgets)) != (c.base_sha256, c.policy_sha256):
        raise Refused("the certificate is about other policies than those beside it")
    if [plain(budget) for budget in budgets] != [stage.budget for stage in c.stages]:
        raise Refused(f"the budgets in {FILES[-1]} are not the certified ones")
    flying = sampled(base), sampled(task_policy)
    try:
        source = c_adapted(AdaptedPolicy.staged(*flying, budgets))
    except NiwakiError as error:
        raise Refused(str(error)) from error
    for name, text in source.items():
        if read_bytes(folder / name) != text.encode("ascii"):
            raise Refused(f"{name} is not what this niwaki makes of the adapted policy")
    flown = [_Flown("the base", flying[0], fingerprint(base), VALIDATION, databases[0])]
    for stage in range(1, count + 1):
        digest = adapted_digest(base, task_policy, budgets[:stage])
        policy = AdaptedPolicy.staged(*flying, budgets[:stage])
        flown.append(_Flown(f"the adapted policy of stage {stage}", policy, digest, ADAPTED, databases[stage]))
    for each in flown:
        facts = each.database.facts
        about = (facts.policy_sha256, facts.family, facts.task.get("simulator"), facts.specs)
        if about != (each.digest, each.family, c.task.get("simulator"), c.specs):
            raise Refused(f"the database of {each.who} is about another policy, another task or other dice")
    return flown


def _contradictions(c: AdaptedCertificate, databases: list[Database], task: Task) -> Iterator[str]:
    """A sentence for every field that does not follow from the databases."""
    together = c.method == "stagewise"
    if (not together and (c.rule != c.method or c.planned_stages != 1)) or len(c.stages) > c.planned_stages:
        yield "the stages do not fit the method"
        return
    shares = confidence_shares(c.confidence, c.planned_stages + 1) if together else (c.confidence, c.confidence)
    try:
        grid = grid_of(c.rule, task.simulator.horizon, c.asked_horizon)
        for i, stage in enumerate(c.stages):
            found = prior(databases[i], c.rule, wanted=c.bound, confidence=shares[i], grid=grid, bound=upper_bound)
            grid = (found.horizon,)
            if found.horizon != c.horizon:
                yield f"the horizon {c.horizon} does not follow from the episodes of the base, but {found.horizon}"
                return
            n, violations = len(databases[i + 1]), int(databases[i + 1].failed(c.horizon).sum())
            expected = Stage(
                budget=plain(found.budget),
                base_episodes=len(databases[i]),
                base_failures=found.failures,
                base_risk=found.risk,
                prior_confidence=shares[i],
                episodes=n,
                violations=violations,
                posterior_bound=upper_bound(violations, n, confidence=shares[i + 1]),
                posterior_confidence=shares[i + 1],
            )
            for field in fields(Stage):
                if not same_numbers(getattr(stage, field.name), getattr(expected, field.name)):
                    yield f"{field.name} of stage {i + 1} does not follow from the episodes"
    except NiwakiError as error:
        yield str(error)
        return
    spoken = in_words(replace(c, claimed=False, reason=None, statement=""))
    for name in ("claimed", "reason", "statement", "assumptions", "not_claimed"):
        if getattr(spoken, name) != getattr(c, name):
            yield f"{name} does not follow from the episodes"


def _fly_again(
    flown: _Flown,
    task: Task,
    count: int,
    dice: np.random.Generator,
    workers: int | None,
    progress: Stages,
    where: str,
) -> None:
    """Some of a database's episodes again. Raises Refused when their scenarios, or what came of them, are others."""
    database, facts = flown.database, flown.database.facts
    scenarios = draw(task.simulator, flown.digest, family=flown.family, seed=facts.seed, n=len(database))
    if scenario_digest(scenarios) != facts.scenarios_sha256:
        raise Refused(f"the scenarios of {flown.who} are not those that follow from its digest and the seed")
    rows = np.sort(dice.choice(len(database), size=count, replace=False))
    count_on = counted(progress, f"flying {flown.who} again", count)
    here = outcomes(flown.policy, task, scenarios[rows], workers=workers, progress=count_on)
    there = database.lengths, database.succeeded, database.endings
    other = np.any([a != b[rows] for a, b in zip(here, there, strict=True)], axis=0)
    if other.any():
        raise Refused(
            f"{int(other.sum())} of {count} episodes of {flown.who} flown again ended otherwise than recorded, the "
            f"first is episode {rows[other][0]}{where}"
        )
