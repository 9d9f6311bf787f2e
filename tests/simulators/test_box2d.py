"""LunarLander and BipedalWalker: what each offset does, wind and gravity, endings, drawing."""

import gymnasium
import numpy as np
import pytest

pytest.importorskip("Box2D")

from gymnasium.envs.box2d.lunar_lander import heuristic

from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.simulators import bipedal_walker, lunar_lander
from niwaki.simulators.box2d import move
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.types import Discrete

LANDER = gymnasium_engine("LunarLander-v3")
CONTINUOUS = gymnasium_engine("LunarLander-v3", kwargs={"continuous": True})
WALKER = gymnasium_engine("BipedalWalker-v3")
TEACHERS = {LANDER: "lunarlander", CONTINUOUS: "lunarlander-continuous", WALKER: "bipedalwalker"}
quickly = pytest.mark.parametrize("engine", TEACHERS, ids=TEACHERS.values())
OFFSETS = (
    "x_offset",
    "y_offset",
    "x_velocity_offset",
    "y_velocity_offset",
    "angle_offset",
    "angular_velocity_offset",
)


def scenario(engine, **values):
    row = engine.nominal
    for name, value in values.items():
        row[engine.names.index(name)] = value
    return row


def fly(run, row, steps=60):
    """Everything seen under a fixed alternation of actions."""
    discrete = run.env.action_space.shape == ()
    seen = [run.start(row)]
    for t in range(steps):
        action = t % 4 if discrete else np.full(run.env.action_space.shape, 0.9 * (-1) ** (t // 7), np.float32)
        observation, _, ending = run.advance(action)
        seen.append(observation)
        if ending:
            break
    return np.array(seen)


def fly_plain(seed=0, **kwargs):
    env = gymnasium.make("LunarLander-v3", **kwargs)
    seen = [env.reset(seed=seed)[0]]
    for t in range(60):
        observation, _, terminated, _, _ = env.step(t % 4)
        seen.append(observation)
        if terminated:
            break
    return np.array(seen)


def land(engine, row, *, render_mode=None):
    """An episode under Gymnasium's own heuristic: everything seen, the ending, the signals at the end."""
    run = engine.open(render_mode)
    observation, ending, seen = run.start(row), 0, []
    while not ending:
        observation, reward, ending = run.advance(heuristic(run.env, observation))
        seen.append([*observation, reward])
        if render_mode is not None and len(seen) % 5 == 0:
            run.render()
    return np.array(seen), engine.endings[ending], run.measure()


@pytest.mark.parametrize("engine", [LANDER, WALKER], ids=lambda e: e.name)
@pytest.mark.parametrize("name", OFFSETS)
def test_each_offset_flies_another_trajectory_with_the_same_seed(engine, name):
    run = engine.open()
    plain = fly(run, scenario(engine, seed=5))
    moved = fly(run, scenario(engine, seed=5, **{name: -0.4 if name == "y_offset" and engine is LANDER else 0.4}))
    steps = min(len(plain), len(moved))
    assert (plain[:steps] != moved[:steps]).any(axis=1).all()  # from the first observation to the last


@pytest.mark.parametrize(
    ("name", "value", "entry", "scale"),
    [
        ("x_offset", 1.5, 0, 10),
        ("y_offset", -1.5, 1, 20 / 3),
        ("x_velocity_offset", 1.5, 2, 5),
        ("y_velocity_offset", 1.5, 3, 7.5),
        ("angle_offset", 0.25, 4, 1),
        ("angular_velocity_offset", 0.8, 5, 2.5),
    ],
)
def test_an_offset_moves_its_own_entry_of_the_observation_by_what_its_unit_says(name, value, entry, scale):
    assert LANDER.signals[entry].unit.split()[0] in (f"{scale:.4g}", "rad")
    run = LANDER.open()
    for seed in range(3):
        before = run.start(scenario(LANDER, seed=seed)).astype(float)
        change = run.start(scenario(LANDER, seed=seed, **{name: value})) - before
        assert change[entry] * scale == pytest.approx(value, rel=0.1)  # the joints take part in turning
        # Only what the motion itself brings along in one step of 1/50 s, and what the joints make of it.
        others = np.delete(change, entry)
        assert np.abs(others).max() < 0.07


@pytest.mark.parametrize("engine", [LANDER, WALKER], ids=lambda e: e.name)
def test_the_bodies_move_as_one_rigid_piece(engine):
    run = engine.open()
    run.start(scenario(engine, seed=1))
    main = run.env.lander if engine is LANDER else run.env.hull
    bodies = [main, *run.env.legs]

    def state():
        return np.array([[*b.position, *b.worldCenter, *b.linearVelocity, b.angle, b.angularVelocity] for b in bodies])

    before = state()
    move(bodies, 0.5, 0.25, 1.0, -2.0, 0.3, 0.7)
    after = state()
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    shift = before[0, :2] + [0.5, 0.25]
    assert after[:, :2] == pytest.approx(shift + (before[:, :2] - before[0, :2]) @ turn.T, abs=1e-5)
    assert after[:, 6] == pytest.approx(before[:, 6] + 0.3, abs=1e-6)
    assert after[:, 7] == pytest.approx(before[:, 7] + 0.7, abs=1e-6)
    arms = after[:, 2:4] - after[0, 2:4]
    field = np.array([1.0, -2.0]) + 0.7 * np.stack([-arms[:, 1], arms[:, 0]], axis=1)
    assert after[:, 4:6] - before[:, 4:6] == pytest.approx(field, abs=1e-5)


def test_no_start_in_the_landers_search_range_touches_the_ground_or_is_over():
    run = LANDER.open()
    rng = np.random.default_rng(0)
    for _ in range(50):
        row = np.where(rng.random(len(LANDER.columns)) < 0.5, *LANDER.bounds.T)  # corners are the worst
        row[-1] = rng.integers(1000)
        observation = run.start(row)
        assert observation[6] == observation[7] == 0
        assert run.advance(0)[2] == 0


def test_no_start_in_the_walkers_search_range_is_a_fall():
    run = WALKER.open()
    rng = np.random.default_rng(0)
    for _ in range(50):
        row = np.where(rng.random(len(WALKER.columns)) < 0.5, *WALKER.bounds.T)
        row[-1] = rng.integers(1000)
        run.start(row)
        assert run.advance(np.zeros(4, np.float32))[2] == 0


def test_claims_are_about_gymnasiums_own_starts_unless_a_task_says_otherwise():
    for engine in (LANDER, WALKER):
        rows = engine.sample(np.random.default_rng(0), 20)
        assert (rows[:, :-1] == engine.nominal[:-1]).all()


def test_wind_and_gravity_are_gymnasiums():
    run = LANDER.open()
    calm = fly(run, LANDER.nominal)
    windy = fly(run, scenario(LANDER, wind_power=9.0, turbulence_power=1.0))
    light = fly(run, scenario(LANDER, gravity=-7.0))
    twisted = fly(run, scenario(LANDER, turbulence_power=1.0))
    assert windy.tobytes() == fly_plain(enable_wind=True, wind_power=9.0, turbulence_power=1.0).tobytes()
    assert twisted.tobytes() == fly_plain(enable_wind=True, wind_power=0.0, turbulence_power=1.0).tobytes()
    assert light.tobytes() == fly_plain(gravity=-7.0).tobytes()
    assert fly(run, LANDER.nominal).tobytes() == calm.tobytes() == fly_plain().tobytes()
    assert len({flight.tobytes() for flight in (calm, windy, light, twisted)}) == 4


def test_wind_that_was_asked_for_is_nominal():
    engine = gymnasium_engine("LunarLander-v3", kwargs={"enable_wind": True, "wind_power": 18.0, "gravity": -9.0})
    values = dict(zip(engine.names, engine.nominal, strict=True))
    assert (values["gravity"], values["wind_power"], values["turbulence_power"]) == (-9.0, 18.0, 1.5)
    assert dict(zip(LANDER.names, LANDER.nominal, strict=True))["wind_power"] == 0


def test_wind_that_was_asked_for_stays_on_at_zero_power():
    engine = gymnasium_engine("LunarLander-v3", kwargs={"enable_wind": True})
    still = fly(engine.open(), scenario(engine, wind_power=0.0, turbulence_power=0.0))
    plain = fly_plain(enable_wind=True, wind_power=0.0, turbulence_power=0.0)
    assert still.tobytes() == plain.tobytes() != fly_plain().tobytes()


def test_the_lander_lands_crashes_or_flies_off():
    _, ending, signals = land(LANDER, scenario(LANDER, seed=0))
    assert ending == "landed"
    assert dict(zip((s.name for s in LANDER.signals), signals, strict=True))["landed"] == 1

    run = LANDER.open()
    run.start(scenario(LANDER, seed=0))
    while not (ending := run.advance(0)[2]):
        assert run.measure()[8:].tolist() == [0, 0]
    assert LANDER.endings[ending] == "crashed"
    assert run.measure()[8:].tolist() == [1, 0]

    run.start(scenario(LANDER, seed=0, x_offset=9.0, x_velocity_offset=20.0))
    while not (ending := run.advance(0)[2]):
        pass
    assert LANDER.endings[ending] == "flew_off"
    assert abs(run.measure()[0]) >= 1


def test_the_walker_falls_or_finishes():
    run = WALKER.open()
    idle = np.zeros(4, np.float32)
    for x_offset, ending in ((90.0, "finished"), (-5.0, "fell")):  # beyond the course, before its edge
        run.start(scenario(WALKER, x_offset=x_offset, y_offset=3.0))
        assert WALKER.endings[run.advance(idle)[2]] == ending
    run.start(scenario(WALKER, angular_velocity_offset=5.0))
    while not (ending := run.advance(idle)[2]):
        assert run.measure()[-1] == 0
    assert WALKER.endings[ending] == "fell"
    assert run.measure()[-1] == 1
    assert (WALKER.horizon, gymnasium_engine("BipedalWalkerHardcore-v3").horizon) == (1600, 2000)


def test_signals_of_the_lander_are_its_observation():
    run = LANDER.open()
    observation = run.start(scenario(LANDER, seed=3))
    assert run.measure()[:8].tolist() == observation.tolist()
    assert len(run.measure()) == len(LANDER.signals)


def test_signals_of_the_walker_are_physical_values():
    run = WALKER.open()
    observation = run.start(scenario(WALKER, seed=3, x_velocity_offset=0.5))
    signals = dict(zip((s.name for s in WALKER.signals), run.measure(), strict=True))
    assert signals["hull_angle"] == pytest.approx(observation[0])
    assert signals["hull_angular_velocity"] == pytest.approx(observation[1] * 25)
    assert signals["x_velocity"] == pytest.approx(observation[2] / (0.3 * 20 / 50))
    assert signals["y_velocity"] == pytest.approx(observation[3] / (0.3 * 400 / 30 / 50))
    assert signals["hip_1_angle"] == pytest.approx(observation[4])
    assert signals["knee_1_angle"] == pytest.approx(observation[6] - 1)
    assert signals["leg_1_contact"] == observation[8]
    assert signals["hip_2_angle"] == pytest.approx(observation[9])
    assert signals["knee_2_angle"] == pytest.approx(observation[11] - 1)
    assert signals["leg_2_contact"] == observation[13]
    assert signals["hull_x"] == pytest.approx(14 / 3, abs=0.05)


def test_drawing_changes_no_bit_of_a_flight(monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    for engine in (LANDER, CONTINUOUS):
        row = scenario(engine, seed=3, x_offset=1.0)
        plain, drawn = land(engine, row), land(engine, row, render_mode="rgb_array")
        assert plain[0].tobytes() == drawn[0].tobytes()
    quick, drawing = WALKER.open(), WALKER.open(render_mode="rgb_array")
    assert fly(quick, WALKER.nominal).tobytes() == fly(drawing, WALKER.nominal).tobytes()
    assert quick.quick is not None
    assert drawing.quick is None


def test_a_frame_is_a_picture_of_bytes(monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    for engine in (LANDER, WALKER):
        run = engine.open(render_mode="rgb_array")
        run.start(engine.nominal)
        assert (run.render().shape, run.render().dtype) == ((400, 600, 3), np.uint8)
        run.close()


def step_of_gymnasium(engine, monkeypatch):
    """A run of the engine on a Gymnasium that niwaki does not know."""
    with monkeypatch.context() as patch:
        patch.setattr(lunar_lander, "KNOWN", {})
        patch.setattr(bipedal_walker, "KNOWN", {})
        return engine.open()


def extreme(rng, size):
    """Actions at and beyond every edge that the environments look at."""
    edges = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, np.nextafter(np.float32(0.5), np.float32(1)), 2.0, -3.0, 1e-40, -1e30]
    return rng.choice(np.array(edges, dtype=np.float32), size)


def pilot(engine, kind, rng):
    """Actions for observations: the teacher's, the teacher's with noise, random ones, extreme ones."""
    if isinstance(engine.action_space, Discrete):
        size, pick = (), lambda: int(rng.integers(engine.action_space.n))
    else:
        size = len(engine.action_space.low)
        pick = (lambda: extreme(rng, size)) if kind == "extreme" else lambda: rng.normal(size=size).astype(np.float32)
    if kind in ("random", "extreme"):
        return lambda observation: pick()
    teacher = deployed(load_policy(TEACHERS[engine]))
    return lambda observation: pick() if kind == "shaken" and rng.random() < 0.2 else teacher(observation[None])[0]


def rows_anywhere(engine, rng, n):
    """Scenarios: Gymnasium's own start, all over the search range (with wind, for the lander), and beyond it."""
    rows = np.tile(engine.nominal, (n, 1))
    rows[1::3] = rng.uniform(*engine.bounds.T, size=rows[1::3].shape)
    rows[2::3, :6] = 3 * rng.uniform(*engine.bounds[:6].T, size=rows[2::3, :6].shape)
    rows[:, -1] = rng.integers(2**31, size=n)
    return rows


def assert_same_bits(ours, theirs):
    assert ours[0].tobytes() == theirs[0].tobytes()
    assert (type(ours[1]), ours[1], ours[2]) == (type(theirs[1]), theirs[1], theirs[2])


@quickly
@pytest.mark.parametrize("kind", ["teacher", "shaken", "random", "extreme"])
@pytest.mark.parametrize("alternating", [False, True])
def test_a_quick_flight_has_the_bits_of_gymnasiums_step(engine, kind, alternating, monkeypatch):
    rng = np.random.default_rng([7, alternating])
    act, coin = pilot(engine, kind, rng), np.random.default_rng(8)
    quick, plain = engine.open(), step_of_gymnasium(engine, monkeypatch)
    for row in rows_anywhere(engine, rng, 6):
        observation = quick.start(row)
        assert observation.tobytes() == plain.start(row).tobytes()
        assert quick.quick is not None
        assert plain.quick is None
        for _ in range(250):
            action = act(observation)
            theirs = plain.advance(action)
            if alternating and coin.random() < 0.3:
                observation, reward, over, _, _ = quick.env.step(int(action) if engine is LANDER else action)
                assert (observation.tobytes(), float(reward), over) == (theirs[0].tobytes(), theirs[1], theirs[2] > 0)
                quick.observation = observation
            else:
                ours = quick.advance(action)
                observation = ours[0]
                assert_same_bits(ours, theirs)
            assert quick.measure().tobytes() == plain.measure().tobytes()
            if theirs[2]:
                break


def test_a_quick_walk_is_that_of_an_environment_of_its_own():
    run = WALKER.open()
    for seed in range(3):
        env = gymnasium.make("BipedalWalker-v3").unwrapped
        theirs = [env.reset(seed=seed)[0]]
        for t in range(60):
            theirs.append(env.step(np.full(4, 0.9 * (-1) ** (t // 7), np.float32))[0])
        ours = fly(run, scenario(WALKER, seed=seed))
        assert ours.tobytes() == np.array(theirs[: len(ours)]).tobytes()


@quickly
def test_a_quick_flight_does_not_remember_earlier_ones(engine):
    run = engine.open()
    flights = [fly(run, scenario(engine, seed=seed), steps=150).tobytes() for seed in (1, 2, 1)]
    assert flights[0] == flights[2] != flights[1]
    assert flights[1] == fly(engine.open(), scenario(engine, seed=2), steps=150).tobytes()


@quickly
def test_an_environment_that_was_reset_behind_its_run_is_stepped_by_gymnasium(engine):
    run, env = engine.open(), gymnasium.make(engine.env_id, **dict(engine.kwargs)).unwrapped
    run.start(engine.nominal)
    run.env.reset(seed=4)
    env.reset(seed=4)
    for action in (0, 2, 2) if engine is LANDER else np.eye(3, len(engine.action_space.low), dtype=np.float32):
        observation, reward, *_ = env.step(action)
        ours = run.advance(action)
        assert (ours[0].shape, type(ours[1])) == (observation.shape, float)
        if engine is not WALKER:  # its world keeps earlier contacts
            assert (ours[0].tobytes(), ours[1]) == (observation.tobytes(), float(reward))


def test_double_precision_actions_have_gymnasiums_bits(monkeypatch):
    rng = np.random.default_rng(0)
    for engine in (CONTINUOUS, WALKER):
        quick, plain = engine.open(), step_of_gymnasium(engine, monkeypatch)
        quick.start(engine.nominal), plain.start(engine.nominal)
        for _ in range(40):
            action = rng.uniform(-1, 1, len(engine.action_space.low))
            ours, theirs = quick.advance(action), plain.advance(action)
            assert_same_bits(ours, theirs)
            if ours[2]:
                break
