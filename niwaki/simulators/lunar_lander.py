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
