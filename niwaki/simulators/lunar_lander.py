"""Gymnasium's `LunarLander.step`, bit for bit, without what the bits do not need."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.contacts import listen
from niwaki.types import Floats

# Fingerprints of the sources that this file was tested against (see known_source.py).
METHODS = "step", "reset"
KNOWN = {"15aab9c17033d86c": "Gymnasium 1.2", "7d7fd2062989c875": "Gymnasium 1.3 and 1.4"}

FLOAT32 = np.dtype(np.float32)
OBSERVATION = struct.Struct("8f")  # rounds as an assignment to float32 does, in a fourth of the time

# Power of the main engine, power and direction of the side engines, for each discrete action.
SWITCHES = {0: (0.0, 0.0, 0.0), 1: (0.0, 1.0, -1.0), 2: (1.0, 0.0, 0.0), 3: (0.0, 1.0, 1.0)}


def throttles(action: NDArray[np.float32]) -> tuple[float, float, float]:
    """The same three numbers for a continuous action."""
    first, second = action.tolist()
    main = (min(first, 1.0) + 1.0) * 0.5 if first > 0.0 else 0.0
    side = min(abs(second), 1.0) if abs(second) > 0.5 else 0.0
    return main, side, 1.0 if second > 0.0 else -1.0


class LanderStep:
    """The step of one episode without drawing.

    All state stays where Gymnasium keeps it, so a call of `env.step` may come between two calls of this. Bodies are
    read through Box2D's accessors and the C++ objects behind its proxies: a call with them costs a third of a look
    at an attribute. `position` and `velocity` are views of the lander's memory: they move with it.
    """

    def __init__(self, env: Any, source: Any) -> None:
        self.env, self.source, self.continuous = env, source, env.continuous
        self.body, self.lander, self.legs = env.lander, env.lander.this, tuple(env.legs)
        listen(env, env.lander, self.legs)
        self.random, self.world_step, self.period = env.np_random.random, env.world.Step, 1.0 / source.FPS
        self.position, self.velocity = env.lander.position.this, env.lander.linearVelocity.this
        body, vector = type(env.lander), type(env.lander.position)
        self.angle, self.spin, self.is_awake = body.angle.fget, body.angularVelocity.fget, body.awake.fget
        self.x, self.y, self.push = vector.x.fget, vector.y.fget, body.ApplyLinearImpulse
        self.fps, self.scale = source.FPS, source.SCALE
        self.half_width, self.half_height = source.VIEWPORT_W / self.scale / 2, source.VIEWPORT_H / self.scale / 2
        self.ground = env.helipad_y + source.LEG_DOWN / self.scale
        self.observation = np.zeros(8, dtype=np.float32)
        self.pack, self.buffer = OBSERVATION.pack_into, self.observation.data

    def takes(self, action: Any) -> bool:
        """Whether the action is one of the four or a float32 vector (Gymnasium itself judges others), and the
        episode is still the one that this was made for."""
        if self.continuous:
            right = type(action) is np.ndarray and action.dtype == FLOAT32 and action.shape == (2,)
        else:
            right = int(action) in SWITCHES
        return right and self.env.lander is self.body

    def __call__(self, action: Any) -> tuple[Floats, float, bool]:
        """Observation, reward, whether the episode is over."""
        env = self.env
        main, side, direction = throttles(action) if self.continuous else SWITCHES[int(action)]
        if env.enable_wind:
            self.blow()
        self.fire(main, side, direction)
        self.world_step(self.period, 6 * 30, 2 * 30)
        state = self.state()
        x, y, u, v, angle, _, left, right = state
        shaping = (
            -100 * math.sqrt(x * x + y * y) - 100 * math.sqrt(u * u + v * v) - 100 * abs(angle) + 10 * left + 10 * right
        )
        reward = shaping - env.prev_shaping
        env.prev_shaping = shaping
        reward -= main * 0.30
        reward -= side * 0.03
        over = env.game_over or abs(x) >= 1.0
        if over:
            reward = -100.0
        if not self.is_awake(self.lander):
            over, reward = True, 100.0
        self.pack(self.buffer, 0, *state)
        return self.observation.copy(), float(reward), over  # the shaping of the reset is a NumPy number

    def state(self) -> tuple[float, ...]:
        """The observation in double precision."""
        get_x, get_y, position, velocity, fps = self.x, self.y, self.position, self.velocity, self.fps
        lander, (left, right) = self.lander, self.legs
        return (
            (get_x(position) - self.half_width) / self.half_width,
            (get_y(position) - self.ground) / self.half_height,
            get_x(velocity) * self.half_width / fps,
            get_y(velocity) * self.half_height / fps,
            self.angle(lander),
            20.0 * self.spin(lander) / fps,
            1.0 if left.ground_contact else 0.0,
            1.0 if right.ground_contact else 0.0,
        )

    def blow(self) -> None:
        """Wind and turbulence, while no leg stands on the ground."""
        env, (left, right) = self.env, self.legs
        if left.ground_contact or right.ground_contact:
            return
        wind = math.tanh(math.sin(0.02 * env.wind_idx) + math.sin(math.pi * 0.01 * env.wind_idx)) * env.wind_power
        env.wind_idx += 1
        env.lander.ApplyForceToCenter((wind, 0.0), True)
        turn = math.tanh(math.sin(0.02 * env.torque_idx) + math.sin(math.pi * 0.01 * env.torque_idx))
        env.torque_idx += 1
        env.lander.ApplyTorque(turn * env.turbulence_power, True)

    def fire(self, main: float, side: float, direction: float) -> None:
        """Push the lander with its engines; draws the two random numbers of the step even when none burns."""
        source, scale = self.source, self.scale
        # What Generator.uniform(-1, 1) computes from the same draw; twice a number is exact.
        first = (-1.0 + 2.0 * self.random()) / scale
        second = (-1.0 + 2.0 * self.random()) / scale
        if not (main or side):
            return
        lander, angle = self.lander, self.angle(self.lander)
        x, y, sin, cos = self.x(self.position), self.y(self.position), math.sin(angle), math.cos(angle)
        if main:
            along = source.MAIN_ENGINE_Y_LOCATION / scale + 2 * first
            ox = sin * along + -cos * second
            oy = -cos * along - sin * second
            power = source.MAIN_ENGINE_POWER
            self.push(lander, (-ox * power * main, -oy * power * main), (x + ox, y + oy), True)
        if side:
            across = 3 * second + direction * source.SIDE_ENGINE_AWAY / scale
            ox = sin * first + -cos * across
            oy = -cos * first - sin * across
            place = (x + ox - sin * 17 / scale, y + oy + cos * source.SIDE_ENGINE_HEIGHT / scale)
            power = source.SIDE_ENGINE_POWER
            self.push(lander, (-ox * power * side, -oy * power * side), place, True)
