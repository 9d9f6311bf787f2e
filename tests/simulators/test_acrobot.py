import types

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.simulators.acrobot import Acrobot
from niwaki.testing import check_simulator


@pytest.fixture(scope="module")
def env():
    return gymnasium.make("Acrobot-v1").unwrapped


def equations(gravity):
    """Gymnasium's equations of motion with another gravity, which is a number in the midst of its code."""
    code = AcrobotEnv._dsdt.__code__
    constants = tuple(gravity if x == 9.8 else x for x in code.co_consts)
    return types.FunctionType(code.replace(co_consts=constants), AcrobotEnv._dsdt.__globals__)


def put(env, scenario):
    *start, env.LINK_MASS_1, env.LINK_MASS_2, env.LINK_LENGTH_1, gravity, _ = scenario.tolist()
    env.LINK_COM_POS_1 = env.LINK_LENGTH_1 / 2
    env._dsdt = types.MethodType(equations(gravity), env)
    env.state = np.array(start, dtype=np.float32)


PILOTS = {
    "random": lambda state, t: np.random.default_rng(t).integers(3, size=len(state)),
    "always left": lambda state, t: np.zeros(len(state), dtype=int),
    "always right": lambda state, t: np.full(len(state), 2),
    "pumping": lambda state, t: np.where(state[:, 3] >= 0.0, 2, 0),
}


@pytest.mark.parametrize("pilot", PILOTS)
def test_episodes_have_the_bits_of_gymnasium(pilot, env, same_flights):
    scenarios = Acrobot().sample(np.random.default_rng(1), 6)
    steps = 500 if pilot == "pumping" else 200
    reached = same_flights(Acrobot(), env, put, scenarios, PILOTS[pilot], steps=steps)
    assert pilot != "pumping" or 1 in reached


def test_steps_from_anywhere_have_the_bits_of_gymnasium(env, same_flights):
    """Enough of them to meet speed limits, goals, whole turns, and squares that pow rounds elsewhere."""
    low = (-3.1, -3.1, -12.5, -28.0, 0.5, 0.5, 0.5, 5.0, 0.0)
    high = (3.1, 3.1, 12.5, 28.0, 2.0, 2.0, 2.0, 15.0, 0.0)
    scenarios = np.random.default_rng(4).uniform(low, high, (3_000, 9))
    assert same_flights(Acrobot(), env, put, scenarios, PILOTS["random"], steps=2) == {0, 1}


@settings(max_examples=30, deadline=None)
@given(
    angles=st.tuples(st.floats(-3.14, 3.14), st.floats(-3.14, 3.14)),
    rates=st.tuples(st.floats(-12.5, 12.5), st.floats(-28, 28)),
    model=st.tuples(st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.2, 3), st.floats(-1, 20)),
)
def test_any_start_and_any_model_have_the_bits_of_gymnasium(angles, rates, model, env, same_flights):
    scenarios = np.array([(*angles, *rates, *model, 0.0)])
    same_flights(Acrobot(), env, put, scenarios, PILOTS["random"], steps=20)


def test_starts_and_constants_are_those_of_gymnasium(same_starts, same_distribution):
    fresh = gymnasium.make("Acrobot-v1").unwrapped
    same_starts(Acrobot(), fresh)
    same_starts(Acrobot(), fresh, options={"low": -3.0, "high": 3.0})  # where float32 cosines differ more often
    same_distribution(Acrobot(), fresh)
    assert Acrobot().nominal[4:7].tolist() == [fresh.LINK_MASS_1, fresh.LINK_MASS_2, fresh.LINK_LENGTH_1]
    assert Acrobot().nominal[7] in AcrobotEnv._dsdt.__code__.co_consts
    assert Acrobot().horizon == gymnasium.spec("Acrobot-v1").max_episode_steps
    assert Acrobot().step_seconds == fresh.dt


def test_acrobot_keeps_the_promises_of_a_simulator():
    check_simulator(Acrobot())


def test_first_and_later_observations_can_share_a_batch(env):
    start = Acrobot().reset(Acrobot().sample(np.random.default_rng(3), 6))
    later = Acrobot().step(start, np.full(6, 2)).state
    mixed = Acrobot().observe(np.concatenate((start, later)))
    assert np.array_equal(mixed, np.concatenate((Acrobot().observe(start), Acrobot().observe(later))))


def test_the_height_above_one_is_the_goal():
    scenarios = np.tile(Acrobot().nominal, (20_000, 1))
    scenarios[:, :4] = np.random.default_rng(0).uniform(-3, 3, (20_000, 4))
    state, rewards, endings = Acrobot().step(Acrobot().reset(scenarios), np.ones(20_000, dtype=int))
    height = Acrobot().measure(state)[:, 4]
    assert np.array_equal(height > 1.0, endings == 1)
    assert np.array_equal(rewards == 0.0, endings == 1)
    assert 0 < (endings == 1).sum() < 20_000


def test_an_angle_beyond_all_turns_does_not_hang_the_simulator():
    scenarios = Acrobot().nominal[None]
    scenarios[0, 0] = 1e20
    assert Acrobot().step(Acrobot().reset(scenarios), np.array([1])).state[0, 0] > 1e19
