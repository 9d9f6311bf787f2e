"""attest: the files of a network, and the certificate about them."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from niwaki.certification.certificate import Plan
from niwaki.certification.certify import certify
from niwaki.evaluation import paired_difference, policy_row
from niwaki.export.export import export_policy
from niwaki.policies.deployed import deployed, ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.recipes.ledger import Facts
from niwaki.rollout import Stages
from niwaki.tasks import Task


def attest(
    network: NetworkPolicy,
    teacher: NetworkPolicy,
    task: Task,
    folder: Path,
    *,
    plan: Plan,
    seed: int,
    progress: Stages,
) -> Facts:
    """Export into the folder and certify what lies there, the teacher beside it.

    Facts: `policy` and `teacher`, their rows over the certificate's episodes; `paired_difference`; `export`;
    `certificate`, the Certificate itself.
    """
    save_policy(network, folder / "policy.safetensors")
    exported = export_policy(network, folder, seed=seed, progress=partial(progress, "comparing bits"))
    certified = certify(folder, task, plan, teacher=teacher, progress=progress)
    certificate, beside = certified.certificate, certified.teacher_flights
    assert beside is not None
    bound = {"violation_bound": certificate.bound, "confidence": certificate.attempt_confidence}
    return {
        "policy": policy_row(network, trajectories=certified.flights, ns_per_call=exported.ns_per_call) | bound,
        "teacher": policy_row(teacher, trajectories=beside, ns_per_call=ns_per_call(deployed(teacher))),
        "paired_difference": paired_difference(certified.flights, beside),
        "export": asdict(exported),
        "certificate": certificate,
    }
