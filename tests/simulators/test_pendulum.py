import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.simulators.pendulum import Pendulum
from niwaki.testing import check_simulator


@pytest.fixture(scope="module")
def env():
    return gymnasium.make("Pendulum-v1").unwrapped


def put(env, scenario):
    theta, theta_dot, env.m, env.l, env.g, _ = scenario.tolist()
    env.state = np.array((theta, theta_dot))


def torques(values):
    return np.asarray(values, dtype=np.float32)[:, None]


PILOTS = {
    "random": lambda state, t: torques(np.random.default_rng(t).uniform(-2, 2, len(state))),
    "beyond the limits": lambda state, t: torques(np.random.default_rng(t).uniform(-5, 5, len(state))),
    "at the limits": lambda state, t: torques(np.random.default_rng(t).choice((-2.0, -0.0, 0.0, 2.0), len(state))),
    "always left": lambda state, t: torques(np.full(len(state), 2.0)),
    "always right": lambda state, t: torques(np.full(len(state), -2.0)),
    "pumping": lambda state, t: torques(2 * np.sign(state[:, 1])),
}


@pytest.mark.parametrize("pilot", PILOTS)
def test_episodes_have_the_bits_of_gymnasium(pilot, env, same_flights):
    scenarios = Pendulum().sample(np.random.default_rng(1), 12)
    assert same_flights(Pendulum(), env, put, scenarios, PILOTS[pilot], steps=200) == {0}


def test_rewards_have_the_bits_of_gymnasium_where_squares_and_powers_differ(env, same_flights):
    scenarios = np.tile(Pendulum().nominal, (20_000, 1))
    scenarios[:, :2] = np.random.default_rng(0).uniform((-10, -8), (10, 8), (20_000, 2))
    same_flights(Pendulum(), env, put, scenarios, PILOTS["random"], steps=1)


@settings(max_examples=30, deadline=None)
@given(
    start=st.tuples(st.floats(-50, 50), st.floats(-10, 10)),
    model=st.tuples(st.floats(0.1, 5), st.floats(0.1, 5), st.floats(-1, 20)),
)
def test_any_start_and_any_model_have_the_bits_of_gymnasium(start, model, env, same_flights):
    scenarios = np.array([(*start, *model, 0.0)])
    same_flights(Pendulum(), env, put, scenarios, PILOTS["beyond the limits"], steps=30)


def test_starts_and_constants_are_those_of_gymnasium(same_starts, same_distribution):
    fresh = gymnasium.make("Pendulum-v1").unwrapped
    same_starts(Pendulum(), fresh)
    same_distribution(Pendulum(), fresh)
    assert Pendulum().nominal[2:5].tolist() == [fresh.m, fresh.l, fresh.g]
    assert Pendulum().horizon == gymnasium.spec("Pendulum-v1").max_episode_steps
    assert Pendulum().step_seconds == fresh.dt
    space = Pendulum().action_space
    assert (space.low, space.high) == (tuple(fresh.action_space.low), tuple(fresh.action_space.high))


def test_pendulum_keeps_the_promises_of_a_simulator():
    check_simulator(Pendulum())


@given(theta=st.floats(-100, 100))
def test_the_measured_angle_is_the_same_angle_within_one_turn(theta):
    state = Pendulum().reset(np.array([(theta, 0.5, 1.0, 1.0, 10.0, 0.0)]))
    ((measured, speed),) = Pendulum().measure(state)
    assert -np.pi <= measured <= np.pi
    assert speed == 0.5
    assert np.allclose((np.cos(measured), np.sin(measured)), (np.cos(theta), np.sin(theta)), atol=1e-12)
