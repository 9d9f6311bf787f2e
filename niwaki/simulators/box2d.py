"""LunarLander and BipedalWalker, started elsewhere than Gymnasium starts them.

The offsets move the bodies themselves, all of them as one rigid piece, in the world that `reset` has just
made and before its first physics step. So observation, shaping and reward are Gymnasium's own, and with
zero offsets every bit of an episode is.

Where nothing is drawn and Gymnasium's source is one that niwaki knows, the steps are those of lunar_lander.py
and bipedal_walker.py: the same bits sooner. Everywhere else they are Gymnasium's own.

Drawing changes no bit: a lander that is drawn also has exhaust particles, but these take no random numbers
and touch only the ground (tested).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators import bipedal_walker, lunar_lander
from niwaki.simulators.columns import constant
from niwaki.simulators.gymnasium import GymnasiumEngine, GymnasiumRun
from niwaki.simulators.known_source import known_source
from niwaki.types import Column, Floats, Signal, seed_column

STEP_SECONDS = 1 / 50

LANDER_SEARCH = ((-2.0, 2.0), (-2.0, 0.0), (-2.0, 2.0), (-2.0, 2.0), (-0.3, 0.3), (-1.0, 1.0))
# The walker's feet touch the ground after Gymnasium's own first step: it may start higher, not lower.
WALKER_SEARCH = ((-1.0, 1.0), (0.0, 0.5), (-1.0, 1.0), (-1.0, 1.0), (-0.2, 0.2), (-1.0, 1.0))

LANDED, CRASHED, FLEW_OFF = 1, 2, 3
FINISHED, FELL = 1, 2


def start_columns(search: Sequence[tuple[float, float]]) -> tuple[Column, ...]:
    """The six offsets of a start from Gymnasium's own, in metres, seconds and radians."""
    units = {
        "x_offset": "m",
        "y_offset": "m",
        "x_velocity_offset": "m/s",
        "y_velocity_offset": "m/s",
        "angle_offset": "rad",
        "angular_velocity_offset": "rad/s",
    }
    return tuple(searched(name, unit, 0.0, span) for (name, unit), span in zip(units.items(), search, strict=True))


def searched(name: str, unit: str, nominal: float, search: tuple[float, float]) -> Column:
    """A column that a falsifier may vary, while claims keep Gymnasium's own value until a task widens it."""
    return replace(constant(name, unit, nominal), search=search)


def reset_moved(env: Any, seed: float, offset: Sequence[float], bodies: Callable[[], list[Any]]) -> NDArray:
    """`env.reset`, with the bodies moved before the first physics step; returns the observation.

    Both environments end their `reset` with one `self.step`; an instance attribute gets in between.
    """

    def first_step(action: Any) -> Any:
        move(bodies(), *offset)
        return type(env).step(env, action)

    if any(offset):
        env.step = first_step
    try:
        observation: NDArray = env.reset(seed=int(seed))[0]
    finally:
        env.__dict__.pop("step", None)
    return observation


def move(bodies: list[Any], x: float, y: float, vx: float, vy: float, angle: float, omega: float) -> None:
    """Add one rigid motion to jointed bodies; the first one is the main body.

    The pose turns about the main body's position and the velocity field about its centre of mass,
    because these are what the observation reads: each offset changes its own entry and no other.
    """
    px, py = bodies[0].position
    cos, sin = math.cos(angle), math.sin(angle)
    for body in bodies:
        dx, dy = body.position[0] - px, body.position[1] - py
        # Whole tuples: assigning to position.x changes a copy and moves nothing.
        body.position = (px + x + cos * dx - sin * dy, py + y + sin * dx + cos * dy)
        body.angle = body.angle + angle
    cx, cy = bodies[0].worldCenter
    for body in bodies:
        rx, ry = body.worldCenter[0] - cx, body.worldCenter[1] - cy
        u, v = body.linearVelocity
        body.linearVelocity = (u + vx - omega * ry, v + vy + omega * rx)
        body.angularVelocity = body.angularVelocity + omega


class QuickStep(Protocol):
    """Gymnasium's step of one episode, rewritten."""

    def takes(self, action: Any) -> bool:
        """Whether it gives Gymnasium's bits for this action now."""
        ...

    def __call__(self, action: Any) -> tuple[Floats, float, bool]:
        """Observation, reward, whether the episode is over."""
        ...


class Box2DRun(GymnasiumRun):
    """An environment in flight whose episodes may have a quick step."""

    convert = staticmethod(np.asarray)
    quick: QuickStep | None = None

    def advance(self, action: NDArray | int) -> tuple[Floats, float, int]:
        if self.quick is None or not self.quick.takes(action):
            return super().advance(action)
        self.observation, reward, over = self.quick(action)
        return self.observation, reward, self.ending(True) if over else 0


