"""The point robot of Safety Gym's family as plain arithmetic: 2 ms steps of its planar equations of motion.

A ball with a box for a nose slides over the plane and turns about the ball's centre, the origin of the body. Its
centre of mass lies ahead of the origin, which couples turning and sliding. With the heading e, its left normal n, the
velocity of the origin split into u along e and v along n, and the turn rate w:

    m (u' - c w^2)  = F - d u                    m   0.00519 kg    c  0.01927 m, the centre of mass ahead
    m (v' + c w')   =   - d v                    d   0.01 N s/m    D  0.005 N m s
    J w' + m c v'   = T - D w                    J   inertia about the origin

(primes are accelerations of the origin along e and n.) The drive pushes with F = 0.3 clip(a, -0.05, 0.05), so that it
saturates at a twentieth of its stick; the turn servo with T = 0.3 clip(b - 0.3 w, -0.05, 0.05), b the wanted rate in
units of 1/0.3 rad/s. Both actions are limited to [-1, 1] before.

Time goes in steps of h = 2 ms, as MuJoCo's integrator "Euler" takes them. It is explicit but for the damping of the
joints: forces come from the old state, damping from the end of the step (so the mass matrix is M + h D instead of M),
and positions move with the new velocities. The accelerometer reads the accelerations of M alone, as MuJoCo's does.

Damping is the same along x and y, so that nothing but velocity and turn rate decides what comes next. With the angle
of one step phi = h w and velocities in units of m c / ((m + h d) h), a step is

    phi' - phi = clip(stick - g phi, -top, top) + q v - f phi
    U' = k U + E (phi^2 + push - i (phi' - phi)),     E' = E exp(i phi')

with U and the heading E as complex numbers: some forty operations, no division, no sine.

The turn servo is too stiff for h: inside its limits a step multiplies an error by -4.2, so it chatters around the
wanted rate, and two programs that round differently part after some fifty steps. At full steering it never leaves its
limit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from niwaki.types import Floats

PHYSICS_SECONDS = 0.002
BALL_RADIUS = 0.1  # m
NOSE_HALF, NOSE_AHEAD = 0.05, 0.1  # m: a cube, and how far its centre is before the ball's
DENSITY = 1.0  # kg/m^3
SLIDE_DAMPING, TURN_DAMPING = 0.01, 0.005  # N s/m, N m s
GEAR, TOP_FORCE = 0.3, 0.05  # of both actuators
GRAVITY = 9.81  # m/s^2, felt by the accelerometer
MAGNETIC_SOUTH = 0.5  # the magnetic field is (0, -0.5, 0), MuJoCo's default

BALL = DENSITY * 4 / 3 * math.pi * BALL_RADIUS**3  # kg
NOSE = DENSITY * (2 * NOSE_HALF) ** 3  # kg
MASS = BALL + NOSE
MOMENT = NOSE * NOSE_AHEAD  # kg m: mass times how far its centre is ahead of the origin
INERTIA = BALL * 0.4 * BALL_RADIUS**2 + NOSE * (2 / 3 * NOSE_HALF**2 + NOSE_AHEAD**2)  # kg m^2, about the origin

_H = PHYSICS_SECONDS
_HEAVY, _SLOW = MASS + _H * SLIDE_DAMPING, INERTIA + _H * TURN_DAMPING  # with the damping at the end of the step
_DETERMINANT = _HEAVY * _SLOW - MOMENT**2
_UNIT = MOMENT / _HEAVY / _H  # m/s: of the velocities in `drive`
_KEEP = np.array(1.0 - _H * SLIDE_DAMPING / _HEAVY)
_FADE = np.array(_H * _HEAVY * TURN_DAMPING / _DETERMINANT)
_SERVO = _H**2 * _HEAVY * GEAR / _DETERMINANT  # change of phi per newton of servo force
_GRIP = np.array(_SERVO * GEAR / _H)  # the servo's own part in it
_TOP = _SERVO * TOP_FORCE
_PUSH = _H**2 * GEAR / MOMENT  # of U along the heading, per newton of drive force
# Heading and velocities are both multiplied by this, so that sideways drag changes phi by their plain product.
_SCALE = math.sqrt(_H**2 * MOMENT * SLIDE_DAMPING * _UNIT / _DETERMINANT)
# tan(phi / 2) = phi (1/2 + phi^2 / 24), sin(phi) = phi (1 - phi^2 / 6): |phi| is below 0.01, so 1e-12 is left out
_HALF, _TWENTY_FOURTH, _ONE, _SIXTH = np.array(0.5), np.array(1 / 24), np.array(1.0), np.array(1 / 6)
_LAP = 100  # steps in which the heading turns by less than half a circle
_FEW = 16  # rows
_BLOCK = 4096  # rows: what a step reads and writes, 150 bytes a row, just fits into a second-level cache


def drive(motion: Floats, actions: NDArray, *, steps: int) -> Floats:
    """Motion [6, n] after `steps` physics steps under constant actions [n, 2].

    The rows are x, y, heading, x velocity, y velocity and turn rate, in m, rad, m/s and rad/s.
    """
    after = np.empty_like(motion, order="C")
    for start in range(0, motion.shape[1], _BLOCK):
        rows = slice(start, start + _BLOCK)
        sticks = _sticks(actions[rows])
        moved = motion[:, rows]
        lap = _lap_of_many if moved.shape[1] > _FEW else _lap_of_few
        for done in range(0, steps, _LAP):
            moved = lap(moved, *sticks, min(_LAP, steps - done))
        after[:, rows] = moved
    return after


def _lap_of_many(motion: Floats, throttle: Floats, steering: Floats, steps: int) -> Floats:
    """Up to `_LAP` physics steps.

    A call of NumPy costs as much as its work on a thousand numbers: hence as few calls as possible on arrays of one
    dimension, results written in place, and constants that are arrays already. The heading is turned by three shears
    (Paeth 1986), which takes tan(phi / 2) and sin(phi) instead of sine and cosine: a call less.
    """
    push, stick, cos, sin, velocity, phi = _lap_start(motion, throttle, steering)
    top = np.full(motion.shape[1], _TOP)
    bottom = -top
    vx, vy = velocity
    start = cos.copy(), sin.copy()
    path, change, other = np.zeros_like(velocity), np.empty_like(velocity), np.empty_like(velocity)
    (change_x, change_y), (other_x, other_y) = change, other
    square, half_tan, sine = phi * phi, np.empty_like(phi), np.empty_like(phi)
    add, subtract, multiply, minimum, maximum = np.add, np.subtract, np.multiply, np.minimum, np.maximum

    for _ in range(steps):
        # the change of phi: servo, sideways drag, damping
        multiply(phi, _GRIP, sine)
        subtract(stick, sine, sine)
        minimum(sine, top, out=sine)
        maximum(sine, bottom, out=sine)
        multiply(cos, vy, change_x)
        multiply(sin, vx, change_y)
        subtract(change_x, change_y, change_x)
        add(sine, change_x, sine)
        multiply(phi, _FADE, change_x)
        subtract(sine, change_x, sine)
        add(phi, sine, phi)

        # the velocity: along the heading the drive and the pull of the turning mass, across it the change of phi
        add(square, push, square)
        multiply(cos, square, change_x)
        multiply(sin, square, change_y)
        multiply(sin, sine, other_x)
        multiply(cos, sine, other_y)
        add(change_x, other_x, change_x)
        subtract(change_y, other_y, change_y)
        multiply(velocity, _KEEP, velocity)
        add(velocity, change, velocity)
        add(path, velocity, path)

        # the heading, by phi
        multiply(phi, phi, square)
        multiply(square, _TWENTY_FOURTH, half_tan)
        add(half_tan, _HALF, half_tan)
        multiply(half_tan, phi, half_tan)
        multiply(square, _SIXTH, sine)
        subtract(_ONE, sine, sine)
        multiply(sine, phi, sine)
        multiply(half_tan, sin, change_x)
        subtract(cos, change_x, cos)
        multiply(sine, cos, change_x)
        add(sin, change_x, sin)
        multiply(half_tan, sin, change_x)
        subtract(cos, change_x, cos)

    return _lap_end(motion, *start, path, cos, sin, velocity, phi)


def _lap_of_few(motion: Floats, throttle: Floats, steering: Floats, steps: int) -> Floats:
    """`_lap_of_many` row by row in Python's own floats, with the same bits: 15 times quicker for one row."""
    starts = _lap_start(motion, throttle, steering)
    ends = np.empty((7, motion.shape[1]))
    top, keep, fade, grip = _TOP, float(_KEEP), float(_FADE), float(_GRIP)
    twenty_fourth, sixth = float(_TWENTY_FOURTH), float(_SIXTH)
    for i in range(motion.shape[1]):
        push, stick, cos, sin, (vx, vy), phi = (start[..., i].tolist() for start in starts)
        x = y = 0.0
        square = phi * phi
        for _ in range(steps):
            servo = stick - phi * grip
            if servo > top:
                servo = top
            if servo < -top:
                servo = -top
            change = servo + (cos * vy - sin * vx) - phi * fade
            phi += change

            square += push
            vx, vy = vx * keep + (cos * square + sin * change), vy * keep + (sin * square - cos * change)
            x += vx
            y += vy

            square = phi * phi
            half_tan, sine = (square * twenty_fourth + 0.5) * phi, (1.0 - square * sixth) * phi
            cos -= half_tan * sin
            sin += sine * cos
            cos -= half_tan * sin
        ends[:, i] = x, y, cos, sin, vx, vy, phi
    return _lap_end(motion, starts[2], starts[3], ends[0:2], ends[2], ends[3], ends[4:6], ends[6])


