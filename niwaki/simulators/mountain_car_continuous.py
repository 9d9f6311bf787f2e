"""MountainCarContinuous-v0: the weak car with a throttle, rewarded for saving fuel (Moore 1990)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.columns import constant, varying
from niwaki.types import ActionSpace, Box, Column, Floats, Lockstep, Signal, Transition, seed_column

LEFT_WALL, RIGHT_WALL = -1.2, 0.6
TOP_SPEED = 0.07  # per step
GOAL_POSITION = 0.45
GRAVITY = 0.0025
GOAL = 1  # index into MountainCarContinuous.endings
ACTIONS = Box((-1.0,), (1.0,))


@dataclass(frozen=True, kw_only=True)
class MountainCarContinuous(Lockstep):
    """The car with the bits of Gymnasium's MountainCarContinuous-v0. Lengths and times have no unit here.

    State columns: position, velocity, power, moving. Gymnasium computes the first step of an episode in
    float64 and all later ones in float32; `moving` (0 or 1) says which comes next.
    """

    name: str = "MountainCarContinuous"
    columns: tuple[Column, ...] = (
        varying("position", "1", -0.6, -0.4),
        constant("velocity", "1", 0.0),
        constant("power", "1", 0.0015),
        seed_column(),
    )
    observation_size: int = 2
    action_space: ActionSpace = ACTIONS
    signals: tuple[Signal, ...] = (Signal("position", "1"), Signal("velocity", "1"))
    endings: tuple[str, ...] = ("time_out", "goal")
    failures: tuple[str, ...] = ("time_out",)
    horizon: int = 999

    def reset(self, scenarios: Floats) -> Floats:
        """Start states [n, 4] of scenarios [n, 4]."""
        position, velocity, power, _ = scenarios.T
        return np.array((position, velocity, power, np.zeros(len(scenarios)))).T

    def step(self, state: Floats, actions: NDArray) -> Transition:
        """One step for state [n, 4] under throttles [n, 1]; the reward is 100 at the goal, less a tenth
        of the squared throttle as it was asked for, before it is limited to [-1, 1]."""
        position, velocity, power, moving = before = np.ascontiguousarray(state.T)
        throttle = actions[:, 0].astype(np.float32)
        after = before.copy()
        after[:2], goal = _drive(position.astype(np.float32), velocity.astype(np.float32), power, throttle)
        first = moving == 0.0
        if first.any():
            after[:2, first], goal[first] = _drive(position[first], velocity[first], power[first], throttle[first])
        after[:2] = after[:2].astype(np.float32)
        after[3] = 1.0
        rewards = 100.0 * goal - np.square(throttle, dtype=np.float64) * 0.1
        return Transition(after.T, rewards, np.where(goal, GOAL, 0))

    def observe(self, state: Floats) -> Floats:
        """position and velocity, float32 [n, 2]."""
        return state[:, :2].astype(np.float32)

    def measure(self, state: Floats) -> Floats:
        """position and velocity, [n, 2]."""
        return state[:, :2].copy(order="K")


def _drive(position: Floats, velocity: Floats, power: Floats, throttle: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The next position and velocity [2, n] and who is at the goal, in the precision of `position`.

    The slope is always computed in float64. A throttle within its limits is a float32 and makes the
    whole push one; a throttle beyond them is replaced by a Python float, whose push stays float64.
    """
    slope = GRAVITY * np.cos((3.0 * position).astype(np.float64))
    push = np.where(
        np.abs(throttle) > 1.0,
        np.sign(throttle) * power - slope,
        throttle * power.astype(np.float32) - slope.astype(np.float32),
    ).astype(position.dtype)
    velocity = np.minimum(np.maximum(velocity + push, -TOP_SPEED), TOP_SPEED)
    position = np.minimum(np.maximum(position + velocity, LEFT_WALL), RIGHT_WALL)
    velocity[(position == LEFT_WALL) & (velocity < 0.0)] = 0.0  # the left wall stops the car
    return np.array((position, velocity)), (position >= GOAL_POSITION) & (velocity >= 0.0)
