"""Acrobot-v1: two links hang from a pivot; swing the free end up with a motor at the elbow (Sutton 1996)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.columns import constant, varying
from niwaki.types import ActionSpace, Column, Discrete, Floats, Lockstep, Signal, Transition, seed_column

TOP_SPEED_1, TOP_SPEED_2 = 4 * math.pi, 9 * math.pi  # rad/s
CENTRE_2 = 0.5  # m from the elbow to the second link's centre of mass
INERTIA = 1.0  # kg m^2, of either link
STEP = 0.2  # s
MOST_TURNS = 100  # far beyond one step's motion; from 1e20 rad no number of turns would do
GOAL = 1  # index into Acrobot.endings
ACTIONS = Discrete(3)


@dataclass(frozen=True, kw_only=True)
class Acrobot(Lockstep):
    """The double pendulum with the bits of Gymnasium's Acrobot-v1 (equations of the book, RK4, 5 Hz).

    State columns: theta1 (0 hangs down), theta2 (relative to the first link), their rates, `moving` (0
    or 1: Gymnasium observes the start of an episode in float32), then the seven constants of
    `_constants`. The first link's centre of mass is its middle; both moments of inertia stay 1 kg m^2.
    Actions 0, 1, 2 are torques of -1, 0, 1 N m.
    """

    name: str = "Acrobot"
    columns: tuple[Column, ...] = (
        varying("theta1", "rad", -0.1, 0.1),
        varying("theta2", "rad", -0.1, 0.1),
        varying("dtheta1", "rad/s", -0.1, 0.1),
        varying("dtheta2", "rad/s", -0.1, 0.1),
        constant("link_mass_1", "kg", 1.0),
        constant("link_mass_2", "kg", 1.0),
        constant("link_length_1", "m", 1.0),
        constant("gravity", "m/s^2", 9.8),
        seed_column(),
    )
    observation_size: int = 6
    action_space: ActionSpace = ACTIONS
    signals: tuple[Signal, ...] = (
        Signal("theta1", "rad"),
        Signal("theta2", "rad"),
        Signal("dtheta1", "rad/s"),
        Signal("dtheta2", "rad/s"),
        Signal("height", "1"),  # of the free end above the pivot, in lengths of one link (both taken as equal)
    )
    endings: tuple[str, ...] = ("time_out", "goal")
    failures: tuple[str, ...] = ("time_out",)
    horizon: int = 500
    step_seconds: float | None = STEP

    def reset(self, scenarios: Floats) -> Floats:
        """Start states [n, 12] of scenarios [n, 9]; the start is rounded to float32, as Gymnasium's is."""
        state = np.zeros((12, len(scenarios)))
        state[:4] = scenarios[:, :4].T.astype(np.float32)
        state[5:] = _constants(*scenarios[:, 4:8].T)
        return state.T

    def step(self, state: Floats, actions: NDArray) -> Transition:
        """Hold a torque for 200 ms (state [n, 12], actions [n]); -1 for every step, 0 for the last one."""
        before = np.ascontiguousarray(state.T)
        torque, constants = actions - 1.0, before[5:]
        motion = _runge_kutta(before[:4], torque, constants)
        after = before.copy()
        after[0], after[1] = _wrapped(motion[0]), _wrapped(motion[1])
        after[2] = np.minimum(np.maximum(motion[2], -TOP_SPEED_1), TOP_SPEED_1)
        after[3] = np.minimum(np.maximum(motion[3], -TOP_SPEED_2), TOP_SPEED_2)
        after[4] = 1.0
        goal = _height(after[0], after[1]) > 1.0
        return Transition(after.T, np.where(goal, 0.0, -1.0), np.where(goal, GOAL, 0))

    def observe(self, state: Floats) -> Floats:
        """cos and sin of theta1, cos and sin of theta2, then their rates, float32 [n, 6]."""
        seen = _seen(np.ascontiguousarray(state[:, :4].T))
        first = state[:, 4] == 0.0
        if first.any():
            seen[:, first] = _seen(state[first, :4].T.astype(np.float32))
        return seen.T

    def measure(self, state: Floats) -> Floats:
        """theta1, theta2 (both within [-pi, pi] after the first step), their rates and the height, [n, 5]."""
        theta1, theta2, dtheta1, dtheta2 = np.ascontiguousarray(state[:, :4].T)
        return np.array((theta1, theta2, dtheta1, dtheta2, _height(theta1, theta2))).T