def _lap_start(motion: Floats, throttle: Floats, steering: Floats) -> tuple[Floats, ...]:
    """Push, stick, the scaled heading's cos and sin, scaled velocity [2, n] and phi."""
    heading = _SCALE * np.cos(motion[2]), _SCALE * np.sin(motion[2])
    return _PUSH * throttle, _SERVO * steering, *heading, motion[3:5] * (_SCALE / _UNIT), motion[5] * _H


def _lap_end(
    motion: Floats,
    start_cos: Floats,
    start_sin: Floats,
    path: Floats,
    cos: Floats,
    sin: Floats,
    velocity: Floats,
    phi: Floats,
) -> Floats:
    after = np.empty((6, motion.shape[1]))
    after[0:2] = motion[0:2] + path * (_UNIT / _SCALE * _H)
    after[2] = motion[2] + np.arctan2(start_cos * sin - start_sin * cos, start_cos * cos + start_sin * sin)
    after[3:5] = velocity * (_UNIT / _SCALE)
    after[5] = phi / _H
    return after


def sensors(motion: Floats, actions: NDArray) -> Floats:
    """What the robot feels [8, n], in its own frame: acceleration ahead and to the left, velocity ahead and to the
    left, turn rate, and the magnetic field ahead and to the left. The acceleration upwards is GRAVITY, all else 0."""
    _, _, heading, vx, vy, turn_rate = motion
    cos, sin = np.cos(heading), np.sin(heading)
    u, v = cos * vx + sin * vy, cos * vy - sin * vx
    throttle, steering = _sticks(actions)
    servo = np.minimum(np.maximum(steering - GEAR * turn_rate, -TOP_FORCE), TOP_FORCE)
    torque, drag = GEAR * servo - TURN_DAMPING * turn_rate, -SLIDE_DAMPING * v
    ahead = (GEAR * throttle - SLIDE_DAMPING * u + MOMENT * turn_rate * turn_rate) / MASS
    left = (INERTIA * drag - MOMENT * torque) / (MASS * INERTIA - MOMENT**2)
    return np.array((ahead, left, u, v, turn_rate, -MAGNETIC_SOUTH * sin, -MAGNETIC_SOUTH * cos))


def _sticks(actions: NDArray) -> tuple[Floats, Floats]:
    """The drive's force before its gear, in newtons, and the wanted turn rate in units of 1 / GEAR rad/s."""
    throttle, steering = np.array(actions.T, dtype=np.float64)
    return np.clip(throttle, -TOP_FORCE, TOP_FORCE), np.clip(steering, -1.0, 1.0)
