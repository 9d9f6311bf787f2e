"""Any Gymnasium environment as an Engine.

`gymnasium_engine` describes the environment; `open` makes the thing that runs. Environments that can be
started elsewhere than Gymnasium starts them have files of their own: box2d.py and mujoco.py. All others
have one scenario column, the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.environments import (
    Arguments,
    action_space,
    find_spec,
    make_environment,
    observation_size,
    plain_arguments,
)
from niwaki.types import Discrete, Engine, Floats, NiwakiError, Signal, seed_column

FLOAT32 = np.dtype(np.float32)
TERMINATED, TRUNCATED = 1, 2
ENDINGS = ("time_out", "terminated", "truncated")


class GymnasiumRun:
    """One environment in flight (see EngineRun); `render` returns frames when it was opened for that."""

    # A copy: an environment may hand out its own array and change it in the next step. The engines that
    # are known not to do so put np.asarray here, which halves what `advance` adds to the environment.
    convert: ClassVar[Callable[..., Floats]] = staticmethod(np.array)

    def __init__(self, env: Any, engine: GymnasiumEngine) -> None:
        self.env = env
        self.observation: Floats = np.zeros(engine.observation_size, dtype=np.float32)
        self._step = env.step
        self._discrete = isinstance(engine.action_space, Discrete)
        self._columns = len(engine.columns)

    def start(self, scenario: Floats) -> Floats:
        """Begin the episode of scenario [K]; returns the first observation, float32 [O]."""
        self.observation = self.convert(self.begin(*self.read(scenario)), FLOAT32)
        return self.observation

    def begin(self, *values: float) -> NDArray:
        """Put the environment at the scenario's start; returns its own observation."""
        (seed,) = values
        observation: NDArray = self.env.reset(seed=int(seed))[0]
        return observation

    def advance(self, action: NDArray | int) -> tuple[Floats, float, int]:
        """One environment step: observation float32 [O], reward, ending (0 = goes on)."""
        observation, reward, terminated, truncated, _ = self._step(int(action) if self._discrete else action)
        self.observation = observation = self.convert(observation, FLOAT32)
        return observation, float(reward), self.ending(terminated) if terminated or truncated else 0

    def ending(self, terminated: bool) -> int:
        """Which ending it was, once the environment has said that the episode is over."""
        return TERMINATED if terminated else TRUNCATED

    def measure(self) -> Floats:
        """The signals [S]: for an environment that niwaki does not know, the observation."""
        return self.observation

    def render(self) -> NDArray[np.uint8] | None:
        """The current frame, uint8 [H, W, 3]; None in the mode "human", which draws its own window."""
        if self.env.render_mode is None:
            raise NiwakiError('there is nothing to draw on: open the engine with render_mode="rgb_array" or "human"')
        frame = self.env.render()
        return None if frame is None else np.ascontiguousarray(frame, dtype=np.uint8)

    def close(self) -> None:
        """Close the environment and its window."""
        self.env.close()

    def read(self, scenario: Floats) -> list[float]:
        """The scenario's numbers. A NaN would crash some engines in native code, so it stops here."""
        if np.shape(scenario) != (self._columns,) or not np.isfinite(scenario).all():
            raise NiwakiError(f"a scenario needs {self._columns} finite numbers, got {np.asarray(scenario).tolist()}")
        return [float(value) for value in scenario]


@dataclass(frozen=True, kw_only=True)
class GymnasiumEngine(Engine):
    """A Gymnasium environment without its time limit: `horizon` takes that part. Opening an engine in
    another process makes the environment anew from `env_id`, so an environment registered by a module of
    yours needs the "module:Name-v0" form there. An environment that niwaki does not know must forget its
    earlier episodes when it is reset with a seed; `niwaki.testing.check_simulator` finds those that do not."""

    env_id: str
    kwargs: Arguments = ()

    run_class: ClassVar[type[GymnasiumRun]] = GymnasiumRun

    def open(self, render_mode: str | None = None) -> GymnasiumRun:
        """A running environment in this process; `render_mode` is None, "rgb_array" or "human"."""
        env = make_environment(self.env_id, self.kwargs, render_mode=render_mode)
        return self.run_class(env, self)

    @staticmethod
    def facts(env: Any) -> dict[str, Any]:
        """What this kind of environment says of itself: the Simulator fields that depend on the kind."""
        return {
            "columns": (seed_column(),),
            "signals": tuple(Signal(f"observation[{i}]", "1") for i in range(env.observation_space.shape[0])),
            "endings": ENDINGS,
            "failures": (),
        }


def gymnasium_engine(
    env_id: str,
    *,
    kwargs: Mapping[str, object] | Arguments = (),
    horizon: int | None = None,
    name: str | None = None,
) -> GymnasiumEngine:
    """The engine around `gymnasium.make(env_id, **kwargs)`; "module:Name-v0" imports the module first.

    The environment is opened once to read its spaces. It runs without time limit, order and argument
    checks; wrappers that its registration names stay. LunarLander, BipedalWalker and the MuJoCo
    environments also get scenario columns for where and how the episode starts.

    Raises NiwakiError for an unknown id, a missing extra, no time limit (pass `horizon`), an observation
    that is not one vector, or actions other than Discrete from 0 or one vector of floats.
    """
    pairs = plain_arguments(kwargs)
    env = make_environment(env_id, pairs)
    try:
        spec = find_spec(env_id)
        steps = spec.max_episode_steps if horizon is None else horizon
        if steps is None or steps < 1:
            raise NiwakiError(f"{env_id} needs a time limit of at least one step: pass horizon=, got {steps}")
        engine = engine_class(env)
        return engine(
            name=name or spec.id,
            env_id=env_id,
            kwargs=pairs,
            horizon=int(steps),
            observation_size=observation_size(env_id, env.observation_space),
            action_space=action_space(env_id, env.action_space),
            **engine.facts(env),
        )
    finally:
        env.close()


def engine_class(env: Any) -> type[GymnasiumEngine]:
    """The kind of engine for an environment. Box2D and MuJoCo are told by module names, because neither
    need be installed; a subclass of LunarLander may break what box2d.py relies on, so it is not one."""
    from niwaki.simulators import box2d, mujoco  # here: both build on the classes above

    known = {
        "gymnasium.envs.box2d.lunar_lander": box2d.LunarLanderEngine,
        "gymnasium.envs.box2d.bipedal_walker": box2d.BipedalWalkerEngine,
    }
    if type(env).__module__ in known:
        return known[type(env).__module__]
    if any(base.__module__ == "gymnasium.envs.mujoco.mujoco_env" for base in type(env).__mro__):
        return mujoco.MujocoEngine
    return GymnasiumEngine
