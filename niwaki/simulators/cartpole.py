"""CartPole-v1: balance a pole on a cart by pushing left or right (Barto, Sutton & Anderson 1983)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.columns import constant, varying
from niwaki.types import ActionSpace, Column, Discrete, Floats, Lockstep, Signal, Transition, seed_column

TRACK_END = 2.4  # m from the middle
FALL_ANGLE = 12 * 2 * math.pi / 360  # rad from upright
DIRECTION = np.array((-1.0, 1.0))  # of the push, by action
OUT_OF_TRACK, FELL = 1, 2  # indices into CartPole.endings
ACTIONS = Discrete(2)


@dataclass(frozen=True, kw_only=True)
class CartPole(Lockstep):
    """The cart and its pole, with the bits of Gymnasium's CartPole-v1 (explicit Euler, 50 Hz).

    State columns: x, x_dot, theta, theta_dot, then force, gravity, pole half length, pole mass, total
    mass, pole mass * half length. Action 0 pushes to the left, 1 to the right. An episode that leaves the
    track and drops the pole in the same step counts as "out_of_track".
    """

    name: str = "CartPole"
    columns: tuple[Column, ...] = (
        varying("x", "m", -0.05, 0.05),
        varying("x_dot", "m/s", -0.05, 0.05),
        varying("theta", "rad", -0.05, 0.05),
        varying("theta_dot", "rad/s", -0.05, 0.05),
        constant("cart_mass", "kg", 1.0),
        constant("pole_mass", "kg", 0.1),
        constant("pole_half_length", "m", 0.5),
        constant("gravity", "m/s^2", 9.8),
        constant("force", "N", 10.0),
        seed_column(),
    )
    observation_size: int = 4
    action_space: ActionSpace = ACTIONS
    signals: tuple[Signal, ...] = (
        Signal("x", "m"),
        Signal("x_dot", "m/s"),
        Signal("theta", "rad"),
        Signal("theta_dot", "rad/s"),
    )
    endings: tuple[str, ...] = ("time_out", "out_of_track", "fell")
    failures: tuple[str, ...] = ("out_of_track", "fell")
    horizon: int = 500
    step_seconds: float | None = 0.02

    def reset(self, scenarios: Floats) -> Floats:
        """Start states [n, 10] of scenarios [n, 10]."""
        x, x_dot, theta, theta_dot, cart_mass, pole_mass, half_length, gravity, force, _ = scenarios.T
        total_mass, moment = pole_mass + cart_mass, pole_mass * half_length
        parameters = (force, gravity, half_length, pole_mass, total_mass, moment)
        return np.array((x, x_dot, theta, theta_dot, *parameters)).T

    def step(self, state: Floats, actions: NDArray) -> Transition:
        """Push for 20 ms (state [n, 10], actions [n]); the reward is 1 for every step."""
        before = np.ascontiguousarray(state.T)  # [10, n]: each column in one piece
        _, _, theta, theta_dot, force, gravity, half_length, pole_mass, total_mass, moment = before
        sin, cos = np.sin(theta), np.cos(theta)
        push = DIRECTION[actions] * force

        # Barto et al. in the form of Florian (2007), without friction. The order of the operations
        # decides the last bit: keep it.
        thrust = (push + moment * np.square(theta_dot) * sin) / total_mass
        inertia = half_length * (4.0 / 3.0 - pole_mass * np.square(cos) / total_mass)
        rates = np.empty((4, len(state)))
        rates[0::2] = before[1:4:2]
        theta_acceleration = np.divide(gravity * sin - cos * thrust, inertia, out=rates[3])
        np.subtract(thrust, moment * theta_acceleration * cos / total_mass, out=rates[1])

        after = before.copy()
        after[:4] += 0.02 * rates
        endings = np.zeros(len(state), dtype=np.int64)
        endings[np.abs(after[2]) > FALL_ANGLE] = FELL
        endings[np.abs(after[0]) > TRACK_END] = OUT_OF_TRACK
        return Transition(after.T, np.ones(len(state)), endings)

    def observe(self, state: Floats) -> Floats:
        """x, x_dot, theta, theta_dot, float32 [n, 4]."""
        return state[:, :4].astype(np.float32)

    def measure(self, state: Floats) -> Floats:
        """x, x_dot, theta, theta_dot, [n, 4]."""
        return state[:, :4].copy(order="K")