class LunarLanderRun(Box2DRun):
    """One lander in flight."""

    def __init__(self, env: Any, engine: GymnasiumEngine) -> None:
        super().__init__(env, engine)
        self._always_windy = env.enable_wind
        self._source = known_source(env, lunar_lander.METHODS, lunar_lander.KNOWN)

    def begin(self, *values: float) -> NDArray:
        *offset, gravity, wind_power, turbulence_power, seed = values
        env = self.env
        env.gravity, env.wind_power, env.turbulence_power = gravity, wind_power, turbulence_power
        env.enable_wind = self._always_windy or wind_power != 0 or turbulence_power != 0
        observation = reset_moved(env, seed, offset, lambda: [env.lander, *env.legs])
        self.quick = lunar_lander.LanderStep(env, self._source) if self._source else None
        return observation

    def ending(self, terminated: bool) -> int:
        if self.env.game_over:
            return CRASHED
        return FLEW_OFF if self.env.lander.awake else LANDED

    def measure(self) -> Floats:
        signals = np.empty(10)
        signals[:8] = self.observation
        signals[8] = self.env.game_over
        signals[9] = not self.env.lander.awake
        return signals


@dataclass(frozen=True, kw_only=True)
class LunarLanderEngine(GymnasiumEngine):
    """LunarLander-v3, discrete or continuous.

    The first eight signals are the observation, normalised as Gymnasium does it: a unit of "10 m" says
    that the value 1 means 10 m. Any wind or turbulence other than 0 switches Gymnasium's wind on, which
    draws two more random numbers: the seed then means another flight than without wind.
    """

    run_class: ClassVar[type[GymnasiumRun]] = LunarLanderRun

    @staticmethod
    def facts(env: Any) -> dict[str, Any]:
        wind, turbulence = (env.wind_power, env.turbulence_power) if env.enable_wind else (0.0, 0.0)
        gravity = env.gravity
        return {
            "columns": (
                *start_columns(LANDER_SEARCH),
                searched("gravity", "m/s^2", gravity, (gravity - 1, gravity + 1)),
                searched("wind_power", "N", wind, (0.0, max(wind, 15.0))),
                searched("turbulence_power", "N m", turbulence, (0.0, max(turbulence, 1.5))),
                seed_column(),
            ),
            "signals": (
                Signal("x", "10 m"),
                Signal("y", "6.667 m"),
                Signal("x_velocity", "5 m/s"),
                Signal("y_velocity", "7.5 m/s"),
                Signal("angle", "rad"),
                Signal("angular_velocity", "2.5 rad/s"),
                Signal("left_contact", "1"),
                Signal("right_contact", "1"),
                Signal("crashed", "1"),
                Signal("landed", "1"),
            ),
            "endings": ("time_out", "landed", "crashed", "flew_off"),
            "failures": ("time_out", "crashed", "flew_off"),
            "step_seconds": STEP_SECONDS,
        }


class BipedalWalkerRun(Box2DRun):
    """One walker in flight."""

    def __init__(self, env: Any, engine: GymnasiumEngine) -> None:
        super().__init__(env, engine)
        self._source = None
        if not env.hardcore:
            self._source = known_source(env, bipedal_walker.METHODS, bipedal_walker.KNOWN)

    def begin(self, *values: float) -> NDArray:
        *offset, seed = values
        env = self.env
        # The environment keeps one world for all its episodes, and the world's memory of earlier contacts
        # changes the bits of later ones. A new world makes the episode a function of its scenario.
        env._destroy()
        env.world = type(env.world)()
        observation = reset_moved(env, seed, offset, lambda: [env.hull, *env.legs])
        self.walker = bipedal_walker.Walker(env)
        self.quick = bipedal_walker.WalkerStep(self.walker, self._source) if self._source else None
        return observation

    def ending(self, terminated: bool) -> int:
        return FELL if self.env.game_over or self.env.hull.position[0] < 0 else FINISHED

    def measure(self) -> Floats:
        return self.walker.measure()


@dataclass(frozen=True, kw_only=True)
class BipedalWalkerEngine(GymnasiumEngine):
    """BipedalWalker-v3 and its hardcore course. Signals are physical values, not the observation's."""

    run_class: ClassVar[type[GymnasiumRun]] = BipedalWalkerRun

    @staticmethod
    def facts(env: Any) -> dict[str, Any]:
        return {
            "columns": (*start_columns(WALKER_SEARCH), seed_column()),
            "signals": (
                Signal("hull_angle", "rad"),
                Signal("hull_angular_velocity", "rad/s"),
                Signal("x_velocity", "m/s"),
                Signal("y_velocity", "m/s"),
                *(Signal(f"{joint}_{leg}_angle", "rad") for leg in (1, 2) for joint in ("hip", "knee")),
                Signal("leg_1_contact", "1"),
                Signal("leg_2_contact", "1"),
                Signal("hull_x", "m"),
                Signal("hull_contact", "1"),
            ),
            "endings": ("time_out", "finished", "fell"),
            "failures": ("fell",),
            "step_seconds": STEP_SECONDS,
        }
