"""A simulator whose failures are planted: it flies nowhere, and its specifications read the scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from niwaki.types import ActionSpace, Column, Discrete, Floats, Lockstep, Signal, Trajectories, Transition, seed_column


def column(name: str, low: float, high: float, nominal: float = 0.0) -> Column:
    return Column(name, "1", nominal, sample=(nominal, nominal), search=(low, high))


ACTIONS = Discrete(2)


@dataclass(frozen=True, kw_only=True)
class Field(Lockstep):
    """The scenario is the state; the return is minus |a|."""

    name: str = "Field"
    columns: tuple[Column, ...] = (
        column("a", -1.0, 1.0),
        column("b", 0.0, 200.0),
        column("fixed", 7.0, 7.0, 7.0),
        column("c", 2.0, 4.0),  # nominal outside
        seed_column(),
    )
    observation_size: int = 1
    action_space: ActionSpace = ACTIONS
    signals: tuple[Signal, ...] = (Signal("a", "1"),)
    endings: tuple[str, ...] = ("time_out",)
    failures: tuple[str, ...] = ()
    horizon: int = 1
    uses_seed: bool = False

    def reset(self, scenarios: Floats) -> Floats:
        return scenarios.copy() if self.uses_seed else scenarios[:, :-1].copy()

    def step(self, state: Floats, actions: Floats) -> Transition:
        return Transition(state, -np.abs(state[:, 0]), np.zeros(len(state), dtype=np.int64))

    def observe(self, state: Floats) -> Floats:
        return state[:, :1].astype(np.float32)

    def measure(self, state: Floats) -> Floats:
        return state[:, :1].copy()


@dataclass(frozen=True)
class Rule:
    """Keeps the scenario rows it has judged, batch by batch."""

    margin: Callable[[Floats], Floats]
    name: str = "rule"
    text: str = "planted"
    recorded: bool = False
    judged: list[Floats] = field(default_factory=list)

    def __call__(self, trajectories: Trajectories, /) -> Floats:
        self.judged.append(trajectories.scenarios)
        return self.margin(trajectories.scenarios)


class Idle:
    """Always action 0."""

    observation_size = 1

    def __call__(self, observations: Floats, /) -> Floats:
        return np.zeros(len(observations), dtype=np.int32)


@pytest.fixture
def simulator() -> Field:
    return Field()


@pytest.fixture
def idle() -> Idle:
    return Idle()
