"""What a command is about: which policy, on which task, under which specifications."""

from __future__ import annotations

from typing import Annotated

import typer

from niwaki.cli.console import read_policy
from niwaki.policies.loading import teacher_names
from niwaki.policies.network import NetworkPolicy
from niwaki.tasks import Task, load_task, task_names
from niwaki.types import NiwakiError

SpecOption = Annotated[
    list[str] | None,
    typer.Option("--spec", metavar="FORMULA", help="What must hold, instead of the task's own; may be repeated."),
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", help="A bundled task, a TOML file or a Gymnasium id. A bundled teacher knows its own."),
]
ReturnLossOption = Annotated[
    float, typer.Option("--return-loss", help="Share of the teacher's return that may be lost (at 95 %).")
]
MoreViolationsOption = Annotated[
    float, typer.Option("--more-violations", help="By how much the violation rate may exceed the teacher's (at 95 %).")
]
RestartOption = Annotated[bool, typer.Option("--restart", help="Begin anew where --out holds a run.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Processes. Default: all cores for engines, one for ours.")
]


def task_of(source: str, task: str | None) -> Task:
    """The named task; without a name, the bundled teacher's own."""
    name = task_of_teacher(source) if task is None else task
    if name is None:
        raise NiwakiError(f"which task? add --task NAME; the tasks are {', '.join(task_names())}")
    return load_task(name)


def task_of_teacher(source: str) -> str | None:
    """The task that a bundled teacher is named after: `cartpole` of `cartpole`, `reach-avoid` of `reach-avoid-base`.
    None where the POLICY argument names no bundled teacher."""
    if source not in teacher_names():
        return None
    return max((name for name in task_names() if f"{source}-".startswith(f"{name}-")), key=len, default=None)


def has_teacher(task: str) -> bool:
    """Whether a bundled teacher is named after the task."""
    return any(task_of_teacher(name) == task for name in teacher_names())


def read_teacher(source: str) -> NetworkPolicy:
    """The --against policy. Options such as --activation are about POLICY, so this one must do without."""
    try:
        return read_policy(source)
    except NiwakiError as error:
        raise NiwakiError(f"--against {source}: {error} (give niwaki import the options it needs)") from error
