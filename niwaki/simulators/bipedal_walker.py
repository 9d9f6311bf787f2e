"""Gymnasium's `BipedalWalker.step`, bit for bit, without what the bits do not need."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.contacts import listen
from niwaki.simulators.lidar import Lidar
from niwaki.types import Floats

# Fingerprints of the sources that this file was tested against (see known_source.py).
METHODS = "step", "reset", "_generate_terrain"
KNOWN = {"9629de773a3f647b": "Gymnasium 1.2 and 1.3", "81ba6f456e5b3eb9": "Gymnasium 1.4"}

FLOAT32 = np.dtype(np.float32)
OBSERVATION = struct.Struct("24f")  # rounds as an assignment to float32 does, in a fourth of the time


class Walker:
    """What can be read off a walker's bodies, through Box2D's accessors and the C++ objects behind its proxies:
    a call with them costs a third of a look at an attribute.

    `position` and `velocity` are views of the hull's memory: they move with it.
    """

    def __init__(self, env: Any) -> None:
        self.env, self.hull, self.feet = env, env.hull.this, (env.legs[1], env.legs[3])
        self.joints = [joint.this for joint in env.joints]
        self.position, self.velocity = env.hull.position.this, env.hull.linearVelocity.this
        hull, joint, vector = type(env.hull), type(env.joints[0]), type(env.hull.position)
        self.angle, self.spin = hull.angle.fget, hull.angularVelocity.fget
        self.x, self.y = vector.x.fget, vector.y.fget
        self.joint_angle, self.joint_speed = joint.angle.fget, joint.speed.fget

    def measure(self) -> Floats:
        """The signals [S]."""
        x, y, joint_angle = self.x, self.y, self.joint_angle
        (hip_1, knee_1, hip_2, knee_2), (foot_1, foot_2) = self.joints, self.feet
        return np.array(
            (
                self.angle(self.hull),
                self.spin(self.hull),
                x(self.velocity),
                y(self.velocity),
                joint_angle(hip_1),
                joint_angle(knee_1),
                joint_angle(hip_2),
                joint_angle(knee_2),
                foot_1.ground_contact,
                foot_2.ground_contact,
                x(self.position),
                self.env.game_over,
            ),
            dtype=np.float64,
        )


class WalkerStep:
    """The step of one episode, for float32 actions and without drawing; not for the hardcore course.

    All state stays where Gymnasium keeps it, so a call of `env.step` may come between two calls of this. The
    reward is float32 because NumPy makes it that: a Python float minus a float32.
    """

    def __init__(self, walker: Walker, source: Any) -> None:
        env = walker.env
        self.env, self.walker, self.hull = env, walker, env.hull
        self.lidar = Lidar(env, source)
        listen(env, env.hull, walker.feet)
        self.world_step, self.period = env.world.Step, 1.0 / source.FPS
        joint = type(env.joints[0])
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

    def takes(self, action: Any) -> bool:
        """Whether NumPy computes with the action as this does (the price of a float64 action has other bits), and
        the episode is still the one that this was made for."""
        right = type(action) is np.ndarray and action.dtype == FLOAT32 and action.shape == (4,)
        return right and self.env.hull is self.hull

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
        for joint, speed, share in zip(self.walker.joints, self.speeds, action.tolist(), strict=True):
            effort = abs(share)
            if effort > 1.0:
                effort = 1.0
            set_speed(joint, speed if share > 0.0 else -speed if share < 0.0 else speed * effort)
            set_torque(joint, self.torque * effort)
            efforts.append(effort)
        return efforts

    def observe(self) -> tuple[Floats, float, float]:
        """The observation, the hull's place along the course and its angle."""
        walker, hip, knee = self.walker, self.speeds[0], self.speeds[1]
        get_x, get_y, joint_angle, joint_speed = walker.x, walker.y, walker.joint_angle, walker.joint_speed
        hull, velocity = walker.hull, walker.velocity
        (hip_1, knee_1, hip_2, knee_2), (foot_1, foot_2) = walker.joints, walker.feet
        x, angle = get_x(walker.position), walker.angle(hull)
        self.pack(
            self.buffer,
            0,
            angle,
            2.0 * walker.spin(hull) / self.fps,
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
            *self.lidar(walker.position, x, get_y(walker.position)),
        )
        return self.observation.copy(), x, angle
