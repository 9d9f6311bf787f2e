"""What all commands share: where output goes, progress, common options."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from niwaki.policies.loading import load_policy
from niwaki.policies.network import NetworkPolicy
from niwaki.types import NiwakiError

DOES_NOT_HOLD, USAGE, STOPPED = 1, 2, 130  # exit codes; 0 is done

out = Console(highlight=False, markup=False)  # formulas and file names hold brackets
err = Console(stderr=True, highlight=False, markup=False)

PolicyArgument = Annotated[
    str,
    typer.Argument(
        metavar="POLICY",
        help="Our .safetensors, a Stable-Baselines3 .zip, a state_dict .pth, an ONNX MLP, or a bundled teacher's name.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed gives the same scenarios.")]
ActivationOption = Annotated[
    str | None, typer.Option("--activation", help="Hidden activation, where the file does not say (tanh, relu, ...).")
]
LayersOption = Annotated[
    str | None, typer.Option("--layers", help="Widths such as 8-128-128-2, where a state_dict is ambiguous.")
]
VecNormalizeOption = Annotated[
    str | None,
    typer.Option(
        "--vecnormalize",
        help="VecNormalize pickle of a Stable-Baselines3 agent; the one beside the zip is taken by itself; none: none.",
    ),
]


def read_policy(
    source: str, *, activation: str | None = None, layers: str | None = None, vecnormalize: str | None = None
) -> NetworkPolicy:
    """The policy that the common options describe."""
    return load_policy(
        source,
        vecnormalize=False if vecnormalize == "none" else vecnormalize,
        activation=activation,
        layers=_widths(layers),
    )


def _widths(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split("-")
    if len(parts) < 2 or not all(p.isdigit() and 0 < int(p) < 1_000_000 for p in parts):
        raise NiwakiError(f"--layers takes widths such as 8-128-128-2, got {text!r}")
    return tuple(int(p) for p in parts)


def print_json(value: object) -> None:
    """One JSON object on standard output. NaN and infinity have no place in JSON and are an error here."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def say(text: str, style: str | None = None) -> None:
    """Print prose: wrapped between words on a terminal, a line each where a program reads."""
    out.print(text, style=style, soft_wrap=not out.is_terminal)


def writable(file: Path | None) -> None:
    """Raises NiwakiError where there is no folder to write the file into: better before the work than after it."""
    if file is not None and not file.parent.is_dir():
        raise NiwakiError(f"there is no folder {str(file.parent)!r} to write {file.name!r} into")


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, silent when that is not a terminal. Yields `advance(n)`."""
    with stage_bars() as bars:
        task = bars.add_task(label, total=total)
        yield lambda n: bars.advance(task, n)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """The same with a bar for each stage. Yields `report(stage, done, in all)`."""
    with stage_bars() as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield report


def stage_bars() -> Progress:
    """The bars of all commands, not yet shown."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def table(*headings: str, title: str | None = None) -> Table:
    """A plain table: the first column reads left, numbers right."""
    result = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for i, heading in enumerate(headings):
        result.add_column(heading, justify="left" if i == 0 else "right", overflow="fold")
    return result
