"""niwaki validate, adapt: a new task under a bound."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from niwaki.adaptation.learning import Surrogate
from niwaki.cli.console import DOES_NOT_HOLD, JsonOption, SeedOption, err, out, print_json, say, stages, table
from niwaki.cli.flying import number
from niwaki.cli.subject import RestartOption, SpecOption, TaskOption, WorkersOption, task_of
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.loading import load_stochastic
from niwaki.recipes.adapt import Adapted, Order
from niwaki.recipes.adapted_certificate import Method
from niwaki.recipes.prior import Rule
from niwaki.tasks import with_specs
from niwaki.types import NiwakiError

if TYPE_CHECKING:  # these take a while to import; only the commands that need them do
    from niwaki.recipes.validate import Validated

BaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="BASE",
        help="A stochastic policy: our .safetensors, a SAC or PPO .zip, or a bundled one's name.",
        show_default=False,
    ),
]
BoundOption = Annotated[float, typer.Option("--bound", help="Failure probability that an adapted policy may have.")]
ConfidenceOption = Annotated[float, typer.Option("--confidence", help="Of every bound that is derived.")]
HorizonOption = Annotated[
    int | None, typer.Option("--horizon", help="Steps within which to succeed. Default: the best of a fixed grid.")
]
VecOption = Annotated[
    str | None,
    typer.Option("--vecnormalize", help="VecNormalize pickle of BASE; the one beside its zip is taken; none: none."),
]


def register(app: typer.Typer) -> None:
    app.command("validate")(validate)
    app.command("adapt")(adapt)


def validate(
    base: BaseArgument,
    task: TaskOption = None,
    spec: SpecOption = None,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="Fresh episodes to fly.")] = 10_000,
    bound: BoundOption = 0.1,
    confidence: ConfidenceOption = Order.confidence,
    horizon: HorizonOption = None,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for the scenario database and its page.")
    ] = None,
    workers: WorkersOption = None,
    seed: SeedOption = 0,
    vecnormalize: VecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fly a stochastic policy with its noise, bound how often it fails within T steps, and say how far another policy
    may go from it under a wanted bound.

    With --out the scenario database is written: when each episode ended, and how. Failures are time-outs too.

    Example: niwaki validate base.safetensors --task reach-avoid --episodes 10000 --out database
    """
    from niwaki.recipes.validate import validate as run
    from niwaki.reporting.validation_page import write_validation

    chosen = with_specs(task_of(base, task), spec)
    policy = read_stochastic(base, vecnormalize)
    with stages() as progress:
        found = run(
            policy,
            chosen,
            folder,
            episodes=episodes,
            seed=seed,
            confidence=confidence,
            bound=bound,
            horizon=horizon,
            workers=workers,
            progress=progress,
        )
    page = None if folder is None else write_validation(found, folder)
    if as_json:
        print_json(asdict(found))
        return
    _show(found)
    if page is not None:
        out.print(str(page), soft_wrap=True)


