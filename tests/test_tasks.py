"""Task files: bundled ones load, a user's own work the same way, wrong ones get one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from niwaki.evaluation import scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.rollout import rollout
from niwaki.simulators.reach_avoid import reach_avoid
from niwaki.tasks import load_task, parse_task, task_names, unsafe_variant
from niwaki.types import Discrete, NiwakiError, Recording, Trajectories

NEEDS = {"lunarlander": "Box2D", "lunarlander-continuous": "Box2D", "bipedalwalker": "Box2D", "halfcheetah": "mujoco"}


@pytest.mark.parametrize("name", task_names())
def test_every_bundled_task_loads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its log into the current folder
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{name} needs an extra")
    task = load_task(name)
    assert task.name == name
    assert task.title
    assert task.return_threshold is not None


def test_the_two_cartpoles_differ_in_their_horizon() -> None:
    assert load_task("cartpole").simulator.horizon == 500
    assert load_task("cartpole-v0").simulator.horizon == 200


def test_a_gymnasium_id_is_a_task() -> None:
    task = load_task("CartPole-v1")
    assert task.simulator.horizon == 500
    assert task.simulator.action_space == Discrete(2)


def test_a_file_of_ones_own_narrows_and_widens_the_scenarios(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "Mine"\nsimulator = "cartpole"\nhorizon = 50\nfailures = ["fell"]\n'
        "[sample]\ntheta = 0.1\npole_mass = [0.05, 0.2]\n[search]\nx = [-1, 1]\n"
    )
    simulator = load_task(str(path)).simulator
    rows = simulator.sample(np.random.default_rng(0), 500)
    columns = dict(zip(simulator.names, rows.T, strict=True))
    assert (columns["theta"] == 0.1).all()
    assert columns["pole_mass"].min() >= 0.05
    assert columns["pole_mass"].max() <= 0.2
    assert np.ptp(columns["pole_mass"]) > 0.1
    assert simulator.bounds[simulator.names.index("x")].tolist() == [-1, 1]
    assert simulator.nominal[simulator.names.index("theta")] == 0.1
    assert (simulator.horizon, simulator.failures) == (50, ("fell",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "not valid TOML"),
        ('simulator = "cartpole"', "title: Field required"),
        ('title = "x"', "either simulator or gymnasium"),
        ('title = "x"\nsimulator = "cartpole"\ngymnasium = "CartPole-v1"', "either simulator or gymnasium"),
        ('title = "x"\nsimulator = "cartpool"', "unknown simulator 'cartpool'"),
        ('title = "x"\nsimulator = "cartpole"\nhorizon = 0', "horizon: .*got 0"),
        ('title = "x"\nsimulator = "cartpole"\nhorizn = 5', "horizn: .*not permitted"),
        ('title = "x"\nsimulator = "cartpole"\nfailures = ["exploded"]', "unknown failure 'exploded'"),
        ('title = "x"\nsimulator = "cartpole"\n[arguments]\na = 1', "takes none"),
        ('title = "x"\nsimulator = "cartpole"\n[search]\nz = [0, 1]', "search.z: no such scenario column"),
        ('title = "x"\nsimulator = "cartpole"\n[sample]\nx = [2, 1]', "sample.x: low 2 is above high 1"),
        ('title = "x"\nsimulator = "cartpole"\n[sample]\nx = nan', "sample.x"),
        ('title = "x"\ngymnasium = "CartPol-v1"', "knows no environment 'CartPol-v1'.*CartPole-v1"),
    ],
)
def test_a_wrong_task_file_gets_one_sentence(text: str, message: str) -> None:
    with pytest.raises(NiwakiError, match=message) as caught:
        parse_task("mine", text)
    assert "\n" not in str(caught.value)


def test_an_unknown_task_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(NiwakiError, match="did you mean cartpole"):
        load_task("cartpol")


def test_a_missing_or_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NiwakiError, match="cannot read"):
        load_task(str(tmp_path / "none.toml"))
    (tmp_path / "big.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(NiwakiError, match="too large"):
        load_task(str(tmp_path / "big.toml"))


@pytest.mark.parametrize("name", task_names())
def test_every_bundled_task_says_what_must_hold_and_how_often_it_may_fail(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{name} needs an extra")
    task = load_task(name)
    assert task.specs
    assert 0 < task.risk <= 0.05
    names = [spec.name for spec in task.specs]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["cartpole", "cartpole-v0"])
def test_cartpole_carries_the_three_specifications_of_sanp(name: str) -> None:
    task = load_task(name)
    rest = {"x": 0.0, "x_dot": 0.0, "theta": 0.0, "theta_dot": 0.0}
    extremes = [rest, rest | {"x": -2.0}, rest | {"x_dot": 2.0}, rest | {"theta": -0.3, "theta_dot": 9.0}]
    signals = np.array([[[*rest.values()], [*state.values()], [*rest.values()]] for state in extremes])
    n, steps = len(extremes), 2
    recording = Recording(
        tuple(rest), signals, np.zeros((n, steps), np.int32), np.ones((n, steps)), signals.astype(np.float32)
    )
    lengths, endings = np.full(n, steps, np.int32), np.zeros(n, np.int8)
    flown = Trajectories(np.zeros((n, 10)), np.full(n, 2.0), lengths, endings, task.simulator.endings, recording)
    margins = {spec.name: spec(flown) for spec in task.specs}
    assert margins["position"] == pytest.approx([2.4, 0.4, 2.4, 2.4])
    assert margins["momentum"] == pytest.approx([2.0, 2.0, -0.2, 2.0])
    assert margins["angle"] == pytest.approx([0.2, 0.2, 0.2, -0.1])


@pytest.mark.parametrize("name", ["acrobot", "cartpole", "cartpole-v0", "mountaincar-continuous", "pendulum"])
def test_the_bundled_teacher_keeps_the_specifications_of_its_task(name: str) -> None:
    task = load_task(name)
    policy = deployed(load_policy(name.removesuffix("-v0")).for_actions(task.simulator.action_space))
    flown = rollout(task.simulator, policy, scenarios_for(task.simulator, 500, seed=77), specs=task.specs)
    assert flown.violated.mean() <= task.risk


@pytest.mark.parametrize("name", ["bipedalwalker", "lunarlander", "lunarlander-continuous"])
def test_a_box2d_teacher_seldom_breaks_a_specification(name: str) -> None:
    pytest.importorskip("Box2D", reason="needs the extra niwaki[box2d]")
    task = load_task(name)  # a rate of some per cent cannot be measured here: too slow
    policy = deployed(load_policy(name).for_actions(task.simulator.action_space))
    flown = rollout(task.simulator, policy, scenarios_for(task.simulator, 8, seed=77), specs=task.specs, workers=1)
    assert flown.violated.sum() <= 1


def test_a_file_of_ones_own_has_specifications_with_names() -> None:
    head = 'title = "Mine"\nsimulator = "cartpole"\nrisk = 0.05\n'
    task = parse_task(
        "mine", head + '[specs]\ngentle = "always[0,1s](abs(x_dot) <= 1)"\nstands = "eventually(time_out)"'
    )
    assert [(spec.name, spec.recorded) for spec in task.specs] == [("gentle", True), ("stands", False)]
    assert task.risk == 0.05


def test_a_task_without_specifications_must_not_fail() -> None:
    task = parse_task("mine", 'title = "Mine"\nsimulator = "cartpole"\nfailures = ["fell"]')
    assert [spec.text for spec in task.specs] == ["always(not fell)"]


def test_a_wrong_specification_is_pointed_at() -> None:
    with pytest.raises(NiwakiError, match=r"task mine: specification gentle: .*did you mean x_dot\?"):
        parse_task("mine", 'title = "Mine"\nsimulator = "cartpole"\n[specs]\ngentle = "always(x_dor <= 1)"')


SAC = '[training]\nalgorithm = "sac"\nsteps = 9\n'


def test_the_stages_of_a_curriculum_are_the_task_with_other_arguments() -> None:
    head = 'title = "Mine"\nsimulator = "reach-avoid"\nhorizon = 30\n[sample]\nx = 0.25\n[arguments]\nperiod = 0.1\n'
    task = parse_task("mine", head + SAC + 'stages = [{level = 1}, {level = 3, reward = "sparse"}]')
    wanted = [reach_avoid(1, period=0.1), reach_avoid(3, period=0.1, reward="sparse")]
    assert [(s.layout, s.reward) for s in task.stages] == [(w.layout, w.reward) for w in wanted]
    assert {(s.step_seconds, s.horizon, s.columns[0].sample) for s in task.stages} == {(0.1, 30, (0.25, 0.25))}
    assert task.simulator.layout == reach_avoid(5).layout


def test_a_wrong_stage_is_named_before_anything_is_trained() -> None:
    head = 'title = "Mine"\nsimulator = "reach-avoid"\n' + SAC
    with pytest.raises(NiwakiError, match="task mine: reach-avoid has the curriculum levels 1 to 5, got 7"):
        parse_task("mine", head + "stages = [{level = 7}]")
    with pytest.raises(NiwakiError, match=r"task mine: arguments\.speed"):
        parse_task("mine", head + "stages = [{speed = 7}]")


def test_the_unsafe_variant_of_the_point_robot_heeds_no_hazard() -> None:
    variant = unsafe_variant(load_task("reach-avoid"))
    assert variant.name == "reach-avoid-reset-goal"
    assert variant.simulator.failures == ()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "mine has no unsafe variant"),
        ('unsafe = "pendulum"', "pendulum is no variant of mine: its observations or actions are others"),
        ('unsafe = "reach-avoit"', "did you mean reach-avoid"),
    ],
)
def test_a_task_without_a_usable_unsafe_variant_says_so(line: str, sentence: str) -> None:
    task = parse_task("mine", f'title = "Mine"\nsimulator = "reach-avoid"\n{line}\n')
    with pytest.raises(NiwakiError, match=sentence):
        unsafe_variant(task)
