"""MountainCar-v0: an engine too weak to climb the hill directly (Moore 1990)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.columns import constant, varying
from niwaki.types import ActionSpace, Column, Discrete, Floats, Lockstep, Signal, Transition, seed_column

LEFT_WALL, RIGHT_WALL = -1.2, 0.6
TOP_SPEED = 0.07  # per step
GOAL_POSITION = 0.5
GOAL = 1  # index into MountainCar.endings
ACTIONS = Discrete(3)


@dataclass(frozen=True, kw_only=True)
class MountainCar(Lockstep):
    """The car with the bits of Gymnasium's MountainCar-v0. Lengths and times have no unit here.

    State columns: position, velocity, force, gravity. Actions 0, 1, 2 push left, not at all, right.
    """

    name: str = "MountainCar"
    columns: tuple[Column, ...] = (
        varying("position", "1", -0.6, -0.4),
        constant("velocity", "1", 0.0),
        constant("force", "1", 0.001),
        constant("gravity", "1", 0.0025),
        seed_column(),
    )
    observation_size: int = 2
    action_space: ActionSpace = ACTIONS
    signals: tuple[Signal, ...] = (Signal("position", "1"), Signal("velocity", "1"))
    endings: tuple[str, ...] = ("time_out", "goal")
    failures: tuple[str, ...] = ("time_out",)
    horizon: int = 200

    def reset(self, scenarios: Floats) -> Floats:
        """Start states [n, 4] of scenarios [n, 5]."""
        return scenarios[:, :4].T.copy().T

    def step(self, state: Floats, actions: NDArray) -> Transition:
        """One step for state [n, 4] under actions [n]; the reward is -1 for every step."""
        position, velocity, force, gravity = before = np.ascontiguousarray(state.T)
        push = (actions - 1) * force + np.cos(3.0 * position) * -gravity
        speed = np.minimum(np.maximum(velocity + push, -TOP_SPEED), TOP_SPEED)
        after = before.copy()
        after[0] = np.minimum(np.maximum(position + speed, LEFT_WALL), RIGHT_WALL)
        speed[(after[0] == LEFT_WALL) & (speed < 0.0)] = 0.0  # the left wall stops the car
        after[1] = speed
        endings = np.where((after[0] >= GOAL_POSITION) & (speed >= 0.0), GOAL, 0)
        return Transition(after.T, np.full(len(state), -1.0), endings)

    def observe(self, state: Floats) -> Floats:
        """position and velocity, float32 [n, 2]."""
        return state[:, :2].astype(np.float32)

    def measure(self, state: Floats) -> Floats:
        """position and velocity, [n, 2]."""
        return state[:, :2].copy(order="K")