def adapt(
    base: BaseArgument,
    task_policy: Annotated[
        str | None,
        typer.Argument(metavar="[TASKPOLICY]", help="The stochastic policy for the new task.", show_default=False),
    ] = None,
    task: TaskOption = None,
    spec: SpecOption = None,
    bound: BoundOption = Order.bound,
    method: Annotated[
        str, typer.Option("--method", help="ratio, odometer, gaussian, or stagewise: again from what it reached.")
    ] = Order.method,
    database: Annotated[
        Path | None,
        typer.Option("--database", metavar="DIR", help="What niwaki validate wrote. Default: BASE is validated first."),
    ] = None,
    episodes: Annotated[
        int, typer.Option("--episodes", "-n", help="Fresh episodes of every adapted policy, and of BASE.")
    ] = Order.episodes,
    confidence: ConfidenceOption = Order.confidence,
    horizon: HorizonOption = None,
    count: Annotated[int, typer.Option("--stages", help="Adaptations of stagewise, at most.")] = Order.stages,
    rule: Annotated[
        str, typer.Option("--rule", help="Of the stages of the method stagewise: ratio, odometer or gaussian.")
    ] = Order.rule,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Train the task policy: from BASE, within the bound (Projected PPO).")
    ] = False,
    surrogate: Annotated[
        str, typer.Option("--surrogate", help="Of --finetune: through the projection, or as published.")
    ] = "through",
    steps: Annotated[
        int | None, typer.Option("--steps", help="Control steps of --finetune. Default: 200,000; as published 30,000.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for all that the run leaves.")] = Path("adapted"),
    restart: RestartOption = False,
    workers: WorkersOption = None,
    seed: SeedOption = 0,
    vecnormalize: VecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fly a task policy held so near a validated base that it fails no more often than a bound known before.

    Writes the adapted policy, also as C, the scenario databases, certificate.json and a report. A run that was
    stopped goes on when the same command is given again. Exit code 1: the adapted policy's own flights contradict
    the bound.

    Example: niwaki adapt base.safetensors task.safetensors --task reach-avoid --bound 0.1 --method gaussian

    Example: niwaki adapt base.safetensors --finetune --task reach-avoid --bound 0.1 --method gaussian
    """
    from niwaki.recipes.adapt import adapt as run
    from niwaki.reporting.adapted_page import write_adapted_page

    chosen = with_specs(task_of(base, task), spec)
    if (task_policy is None) != finetune:
        raise NiwakiError("adapt needs TASKPOLICY, or --finetune to train one from BASE; not both")
    given = None if task_policy is None else read_stochastic(task_policy, role="task")
    order = Order(
        method=cast(Method, method),  # which refuses others
        bound=bound,
        confidence=confidence,
        episodes=episodes,
        horizon=horizon,
        stages=count,
        rule=cast(Rule, rule),
        finetune=cast(Surrogate, surrogate) if finetune else None,
        steps=steps,
        seed=seed,
    )
    note = err.print if err.is_terminal else lambda text: None
    with stages() as progress:
        found = run(
            read_stochastic(base, vecnormalize),
            given,
            chosen,
            folder,
            order,
            database=database,
            command=["niwaki", *sys.argv[1:]],
            restart=restart,
            workers=workers,
            progress=progress,
            note=note,
        )
        page = write_adapted_page(folder)
    if as_json:
        print_json(asdict(found))
    else:
        _show_adapted(found)
        out.print(str(page), soft_wrap=True)
    if not found.holds:
        raise typer.Exit(DOES_NOT_HOLD)


def read_stochastic(source: str, vecnormalize: str | None = None, *, role: str = "base") -> GaussianPolicy:
    """The policy with its noise. Raises NiwakiError, which names the role, for one that has none."""
    try:
        return load_stochastic(source, vecnormalize=False if vecnormalize == "none" else vecnormalize)
    except NiwakiError as error:
        raise NiwakiError(f"the {role} policy: {error}") from error


def _show(v: Validated) -> None:
    shown = table("within", "failures", "at most", "permitted alpha")
    for row in v.horizons:
        best = " *" if row.horizon == v.horizon else ""
        alpha = "none" if row.permitted_alpha is None else f"{row.permitted_alpha:.4f}"
        shown.add_row(f"{row.horizon} steps{best}", f"{row.failures:,}", f"{row.failure_bound:.4%}", alpha)
    out.print(shown)
    say(
        f"{v.failures:,} of {v.episodes:,} episodes failed within {v.horizon} steps: with confidence {v.confidence!r} "
        f"the base fails with a probability of at most {v.failure_bound:.4g}"
    )
    if v.permitted_alpha is None:
        say(f"the base's own bound is above {v.bound:g} at every horizon: no ratio is permitted", "bold")
    else:
        reached = f"; the base takes {number(v.steps_to_goal)} steps" if v.steps_to_goal is not None else ""
        say(f"for a bound of {v.bound:g} a ratio of {v.permitted_alpha:.4f} per step is permitted{reached}", "bold")


def _show_adapted(found: Adapted) -> None:
    shown = table("", "base", "adapted")
    shown.add_row("steps to goal, mean", number(found.base_steps_to_goal), number(found.steps_to_goal))
    shown.add_row("failures", f"{found.base_violations:,}", f"{found.violations:,}")
    shown.add_row("episodes", f"{found.base_episodes:,}", f"{found.episodes:,}")
    shown.add_row("at most, by own episodes", f"{found.base_failure_bound:.3%}", f"{found.posterior_bound:.3%}")
    shown.add_row("at most, known before", "", f"{found.bound:.3%}")
    out.print(shown)
    if found.finetune is not None:
        steps, episodes, failures = (found.finetune[key] for key in ("steps", "episodes", "failures"))
        say(f"trained for {steps:,} steps within the bound: {failures:,} of {episodes:,} episodes failed")
    say(str(found.certificate["statement"]), "bold" if found.holds else "bold red")
