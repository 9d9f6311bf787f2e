"""niwaki sport: the experiments of the paper SPoRt, with every method beside the paper's."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from niwaki.cli.adapting import BoundOption, ConfidenceOption, read_stochastic
from niwaki.cli.console import DOES_NOT_HOLD, JsonOption, SeedOption, err, out, print_json, say, stages, table
from niwaki.cli.subject import RestartOption, WorkersOption
from niwaki.recipes.experiment import ALPHAS, METHODS, UNTRAINED, Order
from niwaki.tasks import load_task
from niwaki.types import NiwakiError

if TYPE_CHECKING:
    from niwaki.recipes.experiment import Flown, Result, Sport

SWEEP = ",".join(f"{alpha:g}" for alpha in ALPHAS)


def register(app: typer.Typer) -> None:
    app.command("sport")(sport_command)


def sport_command(
    experiment: Annotated[
        int,
        typer.Option(
            "--experiment", help="1: one task policy, projected at every alpha; 2: trained by Projected PPO at each."
        ),
    ] = Order.experiment,
    base: Annotated[
        str, typer.Option("--base", metavar="POLICY", help="The stochastic policy that is safe.")
    ] = "reach-avoid-base",
    task_policy: Annotated[
        str, typer.Option("--task-policy", metavar="POLICY", help="The stochastic policy for the new task.")
    ] = "reach-avoid-task",
    task: Annotated[str, typer.Option("--task", help="A bundled task, or a TOML file.")] = "reach-avoid",
    alphas: Annotated[str, typer.Option("--alphas", metavar="A,B,...", help="Largest ratios per step to try.")] = SWEEP,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="M,N,...",
            help="That are compared at the bound. Default: all; that train: experiment 2.",
        ),
    ] = None,
    bound: BoundOption = Order.bound,
    confidence: ConfidenceOption = Order.confidence,
    episodes: Annotated[
        int, typer.Option("--episodes", "-n", help="Fresh episodes of every policy, on each layout.")
    ] = Order.episodes,
    count: Annotated[int, typer.Option("--stages", help="Adaptations of the methods in stages.")] = Order.stages,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Control steps of each training. Default: 30,000 as published, 200,000 of ours."),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for all that the run leaves.")] = Path("sport"),
    restart: RestartOption = False,
    workers: WorkersOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Repeat the experiments of the paper SPoRt, to compare niwaki adapt with.

    A task policy is held near its base with a ratio of alpha per step, for every alpha of the paper's sweep, on one
    fixed layout and on random ones: steps to the goal, failures, the bound known before and the one by its own
    episodes. Then every method of niwaki adapt at the same bound. A run that was stopped goes on when the same command
    is given again. Exit code 1: a policy failed more often than was promised.

    Example: niwaki sport --experiment 1 --episodes 10000 --out sport
    """
    from niwaki.recipes.sport import sport
    from niwaki.reporting.sport_page import write_sport_page

    order = Order(
        experiment=experiment,
        bound=bound,
        confidence=confidence,
        episodes=episodes,
        stages=count,
        alphas=_alphas(alphas),
        methods=_methods(methods, experiment),
        steps=steps,
        seed=seed,
    )
    policies = read_stochastic(base), read_stochastic(task_policy, role="task")
    note = err.print if err.is_terminal else lambda text: None
    with stages() as progress:
        found = sport(
            *policies,
            load_task(task),
            folder,
            order,
            command=["niwaki", *sys.argv[1:]],
            restart=restart,
            workers=workers,
            progress=progress,
            note=note,
        )
        page = write_sport_page(folder)
    if as_json:
        print_json(asdict(found))
    else:
        _show(found)
        out.print(str(page), soft_wrap=True)
    if not found.holds:
        raise typer.Exit(DOES_NOT_HOLD)


def _methods(text: str | None, experiment: int) -> tuple[str, ...]:
    if text is None:
        return tuple(METHODS) if experiment == 2 else UNTRAINED
    return tuple(name.strip() for name in text.split(","))


def _alphas(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise NiwakiError(f"--alphas takes numbers such as 1,1.5,2, got {text[:60]!r}") from error


def _steps(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _show(found: Sport) -> None:
    for result in found.layouts:
        _show_sweep(result)
        _show_methods(result, found.bound)
    if not found.holds:
        say("a policy failed more often than was promised: an assumption does not hold", "bold red")


def _show_sweep(result: Result) -> None:
    shown = table(
        "alpha", "steps to goal", "(paper)", "sooner", "failures", "rate", "(paper)", "before", "own episodes",
        title=f"{result.layout} layout, within {result.horizon} steps",
    )  # fmt: skip
    lines: list[tuple[str, float | None, Flown, tuple[float | None, float | None]]] = [
        (f"{p.alpha:g}", p.prior_bound, p.flown, (p.published_steps_to_goal, p.published_violation_rate))
        for p in result.points
    ]
    lines.append(("task policy", None, result.task_policy, (None, None)))
    for name, prior, flown, (steps, rate) in lines:
        shown.add_row(
            name, _steps(flown.steps_to_goal), _steps(steps), _steps(flown.sooner), f"{flown.violations:,}",
            f"{flown.violation_rate:.2%}", "-" if rate is None else f"{rate:.1%}",
            "-" if prior is None else f"{prior:.3g}", f"{flown.posterior_bound:.3g}",
        )  # fmt: skip
    out.print(shown)


def _show_methods(result: Result, bound: float) -> None:
    shown = table("method", "steps to goal", "sooner", "of the base's", "failures", "rate", "own episodes",
                  title=f"{result.layout} layout, every method at a bound of {bound:g}")  # fmt: skip
    for each in result.methods:
        if each.flown is None:
            shown.add_row(each.method, *["-"] * 6)
            continue
        f = each.flown
        share = "-" if f.reduction is None else f"{f.reduction:.1%}"
        shown.add_row(
            each.method, _steps(f.steps_to_goal), _steps(f.sooner), share,
            f"{f.violations:,}", f"{f.violation_rate:.2%}", f"{f.posterior_bound:.3g}",
        )  # fmt: skip
    out.print(shown)
    for each in result.methods:
        if each.refused is not None:
            say(f"no certificate of {each.method}: {each.refused}")
