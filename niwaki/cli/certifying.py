"""niwaki certify, check: a statement about the very bytes that are shipped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from niwaki.cli.console import (
    DOES_NOT_HOLD,
    ActivationOption,
    JsonOption,
    LayersOption,
    SeedOption,
    VecNormalizeOption,
    out,
    print_json,
    read_policy,
    say,
    stages,
    table,
)
from niwaki.cli.flying import number
from niwaki.cli.subject import SpecOption, TaskOption, WorkersOption, read_teacher, task_of
from niwaki.evaluation import scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.rollout import counted, rollout
from niwaki.tasks import Task, load_task, with_specs
from niwaki.tasks.fitting import fit
from niwaki.types import NiwakiError

if TYPE_CHECKING:  # these take a while to import; only the commands that need them do
    from niwaki.certification.certificate import Certificate
    from niwaki.certification.check import Check
    from niwaki.recipes.adapted_certificate import AdaptedCertificate

PILOT = 500  # episodes that tell how many the claim needs
TESTED_INPUTS = 100_000  # on which the C of a policy that is exported here is compared with the reference
FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder with certificate.json.", show_default=False)
]


def register(app: typer.Typer) -> None:
    app.command("certify")(certify)
    app.command("check")(check)


def certify(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="DIR|POLICY",
            help="A folder with policy.c, policy.h and policy.safetensors; or a policy, to be exported to --out first.",
            show_default=False,
        ),
    ],
    task: TaskOption = None,
    spec: SpecOption = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where a POLICY is exported to.")
    ] = None,
    risk: Annotated[
        float | None, typer.Option("--risk", help="Violation probability to rule out. Default: the task's.")
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="Of the claim, over all attempts.")] = 0.999999,
    episodes: Annotated[
        int | None, typer.Option("--episodes", "-n", help="Fresh episodes. Default: as many as are needed, by a pilot.")
    ] = None,
    anytime: Annotated[bool, typer.Option("--anytime", help="Stop as soon as the claim is decided.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", help="Number of the attempt. Default: one more than DIR's certificate.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="POLICY", help="Fly this teacher on the same scenarios as well.")
    ] = None,
    return_floor: Annotated[
        float | None, typer.Option("--return-floor", help="No return can be below it: makes the return bound exact.")
    ] = None,
    workers: WorkersOption = None,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bound the probability of a violation, for the very policy.c in a folder, and write certificate.json there.

    The scenarios are drawn from the hash of policy.c: first the bytes are fixed, then the dice are thrown. Exit
    code 1 when the bound is above the allowed risk: then nothing is claimed.

    Example: niwaki certify cartpole --out build --risk 0.01
    """
    from niwaki.certification.artefact import load_artefact
    from niwaki.certification.certificate import FILE, next_attempt, summary
    from niwaki.certification.certify import certify as run
    from niwaki.certification.plan import plan

    start = time.perf_counter()
    chosen = with_specs(task_of(policy, task), spec)
    teacher = None if against is None else fit(read_teacher(against), chosen)
    if Path(policy).is_dir():
        folder = Path(policy)
    else:
        network = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
        folder = _export(network, out_folder)
    allowed = chosen.risk if risk is None else risk
    number_of = next_attempt(folder) if attempt is None else attempt
    with stages() as progress:
        rate = 0.0
        if episodes is None and not anytime:
            rate = _pilot(load_artefact(folder), chosen, seed, workers, counted(progress, "pilot", PILOT))
        planned = plan(
            allowed, confidence=confidence, episodes=episodes, expected_rate=rate, anytime=anytime, attempt=number_of
        )
        certificate = run(
            folder, chosen, planned, teacher=teacher, return_floor=return_floor, workers=workers, progress=progress
        ).certificate
    seconds = round(time.perf_counter() - start, 3)
    if as_json:
        print_json(summary(certificate) | {"file": str(folder / FILE), "seconds": seconds})
    else:
        _show(certificate)
        out.print(str(folder / FILE), soft_wrap=True)
    if not certificate.claimed:
        raise typer.Exit(DOES_NOT_HOLD)


def check(
    folder: FolderArgument,
    task: Annotated[
        str | None, typer.Option("--task", help="The task, where the certificate is about none of the bundled ones.")
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="How many of its episodes to fly again.")] = 200,
    full: Annotated[bool, typer.Option("--full", help="Fly all of them again.")] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Which episodes. Default: nobody can know beforehand.")
    ] = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a certificate: every file's hash, every number, and episodes flown again. Exit code 1 when refused.

    Example: niwaki check build
    """
    from niwaki.certification.certificate import summary
    from niwaki.certification.check import check as run
    from niwaki.recipes.adapted_certificate import is_adapted
    from niwaki.recipes.adapted_check import check_adapted

    start = time.perf_counter()
    known = None if task is None else load_task(task)
    verify: Callable[..., Check[Certificate] | Check[AdaptedCertificate]] = check_adapted if is_adapted(folder) else run
    with stages() as progress:
        found = verify(folder, task=known, episodes=episodes, full=full, seed=seed, workers=workers, progress=progress)
    if as_json:
        print_json(
            {
                "valid": found.valid,
                "refused": list(found.refused),
                "notes": list(found.notes),
                "replayed": found.replayed,
                "certificate": None if found.certificate is None else summary(found.certificate),
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
    else:
        _show_check(found)
    if not found.valid:
        raise typer.Exit(DOES_NOT_HOLD)


def _export(network: NetworkPolicy, folder: Path | None) -> Path:
    from niwaki.export.export import export_policy

    if folder is None:
        raise NiwakiError("a policy file is exported before it is certified: say where with --out DIR")
    exported = export_policy(network, folder, tested_inputs=TESTED_INPUTS)
    if exported.bit_exact is False:
        raise NiwakiError(f"the C in {folder} does not compute the policy ({exported.compiler}): set CC to another one")
    save_policy(network, folder / "policy.safetensors")
    return folder


def _pilot(
    network: NetworkPolicy, task: Task, seed: int, workers: int | None, progress: Callable[[int], None]
) -> float:
    """The violation rate in episodes of an evaluation: not the certificate's, so it may plan them."""
    scenarios = scenarios_for(task.simulator, PILOT, seed=seed)
    policy = deployed(network)
    flights = rollout(task.simulator, policy, scenarios, specs=task.specs, workers=workers, progress=progress)
    return float(flights.violated.mean())


def _show(certificate: Certificate) -> None:
    c, teacher = certificate, certificate.teacher
    shown = table(c.task["name"], "policy", *(["teacher"] if teacher else []))
    shown.add_row("violations", f"{c.violations:,}", *([f"{teacher.violations:,}"] if teacher else []))
    shown.add_row("violation rate", f"{c.rate:.3%}", *([f"{teacher.rate:.3%}"] if teacher else []))
    if c.returns is not None:
        shown.add_row("return, mean", number(c.returns.mean), *([number(teacher.return_mean)] if teacher else []))
    out.print(shown)
    say(c.statement, "bold" if c.claimed else "bold red")


def _show_check(found: Check[Certificate] | Check[AdaptedCertificate]) -> None:
    from niwaki.certification.certificate import Certificate

    for note in found.notes:
        say(f"note: {note}", "dim")
    for sentence in found.refused:
        say(f"refused: {sentence}", "bold red")
    if found.valid and found.certificate is not None:
        say(found.certificate.statement)
        of = f" of {found.certificate.episodes:,}" if isinstance(found.certificate, Certificate) else ""
        again = f"{found.replayed:,}{of} episodes flown again"
        say(f"valid: every file is the certified one, the numbers follow, {again} gave the same", "bold")
