"""Pendulum-v1: swing a pendulum up and hold it there with a weak motor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.columns import constant, varying
from niwaki.types import ActionSpace, Box, Column, Floats, Lockstep, Signal, Transition, seed_column

TOP_SPEED = 8.0  # rad/s
TOP_TORQUE = 2.0  # N m
ACTIONS = Box((-TOP_TORQUE,), (TOP_TORQUE,))


@dataclass(frozen=True, kw_only=True)
class Pendulum(Lockstep):
    """The pendulum with the bits of Gymnasium's Pendulum-v1 (semi-implicit Euler, 20 Hz).

    State columns: theta (0 is upright, not wrapped), theta_dot, then angular acceleration by gravity at
    90 degrees and angular acceleration per torque. Nothing but time ends an episode.
    """

    name: str = "Pendulum"
    columns: tuple[Column, ...] = (
        varying("theta", "rad", -math.pi, math.pi),
        varying("theta_dot", "rad/s", -1.0, 1.0),
        constant("mass", "kg", 1.0),
        constant("length", "m", 1.0),
        constant("gravity", "m/s^2", 10.0),
        seed_column(),
    )
    observation_size: int = 3
    action_space: ActionSpace = ACTIONS
    signals: tuple[Signal, ...] = (Signal("theta", "rad"), Signal("theta_dot", "rad/s"))
    endings: tuple[str, ...] = ("time_out",)
    failures: tuple[str, ...] = ()
    horizon: int = 200
    step_seconds: float | None = 0.05

    def reset(self, scenarios: Floats) -> Floats:
        """Start states [n, 4] of scenarios [n, 6]."""
        theta, theta_dot, mass, length, gravity, _ = scenarios.T
        weight = 3.0 * gravity / (2.0 * length)
        per_torque = 3.0 / (mass * np.float_power(length, 2.0))
        return np.array((theta, theta_dot, weight, per_torque)).T

    def step(self, state: Floats, actions: NDArray) -> Transition:
        """Apply torques [n, 1] for 50 ms; the reward is minus a quadratic cost of state and torque."""
        theta, theta_dot, weight, per_torque = before = np.ascontiguousarray(state.T)
        torque = np.minimum(np.maximum(actions[:, 0], -TOP_TORQUE), TOP_TORQUE).astype(np.float32, copy=False)
        rewards = -_cost(theta, theta_dot, torque)

        acceleration = weight * np.sin(theta)
        # Gymnasium multiplies a float32 torque by a Python float, which NumPy rounds to float32 first.
        acceleration += per_torque.astype(np.float32) * torque
        acceleration *= 0.05
        after = before.copy()
        after[1] = np.minimum(np.maximum(theta_dot + acceleration, -TOP_SPEED), TOP_SPEED)
        after[0] += after[1] * 0.05
        return Transition(after.T, rewards, np.zeros(len(state), dtype=np.int64))

    def observe(self, state: Floats) -> Floats:
        """cos(theta), sin(theta), theta_dot, float32 [n, 3]."""
        theta, theta_dot = np.ascontiguousarray(state[:, :2].T)
        return np.array((np.cos(theta), np.sin(theta), theta_dot), dtype=np.float32).T

    def measure(self, state: Floats) -> Floats:
        """theta within [-pi, pi] and theta_dot, [n, 2]."""
        return np.array((_wrapped(state[:, 0]), state[:, 1])).T


def _wrapped(theta: Floats) -> Floats:
    return (theta + math.pi) % (2 * math.pi) - math.pi


def _cost(theta: Floats, theta_dot: Floats, torque: Floats) -> Floats:
    """angle^2 + 0.1 speed^2 + 0.001 torque^2, in float64 but for the torque's term (float32).

    The squares are powers on purpose: one time in a thousand the C library's pow(x, 2), which
    Gymnasium's scalars use, is not the float nearest to x * x.
    """
    cost = np.float_power(_wrapped(theta), 2.0)
    cost += 0.1 * np.float_power(theta_dot, 2.0)
    cost += np.float32(0.001) * np.power(torque, np.full_like(torque, 2.0))
    return cost
