"""certify: first the bytes are fixed, then the dice are thrown, then the bytes fly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from niwaki.certification import words
from niwaki.certification.artefact import (
    SOURCE,
    TEACHER,
    bound_files,
    describe_task,
    fingerprints,
    load_artefact,
    machine,
    source_fingerprint,
    versions,
)
from niwaki.certification.bounds import share
from niwaki.certification.certificate import FORMAT, Certificate, Plan, SpecCount, write_certificate
from niwaki.certification.episodes import draw, fly, remember, scenario_digest
from niwaki.certification.evidence import compare, summarise, violation_bound
from niwaki.policies.compiled import CompiledPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.rollout import Stages, counted, join
from niwaki.tasks import Task
from niwaki.types import Floats, NiwakiError, Policy, Trajectories

LOOK = 500  # episodes between two looks of an anytime certificate


@dataclass(frozen=True)
class Certified:
    """A certificate and the episodes that it is about."""

    certificate: Certificate
    flights: Trajectories
    teacher_flights: Trajectories | None


def certify(
    folder: str | Path,
    task: Task,
    plan: Plan,
    *,
    teacher: NetworkPolicy | None = None,
    return_floor: float | None = None,
    workers: int | None = None,
    progress: Stages = lambda stage, done, total: None,
) -> Certified:
    """Fly the folder's policy.c on fresh scenarios and write certificate.json beside it.

    The folder holds policy.c, policy.h and policy.safetensors. Scenarios come from the task's sample
    distribution, drawn from the SHA-256 of policy.c and the attempt. The claim is that an episode breaks a
    specification of the task with probability at most `plan.risk`; where the bound is above, the certificate
    abstains. A `teacher` is written to teacher.safetensors and flown beside. `return_floor` is a number
    that no return can be below: with it the bound on the mean return is exact. Raises NiwakiError when a file
    is missing or does not fit, without a compiler, or for a task without specifications.
    """
    folder = Path(folder)
    if not task.specs:
        raise NiwakiError(
            f"the task {task.name} has no specification to certify: give one, such as always(abs(x) <= 1)"
        )
    names = [spec.name for spec in task.specs]
    if len(set(names)) < len(names):
        raise NiwakiError(f"two specifications have the same name, in {', '.join(names)}: name them apart")
    policy = CompiledPolicy(load_artefact(folder))
    if teacher is not None:
        save_policy(teacher, folder / TEACHER)
    files = fingerprints(folder, bound_files(folder, teacher=teacher is not None))
    if files[SOURCE] != source_fingerprint(policy.policy):
        raise NiwakiError(f"{SOURCE} was changed while it was being certified")
    scenarios = draw(task.simulator, files[SOURCE], attempt=plan.attempt, n=plan.episodes)
    flights = _fly(task, policy, scenarios, plan, workers, progress)
    beside = None
    if teacher is not None:
        count = counted(progress, "flying the teacher", len(flights))
        beside = fly(task, CompiledPolicy(teacher), flights.scenarios, workers=workers, progress=count)
    certificate = replace(
        _conclude(task, plan, flights, beside, floor=return_floor), files=files, compiler=policy.built_with
    )
    write_certificate(certificate, folder)
    return Certified(certificate, flights, beside)


def _fly(
    task: Task, policy: Policy, scenarios: Floats, plan: Plan, workers: int | None, progress: Stages
) -> Trajectories:
    """All the planned episodes; anytime, as many as decide the claim, one way or the other."""
    count = counted(progress, "flying the policy", len(scenarios))
    if not plan.anytime:
        return fly(task, policy, scenarios, workers=workers, progress=count)
    parts: list[Trajectories] = []
    violations = flown = 0
    for start in range(0, len(scenarios), LOOK):
        parts.append(fly(task, policy, scenarios[start : start + LOOK], workers=workers, progress=count))
        violations, flown = violations + int(parts[-1].violated.sum()), flown + len(parts[-1])
        reached = violation_bound(plan, violations, flown) <= plan.risk
        hopeless = violation_bound(plan, violations, plan.episodes) > plan.risk  # even without one more violation
        if reached or hopeless:
            break
    return join(parts)


def _conclude(
    task: Task, plan: Plan, flights: Trajectories, beside: Trajectories | None, *, floor: float | None
) -> Certificate:
    """What follows from the episodes: the certificate without its files and its compiler."""
    n, k = len(flights), int(flights.violated.sum())
    bound, counts = violation_bound(plan, k, n), flights.violations()
    returns = summarise(plan, flights.returns, floor=floor)
    teacher = None if beside is None else compare(plan, flights, beside)
    certificate = Certificate(
        format=FORMAT,
        claimed=bound <= plan.risk,
        reason=words.why_not(plan, bound),
        statement="",
        plan=plan,
        attempt_confidence=share(plan.confidence, plan.attempt),
        method="anytime" if plan.anytime else "clopper-pearson",
        episodes=n,
        violations=k,
        rate=k / n,
        bound=bound,
        specs=tuple(SpecCount(spec.name, spec.text, counts[spec.name]) for spec in task.specs),
        returns=returns,
        teacher=teacher,
        files={},
        compiler="",
        task=describe_task(task),
        scenarios_sha256=scenario_digest(flights.scenarios),
        record=remember(flights),
        teacher_record=None if beside is None else remember(beside),
        versions=versions(),
        platform=machine(),
        assumptions=words.assumptions(plan, returns, teacher),
        not_claimed=words.not_claimed(plan, teacher),
    )
    return replace(certificate, statement=words.statement(certificate))