def _seen(motion: Floats) -> Floats:
    theta1, theta2, dtheta1, dtheta2 = motion
    sights = (np.cos(theta1), np.sin(theta1), np.cos(theta2), np.sin(theta2), dtheta1, dtheta2)
    return np.array(sights, dtype=np.float32)


def _height(theta1: Floats, theta2: Floats) -> Floats:
    return -np.cos(theta1) - np.cos(theta2 + theta1)


def _wrapped(angle: Floats) -> Floats:
    """The angle within [-pi, pi], turn by turn: every subtraction rounds, as it does in Gymnasium."""
    for _ in range(MOST_TURNS):
        turns = (angle < -math.pi).astype(np.float64) - (angle > math.pi)
        if not turns.any():
            break
        angle = angle + turns * (2 * math.pi)
    return angle


def _constants(mass_1: Floats, mass_2: Floats, length_1: Floats, gravity: Floats) -> Floats:
    """What the equations of motion need of the model [7, n]: the second link's mass, l1^2 + lc2^2,
    l1 lc2, m1 lc1^2, m2 l1 lc2, and the moments of the weights of the second link and of the first
    link with the second at its end."""
    centre_1 = 0.5 * length_1
    return np.array(
        (
            mass_2,
            np.float_power(length_1, 2.0) + CENTRE_2**2,
            length_1 * CENTRE_2,
            mass_1 * np.float_power(centre_1, 2.0),
            mass_2 * length_1 * CENTRE_2,
            mass_2 * CENTRE_2 * gravity,
            (mass_1 * centre_1 + mass_2 * length_1) * gravity,
        )
    )


def _rates(motion: Floats, torque: Floats, constants: Floats) -> Floats:
    """Time derivatives [4, n] of theta1, theta2 and their rates (Sutton & Barto, section 11.3 of the
    first edition). The order of the operations decides the last bit, and so does float_power: Gymnasium
    squares by the C library's pow, which now and then differs from x * x."""
    theta1, theta2, dtheta1, dtheta2 = motion
    mass_2, squares, coupling, moment_1, coupled_mass, weight_2, weight_1 = constants
    cos2, sin2 = np.cos(theta2), np.sin(theta2)
    d1 = moment_1 + mass_2 * (squares + 2.0 * coupling * cos2) + INERTIA + INERTIA
    d2 = mass_2 * (CENTRE_2**2 + coupling * cos2) + INERTIA
    phi2 = weight_2 * np.cos(theta1 + theta2 - math.pi / 2.0)
    phi1 = (
        -coupled_mass * np.float_power(dtheta2, 2.0) * sin2
        - 2.0 * coupled_mass * dtheta2 * dtheta1 * sin2
        + weight_1 * np.cos(theta1 - math.pi / 2.0)
        + phi2
    )
    rates = np.empty_like(motion)
    rates[:2] = motion[2:]
    rates[3] = (torque + d2 / d1 * phi1 - coupled_mass * np.float_power(dtheta1, 2.0) * sin2 - phi2) / (
        mass_2 * CENTRE_2**2 + INERTIA - np.float_power(d2, 2.0) / d1
    )
    rates[2] = -(d2 * rates[3] + phi1) / d1
    return rates


def _runge_kutta(motion: Floats, torque: Floats, constants: Floats) -> Floats:
    """The motion [4, n] one step later by the classic fourth-order method."""
    k1 = _rates(motion, torque, constants)
    k2 = _rates(motion + STEP / 2.0 * k1, torque, constants)
    k3 = _rates(motion + STEP / 2.0 * k2, torque, constants)
    k4 = _rates(motion + STEP * k3, torque, constants)
    after: Floats = motion + STEP / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return after
