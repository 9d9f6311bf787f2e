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
    """The named task; without a name, the one that the bundled teacher was trained for."""
    if task is None and is_teacher_of_a_task(source):
        task = source
    if task is None:
        raise NiwakiError(f"which task? add --task NAME; the tasks are {', '.join(task_names())}")
    return load_task(task)


def is_teacher_of_a_task(source: str) -> bool:
    """Whether a POLICY argument is the name of a bundled teacher, and so of its task."""
    return source in teacher_names() and source in task_names()


def read_teacher(source: str) -> NetworkPolicy:
    """The --against policy. Options such as --activation are about POLICY, so this one must do without."""
    try:
        return read_policy(source)
    except NiwakiError as error:
        raise NiwakiError(f"--against {source}: {error} (give niwaki import the options it needs)") from error
