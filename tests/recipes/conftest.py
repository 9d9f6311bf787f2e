"""The teacher that several recipes are tried on, and runs that are stopped and go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from niwaki.policies.loading import load_policy
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.prune import prune_units
from niwaki.pruning.scores import unit_taylor
from niwaki.recipes.ledger import read_run
from niwaki.recipes.sparsify import bench
from niwaki.tasks import Task, load_task


class Killed(BaseException):
    """Nobody catches it, as nobody catches kill -9."""


def killed_after(stages: int) -> Callable[[str], None]:
    """A note that ends the run once it was told so many."""
    told: list[str] = []

    def note(text: str) -> None:
        told.append(text)
        if len(told) == stages:
            raise Killed

    return note


def as_it_was_before(stage: str, run: Path, folder: Path, **asked: object) -> Path:
    """What a run had done when it came to a stage, in another folder; `asked` otherwise than there."""
    book = read_run(run)
    done = [entry["stage"] for entry in book["ledger"]].index(stage)
    begun = {key: book[key] for key in ("format", "identity")} | {"ledger": book["ledger"][:done]}
    begun["identity"] |= asked
    shutil.copytree(run / "stages", folder / "stages")
    (folder / "run.json").write_text(json.dumps(begun))
    return folder


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("cartpole-v0")


@pytest.fixture(scope="session")
def teacher(task: Task) -> NetworkPolicy:
    """The bundled teacher with 64 units instead of 256: the same behaviour, quicker to try."""
    full = load_policy("cartpole")
    states = bench(full, task, episodes=20).observations
    return prune_units(full, unit_taylor(full, states), states, keep=64)


@pytest.fixture(scope="module", autouse=True)
def compiled(compiled_once: None) -> None:
    """Half of the time of a run in small is the compiler's, and many runs here are repeated."""
