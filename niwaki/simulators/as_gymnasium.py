"""Any niwaki simulator as a Gymnasium environment, for those who train elsewhere.

Importing this module registers `niwaki/ReachAvoid-v0`, as does asking Gymnasium for it with the module's name:

>>> env = gymnasium.make("niwaki.simulators.as_gymnasium:niwaki/ReachAvoid-v0", level=3)
>>> env.observation_space.shape
(44,)
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from niwaki.simulators.reach_avoid import reach_avoid
from niwaki.types import Discrete, Engine, EngineRun, Floats, Lockstep, NiwakiError, Simulator

REACH_AVOID = "niwaki/ReachAvoid-v0"
TRUNCATIONS = ("time_out", "truncated")  # endings that are not the task's own


class SimulatorEnv(gymnasium.Env):  # type: ignore[misc]  # Gymnasium is not type-checked here
    """One episode after the other of a simulator.

    `reset` draws a scenario from the simulator's sample ranges; `options={"scenario": row}` starts that one instead.
    The horizon truncates an episode by itself: no TimeLimit is needed. `info` holds the scenario after a reset, and
    the ending's name in the last step.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own declaration

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.observation_space, self.action_space = spaces_of(simulator)
        self._run = _row(simulator)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """The first observation [O] of a new episode. Raises NiwakiError for options that do not exist, or a
        scenario that is not [K]."""
        super().reset(seed=seed)
        unknown = set(options or ()) - {"scenario"}
        if unknown:
            raise NiwakiError(f'{self.simulator.name} knows no reset option {min(unknown)!r}, only "scenario"')
        scenario = (options or {}).get("scenario")
        if scenario is None:
            scenario = self.simulator.sample(self.np_random, 1)[0]
        scenario = np.asarray(scenario, dtype=np.float64)
        if scenario.shape != (len(self.simulator.columns),) or not np.isfinite(scenario).all():
            raise NiwakiError(f"a scenario of {self.simulator.name} is {len(self.simulator.columns)} finite numbers")
        self._steps = 0
        return _seen(self._run.start(scenario)), {"scenario": scenario}

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """One control period."""
        observation, reward, ending = self._run.advance(np.asarray(action))
        self._steps += 1
        name = self.simulator.endings[ending]
        over = ending != 0 or self._steps >= self.simulator.horizon
        truncated = over and name in TRUNCATIONS
        return _seen(observation), reward, over and not truncated, truncated, {"ending": name} if over else {}

    def signals(self) -> dict[str, float]:
        """The signals of the current state by name, as specifications read them."""
        return dict(zip((s.name for s in self.simulator.signals), self._run.measure().tolist(), strict=True))

    def close(self) -> None:
        """Close what is open."""
        if hasattr(self._run, "close"):
            self._run.close()


def spaces_of(simulator: Simulator) -> tuple[gymnasium.Space, gymnasium.Space]:
    """Gymnasium's spaces for a simulator's observations and actions."""
    bound = np.full(simulator.observation_size, np.inf, dtype=np.float32)
    space = simulator.action_space
    if isinstance(space, Discrete):
        return gymnasium.spaces.Box(-bound, bound), gymnasium.spaces.Discrete(space.n)
    low, high = (np.array(side, dtype=np.float32) for side in (space.low, space.high))
    return gymnasium.spaces.Box(-bound, bound), gymnasium.spaces.Box(low, high)


def reach_avoid_env(level: int = 5, *, render_mode: None = None, **variant: Any) -> SimulatorEnv:
    """The environment of `niwaki.simulators.reach_avoid.reach_avoid(level, **variant)`, which says what there is."""
    return SimulatorEnv(reach_avoid(level, **variant))


class _Row:
    """A lockstep simulator that flies one episode at a time."""

    def __init__(self, simulator: Lockstep) -> None:
        self.simulator = simulator
        self.state = simulator.reset(simulator.nominal[None])

    def start(self, scenario: Floats) -> Floats:
        self.state = self.simulator.reset(scenario[None])
        return self.simulator.observe(self.state)[0]

    def advance(self, action: NDArray) -> tuple[Floats, float, int]:
        self.state, rewards, endings = self.simulator.step(self.state, action[None])
        return self.simulator.observe(self.state)[0], float(rewards[0]), int(endings[0])

    def measure(self) -> Floats:
        return self.simulator.measure(self.state)[0]


def _row(simulator: Simulator) -> EngineRun:
    if isinstance(simulator, Lockstep):
        return _Row(simulator)
    if isinstance(simulator, Engine):
        return simulator.open()
    raise NiwakiError(f"{simulator.name} is neither a Lockstep nor an Engine simulator")


def _seen(observation: Floats) -> Floats:
    """A copy: an engine may write into the array that it gave."""
    return np.array(observation, dtype=np.float32)


if REACH_AVOID not in gymnasium.registry:
    gymnasium.register(REACH_AVOID, entry_point=reach_avoid_env)
