import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.simulators.cartpole import CartPole
from niwaki.testing import check_simulator

TIME_OUT, OUT_OF_TRACK, FELL = 0, 1, 2


@pytest.fixture(scope="module")
def env():
    return gymnasium.make("CartPole-v1").unwrapped


def put(env, scenario):
    x, x_dot, theta, theta_dot, cart_mass, pole_mass, half_length, gravity, force, _ = scenario.tolist()
    env.state = np.array((x, x_dot, theta, theta_dot))
    env.masscart, env.masspole, env.length, env.gravity, env.force_mag = (
        cart_mass,
        pole_mass,
        half_length,
        gravity,
        force,
    )
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length


def balance(state, t):
    return (state[:, 2] + 0.3 * state[:, 3] + 0.1 * state[:, 1] + 0.03 * state[:, 0] > 0).astype(int)


PILOTS = {
    "random": lambda state, t: np.random.default_rng(t).integers(2, size=len(state)),
    "always left": lambda state, t: np.zeros(len(state), dtype=int),
    "always right": lambda state, t: np.ones(len(state), dtype=int),
    "to and fro": lambda state, t: np.full(len(state), t % 2),
    "balancing": balance,
}


@pytest.mark.parametrize("pilot", PILOTS)
def test_episodes_have_the_bits_of_gymnasium(pilot, env, same_flights):
    simulator = CartPole()
    scenarios = simulator.sample(np.random.default_rng(1), 20)
    steps = 500 if pilot == "balancing" else 150
    reached = same_flights(simulator, env, put, scenarios, PILOTS[pilot], steps=steps)
    assert (reached == {TIME_OUT}) if pilot == "balancing" else (FELL in reached)


def test_a_cart_that_leaves_the_track_ends_as_out_of_track(env, same_flights):
    simulator = CartPole()
    scenarios = np.tile(simulator.nominal, (2, 1))
    scenarios[:, 0], scenarios[:, 1] = (2.3, -2.3), (1.0, -1.0)
    assert OUT_OF_TRACK in same_flights(simulator, env, put, scenarios, balance, steps=30)
    both = np.array([[2.5, 0.0, 0.3, 0.0, 1.0, 0.1, 0.5, 9.8, 10.0, 0.0]])
    assert simulator.step(simulator.reset(both), np.array([1])).endings.tolist() == [OUT_OF_TRACK]


def test_the_limits_are_those_of_gymnasium_to_the_last_bit(env, same_flights):
    rows = [(x, 0.0, 0.0, 0.0) for x in around(2.4)] + [(0.0, 0.0, theta, 0.0) for theta in around(np.pi / 15)]
    scenarios = np.array([(*row, *CartPole().nominal[4:]) for row in rows])
    assert same_flights(CartPole(), env, put, scenarios, PILOTS["random"], steps=1) == {TIME_OUT, OUT_OF_TRACK, FELL}


def around(limit):
    """Both limits and their neighbours among the floats."""
    return [sign * np.nextafter(limit, to) for sign in (-1, 1) for to in (0.0, limit, 9.0)]


@settings(max_examples=30, deadline=None)
@given(
    start=st.tuples(st.floats(-2.4, 2.4), st.floats(-3, 3), st.floats(-0.2, 0.2), st.floats(-3, 3)),
    model=st.tuples(st.floats(0.2, 5), st.floats(0.01, 2), st.floats(0.05, 3), st.floats(-1, 20), st.floats(-20, 20)),
)
def test_any_start_and_any_model_have_the_bits_of_gymnasium(start, model, env, same_flights):
    scenarios = np.array([(*start, *model, 0.0)])
    same_flights(CartPole(), env, put, scenarios, PILOTS["random"], steps=30)


def test_starts_and_constants_are_those_of_gymnasium(same_starts, same_distribution):
    fresh = gymnasium.make("CartPole-v1").unwrapped
    same_starts(CartPole(), fresh)
    same_distribution(CartPole(), fresh)
    nominal = dict(zip(CartPole().names, CartPole().nominal, strict=True))
    ours = [nominal[k] for k in ("cart_mass", "pole_mass", "pole_half_length", "gravity", "force")]
    assert ours == [fresh.masscart, fresh.masspole, fresh.length, fresh.gravity, fresh.force_mag]
    assert CartPole().horizon == gymnasium.spec("CartPole-v1").max_episode_steps
    assert CartPole().step_seconds == fresh.tau


def test_cartpole_keeps_the_promises_of_a_simulator():
    check_simulator(CartPole())


def test_signals_are_the_first_four_columns_of_the_state():
    state = CartPole().reset(CartPole().sample(np.random.default_rng(0), 5))
    signals = CartPole().measure(state)
    assert np.array_equal(signals, state[:, :4])
    assert not np.shares_memory(signals, state)
