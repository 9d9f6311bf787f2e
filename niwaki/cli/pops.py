"""niwaki pops: prune and shrink as the paper PoPS does, to compare with."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from niwaki.cli.console import (
    DOES_NOT_HOLD,
    ActivationOption,
    JsonOption,
    LayersOption,
    PolicyArgument,
    SeedOption,
    VecNormalizeOption,
    err,
    out,
    print_json,
    read_policy,
    say,
    stages,
    table,
)
from niwaki.cli.flying import number
from niwaki.cli.subject import RestartOption, TaskOption, task_of
from niwaki.recipes.ipp import Loop
from niwaki.recipes.pops import Popped, loop_for, pops
from niwaki.reporting.pops_picture import write_picture
from niwaki.tasks.fitting import fit


def register(app: typer.Typer) -> None:
    app.command("pops")(pops_command)


def pops_command(
    policy: PolicyArgument,
    task: TaskOption = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the run leaves.")] = Path("popped"),
    objective: Annotated[
        float | None, typer.Option("--objective", help="Mean return to keep (default: the task's threshold).")
    ] = None,
    lower: Annotated[
        float | None,
        typer.Option("--lower-bound", help="Below it pruning pauses (default: 80/190 of the objective)."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Gradient steps of one pruning schedule.")] = Loop.steps,
    iterations: Annotated[int, typer.Option("--iterations", help="Rounds of pruning and shrinking.")] = Loop.iterations,
    restart: RestartOption = False,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prune and shrink as the paper PoPS does, to compare niwaki shrink with.

    A student is pruned by magnitude while it learns from the teacher's own flights; what is left of each layer gives
    the widths of a smaller dense network, which learns anew; again, until little is gained. A run that was stopped
    goes on when the same command is given again. Exit code 1: no smaller network keeps the objective on fresh
    episodes.

    Example: niwaki pops cartpole --task cartpole-v0 --out popped
    """
    chosen = task_of(policy, task)
    teacher = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    loop = loop_for(chosen, objective=objective, lower_bound=lower, steps=steps, iterations=iterations, seed=seed)
    note = err.print if err.is_terminal else lambda text: None
    with stages() as progress:
        command = ["niwaki", *sys.argv[1:]]
        popped = pops(teacher, chosen, folder, loop, command=command, restart=restart, progress=progress, note=note)
        picture = write_picture(folder)
    if as_json:
        print_json(asdict(popped))
    else:
        _show(popped, picture)
    if not popped.passed:
        raise typer.Exit(DOES_NOT_HOLD)


def _show(popped: Popped, picture: Path) -> None:
    """The verdict, and a line for each round."""
    if popped.passed:
        left, of = popped.policy["weights"], popped.teacher["weights"]
        say(f"{left:,} of {of:,} weights do the job: return {number(popped.policy['return_mean'])}", "bold")
    else:
        say(f"not shrunk: {popped.reason}", "bold")
    shown = table("round", "pruned to", "dense network", "weights", "return", "s")
    for i, each in enumerate(popped.iterations, start=1):
        widths = "-".join(str(width) for width in each.widths)
        shown.add_row(
            str(i), f"{each.nonzero_weights:,}", widths, f"{each.weights:,}", number(each.score), f"{each.seconds:.0f}"
        )
    out.print(shown)
    out.print(str(picture), soft_wrap=True)
