"""niwaki train: a teacher from Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from niwaki.cli.console import JsonOption, SeedOption, out, print_json, say, stages
from niwaki.cli.flying import interval, number
from niwaki.tasks import load_task, unsafe_variant


def register(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    task: Annotated[str, typer.Option("--task", help="A bundled task, a TOML file or a Gymnasium id.")],
    algorithm: Annotated[
        str | None,
        typer.Option("--algo", help="ppo, a2c, dqn, sac, td3, tqc, trpo or qrdqn. Default: the task's preset."),
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Train on the variant without dangers that the task file names.")
    ] = False,
    steps: Annotated[int | None, typer.Option("--steps", help="Environment steps. Default: the task's preset.")] = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write the policy. Default: <task>.safetensors here.")
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="Fresh episodes that evaluate the result.")] = 200,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a policy with Stable-Baselines3 and keep its best checkpoint.

    Checkpoints are compared on scenarios of their own; the figures come from fresh ones. Ctrl-C ends the
    training and keeps the best so far.

    Example: niwaki train --task lunarlander-continuous --algo ppo

    Example: niwaki train --task reach-avoid --algo sac --unsafe
    """
    from niwaki.training.train import train as run
    from niwaki.training.train import train_command

    chosen = unsafe_variant(load_task(task)) if unsafe else load_task(task)
    path = output or Path(f"{Path(chosen.name).name.replace(':', '-')}.safetensors")
    with stages() as report:
        trained = run(
            chosen,
            algorithm=algorithm,
            steps=steps,
            seed=seed,
            out=path,
            episodes=episodes,
            command=train_command(task, algorithm, steps, seed, unsafe=unsafe),
            progress=lambda done, total, best: report("training", done, total),
        )
    if as_json:
        print_json(
            {
                "task": chosen.name,
                "seed": seed,
                "algorithm": trained.training.algorithm,
                "steps": trained.training.steps,
                "checkpoint": trained.chosen.steps,
                "interrupted": trained.interrupted,
                "file": str(path),
                "policy": trained.row,
                "seconds": round(trained.seconds, 3),
            }
        )
        return
    if trained.interrupted:
        say("stopped early: this is the best checkpoint until then", "bold")
    row, settings = trained.row, trained.training
    say(
        f"{settings.algorithm.upper()}, best after {trained.chosen.steps:,} of {settings.steps:,} steps: "
        f"return {number(row['return_mean'])} {interval(row)} over {row['episodes']:,} fresh episodes"
    )
    out.print(str(path), soft_wrap=True)
