"""What holds for every environment: bits, independence of history, plain values, errors in one sentence."""

import dataclasses
import pickle
import sys

import gymnasium
import numpy as np
import pytest

from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.testing import check_simulator
from niwaki.types import Box, Discrete, NiwakiError

KNOWN = [
    ("Acrobot-v1", {}),
    ("LunarLander-v3", {}),
    ("LunarLander-v3", {"continuous": True}),
    ("LunarLander-v3", {"enable_wind": True, "wind_power": 12.0, "gravity": -8.0}),
    ("BipedalWalker-v3", {}),
    ("BipedalWalkerHardcore-v3", {}),
    ("HalfCheetah-v5", {}),
    ("Hopper-v5", {"reset_noise_scale": 0.02}),
    ("Walker2d-v5", {}),
    ("Ant-v5", {}),
]


class Drifter(gymnasium.Env):
    """Goes right or left from a seeded start; over at 5, and cut off by itself after 20 steps."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None, stride=1.0):
        self.render_mode = render_mode
        self.stride = stride
        self.state = np.zeros(2, np.float32)  # handed out, and changed in place by the next step

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state[:] = self.np_random.uniform(0, 1), 0
        return self.state, {}

    def step(self, action):
        assert type(action) is int
        self.state += (self.stride if action else -self.stride), 1
        return self.state, self.state[0], bool(self.state[0] >= 5), bool(self.state[1] >= 20), {}


class Spaces(Drifter):
    """An environment of any spaces, to be refused for them."""

    def __init__(self, observation_space, action_space):
        super().__init__()
        self.observation_space, self.action_space = observation_space, action_space


VECTOR = gymnasium.spaces.Box(-1, 1, (2,))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file in the current folder


@pytest.fixture(autouse=True)
def registered():
    refused = {
        "ImageSeen-v0": (gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8), VECTOR),
        "DictSeen-v0": (gymnasium.spaces.Dict(a=VECTOR), VECTOR),
        "PairTaken-v0": (VECTOR, gymnasium.spaces.MultiDiscrete([2, 3])),
        "FromOne-v0": (VECTOR, gymnasium.spaces.Discrete(3, start=1)),
        "TallImage-v0": (
            gymnasium.spaces.Box(np.arange(99.0).reshape(33, 3), np.full((33, 3), 99.0), None, float),
            VECTOR,
        ),
        "WholeBox-v0": (VECTOR, gymnasium.spaces.Box(0, 3, (2,), np.int64)),
    }
    for env_id, (seen, taken) in refused.items():
        arguments = {"observation_space": seen, "action_space": taken}
        gymnasium.register(env_id, Spaces, max_episode_steps=9, kwargs=arguments)
    gymnasium.register("Drifter-v0", Drifter, max_episode_steps=50)
    gymnasium.register("Endless-v0", Drifter)
    gymnasium.register("Dice-v0", Drifter, max_episode_steps=50, nondeterministic=True)
    yield
    for env_id in (*refused, "Drifter-v0", "Endless-v0", "Dice-v0"):
        del gymnasium.registry[env_id]


def engine_or_skip(env_id, kwargs):
    pytest.importorskip("mujoco" if env_id[:3] in ("Hal", "Hop", "Wal", "Ant") else "Box2D")
    return gymnasium_engine(env_id, kwargs=kwargs)


def draw_actions(engine, seed, steps):
    rng = np.random.default_rng(seed)
    if isinstance(engine.action_space, Discrete):
        return rng.integers(engine.action_space.n, size=steps)
    shape = (steps, len(engine.action_space.low))
    return rng.uniform(engine.action_space.low, engine.action_space.high, shape).astype(np.float32)


def fly(run, scenario, actions):
    """Observations and rewards of an episode as bytes, and its length."""
    seen, rewards = [run.start(scenario)], []
    for action in actions:
        observation, reward, ending = run.advance(action)
        seen.append(observation)
        rewards.append(reward)
        if ending:
            break
    return np.array(seen).tobytes(), np.array(rewards).tobytes(), len(rewards)


def fly_plain(env, seed, actions):
    seen, rewards = [env.reset(seed=seed)[0]], []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return np.array(seen, dtype=np.float32).tobytes(), np.array(rewards).tobytes(), len(rewards)


def nominal(engine, seed):
    scenario = engine.nominal
    scenario[-1] = seed
    return scenario


@pytest.mark.parametrize(("env_id", "kwargs"), KNOWN)
def test_a_nominal_episode_is_a_fresh_gymnasium_environments_bit_for_bit(env_id, kwargs):
    engine = engine_or_skip(env_id, kwargs)
    run = engine.open()
    for seed in range(4):  # one engine flies them all, so history would show
        actions = draw_actions(engine, seed, 250)
        plain = gymnasium.make(env_id, **kwargs)
        assert fly(run, nominal(engine, seed), actions) == fly_plain(plain, seed, actions)


@pytest.mark.parametrize(("env_id", "kwargs"), KNOWN)
def test_every_engine_keeps_the_contract(env_id, kwargs):
    check_simulator(engine_or_skip(env_id, kwargs))


@pytest.mark.parametrize(("env_id", "kwargs"), KNOWN)
def test_an_episode_far_from_nominal_does_not_depend_on_the_episodes_before_it(env_id, kwargs):
    engine = engine_or_skip(env_id, kwargs)
    run = engine.open()
    rng = np.random.default_rng(3)
    low, high = engine.bounds.T
    actions = draw_actions(engine, 3, 120)
    for seed in range(3):
        first, other = rng.uniform(low, high), rng.uniform(low, high)
        first[-1], other[-1] = seed, seed + 100
        straight = fly(run, first, actions)
        fly(run, other, actions)
        assert fly(run, first, actions) == straight
        assert fly(engine.open(), first, actions) == straight


@pytest.mark.parametrize(("env_id", "kwargs"), KNOWN)
def test_the_seed_changes_the_flight(env_id, kwargs):
    engine = engine_or_skip(env_id, kwargs)
    run = engine.open()
    actions = draw_actions(engine, 0, 30)
    assert fly(run, nominal(engine, 1), actions) != fly(run, nominal(engine, 2), actions)


@pytest.mark.parametrize(("env_id", "kwargs"), KNOWN)
def test_an_engine_is_a_plain_value(env_id, kwargs):
    engine = engine_or_skip(env_id, kwargs)
    copy = pickle.loads(pickle.dumps(engine))
    assert copy == engine
    assert hash(copy) == hash(engine)
    assert copy == gymnasium_engine(env_id, kwargs=tuple(sorted(kwargs.items())))


def test_an_environment_of_your_own_flies_with_its_observation_as_signals():
    engine = gymnasium_engine("Drifter-v0", kwargs={"stride": 2.0}, name="drifter")
    assert engine.name == "drifter"
    assert engine.names == ("seed",)
    assert engine.action_space == Discrete(2)
    assert engine.horizon == 50
    assert [s.name for s in engine.signals] == ["observation[0]", "observation[1]"]
    assert engine.failures == ()
    check_simulator(engine)
    run = engine.open()
    start = run.start(nominal(engine, 7))
    observation, reward, ending = run.advance(np.int64(1))
    assert observation.dtype == np.float32
    assert observation[0] == pytest.approx(start[0] + 2.0, abs=1e-6)  # `start` was not overwritten by the step
    assert reward == pytest.approx(start[0] + 2.0)
    assert ending == 0
    assert run.measure().tolist() == observation.tolist()


@pytest.mark.parametrize(("action", "ending", "steps"), [(1, "terminated", 5), (0, "truncated", 20)])
def test_an_environments_own_end_and_its_own_cut_are_two_endings(action, ending, steps):
    engine = gymnasium_engine("Drifter-v0")
    _, _, length = fly(run := engine.open(), nominal(engine, 0), np.full(60, action))
    assert length == steps
    run.start(nominal(engine, 0))
    last = [run.advance(action)[2] for _ in range(steps)][-1]
    assert engine.endings[last] == ending


def test_the_time_limit_is_the_horizon_and_not_the_environments():
    engine = gymnasium_engine("Endless-v0", horizon=7)
    assert engine.horizon == 7
    _, _, length = fly(engine.open(), nominal(engine, 0), np.tile([0, 1], 9))
    assert length == 18  # goes on beyond 7: stopping there is the rollout's part


def test_a_module_can_be_named_to_register_the_environment(tmp_path, monkeypatch):
    (tmp_path / "garden_envs.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control.mountain_car import MountainCarEnv\n"
        "gymnasium.register('GardenCar-v0', MountainCarEnv, max_episode_steps=30)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    engine = gymnasium_engine("garden_envs:GardenCar-v0")
    assert (engine.name, engine.env_id, engine.horizon) == ("GardenCar-v0", "garden_envs:GardenCar-v0", 30)
    del gymnasium.registry["GardenCar-v0"]
    monkeypatch.delitem(sys.modules, "garden_envs")
    engine.open().start(nominal(engine, 1))  # as in another process: the module is imported anew


def test_wrappers_of_the_registration_stay():
    from gymnasium.wrappers import RescaleObservation

    scale = RescaleObservation.wrapper_spec(min_obs=np.float32(0), max_obs=np.float32(1))
    gymnasium.register(
        "Scaled-v0",
        "gymnasium.envs.classic_control.mountain_car:MountainCarEnv",
        max_episode_steps=30,
        additional_wrappers=(scale,),
    )
    try:
        engine = gymnasium_engine("Scaled-v0")
        assert 0 <= engine.open().start(nominal(engine, 0))[0] <= 1  # the raw position is about -0.5
    finally:
        del gymnasium.registry["Scaled-v0"]


def test_box_bounds_are_read_as_the_action_space():
    assert gymnasium_engine("Pendulum-v1").action_space == Box((-2.0,), (2.0,))


@pytest.mark.parametrize(
    ("env_id", "arguments", "sentence"),
    [
        ("LunarLandr-v3", {}, "Gymnasium knows no environment 'LunarLandr-v3'; the nearest .*LunarLander-v3"),
        ("LunarLander-v2", {}, "nearest registered names: LunarLander-v3"),
        ("not an id", {}, "Gymnasium knows no environment 'not an id'"),
        ("a:b:c", {}, "the module of 'a:b:c' cannot be imported"),
        (":CartPole-v1", {"horizon": 0}, "at least one step: pass horizon=, got 0"),
        ("no_such_module:Car-v0", {}, "the module of 'no_such_module:Car-v0' cannot be imported"),
        ("Endless-v0", {}, "Endless-v0 needs a time limit of at least one step: pass horizon=, got None"),
        ("Dice-v0", {}, "Dice-v0 is registered as nondeterministic"),
        ("ImageSeen-v0", {}, r"ImageSeen-v0 must observe one vector.*\(4, 4, 3\)"),
        ("TallImage-v0", {}, "TallImage-v0 must observe one vector"),
        ("DictSeen-v0", {}, "DictSeen-v0 must observe one vector.*Dict"),
        ("PairTaken-v0", {}, "PairTaken-v0 must take one of n actions.*MultiDiscrete"),
        ("FromOne-v0", {}, r"FromOne-v0 must take one of n actions counted from 0.*start=1"),
        ("WholeBox-v0", {}, "WholeBox-v0 must take .*int64"),
        ("Drifter-v0", {"kwargs": {"stridee": 1}}, "could not make Drifter-v0: .*stridee"),
        ("Drifter-v0", {"kwargs": {"stride": print}}, "the argument stride must be a number, text or a list"),
        ("Drifter-v0", {"kwargs": {"render_mode": "human"}}, r"pass it to open\(\)"),
    ],
)
def test_what_cannot_be_flown_is_refused_in_one_sentence(env_id, arguments, sentence):
    with pytest.raises(NiwakiError, match=sentence) as caught:
        gymnasium_engine(env_id, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env_id", "module", "extra"),
    [
        ("LunarLander-v3", "gymnasium.envs.box2d.lunar_lander", "box2d"),
        ("Hopper-v5", "gymnasium.envs.mujoco.hopper_v5", "mujoco"),
    ],
)
def test_a_missing_extra_is_named(env_id, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # importing it now fails, as without the package
    with pytest.raises(NiwakiError, match=rf'{env_id} needs a package.*pip install "niwaki\[{extra}\]"'):
        gymnasium_engine(env_id)


@pytest.mark.parametrize("scenario", [[0.0, 1.0], [np.nan], [np.inf], []])
def test_a_scenario_must_hold_finite_numbers_one_for_each_column(scenario):
    run = gymnasium_engine("Drifter-v0").open()
    with pytest.raises(NiwakiError, match="a scenario needs 1 finite numbers"):
        run.start(np.array(scenario))


def test_drawing_needs_a_render_mode_the_environment_has():
    engine = gymnasium_engine("Drifter-v0")
    run = engine.open()
    run.start(nominal(engine, 0))
    with pytest.raises(NiwakiError, match='render_mode="rgb_array"'):
        run.render()
    with pytest.raises(NiwakiError, match="cannot draw in the mode 'ascii'; its modes: rgb_array"):
        engine.open(render_mode="ascii")


def test_a_frame_is_a_picture_of_bytes(monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    engine = gymnasium_engine("MountainCar-v0")
    run = engine.open(render_mode="rgb_array")
    run.start(nominal(engine, 0))
    frame = run.render()
    assert frame.dtype == np.uint8
    assert frame.shape == (400, 600, 3)
    run.close()


def test_columns_can_be_widened_by_a_task():
    engine = gymnasium_engine("Drifter-v0")
    column = dataclasses.replace(engine.columns[0], sample=(0.0, 10.0))
    rows = dataclasses.replace(engine, columns=(column,)).sample(np.random.default_rng(0), 50)
    assert rows.max() <= 10
