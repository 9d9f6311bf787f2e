"""A niwaki simulator as a vectorised environment of Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from niwaki.simulators.as_gymnasium import TRUNCATIONS, spaces_of
from niwaki.types import Engine, EngineRun, Floats, Lockstep, NiwakiError, Simulator

TRAINING = 0x7EAC  # keeps the episodes of training apart from those of a search or an evaluation


class SimulatorVecEnv(VecEnv):  # type: ignore[misc]  # Stable-Baselines3 is not type-checked here
    """Several episodes of a simulator side by side, each from a scenario that the task's ranges allow.

    A lockstep simulator steps all of them at once. An episode at the simulator's horizon is truncated,
    every other ending is terminal, but for an ending called "truncated". An episode succeeds when its ending is none
    of the simulator's failures.
    """

    def __init__(self, simulator: Simulator, count: int) -> None:
        super().__init__(count, *spaces_of(simulator))
        self.simulator = simulator
        self.fleet = _fleet(simulator, count)
        self.rng = np.random.default_rng()
        self.following: Simulator | None = None

    def go_on_to(self, simulator: Simulator) -> None:
        """Fly another simulator with the same observations and actions from now on: the next step is the last one of
        the episodes underway, which are truncated by it."""
        self.following = simulator

    def reset(self) -> Floats:
        """First observations [B, O] of new episodes."""
        if self._seeds[0] is not None:
            self.rng = np.random.default_rng([self._seeds[0], TRAINING])
        self._reset_seeds()
        self.lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.returns = np.zeros(self.num_envs)
        return self.fleet.start(np.arange(self.num_envs), self._scenarios(self.num_envs)).copy()

    def step_async(self, actions: NDArray) -> None:
        """Keep the actions for `step_wait`."""
        self.actions = actions

    def step_wait(self) -> tuple[Floats, Floats, NDArray, list[dict[str, Any]]]:
        """Observations [B, O], rewards [B], whether the episode ended [B], and what Stable-Baselines3 asks of infos."""
        observations, rewards, endings = self.fleet.advance(self.actions)
        self.lengths += 1
        self.returns += rewards
        done = (endings != 0) | (self.lengths >= self.simulator.horizon)
        cut_off = ~done & (self.following is not None)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(cut_off):
            infos[i] = {"terminal_observation": observations[i].copy(), "TimeLimit.truncated": True}
        for i in np.flatnonzero(done):
            ending = self.simulator.endings[endings[i]]
            infos[i] = {
                "terminal_observation": observations[i].copy(),
                "TimeLimit.truncated": ending in TRUNCATIONS,
                "is_success": ending not in self.simulator.failures,
                "episode": {"r": float(self.returns[i]), "l": int(self.lengths[i]), "t": 0.0},
            }
        done |= cut_off
        if self.following is not None:
            self.fleet.close()
            self.simulator, self.following = self.following, None
            self.fleet = _fleet(self.simulator, self.num_envs)
        if done.any():
            rows = np.flatnonzero(done)
            observations[rows] = self.fleet.start(rows, self._scenarios(len(rows)))
            self.lengths[rows], self.returns[rows] = 0, 0.0
        return observations, rewards.astype(np.float32), done, infos

    def _scenarios(self, count: int) -> Floats:
        return self.simulator.sample(self.rng, count)

    def close(self) -> None:
        """Close what is open."""
        self.fleet.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute once per episode; only `render_mode` (None) is ever asked for."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not possible: the episodes are rows of arrays."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Not possible: the episodes are rows of arrays."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """No wrapper is used; the infos say what a Monitor would."""
        return [False] * self.num_envs


class _LockstepFleet:
    """All episodes as rows of one state array."""

    def __init__(self, simulator: Lockstep, count: int) -> None:
        self.simulator = simulator
        self.state = simulator.reset(np.tile(simulator.nominal, (count, 1)))

    def start(self, rows: NDArray, scenarios: Floats) -> Floats:
        fresh = self.simulator.reset(scenarios)
        self.state[rows] = fresh
        return self.simulator.observe(fresh)

    def advance(self, actions: NDArray) -> tuple[Floats, Floats, NDArray]:
        state, rewards, endings = self.simulator.step(self.state, actions)
        self.state = np.array(state)  # a copy: `start` writes into it
        return np.array(self.simulator.observe(self.state)), np.asarray(rewards), endings

    def close(self) -> None:
        pass


class _EngineFleet:
    """One engine per episode."""

    def __init__(self, simulator: Engine, count: int) -> None:
        self.runs: list[EngineRun] = [simulator.open() for _ in range(count)]

    def start(self, rows: NDArray, scenarios: Floats) -> Floats:
        return np.stack([self.runs[i].start(row) for i, row in zip(rows, scenarios, strict=True)])

    def advance(self, actions: NDArray) -> tuple[Floats, Floats, NDArray]:
        steps = [run.advance(action) for run, action in zip(self.runs, actions, strict=True)]
        observations, rewards, endings = zip(*steps, strict=True)
        return np.stack(observations), np.array(rewards), np.array(endings)

    def close(self) -> None:
        for run in self.runs:
            if hasattr(run, "close"):
                run.close()


def _fleet(simulator: Simulator, count: int) -> _LockstepFleet | _EngineFleet:
    if isinstance(simulator, Lockstep):
        return _LockstepFleet(simulator, count)
    if isinstance(simulator, Engine):
        return _EngineFleet(simulator, count)
    raise NiwakiError(f"{simulator.name} is neither a Lockstep nor an Engine simulator")
