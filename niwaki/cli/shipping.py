"""niwaki ship: the whole way from a trained policy to certified C."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import TaskID
from rich.text import Text

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
    stage_bars,
    table,
)
from niwaki.cli.flying import add_measures
from niwaki.cli.subject import (
    MoreViolationsOption,
    RestartOption,
    ReturnLossOption,
    SpecOption,
    TaskOption,
    task_of,
)
from niwaki.recipes.order import Order
from niwaki.recipes.ship import Shipped, Watch, ship
from niwaki.reporting.report import write_report
from niwaki.tasks import with_specs
from niwaki.tasks.fitting import fit


def register(app: typer.Typer) -> None:
    app.command("ship")(ship_command)


def ship_command(
    policy: PolicyArgument,
    task: TaskOption = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the run leaves.")] = Path(
        "shipped"
    ),
    spec: SpecOption = None,
    threshold: Annotated[
        float | None, typer.Option("--return", help="Mean return that is needed (default: the task's threshold).")
    ] = None,
    loss: ReturnLossOption = Order.return_loss,
    more: MoreViolationsOption = Order.more_violations,
    risk: Annotated[
        float | None, typer.Option("--risk", help="Violation rate to be ruled out (default: the task's).")
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="With which it is ruled out.")] = Order.confidence,
    episodes: Annotated[
        int | None, typer.Option("--episodes", "-n", help="Episodes of the certificate (default: what it needs).")
    ] = None,
    simulations: Annotated[
        int | None, typer.Option("--simulations", help="Tries of every search for counterexamples.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds of search and repair.")] = Order.rounds,
    smallest: Annotated[
        bool,
        typer.Option("--smallest", help="Leave out single weights and biases too, with the others polished."),
    ] = False,
    even_so: Annotated[
        bool, typer.Option("--even-so", help="Go on where the teacher itself breaks the specification too often.")
    ] = False,
    restart: RestartOption = False,
    seed: SeedOption = 0,
    activation: ActivationOption = None,
    layers: LayersOption = None,
    vecnormalize: VecNormalizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shape a policy into the sparsest one that keeps its return and its specification; export, certify, report.

    A run that was stopped goes on when the same command is given again. Exit code 1: nothing could be shipped.

    Example: niwaki ship cartpole --task cartpole-v0 --out shipped
    """
    chosen = with_specs(task_of(policy, task), spec)
    teacher = fit(read_policy(policy, activation=activation, layers=layers, vecnormalize=vecnormalize), chosen)
    order = Order(
        return_threshold=threshold,
        return_loss=loss,
        more_violations=more,
        risk=risk,
        confidence=confidence,
        episodes=episodes,
        simulations=simulations,
        rounds=rounds,
        smallest=smallest,
        even_so=even_so,
        seed=seed,
    )
    with _watching() as watch:
        command = ["niwaki", *sys.argv[1:]]
        shipped = ship(teacher, chosen, folder, order, command=command, restart=restart, watch=watch)
        write_report(folder, progress=watch.advance)
    if as_json:
        print_json(asdict(shipped))
    else:
        _show(shipped)
    if not shipped.shipped:
        raise typer.Exit(DOES_NOT_HOLD)


@contextmanager
def _watching() -> Iterator[Watch]:
    """A line for what was found, one for what is being done and one for what is to come; silent when stderr is
    not a terminal."""
    if not err.is_terminal:
        yield Watch()
        return
    bars, ahead = stage_bars(), Text(style="dim")
    tasks: dict[str, TaskID] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            for old in tasks.values():
                bars.remove_task(old)
            tasks.clear()
            tasks[stage] = bars.add_task(stage, total=None)
        bars.update(tasks[stage], completed=done, total=total or None)

    def outlook(best: str, seconds: float) -> None:
        ahead.plain = " · ".join(part for part in (best, f"about {in_time(seconds)} left") if part)

    with Live(Group(bars, ahead), console=err, transient=True):
        yield Watch(advance, err.print, outlook)


def in_time(seconds: float) -> str:
    """A duration for people: no finer than one can rely on.

    >>> in_time(4), in_time(48), in_time(100), in_time(4000)
    ('10 s', '50 s', '2 min', '67 min')
    """
    if seconds < 55:
        return f"{max(10, round(seconds, -1)):.0f} s"
    return f"{seconds / 60:.0f} min"


def _show(shipped: Shipped) -> None:
    """The table that a run ends with."""
    if shipped.shipped:
        left, of = shipped.policy["nonzero_weights"], shipped.teacher["weights"]
        say(f"shipped: {left:,} of {of:,} weights ({shipped.pruned:.2%} pruned)", "bold")
    else:
        say(f"not shipped: {shipped.reason}", "bold")
    rows = [shipped.teacher] + [shipped.policy] * shipped.shipped
    shown = table("", "teacher", *(["shipped"] * shipped.shipped))
    add_measures(shown, rows)
    shown.add_row("episodes", *(f"{r['episodes']:,}" for r in rows))
    out.print(shown)
    if shipped.certificate is not None:
        say(str(shipped.certificate["statement"]))
    if shipped.counterexamples_found:
        say(
            f"{shipped.counterexamples_found:,} counterexamples found in {shipped.search_simulations:,} tries, "
            f"{shipped.counterexamples_left:,} left (counterexamples.json)"
        )
    elif shipped.search_simulations:
        say(f"no counterexample in {shipped.search_simulations:,} tries")
    out.print(f"{shipped.out}/report.html", soft_wrap=True)
