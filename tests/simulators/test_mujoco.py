"""MuJoCo environments: offsets of the start, gravity, failures, signals."""

import gymnasium
import numpy as np
import pytest

pytest.importorskip("mujoco")

from niwaki.simulators.gymnasium import gymnasium_engine

HOPPER = gymnasium_engine("Hopper-v5")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo, left alone, writes its warnings to a file in the current folder


def scenario(engine, values=(), seed=4):
    row = engine.nominal
    for name, value in dict(values).items():
        row[engine.names.index(name)] = value
    row[-1] = seed
    return row


def fly(engine, run, row, steps=40):
    """Everything seen under fixed actions."""
    rng = np.random.default_rng(0)
    seen = [run.start(row)]
    for _ in range(steps):
        seen.append(run.advance(rng.uniform(-1, 1, len(engine.action_space.low)).astype(np.float32))[0])
    return np.array(seen)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5"])
def test_every_offset_flies_another_trajectory_with_the_same_seed(env_id):
    engine = gymnasium_engine(env_id)
    run = engine.open()
    plain = fly(engine, run, scenario(engine))
    for name in engine.names[:-2]:
        moved = fly(engine, run, scenario(engine, {name: 0.03}))
        if name == "qpos[0]":  # where the runner stands: the same flight somewhere else, but for rounding
            assert moved == pytest.approx(plain, abs=0.05)
            assert run.measure()[0] != 0
        else:
            assert moved.tobytes() != plain.tobytes(), name


def test_offsets_are_added_to_the_state_that_the_reset_has_drawn():
    run = HOPPER.open()
    run.start(scenario(HOPPER))
    drawn = run.measure()
    observation = run.start(scenario(HOPPER, {"qpos[2]": 0.125, "qvel[5]": -0.5}))
    change = np.zeros(12)
    change[[2, 11]] = 0.125, -0.5
    assert (run.measure() == drawn + change).all()
    assert (observation == (drawn + change)[1:].astype(np.float32)).all()  # the observation is the moved state's


def test_gravity_changes_the_flight_and_is_set_anew_for_each_episode():
    run = HOPPER.open()
    before = fly(HOPPER, run, scenario(HOPPER))
    moon = fly(HOPPER, run, scenario(HOPPER, {"gravity": -1.62}))
    after = fly(HOPPER, run, scenario(HOPPER))
    assert before.tobytes() == after.tobytes()
    assert moon[0].tobytes() == before[0].tobytes()
    assert moon[-1].tobytes() != before[-1].tobytes()
    assert scenario(HOPPER)[-2] == -9.81


def test_gravity_acts_on_the_first_forward_pass():
    run = HOPPER.open()
    run.start(scenario(HOPPER, {"gravity": 0.0}))
    lift = run.env.data.qacc[1]
    run.start(scenario(HOPPER))
    assert run.env.data.qacc[1] == pytest.approx(lift - 9.81, abs=0.5)


@pytest.mark.parametrize(
    ("env_id", "failures"),
    [
        ("HalfCheetah-v5", ()),
        ("Swimmer-v5", ()),
        ("Hopper-v5", ("terminated",)),
        ("Ant-v5", ("terminated",)),
        ("InvertedPendulum-v5", ("terminated",)),
        ("InvertedDoublePendulum-v5", ("terminated",)),
    ],
)
def test_only_environments_that_can_fall_have_failures(env_id, failures):
    assert gymnasium_engine(env_id).failures == failures


def test_a_walker_told_not_to_stop_when_it_falls_has_no_failures():
    assert gymnasium_engine("Hopper-v5", kwargs={"terminate_when_unhealthy": False}).failures == ()


def test_the_fall_of_a_hopper_is_an_ending():
    run = HOPPER.open()
    run.start(scenario(HOPPER, {"qvel[2]": 8.0}))
    endings = [run.advance(np.zeros(3, np.float32))[2] for _ in range(60)]
    assert HOPPER.endings[max(endings)] == "terminated"


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Pusher-v5"])
def test_columns_and_signals_name_the_whole_state_with_units(env_id):
    engine = gymnasium_engine(env_id)
    model = gymnasium.make(env_id).unwrapped.model
    state = [f"qpos[{i}]" for i in range(model.nq)] + [f"qvel[{i}]" for i in range(model.nv)]
    assert [s.name for s in engine.signals] == state
    assert list(engine.names) == [*state, "gravity", "seed"]
    run = engine.open()
    run.start(engine.nominal)
    assert len(run.measure()) == len(state)


def test_units_follow_the_joints():
    units = {s.name: s.unit for s in gymnasium_engine("Ant-v5").signals}
    assert [units[f"qpos[{i}]"] for i in (0, 3, 7)] == ["m", "1", "rad"]
    assert [units[f"qvel[{i}]"] for i in (0, 3, 6)] == ["m/s", "rad/s", "rad/s"]
    assert {s.name: s.unit for s in HOPPER.signals}["qpos[1]"] == "m"


def test_claims_are_about_gymnasiums_own_starts_unless_a_task_says_otherwise():
    rows = HOPPER.sample(np.random.default_rng(0), 10)
    assert (rows[:, :-1] == HOPPER.nominal[:-1]).all()
    assert (HOPPER.bounds[:-1, 0] == HOPPER.bounds[:-1, 1]).all()
    assert HOPPER.step_seconds == pytest.approx(0.008)


def test_opening_leaves_no_log_behind(tmp_path):
    gymnasium_engine("HalfCheetah-v5").open().close()
    assert list(tmp_path.iterdir()) == []
