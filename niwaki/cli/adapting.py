"""niwaki validate, adapt: a new task under a bound."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from niwaki.cli.console import JsonOption, SeedOption, out, print_json, say, stages, table
from niwaki.cli.flying import number
from niwaki.cli.subject import SpecOption, TaskOption, WorkersOption, task_of
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.loading import load_stochastic
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


def validate(
    base: BaseArgument,
    task: TaskOption = None,
    spec: SpecOption = None,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="Fresh episodes to fly.")] = 10_000,
    bound: BoundOption = 0.1,
    confidence: ConfidenceOption = 0.9999999,
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
