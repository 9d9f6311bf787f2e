"""counterexamples.json: what broke a policy, so that anyone can fly it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from niwaki.policies.files import naming, parsing, read_bytes, write_whole
from niwaki.tasks import Task
from niwaki.types import Counterexample, NiwakiError

FORMAT = 1
FILE_LIMIT = 64 * 2**20  # bytes
MOST = 100_000  # counterexamples in a file

Text = Annotated[str, StringConstraints(max_length=20_000)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: Text
    margin: FiniteFloat
    teacher_margin: FiniteFloat | None
    scenario: dict[Text, FiniteFloat]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    niwaki: Text
    task: Text
    specs: dict[Text, Text]
    counterexamples: Annotated[tuple[_Entry, ...], Field(max_length=MOST)]


def write_counterexamples(path: str | Path, task: Task, found: Sequence[Counterexample]) -> None:
    """Write the counterexamples with named columns, whole or not at all."""
    entries = [
        {
            "spec": c.spec,
            "margin": float(c.margin),
            "teacher_margin": None if c.teacher_margin is None else float(c.teacher_margin),
            "scenario": dict(zip(task.simulator.names, np.asarray(c.scenario).tolist(), strict=True)),
        }
        for c in found
    ]
    content = {
        "format": FORMAT,
        "niwaki": version("niwaki"),
        "task": task.name,
        "specs": {spec.name: spec.text for spec in task.specs},
        "counterexamples": entries,
    }
    write_whole(Path(path), (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_counterexamples(path: str | Path, task: Task) -> tuple[Counterexample, ...]:
    """The counterexamples in a file, their columns in the order of the task's simulator.

    Raises NiwakiError when the file is missing, damaged, or of a task with other columns.
    """
    path = Path(path)
    with naming(path):
        data = read_bytes(path, limit=FILE_LIMIT)
        try:
            with parsing("JSON file"):
                content = json.loads(data)
            if isinstance(content, dict) and content.get("format") != FORMAT:
                shown = str(content.get("format"))[:20]
                raise NiwakiError(f"counterexamples of format {shown}, this niwaki reads format {FORMAT}")
            file = _File.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise NiwakiError(f"this is no file of counterexamples: {place}: {first['msg']}") from error
        return tuple(_read(entry, task) for entry in file.counterexamples)


def _read(entry: _Entry, task: Task) -> Counterexample:
    names = task.simulator.names
    if set(entry.scenario) != set(names):
        wrong = sorted(set(entry.scenario) ^ set(names))[0]
        raise NiwakiError(f"the scenarios do not fit the task {task.name}, first at the column {wrong[:60]!r}")
    row = np.array([entry.scenario[name] for name in names])
    return Counterexample(row, entry.spec, entry.margin, entry.teacher_margin)
