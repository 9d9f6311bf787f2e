import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.simulators.mountain_car import MountainCar
from niwaki.testing import check_simulator


@pytest.fixture(scope="module")
def env():
    return gymnasium.make("MountainCar-v0").unwrapped


def put(env, scenario):
    position, velocity, env.force, env.gravity, _ = scenario.tolist()
    env.state = np.array((position, velocity))


def pump(state, t):
    return np.where(state[:, 1] >= 0.0, 2, 0)


PILOTS = {
    "random": lambda state, t: np.random.default_rng(t).integers(3, size=len(state)),
    "always left": lambda state, t: np.zeros(len(state), dtype=int),
    "always right": lambda state, t: np.full(len(state), 2),
    "pumping": pump,
}


@pytest.mark.parametrize("pilot", PILOTS)
def test_episodes_have_the_bits_of_gymnasium(pilot, env, same_flights):
    scenarios = MountainCar().sample(np.random.default_rng(1), 20)
    reached = same_flights(MountainCar(), env, put, scenarios, PILOTS[pilot], steps=200)
    assert (1 in reached) == (pilot == "pumping")


@settings(max_examples=30, deadline=None)
@given(
    start=st.tuples(st.floats(-1.2, 0.6), st.floats(-0.07, 0.07)),
    model=st.tuples(st.floats(0.0, 0.02), st.floats(0.0, 0.01)),
)
def test_any_start_and_any_model_have_the_bits_of_gymnasium(start, model, env, same_flights):
    scenarios = np.array([(*start, *model, 0.0)])
    same_flights(MountainCar(), env, put, scenarios, PILOTS["random"], steps=30)


def test_the_left_wall_stops_the_car_as_in_gymnasium(env, same_flights):
    scenarios = np.array([(-1.19, -0.07, 0.001, 0.0025, 0.0), (-1.2, -0.01, 0.001, 0.0025, 0.0)])
    same_flights(MountainCar(), env, put, scenarios, PILOTS["always left"], steps=10)
    after = MountainCar().step(MountainCar().reset(scenarios), np.array([0, 0])).state
    assert after[:, :2].tolist() == [[-1.2, 0.0], [-1.2, 0.0]]


def test_starts_and_constants_are_those_of_gymnasium(same_starts, same_distribution):
    fresh = gymnasium.make("MountainCar-v0").unwrapped
    same_starts(MountainCar(), fresh)
    same_distribution(MountainCar(), fresh)
    assert MountainCar().nominal[2:4].tolist() == [fresh.force, fresh.gravity]
    assert MountainCar().horizon == gymnasium.spec("MountainCar-v0").max_episode_steps


def test_mountain_car_keeps_the_promises_of_a_simulator():
    check_simulator(MountainCar())


def test_signals_are_the_first_two_columns_of_the_state():
    state = MountainCar().reset(MountainCar().sample(np.random.default_rng(0), 5))
    signals = MountainCar().measure(state)
    assert np.array_equal(signals, state[:, :2])
    assert not np.shares_memory(signals, state)
