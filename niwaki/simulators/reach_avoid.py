"""SafetyPointReachAvoid: drive a point robot to a goal, around a hazard, in time (Cloete, Vertovec & Abate 2025).

`reach_avoid` makes the simulator of a level; the dynamics, the lidars and the layouts have files of their own. A twin
on MuJoCo is in `reach_avoid_mujoco`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.reach_avoid_dynamics import GRAVITY, PHYSICS_SECONDS, drive, sensors
from niwaki.simulators.reach_avoid_layout import (
    CURRICULUM,
    GOAL_RADIUS,
    Layout,
    columns_of,
    layout_of,
    next_goals,
    sample_layouts,
)
from niwaki.simulators.reach_avoid_lidar import BINS, pseudo_lidar
from niwaki.types import ActionSpace, Box, Column, Floats, Integers, Lockstep, NiwakiError, Signal, Transition

Reward = Literal["progress", "sparse"]

EPISODE_SECONDS = 20.0
GOAL_REACHED, HAZARD_ENTERED = 1, 2  # indices into ReachAvoid.endings
GOAL_REWARD, HAZARD_REWARD = 1.0, -0.25  # the second of the sparse reward only
ACTIONS = Box((-1.0, -1.0), (1.0, 1.0))  # throttle, steering to the left
FELT = 12  # numbers of the four sensors
MOTION, STICKS, GOAL, COUNT, SEED = slice(0, 6), slice(6, 8), slice(8, 10), 10, 11  # columns of the state
HAZARDS = 12  # where they begin


@dataclass(frozen=True, kw_only=True)
class ReachAvoid(Lockstep):
    """The point robot, its goal and its hazards. Made by `reach_avoid`; by itself it is curriculum level 5.

    State columns: x, y, heading (not wrapped), velocities along x and y, turn rate; the last action, which the
    accelerometer feels; the goal's x and y, the number of goals reached, the seed (0 where nothing depends on it);
    x and y of every hazard.

    Goal and hazards are judged once per control period, as in the original, and in the start as well: an episode
    that starts inside a hazard ends with its first step. So any scenario may be flown, overlapping ones too.
    Who reaches the goal and a hazard in the same step has entered the hazard.

    With `reset_goal` a goal that is reached moves elsewhere, hazards are seen but do nothing, and only time ends
    an episode: the task on which the paper trains the unsafe policy.
    """

    name: str = "ReachAvoid"
    columns: tuple[Column, ...] = columns_of(CURRICULUM[5])
    observation_size: int = FELT + 2 * BINS
    action_space: ActionSpace = ACTIONS
    signals: tuple[Signal, ...] = (
        Signal("x", "m"),
        Signal("y", "m"),
        Signal("heading", "rad"),
        Signal("vx", "m/s"),
        Signal("vy", "m/s"),
        Signal("turn_rate", "rad/s"),
        Signal("speed", "m/s"),
        Signal("goal_distance", "m"),
        Signal("goals_reached", "1"),
        Signal("hazard_clearance", "m"),
    )
    endings: tuple[str, ...] = ("time_out", "goal_reached", "hazard_entered")
    failures: tuple[str, ...] = ("time_out", "hazard_entered")
    horizon: int = 100
    step_seconds: float | None = 0.2
    layout: Layout = CURRICULUM[5]
    reset_goal: bool = False
    reward: Reward = "progress"

    @property
    def physics_steps(self) -> int:
        """Physics steps of 2 ms in one control period."""
        return round((self.step_seconds or 0.0) / PHYSICS_SECONDS)

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw n scenarios [n, K] as the original draws its layouts (see `sample_layouts`), so that the columns are
        not independent: nothing overlaps."""
        return sample_layouts(self.layout, self.columns, rng, n)

    def reset(self, scenarios: Floats) -> Floats:
        """Start states [n, D] of scenarios [n, K]: the robot rests and nothing pushes it."""
        state = np.zeros((len(scenarios), HAZARDS + 2 * self.layout.hazards))
        state[:, 0:3] = scenarios[:, 0:3]
        state[:, GOAL] = scenarios[:, 3:5]
        state[:, HAZARDS:] = scenarios[:, 5:-1]
        if self.reset_goal:
            state[:, SEED] = scenarios[:, -1]
        return state

    def step(self, state: Floats, actions: NDArray) -> Transition:
        """One control period under throttle and steering [n, 2], both limited to [-1, 1]."""
        after = state.copy()
        after[:, MOTION] = drive(state[:, MOTION].T, actions, steps=self.physics_steps).T
        after[:, STICKS] = actions
        return self.judge(state, after)

    def judge(self, before: Floats, after: Floats) -> Transition:
        """What a control period from one state to the other is worth, and whether it ends the episode.

        The reward "progress" is the way towards the goal in metres and 1 for reaching it; "sparse" is 1 for the goal
        and -0.25 for a hazard. Who enters a hazard gets nothing for a goal in the same step.
        """
        way_before, way = _goal_distance(before), _goal_distance(after)
        reached = np.minimum(way_before, way) <= GOAL_RADIUS
        entered = np.zeros(len(after), dtype=bool)
        if not self.reset_goal:
            entered = np.minimum(self._clearance(before), self._clearance(after)) <= 0.0
            reached &= ~entered
        rewards = GOAL_REWARD * reached
        rewards = rewards + (HAZARD_REWARD * entered if self.reward == "sparse" else way_before - way)
        after[reached, COUNT] += 1.0
        if self.reset_goal:
            if reached.any():
                self._move_goals(after, reached)
            return Transition(after, rewards, np.zeros(len(after), dtype=np.int64))
        endings: Integers = np.where(entered, HAZARD_ENTERED, np.where(reached, GOAL_REACHED, 0))
        return Transition(after, rewards, endings)

    def observe(self, state: Floats) -> Floats:
        """Accelerometer, velocimeter, gyro and magnetometer, three numbers each in the robot's own frame, then the
        lidars of goal and hazards, 16 bins each, float32 [n, 44]. Without hazards their lidar stays 0."""
        felt = sensors(state[:, MOTION].T, state[:, STICKS])
        seen = np.zeros((len(state), self.observation_size), dtype=np.float32)
        seen[:, (0, 1, 3, 4, 8, 9, 10)] = felt.T
        seen[:, 2] = GRAVITY
        self.look(state, seen)
        return seen

    def look(self, state: Floats, seen: Floats) -> None:
        """Write both lidars into observations [n, 44]."""
        position, heading = state[:, 0:2], state[:, 2]
        seen[:, FELT : FELT + BINS] = pseudo_lidar(position, heading, state[:, None, GOAL])
        seen[:, FELT + BINS :] = pseudo_lidar(position, heading, self._hazards(state))

    def measure(self, state: Floats) -> Floats:
        """The signals [n, S]: heading within [-pi, pi]; goal_distance to the goal's centre; hazard_clearance, where
        there are hazards, to the edge of the nearest, negative inside."""
        x, y, heading, vx, vy, turn_rate = state[:, MOTION].T
        wrapped = (heading + math.pi) % (2 * math.pi) - math.pi
        speed = np.sqrt(vx * vx + vy * vy)
        measured = [x, y, wrapped, vx, vy, turn_rate, speed, _goal_distance(state), state[:, COUNT]]
        if self.layout.hazards:
            measured.append(self._clearance(state))
        return np.array(measured).T

    def _hazards(self, state: Floats) -> Floats:
        return state[:, HAZARDS:].reshape(len(state), self.layout.hazards, 2)

    def _clearance(self, state: Floats) -> Floats:
        """Metres to the edge of the nearest hazard [n]; infinite where there is none."""
        nearest = np.full(len(state), np.inf)
        for i in range(HAZARDS, state.shape[1], 2):
            dx, dy = state[:, i] - state[:, 0], state[:, i + 1] - state[:, 1]
            np.minimum(nearest, dx * dx + dy * dy, out=nearest)
        return np.sqrt(nearest) - self.layout.hazard_size

    def _move_goals(self, state: Floats, rows: NDArray[np.bool_]) -> None:
        moved = state[rows]
        place, hazards, seed, count = moved[:, 0:2], self._hazards(moved), moved[:, SEED], moved[:, COUNT]
        state[rows, GOAL] = next_goals(self.layout, place, hazards, seed, count)


