"""Gymnasium's `LunarLander.step`, bit for bit, without what the bits do not need."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.contacts import listen
from niwaki.types import Floats

OBSERVATION = struct.Struct("8f")  # rounds as an assignment to float32 does, in a fourth of the time


class LanderStep:
    """The step of one episode without drawing. Actions are as Gymnasium takes them, already checked.

    All state stays where Gymnasium keeps it, so a call of `env.step` may come between two calls of this.
    """

    def __init__(self, env: Any, source: Any) -> None:
        self.env, self.lander, self.source, self.legs = env, env.lander.this, source, tuple(env.legs)
        self.contacts = listen(env, env.lander, self.legs)
        self.random, self.world_step, self.period = env.np_random.random, env.world.Step, 1.0 / source.FPS
        body, vector = type(env.lander), type(env.lander.position)
        self.read_place = body.position.fget, body.linearVelocity.fget, body.angle.fget, body.angularVelocity.fget
        self.read_vector = vector.x.fget, vector.y.fget
        self.push, self.is_awake = body.ApplyLinearImpulse, body.awake.fget
        scale = source.SCALE
        self.half_width, self.half_height = source.VIEWPORT_W / scale / 2, source.VIEWPORT_H / scale / 2
        self.ground = env.helipad_y + source.LEG_DOWN / scale
        self.observation = np.zeros(8, dtype=np.float32)
        self.pack, self.buffer = OBSERVATION.pack_into, self.observation.data

    def __call__(self, action: NDArray | int) -> tuple[Floats, float, bool]:
        """Observation, reward, whether the episode is over."""
        env = self.env
        if env.enable_wind:
            self.blow()
        main, side, direction = throttles(action) if env.continuous else SWITCHES[action]
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
        return self.observation.copy(), reward, over

    def state(self) -> tuple[float, ...]:
        """The observation in double precision."""
        get_position, get_velocity, get_angle, get_spin = self.read_place
        get_x, get_y = self.read_vector
        lander, fps, (left, right) = self.lander, self.source.FPS, self.legs
        position, velocity = get_position(lander), get_velocity(lander)
        return (
            (get_x(position) - self.half_width) / self.half_width,
            (get_y(position) - self.ground) / self.half_height,
            get_x(velocity) * self.half_width / fps,
            get_y(velocity) * self.half_height / fps,
            get_angle(lander),
            20.0 * get_spin(lander) / fps,
            1.0 if left.ground_contact else 0.0,
            1.0 if right.ground_contact else 0.0,
        )

    def blow(self) -> None:
        """Wind and turbulence, while no leg stands on the ground."""
        env = self.env
        if env.legs[0].ground_contact or env.legs[1].ground_contact:
            return
        wind = math.tanh(math.sin(0.02 * env.wind_idx) + math.sin(math.pi * 0.01 * env.wind_idx)) * env.wind_power
        env.wind_idx += 1
        env.lander.ApplyForceToCenter((wind, 0.0), True)
        turn = math.tanh(math.sin(0.02 * env.torque_idx) + math.sin(math.pi * 0.01 * env.torque_idx))
        env.torque_idx += 1
        env.lander.ApplyTorque(turn * env.turbulence_power, True)

    def fire(self, main: float, side: float, direction: float) -> None:
        """Push the lander with its engines; draws the two random numbers of the step even when none burns."""
        source, random = self.source, self.random
        scale = source.SCALE
        # What Generator.uniform(-1, 1) computes from the same draw; twice a number is exact.
        first = (-1.0 + 2.0 * random()) / scale
        second = (-1.0 + 2.0 * random()) / scale
        if not (main or side):
            return
        get_position, _, get_angle, _ = self.read_place
        get_x, get_y = self.read_vector
        lander = self.lander
        angle, position = get_angle(lander), get_position(lander)
        x, y, sin, cos = get_x(position), get_y(position), math.sin(angle), math.cos(angle)
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


# Main engine, side engine, direction of the side engine, for each discrete action.
SWITCHES = ((0.0, 0.0, 0), (0.0, 1.0, -1), (1.0, 0.0, 0), (0.0, 1.0, 1))


def throttles(action: NDArray) -> tuple[float, float, float]:
    """The same three numbers for a continuous action."""
    first, second = action.tolist()
    main = (min(first, 1.0) + 1.0) * 0.5 if first > 0.0 else 0.0
    side = min(abs(second), 1.0) if abs(second) > 0.5 else 0.0
    return main, side, 1.0 if second > 0.0 else -1.0
