import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.simulators.mountain_car_continuous import MountainCarContinuous
from niwaki.testing import check_simulator

SIMULATOR = MountainCarContinuous()


@pytest.fixture(scope="module")
def env():
    return gymnasium.make("MountainCarContinuous-v0").unwrapped


def put(env, scenario):
    position, velocity, env.power, _ = scenario.tolist()
    env.state = np.array((position, velocity))


def throttles(values):
    return np.asarray(values, dtype=np.float32)[:, None]


def pump(state, t):
    return throttles(np.where(state[:, 1] >= 0.0, 1.5, -1.5))


PILOTS = {
    "random": lambda state, t: throttles(np.random.default_rng(t).uniform(-1, 1, len(state))),
    "beyond the limits": lambda state, t: throttles(np.random.default_rng(t).uniform(-3, 3, len(state))),
    "at the limits": lambda state, t: throttles(np.random.default_rng(t).choice((-1.0, -0.0, 0.0, 1.0), len(state))),
    "always left": lambda state, t: throttles(np.full(len(state), -2.0)),
    "always right": lambda state, t: throttles(np.full(len(state), 2.0)),
    "pumping": pump,
    "pumping gently": lambda state, t: pump(state, t) * np.float32(0.6),
}


@pytest.mark.parametrize("pilot", PILOTS)
def test_episodes_have_the_bits_of_gymnasium(pilot, env, same_flights):
    scenarios = SIMULATOR.sample(np.random.default_rng(1), 12)
    reached = same_flights(SIMULATOR, env, put, scenarios, PILOTS[pilot], steps=300)
    assert (1 in reached) == pilot.startswith("pumping")


def test_first_steps_have_the_bits_of_gymnasium(env, same_flights):
    scenarios = SIMULATOR.sample(np.random.default_rng(2), 5_000)
    for pilot in ("random", "beyond the limits", "at the limits"):
        same_flights(SIMULATOR, env, put, scenarios, PILOTS[pilot], steps=2)


@settings(max_examples=60, deadline=None)
@given(
    start=st.tuples(st.floats(-1.2, 0.6), st.floats(-0.07, 0.07)),
    power=st.floats(0.0, 0.02),
    pilot=st.sampled_from(sorted(PILOTS)),
)
def test_any_start_and_any_model_have_the_bits_of_gymnasium(start, power, pilot, env, same_flights):
    scenarios = np.array([(*start, power, 0.0)])
    same_flights(SIMULATOR, env, put, scenarios, PILOTS[pilot], steps=30)


def test_walls_and_goal_are_compared_in_the_precision_of_gymnasium(env, same_flights):
    """At the goal line and at the limits one bit decides: try the floats right around them."""
    edges = [np.nextafter(x, to) for x in (0.45, 0.6, -1.2, np.float32(0.45)) for to in (-2.0, x, 2.0)]
    scenarios = np.array([(x, v, p, 0.0) for x in edges for v in (-0.07, -1e-9, 0.0, 0.07) for p in (0.0, 0.0015)])
    # On these slopes a car without power slides left; enough push holds it where it is.
    reached = same_flights(SIMULATOR, env, put, scenarios, PILOTS["always right"], steps=5)
    reached |= same_flights(SIMULATOR, env, put, scenarios, PILOTS["always left"], steps=5)
    assert reached == {0, 1}


def test_a_moving_car_at_the_float32_goal_line_has_arrived(env):
    """Gymnasium compares a float32 position with float32(0.45), which is less than 0.45."""
    line = np.float32(0.45)
    velocity = np.full(2_000, 0.001, dtype=np.float32)  # with this push, 0.00195 after one step
    position = line - np.float32(0.001952) + np.arange(-1_000, 1_000, dtype=np.float32) * np.spacing(line)
    state = np.array((position, velocity, np.full(len(position), 0.0015), np.ones(len(position)))).T
    after, _, endings = SIMULATOR.step(state, np.ones((len(position), 1), dtype=np.float32))
    env.reset(seed=0)
    env.power = 0.0015
    for start, end, ending in zip(state, after, endings, strict=True):
        env.state = start[:2].astype(np.float32)
        terminated = env.step(np.ones(1, dtype=np.float32))[2]
        if env.state[0] == end[0]:
            assert terminated == (ending == 1)
    assert (endings[after[:, 0] == line] == 1).any()


def test_starts_and_constants_are_those_of_gymnasium(same_starts, same_distribution):
    fresh = gymnasium.make("MountainCarContinuous-v0").unwrapped
    same_starts(SIMULATOR, fresh)
    same_distribution(SIMULATOR, fresh)
    assert SIMULATOR.nominal[2] == fresh.power
    assert SIMULATOR.horizon == gymnasium.spec("MountainCarContinuous-v0").max_episode_steps
    space = SIMULATOR.action_space
    assert (space.low, space.high) == (tuple(fresh.action_space.low), tuple(fresh.action_space.high))


def test_mountain_car_continuous_keeps_the_promises_of_a_simulator():
    check_simulator(SIMULATOR)


def test_first_and_later_steps_can_share_a_batch():
    start = SIMULATOR.reset(SIMULATOR.sample(np.random.default_rng(3), 6))
    throttle = PILOTS["random"](start, 0)
    later = SIMULATOR.step(start, throttle).state
    mixed = SIMULATOR.step(np.concatenate((start, later)), np.concatenate((throttle, throttle))).state
    assert np.array_equal(mixed[:6], later)
    assert np.array_equal(mixed[6:], SIMULATOR.step(later, throttle).state)


def test_signals_are_the_first_two_columns_of_the_state():
    state = SIMULATOR.reset(SIMULATOR.sample(np.random.default_rng(0), 5))
    signals = SIMULATOR.measure(state)
    assert np.array_equal(signals, state[:, :2])
    assert not np.shares_memory(signals, state)
