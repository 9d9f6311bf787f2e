"""Task files: bundled ones load, a user's own work the same way, wrong ones get one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from niwaki.tasks import load_task, parse_task, task_names
from niwaki.types import Discrete, NiwakiError

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
