"""niwaki's simulators as Gymnasium environments."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from niwaki.rollout import rollout
from niwaki.simulators.as_gymnasium import REACH_AVOID, SimulatorEnv
from niwaki.simulators.cartpole import CartPole
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.pendulum import Pendulum
from niwaki.simulators.reach_avoid import reach_avoid
from niwaki.testing import check_simulator
from niwaki.types import NiwakiError


def checked(env: gymnasium.Env) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error")
        warnings.filterwarnings("ignore", message=".*(infinity|symmetric).*")  # bounds are the simulator's
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize(
    "variant",
    [{}, {"level": 1}, {"period": 0.02}, {"reset_goal": True}, {"level": 2, "curriculum": False}, {"reward": "sparse"}],
)
def test_the_registered_environment_passes_gymnasiums_checker(variant: dict) -> None:
    checked(gymnasium.make(REACH_AVOID, **variant).unwrapped)


@pytest.mark.parametrize(
    "simulator", [CartPole(), Pendulum(), gymnasium_engine("CartPole-v1")], ids=["discrete", "box", "engine"]
)
def test_so_does_any_simulator(simulator) -> None:
    checked(SimulatorEnv(simulator))


class Turning:
    """A policy of nothing but its observation."""

    observation_size = 44

    def __call__(self, observations):
        return np.column_stack((np.cos(9 * observations[:, 9]), np.sin(30 * observations[:, 14]))).astype(np.float32)


@pytest.mark.parametrize("variant", [{}, {"period": 0.1, "reset_goal": True}])
def test_an_episode_of_the_environment_is_one_of_the_loop(variant: dict) -> None:
    simulator, env = reach_avoid(**variant), gymnasium.make(REACH_AVOID, **variant)
    rows = simulator.sample(np.random.default_rng(0), 12)
    flights = rollout(simulator, Turning(), rows, record=True)
    reasons = set()
    for i, row in enumerate(rows):
        observation, info = env.reset(options={"scenario": row})
        assert (info["scenario"] == row).all()
        total, steps, terminated, truncated = 0.0, 0, False, False
        while not (terminated or truncated):
            observation, reward, terminated, truncated, info = env.step(Turning()(observation[None])[0])
            total, steps = total + reward, steps + 1
        assert (total, steps) == (flights.returns[i], flights.lengths[i])
        assert info["ending"] == simulator.endings[flights.endings[i]]
        assert truncated == (info["ending"] == "time_out")
        assert terminated == (not truncated)
        assert (observation == flights.recording.observations[i, -1]).all()
        assert list(env.unwrapped.signals().values()) == flights.recording.signals[i, -1].tolist()
        reasons.add(info["ending"])
    assert len(reasons) >= (1 if "reset_goal" in variant else 2)


def test_seeds_decide_the_scenarios_that_are_drawn() -> None:
    env = gymnasium.make(REACH_AVOID)
    drawn = [env.reset(seed=seed)[1]["scenario"] for seed in (1, 1, 2)]
    following = env.reset()[1]["scenario"]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[1] != drawn[2]).any()
    assert (drawn[2] != following).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": 1}, "no reset option 'layout'"),
        ({"scenario": [1.0, 2.0]}, "is 8 finite numbers"),
        ({"scenario": [np.nan] * 8}, "is 8 finite numbers"),
    ],
)
def test_wrong_reset_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(NiwakiError, match=message):
        gymnasium.make(REACH_AVOID).reset(options=options)


@pytest.mark.parametrize("name", [f"niwaki.simulators.as_gymnasium:{REACH_AVOID}", REACH_AVOID])
def test_gymnasium_finds_it_in_a_fresh_process(name: str) -> None:
    first = "" if ":" in name else "import niwaki.simulators.as_gymnasium; "
    code = f"import gymnasium; {first}print(gymnasium.make({name!r}, level=3).reset(seed=0)[0].shape)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(44,)\n"), done.stderr


def test_its_id_is_a_task_once_a_horizon_is_given() -> None:
    engine = gymnasium_engine(REACH_AVOID, horizon=100, kwargs={"level": 1})
    check_simulator(engine)
    with pytest.raises(NiwakiError, match="needs a time limit"):
        gymnasium_engine(REACH_AVOID)
