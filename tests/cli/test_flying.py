"""niwaki evaluate, play, tasks, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from niwaki.evaluation import mean_interval, scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy
from niwaki.rollout import rollout
from niwaki.tasks import load_task, task_names

from .conftest import Run

ROW = {
    "weights", "nonzero_weights", "parameters", "nonzero_parameters", "bytes", "ns_per_call", "episodes", "return_mean",
    "return_low", "return_high", "length_mean", "violations", "violation_rate",
}  # fmt: skip


def test_evaluate_prints_what_the_library_computes(niwaki: Run, balancer: Path) -> None:
    ran = niwaki("evaluate", balancer, "--task", "cartpole", "--episodes", 50, "--seed", 3, "--json")
    assert (ran.code, ran.err) == (0, "")
    report = ran.json
    assert set(report) == {"task", "seed", "policy", "teacher", "paired_difference", "steps_per_second", "seconds"}
    assert set(report["policy"]) == ROW
    assert (report["task"], report["seed"], report["teacher"], report["paired_difference"]) == (
        "cartpole",
        3,
        None,
        None,
    )
    simulator = load_task("cartpole").simulator
    flights = rollout(simulator, deployed(load_policy(balancer)), scenarios_for(simulator, 50, seed=3))
    assert report["policy"]["return_mean"] == mean_interval(flights.returns).mean
    assert report["policy"]["violations"] == dict.fromkeys((s.name for s in load_task("cartpole").specs), 0)
    assert report["policy"]["weights"] == 18
    assert report["policy"]["nonzero_weights"] == 12
    assert report["policy"]["bytes"] == 4 * (4 + 1 + 2) + 2  # the last layer's two weights are whole numbers


def test_evaluate_against_a_teacher_compares_on_the_same_scenarios(niwaki: Run, balancer: Path) -> None:
    report = niwaki("evaluate", balancer, "--task", "cartpole", "-n", 20, "--against", balancer, "--json").json
    assert report["teacher"]["return_mean"] == report["policy"]["return_mean"]
    assert report["paired_difference"]["return_mean"] == 0
    assert report["paired_difference"]["violation_rate"] == 0


def test_evaluate_shows_a_table_that_fits_a_narrow_terminal(niwaki: Run, balancer: Path) -> None:
    ran = niwaki("evaluate", balancer, "--task", "cartpole", "-n", 20, COLUMNS="50")
    assert ran.code == 0
    assert "500.0" in ran.out
    assert "violation rate" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 50


def test_evaluate_works_without_a_compiler_with_the_same_result(niwaki: Run, balancer: Path) -> None:
    arguments = ("evaluate", balancer, "--task", "cartpole-v0", "-n", 10, "--json")
    compiled, without = niwaki(*arguments).json, niwaki(*arguments, CC="/nonexistent/cc")
    mirrored = without.json
    assert without.err.startswith("no C compiler found")
    assert mirrored["policy"].pop("ns_per_call") is None
    assert compiled["policy"].pop("ns_per_call") > 0
    assert compiled["policy"] == mirrored["policy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.zip", "--task", "cartpole"), "there is no file 'missing.zip'"),
        (("{policy}", "--task", "cartpol"), "no task is called 'cartpol'; did you mean cartpole"),
        (("{policy}",), "which task? add --task NAME"),
        (("{policy}", "--task", "pendulum"), "takes 4 observations, pendulum gives 3"),
        (("{policy}", "--task", "mine.toml"), "cannot read the task file mine.toml"),
        (("{policy}", "--task", "CartPol-v1"), "nearest registered names: CartPole-v1"),
        (("{policy}", "--task", "cartpole", "--layers", "4-x"), "widths such as 8-128-128-2, got '4-x'"),
        (("{policy}", "--task", "cartpole", "--episodes", "0"), "episodes must be at least 1, got 0"),
        (("{policy}", "--task", "cartpole", "--seed", "-1"), "the seed must not be negative, got -1"),
        (("{policy}", "--task", "cartpole", "--workers", "0"), "workers must be at least 1, got 0"),
        (("{policy}", "--tsak", "cartpole"), "--tsak"),
        (("{policy}", "--task", "cartpole", "--against", "none.pth"), "--against none.pth: there is no file"),
        (("{policy}", "--task", "cartpole", "--episodes", "many"), "valid integer"),
        ((), "Missing argument 'POLICY'"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    niwaki: Run, balancer: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = niwaki("evaluate", *(a.format(policy=balancer) for a in arguments), "--json", COLUMNS="200")
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert ran.err.startswith("niwaki: ")
    assert ran.err.count("\n") == 1


def test_tasks_lists_every_bundled_task(niwaki: Run) -> None:
    report = niwaki("tasks", "--json").json
    assert [t["name"] for t in report["tasks"]] + list(report["unavailable"]) == task_names()
    cartpole = next(t for t in report["tasks"] if t["name"] == "cartpole")
    assert cartpole["observations"] == 4
    assert cartpole["scenario"][-1]["name"] == "seed"
    assert "cartpole-v0" in niwaki("tasks").out


@pytest.mark.parametrize(("suffix", "magic"), [(".gif", b"GIF8"), (".mp4", b"ftyp")])
def test_play_records_a_film(niwaki: Run, balancer: Path, tmp_path: Path, suffix: str, magic: bytes) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="recording needs the extra play")
    film = tmp_path / f"flight{suffix}"
    ran = niwaki("play", balancer, "--task", "cartpole-v0", "--record", film, "--json", SDL_VIDEODRIVER="dummy")
    assert ran.code == 0, ran.err
    assert ran.json["episodes"] == [{"return": 200.0, "length": 200, "ending": "time_out"}]
    assert magic in film.read_bytes()[:32]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([balancer.name, film.name])


def test_play_records_an_engine(niwaki: Run, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="recording needs the extra play")
    pytest.importorskip("Box2D", reason="LunarLander needs the extra box2d")
    import numpy as np

    from niwaki.policies.network import Layer, NetworkPolicy
    from niwaki.policies.storage import save_policy

    save_policy(NetworkPolicy((Layer(np.zeros((4, 8)), np.zeros(4)),)), tmp_path / "falls.safetensors")
    ran = niwaki(
        "play", "falls.safetensors", "--task", "lunarlander", "--record", "fall.gif", "--json", SDL_VIDEODRIVER="dummy"
    )
    assert ran.code == 0, ran.err
    assert ran.json["episodes"][0]["ending"] in ("crashed", "flew_off")
    assert (tmp_path / "fall.gif").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "there is no display here: add --record"),
        (("--record", "film.avi"), "a film ends in .mp4 or .gif, got 'film.avi'"),
        (("--record", "nowhere/film.gif"), "there is no folder 'nowhere'"),
    ],
)
def test_play_says_what_is_wrong(niwaki: Run, balancer: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = niwaki("play", balancer, "--task", "cartpole", *arguments, DISPLAY="", WAYLAND_DISPLAY="")
    assert ran.code == 2
    assert message in ran.err
