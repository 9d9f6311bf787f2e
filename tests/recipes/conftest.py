"""The teacher that several recipes are tried on."""

from __future__ import annotations

import pytest

from niwaki.policies.loading import load_policy
from niwaki.policies.network import NetworkPolicy
from niwaki.pruning.prune import prune_units
from niwaki.pruning.scores import unit_taylor
from niwaki.recipes.sparsify import bench
from niwaki.tasks import Task, load_task


class Killed(BaseException):
    """Nobody catches it, as nobody catches kill -9."""


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("cartpole-v0")


@pytest.fixture(scope="session")
def teacher(task: Task) -> NetworkPolicy:
    """The bundled teacher with 64 units instead of 256: the same behaviour, quicker to try."""
    full = load_policy("cartpole")
    states = bench(full, task, episodes=20).observations
    return prune_units(full, unit_taylor(full, states), states, keep=64)
