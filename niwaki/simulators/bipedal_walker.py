"""Gymnasium's `BipedalWalker.step`, bit for bit, without what the bits do not need."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.contacts import listen
from niwaki.simulators.lidar import Lidar
from niwaki.types import Floats

OBSERVATION = struct.Struct("24f")  # rounds as an assignment to float32 does, in a fourth of the time


class WalkerStep:
    """The step of one episode, for float32 actions and without drawing.

    All state stays where Gymnasium keeps it, so a call of `env.step` may come between two calls of this. The
    reward is float32 because NumPy makes it that: a Python float minus a float32.
    """

    def __init__(self, env: Any, source: Any) -> None:
        self.env, self.hull, self.feet = env, env.hull.this, (env.legs[1], env.legs[3])
        self.joints = [joint.this for joint in env.joints]
        self.lidar = Lidar(env, source)
        self.contacts = listen(env, env.hull, self.feet)
        self.world_step, self.period = env.world.Step, 1.0 / source.FPS
        hull, joint = type(env.hull), type(env.joints[0])
        self.read_hull = tuple(p.fget for p in (hull.position, hull.linearVelocity, hull.angle, hull.angularVelocity))
        vector = type(env.hull.position)
        self.read_vector = vector.x.fget, vector.y.fget
        self.read_joint = joint.angle.fget, joint.speed.fget
        self.drive_joint = joint.motorSpeed.fset, joint.maxMotorTorque.fset
        hip, knee = float(source.SPEED_HIP), float(source.SPEED_KNEE)
        self.speeds = hip, knee, hip, knee
        self.torque = float(source.MOTORS_TORQUE)
        self.price = np.float32(0.00035 * source.MOTORS_TORQUE)
        self.observation = np.zeros(24, dtype=np.float32)
        self.pack, self.buffer = OBSERVATION.pack_into, self.observation.data
        self.fps, self.scale = source.FPS, source.SCALE
        self.width, self.height = source.VIEWPORT_W / source.SCALE, source.VIEWPORT_H / source.SCALE
        self.goal = (source.TERRAIN_LENGTH - source.TERRAIN_GRASS) * source.TERRAIN_STEP

    def __call__(self, action: NDArray[np.float32]) -> tuple[Floats, float, bool]:
        """Observation, reward, whether the episode is over."""
        env = self.env
        efforts = self.drive(action)
        self.world_step(self.period, 6 * 30, 2 * 30)
        observation, x, angle = self.observe()
        shaping = 130 * x / self.scale
        shaping -= 5.0 * abs(angle)
        reward = np.float32(shaping - env.prev_shaping)
        env.prev_shaping = shaping
        for effort in efforts:
            reward -= self.price * effort
        if env.game_over or x < 0:
            return observation, -100.0, True
        return observation, float(reward), x > self.goal

    def drive(self, action: NDArray[np.float32]) -> list[float]:
        """Set the motors; returns |action|, at most 1."""
        set_speed, set_torque = self.drive_joint
        efforts = []
        for joint, speed, share in zip(self.joints, self.speeds, action.tolist(), strict=True):
            effort = abs(share)
            if effort > 1.0:
                effort = 1.0
            set_speed(joint, speed if share > 0.0 else -speed if share < 0.0 else speed * effort)
            set_torque(joint, self.torque * effort)
            efforts.append(effort)
        return efforts

    def observe(self) -> tuple[Floats, float, float]:
        """The observation, the hull's place along the course and its angle."""
        get_position, get_velocity, get_angle, get_spin = self.read_hull
        get_x, get_y = self.read_vector
        joint_angle, joint_speed = self.read_joint
        hip, knee, _, _ = self.speeds
        hull, (hip_1, knee_1, hip_2, knee_2), (foot_1, foot_2) = self.hull, self.joints, self.feet
        position, velocity, angle = get_position(hull), get_velocity(hull), get_angle(hull)
        x = get_x(position)
        self.pack(
            self.buffer,
            0,
            angle,
            2.0 * get_spin(hull) / self.fps,
            0.3 * get_x(velocity) * self.width / self.fps,
            0.3 * get_y(velocity) * self.height / self.fps,
            joint_angle(hip_1),
            joint_speed(hip_1) / hip,
            joint_angle(knee_1) + 1.0,
            joint_speed(knee_1) / knee,
            1.0 if foot_1.ground_contact else 0.0,
            joint_angle(hip_2),
            joint_speed(hip_2) / hip,
            joint_angle(knee_2) + 1.0,
            joint_speed(knee_2) / knee,
            1.0 if foot_2.ground_contact else 0.0,
            *self.lidar(position, x, get_y(position)),
        )
        return self.observation.copy(), x, angle
