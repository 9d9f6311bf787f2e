"""niwaki falsify, refine: break a policy, and mend what was broken."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from niwaki.cli.console import (
    DOES_NOT_HOLD,
    ActivationOption,
    JsonOption,
    LayersOption,
    PolicyArgument,
    SeedOption,
    VecNormalizeOption,
    out,
    print_json,
    progress,
    read_policy,
    say,
    stages,
    table,
    writable,
)
from niwaki.cli.subject import SpecOption, TaskOption, read_teacher, task_of
from niwaki.counterexamples import read_counterexamples, write_counterexamples
from niwaki.falsification.cma_es import CmaEsSearch
from niwaki.falsification.falsify import SIMULATIONS, Findings, falsify
from niwaki.falsification.gaussian_process import GaussianProcessSearch
from niwaki.falsification.portfolio import portfolio
from niwaki.falsification.searches import CrossEntropySearch, MakeSearch, RandomSearch, SobolSearch
from niwaki.falsification.tpe import TpeSearch
from niwaki.policies.storage import save_policy
from niwaki.recipes.repair import Method, repair
from niwaki.tasks import Task, with_specs
from niwaki.tasks.fitting import fit
from niwaki.types import Counterexample, NiwakiError

SEARCHES: dict[str, MakeSearch] = {
    "random": RandomSearch,
    "sobol": SobolSearch,
    "cma-es": CmaEsSearch,
    "cross-entropy": CrossEntropySearch,
    "tpe": TpeSearch,
    "gp": GaussianProcessSearch,
    "portfolio": portfolio,
}
SHOWN = 20  # counterexamples in the table


def register(app: typer.Typer) -> None:
    app.command("falsify")(falsify_command)
    app.command("refine")(refine_command)


def falsify_command(
    policy: PolicyArgument,
    task: TaskOption = None,
    spec: SpecOption = None,
    search: Annotated[str, typer.Option("--search", help=f"How to look: {', '.join(SEARCHES)}.")] = "portfolio",
    simulations: Annotated[
        int | None, typer.Option("--simulations", help=f"Tries (default: {SIMULATIONS:,} without --seconds).")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Time to look, roughly.")] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="POLICY", help="The teacher: only failures that it avoids count."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Write the counterexamples to this file.")] = None,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for starts and disturbances on which a policy breaks its specification.

    Exit code 1: some were found. Finding none is no proof: it says that so many tries found none.

    Example: niwaki falsify cartpole --task cartpole-v0 --search cma-es --out counterexamples.json
    """
    chosen = with_specs(task_of(policy, task), spec)
    subject = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    teacher = None if against is None else fit(read_teacher(against), chosen)
    if search not in SEARCHES:
        raise NiwakiError(f"--search is one of {', '.join(SEARCHES)}, got {search!r}")
    writable(file)
    with progress("searching", simulations or SIMULATIONS) as advance:
        found = falsify(
            chosen.simulator,
            subject,
            chosen.specs,
            search=SEARCHES[search],
            simulations=simulations,
            seconds=seconds,
            seed=seed,
            teacher=teacher,
            progress=advance,
        )
    if file is not None:
        write_counterexamples(file, chosen, found.counterexamples)
    if as_json:
        print_json(
            {
                "task": chosen.name,
                "seed": seed,
                "search": search,
                "simulations": found.simulations,
                "failures": found.found,
                "unconfirmed": found.unconfirmed,
                "counterexamples": [_describe(c, chosen) for c in found.counterexamples],
                "file": None if file is None else str(file),
                "seconds": round(found.seconds, 3),
            }
        )
    else:
        _show(found, chosen, file)
    if found.found:
        raise typer.Exit(DOES_NOT_HOLD)


def _describe(found: Counterexample, task: Task) -> dict[str, object]:
    return {
        "spec": found.spec,
        "margin": found.margin,
        "teacher_margin": found.teacher_margin,
        "scenario": dict(zip(task.simulator.names, found.scenario.tolist(), strict=True)),
    }


def _show(found: Findings, task: Task, file: Path | None) -> None:
    tries = f"{found.simulations:,} tries"
    if not found.counterexamples:
        say(f"no counterexample in {tries} ({found.seconds:.1f} s)")
        return
    shown = table("broken", "margin", "teacher's", "where it differs from nominal")
    for c in found.counterexamples[:SHOWN]:
        teacher = "-" if c.teacher_margin is None else f"{c.teacher_margin:.3g}"
        if c.teacher_margin is not None and c.teacher_margin < 0:
            teacher += " (fails too)"
        shown.add_row(c.spec, f"{c.margin:.3g}", teacher, _difference(c, task))
    shown.columns[3].justify = "left"
    out.print(shown)
    say(f"{found.found:,} failures in {tries}, {len(found.counterexamples):,} distinct ({found.seconds:.1f} s)")
    if file is not None:
        out.print(str(file), soft_wrap=True)


def _difference(found: Counterexample, task: Task) -> str:
    """The columns that are not nominal."""
    columns = zip(task.simulator.columns, found.scenario, strict=True)
    return ", ".join(f"{c.name} {value:.6g}" for c, value in columns if value != c.nominal) or "nowhere"


def refine_command(
    policy: PolicyArgument,
    against: Annotated[str, typer.Option("--against", metavar="POLICY", help="The teacher.")],
    counterexamples: Annotated[Path, typer.Option("--counterexamples", help="What niwaki falsify --out wrote.")],
    file: Annotated[Path, typer.Option("--out", "-o", help="The refined policy, a .safetensors file.")],
    task: TaskOption = None,
    spec: SpecOption = None,
    method: Annotated[str, typer.Option("--method", help=f"One of {', '.join(get_args(Method))}.")] = "imitate",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Mend a policy on its counterexamples: imitate the teacher there, or restore weights of the teacher.

    Exit code 1: some counterexamples are left.

    Example: niwaki refine small.safetensors --against cartpole --counterexamples found.json -o mended.safetensors
    """
    start = time.perf_counter()
    chosen = with_specs(task_of(policy, task), spec)
    subject, teacher = fit(read_policy(policy), chosen), fit(read_teacher(against), chosen)
    found = read_counterexamples(counterexamples, chosen)
    writable(file)
    with stages() as advance:
        mended = repair(subject, teacher, chosen, found, method=cast(Method, method), seed=seed, progress=advance)
    save_policy(mended.network, file)
    report = {
        "task": chosen.name,
        "seed": seed,
        "method": method,
        "counterexamples": mended.counterexamples,
        "corrected": mended.corrected,
        "remaining": mended.remaining,
        "restored": mended.restored,
        "recovery_states": len(mended.recoveries),
        "nonzero_weights": mended.network.nonzero_weights,
        "file": str(file),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if as_json:
        print_json(report)
    else:
        say(f"{mended.corrected:,} of {mended.counterexamples:,} counterexamples corrected ({method})")
        out.print(str(file), soft_wrap=True)
    if mended.remaining:
        raise typer.Exit(DOES_NOT_HOLD)