def _goal_distance(state: Floats) -> Floats:
    dx, dy = state[:, 8] - state[:, 0], state[:, 9] - state[:, 1]
    return np.sqrt(dx * dx + dy * dy)


def reach_avoid(
    level: int = 5,
    *,
    curriculum: bool = True,
    period: float = 0.2,
    reset_goal: bool = False,
    reward: str = "progress",
) -> ReachAvoid:
    """The simulator of a level: 1 to 5 with curriculum, 0 to 2 without (0, 4 and 8 hazards).

    `period` is the time of one control step in seconds: 0.2 for the published low frequency, 0.02 for the standard
    one; an episode has 20 s. Raises NiwakiError for a level, a period or a reward that does not exist.

    >>> reach_avoid(5, period=0.02).horizon
    1000
    """
    return ReachAvoid(**description(level, curriculum=curriculum, period=period, reset_goal=reset_goal, reward=reward))


def description(level: int, *, curriculum: bool, period: float, reset_goal: bool, reward: str) -> dict[str, Any]:
    """What depends on the level and its variants, as fields of the simulator and of its twin."""
    layout = layout_of(level, curriculum=curriculum)
    steps = period / PHYSICS_SECONDS
    if not (0.5 < steps <= EPISODE_SECONDS / PHYSICS_SECONDS and abs(steps - round(steps)) < 1e-6):
        raise NiwakiError(f"a control period is a whole number of 0.002 s steps, at most 20 s, got {period!r}")
    if reward not in get_args(Reward):
        raise NiwakiError(f"the reward is one of {', '.join(get_args(Reward))}, got {reward!r}")
    return {
        "columns": columns_of(layout),
        "signals": ReachAvoid.signals if layout.hazards else ReachAvoid.signals[:-1],
        "endings": ReachAvoid.endings[:1] if reset_goal else ReachAvoid.endings,
        "failures": () if reset_goal else ReachAvoid.failures,
        "horizon": max(1, round(EPISODE_SECONDS / period)),
        "step_seconds": float(period),
        "layout": layout,
        "reset_goal": reset_goal,
        "reward": reward,
    }
