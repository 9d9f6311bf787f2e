"""niwaki shrink: the smallest policy that still does the job."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

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
from niwaki.cli.subject import (
    MoreViolationsOption,
    RestartOption,
    ReturnLossOption,
    SpecOption,
    TaskOption,
    task_of,
)
from niwaki.evaluation import Row
from niwaki.recipes.candidates import Method, Wish
from niwaki.recipes.exam import Rule
from niwaki.recipes.shrink import Shrunk, shrink
from niwaki.reporting.report import write_report
from niwaki.tasks import with_specs
from niwaki.tasks.fitting import fit
from niwaki.types import NiwakiError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def register(app: typer.Typer) -> None:
    app.command("shrink")(shrink_command)


def shrink_command(
    policy: PolicyArgument,
    task: TaskOption = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the run leaves.")] = Path("shrunk"),
    spec: SpecOption = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="search: a small network learns; pops: the paper's rounds; compact: the teacher's units are merged.",
        ),
    ] = "search",
    budget: Annotated[
        str, typer.Option("--budget", help="Time after which nothing new is tried, such as 90s, 10m or 1h.")
    ] = "10m",
    most: Annotated[
        int | None, typer.Option("--max-params", help="Non-zero weights and biases that it may have (default: any).")
    ] = None,
    loss: ReturnLossOption = Rule.return_loss,
    more: MoreViolationsOption = Rule.more_violations,
    restart: RestartOption = False,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the smallest policy that passes an exam beside its teacher; write it as C and ONNX, with a report.

    The rule is fixed before: on fresh episodes that both fly, neither return nor safety may be worse than allowed,
    with a confidence of 95 %. A run that was stopped goes on when the same command is given again. Exit code 1:
    none passed, or none as small as --max-params.

    Example: niwaki shrink cartpole --task cartpole --out shrunk

    Without training: niwaki shrink cartpole --method compact --out compacted
    """
    chosen = with_specs(task_of(policy, task), spec)
    teacher = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    wish = Wish(
        Rule(loss, more), cast(Method, method), most_parameters=most, seconds=seconds_of(budget), seed=seed
    )  # which refuses other methods
    note = err.print if err.is_terminal else lambda text: None
    with stages() as progress:
        command = ["niwaki", *sys.argv[1:]]
        shrunk = shrink(teacher, chosen, folder, wish, command=command, restart=restart, progress=progress, note=note)
        write_report(folder, progress=progress)
    if as_json:
        print_json(asdict(shrunk))
    else:
        _show(shrunk)
    if not shrunk.passed:
        raise typer.Exit(DOES_NOT_HOLD)


def seconds_of(text: str) -> float:
    """The seconds that a duration means.

    >>> seconds_of("90s"), seconds_of("10m"), seconds_of("1.5h")
    (90.0, 600.0, 5400.0)
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh])", text.strip())
    if not found:
        raise NiwakiError(f"a time is a number and a unit, such as 90s, 10m or 1h, got {text!r}")
    return float(found[1]) * UNITS[found[2]]


def _show(shrunk: Shrunk) -> None:
    """The verdict, the front and what direct distillation gives."""
    if shrunk.passed:
        left, of = shrunk.policy["nonzero_parameters"], shrunk.teacher["parameters"]
        say(f"{left:,} of {of:,} parameters do the job", "bold")
    else:
        say(f"not shrunk: {shrunk.reason}", "bold")
    shown = table("", "parameters", "bytes", "ns", "return", "violations")
    for name, rows in (("front", shrunk.front), ("direct", shrunk.baseline)):
        for i, row in enumerate(rows):
            shown.add_row(name if i == 0 else "", *_cells(row))
    out.print(shown)
    say("direct: dense networks that learned from the teacher's own flights", "dim")
    if shrunk.knee is not None:
        left, file = shrunk.knee["nonzero_parameters"], shrunk.knee["file"]
        say(f"the knee of the front: {left:,} parameters ({shrunk.out}/{file})")
    out.print(f"{shrunk.out}/report.html", soft_wrap=True)


def _cells(row: Row) -> list[str]:
    rate = row["violation_rate"]
    return [
        f"{row['nonzero_parameters']:,}",
        f"{row['bytes']:,}",
        number(row["ns_per_call"], digits=0),
        number(row["return_mean"]),
        "" if rate is None else f"{rate:.2%}",
    ]
