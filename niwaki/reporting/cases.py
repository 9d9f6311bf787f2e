"""The flights that are shown one by one: the worst that the report saw, teacher beside shipped policy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.deployed import deployed
from niwaki.policies.network import NetworkPolicy
from niwaki.refinement.recover import recover
from niwaki.reporting.flights import ORIGINS, Pair
from niwaki.simulators.acrobot import Acrobot
from niwaki.simulators.box2d import BipedalWalkerEngine, LunarLanderEngine
from niwaki.simulators.cartpole import CartPole
from niwaki.simulators.mountain_car import MountainCar
from niwaki.simulators.mountain_car_continuous import MountainCarContinuous
from niwaki.simulators.pendulum import Pendulum
from niwaki.tasks import Task
from niwaki.types import Floats, Recording, Simulator, Trajectories

FRAMES = 240  # of one animated flight, evenly; the two ends come on top
SHOWN, OWN = 6, 2  # flights in the animation; of them, from the task's own distribution

# The simulators that scenes.js can draw from their signals; every other one gets its signals over time.
SCENES: dict[type[Simulator], str] = {
    Acrobot: "acrobot",
    BipedalWalkerEngine: "walker",
    CartPole: "cartpole",
    LunarLanderEngine: "lander",
    MountainCar: "hill",
    MountainCarContinuous: "hill",
    Pendulum: "pendulum",
}


@dataclass(frozen=True, eq=False)
class Flight:
    """One policy's flight in a case."""

    total: float  # return
    length: int  # steps
    ending: str
    broken: tuple[str, ...]  # names of the specifications it broke
    signals: Floats  # [F, S]
    actions: NDArray  # [F, A]


@dataclass(frozen=True, eq=False)
class Case:
    """One scenario, flown twice. Frame f shows step steps[f]."""

    origin: str  # of ORIGINS
    scenario: dict[str, float]  # the columns that are not nominal
    steps: NDArray  # [F]
    teacher: Flight
    policy: Flight
    recovery: int | None  # step


def worst_cases(task: Task, pair: Pair, teacher: NetworkPolicy) -> tuple[Case, ...]:
    """The worst flights: first those where only the policy breaks a specification, then those where both do,
    then the others; by the policy's return within each. At least `OWN` start as the task itself would."""
    order = np.lexsort((pair.policy.returns, pair.teacher.violated, ~pair.policy.violated))
    drawn = order[pair.origins[order] == ORIGINS.index("drawn")][:OWN]
    chosen = {*drawn.tolist(), *[row for row in order.tolist() if row not in drawn][: SHOWN - len(drawn)]}
    order = np.array([row for row in order.tolist() if row in chosen])
    recovery = _recoveries(task, pair, teacher, order)
    return tuple(_case(task.simulator, pair, int(row), recovery.get(int(row))) for row in order)


def _recoveries(task: Task, pair: Pair, teacher: NetworkPolicy, rows: NDArray) -> dict[int, int]:
    """For the rows where only the policy fails: the last step from which the teacher still flies safely."""
    rows = rows[pair.policy.violated[rows] & ~pair.teacher.violated[rows]]
    if not len(rows):
        return {}
    found = recover(task.simulator, deployed(teacher), episodes_of(pair.policy, rows), specs=task.specs)
    return {int(row): state.step for row, state in zip(rows, found, strict=True) if state is not None}


def episodes_of(flown: Trajectories, rows: NDArray) -> Trajectories:
    """Some of the episodes, with their recordings."""
    recording = flown.recording
    assert recording is not None
    arrays = (recording.signals, recording.actions, recording.rewards, recording.observations)
    return replace(
        flown,
        scenarios=flown.scenarios[rows],
        returns=flown.returns[rows],
        lengths=flown.lengths[rows],
        endings=flown.endings[rows],
        recording=Recording(recording.signal_names, *(array[rows] for array in arrays)),
        margins=None if flown.margins is None else flown.margins[rows],
    )


def scene(simulator: Simulator) -> str | None:
    """The name of the drawing in scenes.js, or None."""
    return next((name for kind, name in SCENES.items() if isinstance(simulator, kind)), None)


def _case(simulator: Simulator, pair: Pair, row: int, recovery: int | None) -> Case:
    ends = pair.teacher.lengths[row], pair.policy.lengths[row]
    even = np.linspace(0, max(ends), min(int(max(ends)) + 1, FRAMES)).round().astype(int)
    steps = np.union1d(even, ends)
    scenario = pair.policy.scenarios[row]
    moved = {
        column.name: float(value)
        for column, value in zip(simulator.columns, scenario, strict=True)
        if value != column.nominal
    }
    return Case(
        ORIGINS[pair.origins[row]],
        moved,
        steps,
        _flight(pair.teacher, row, steps),
        _flight(pair.policy, row, steps),
        recovery,
    )


def _flight(flown: Trajectories, row: int, steps: NDArray) -> Flight:
    """Frames of one flight; past its end the last state is held and the last action repeated."""
    recording, length = flown.recording, int(flown.lengths[row])
    assert recording is not None
    actions = recording.actions[row].reshape(recording.actions.shape[1], -1)
    broken = () if flown.margins is None else np.array(flown.spec_names)[flown.margins[row] < 0]
    return Flight(
        float(flown.returns[row]),
        length,
        flown.ending_names[flown.endings[row]],
        tuple(map(str, broken)),
        recording.signals[row][np.minimum(steps, length)],
        actions[np.minimum(steps, max(length - 1, 0))],
    )
