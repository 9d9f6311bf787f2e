"""Training: it learns, it is reproducible, it keeps the best checkpoint, and it says what is wrong."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import niwaki.training
from niwaki.evaluation import Interval, scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.sampled import sampled
from niwaki.policies.storage import load_gaussian, load_niwaki
from niwaki.rollout import rollout
from niwaki.tasks import Training, load_task, parse_task
from niwaki.training.train import Checkpoint, Choice, checkpoint_steps, selection_scenarios, train, train_command
from niwaki.types import NiwakiError

pytest.importorskip("stable_baselines3", reason="needs the extra niwaki[train]")
pytest.importorskip("sb3_contrib", reason="needs the extra niwaki[train]")

SMALL = Training(
    algorithm="ppo",
    steps=512,
    environments=2,
    normalize=True,
    widths=(8,),
    linear_schedule=True,
    arguments={"n_steps": 64, "batch_size": 32, "n_epochs": 2, "learning_rate": 1e-3},
)


def same(a, b):
    return all(
        np.array_equal(x.weight, y.weight) and np.array_equal(x.bias, y.bias)
        for x, y in zip(a.layers, b.layers, strict=True)
    )


@pytest.fixture
def cartpole():
    return replace(load_task("cartpole"), training=SMALL)


def test_a_few_thousand_steps_of_cartpole_teach_far_more_than_chance(tmp_path):
    trained = train(load_task("cartpole"), steps=6_000, out=tmp_path / "p.safetensors", episodes=100)
    assert trained.row["return_low"] > 150  # random actions last about 22 steps
    assert trained.row["episodes"] == 100
    assert not trained.interrupted


def test_the_same_seed_gives_the_same_policy_and_another_seed_another(cartpole, tmp_path):
    first, again, other = (train(cartpole, seed=s, out=tmp_path / "p.safetensors", episodes=2) for s in (3, 3, 4))
    assert same(first.policy, again.policy)
    assert np.array_equal(first.policy.normalizer.mean, again.policy.normalizer.mean)
    assert first.checkpoints == again.checkpoints
    assert not same(first.policy, other.policy)


def test_the_file_holds_the_chosen_policy_and_how_to_make_it_again(cartpole, tmp_path):
    out = tmp_path / "p.safetensors"
    trained = train(cartpole, algorithm="ppo", seed=7, steps=300, out=out, episodes=2)
    loaded = load_niwaki(out)
    assert same(loaded, trained.policy)
    assert loaded.discrete
    origin = dict(loaded.origin)
    assert origin["command"] == "niwaki train --task cartpole --algo ppo --steps 300 --seed 7"
    assert (origin["algorithm"], origin["steps"], origin["seed"]) == ("PPO", "300", "7")
    assert origin["checkpoint"] == f"{trained.chosen.steps} steps"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_the_chosen_checkpoint_has_the_highest_lower_bound(cartpole, tmp_path):
    trained = train(cartpole, out=tmp_path / "p.safetensors", episodes=2)
    assert [c.steps for c in trained.checkpoints] == [128, 256, 384, 512]
    assert trained.chosen.returns.low == max(c.returns.low for c in trained.checkpoints)
    flown = rollout(cartpole.simulator, deployed(trained.policy), selection_scenarios(cartpole, 300, seed=0))
    assert flown.returns.mean() == pytest.approx(trained.chosen.returns.mean)


def test_a_checkpoint_that_reaches_the_goal_comes_first_then_fewer_failures_then_the_return():
    def checkpoint(low, failures):
        return Checkpoint(0, Interval(low + 1, low, low + 2), failures)

    best_first = [checkpoint(120, 3), checkpoint(100, 3), checkpoint(300, 6), checkpoint(99, 9), checkpoint(90, 0)]
    assert sorted(best_first, key=lambda c: c.merit(100)) == best_first[::-1]
    assert checkpoint(120, 1).merit(100) > checkpoint(119, 0).merit(100)  # 1 in 300 more is chance
    assert checkpoint(99, 9).merit(None) > checkpoint(90, 0).merit(None)


def test_failures_on_the_selection_scenarios_are_counted(cartpole, tmp_path):
    push_left = NetworkPolicy((Layer(np.zeros((2, 4)), np.array([1.0, 0.0])),), Head("argmax"))
    choice = Choice(cartpole, tmp_path / "p.safetensors", 0, 300, ())
    choice.consider(1, push_left)
    assert choice.best.failures == len(selection_scenarios(cartpole, 300, seed=0))


def test_of_equally_good_checkpoints_the_earlier_is_kept(cartpole, tmp_path):
    push_left = NetworkPolicy((Layer(np.zeros((2, 4)), np.array([1.0, 0.0])),), Head("argmax"))
    choice = Choice(cartpole, tmp_path / "p.safetensors", 0, 300, ())
    for steps in (100, 200):
        choice.consider(steps, push_left)
    assert choice.best.steps == 100
    assert dict(load_niwaki(tmp_path / "p.safetensors").origin)["checkpoint"] == "100 steps"


def test_the_figures_reported_come_from_other_scenarios_than_the_choice(cartpole, tmp_path):
    trained = train(cartpole, out=tmp_path / "p.safetensors", episodes=50)
    fresh = scenarios_for(cartpole.simulator, 50, seed=0)
    assert trained.row["return_mean"] == rollout(cartpole.simulator, deployed(trained.policy), fresh).returns.mean()
    chosen_on = selection_scenarios(cartpole, 300, seed=0)
    assert not set(map(tuple, chosen_on[:, :-1])) & set(map(tuple, fresh[:, :-1]))  # without the seed column


def test_checkpoints_are_whole_rollouts_apart_and_about_eighteen():
    assert checkpoint_steps(6_000_000, 16 * 1024) == 20 * 16 * 1024
    assert checkpoint_steps(100, 16 * 1024) == 16 * 1024
    assert checkpoint_steps(50_000, 1) == 50_000 // 18


def test_the_weights_are_those_of_the_plain_stable_baselines_calls(tmp_path):
    # Gymnasium's own environment, written out; flying checkpoints in between must not touch the training.
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    task = replace(parse_task("t", 'title = "t"\ngymnasium = "Pendulum-v1"'), training=SMALL)
    environments = VecNormalize(make_vec_env("Pendulum-v1", 2, seed=5), gamma=0.99)
    agent = PPO("MlpPolicy", environments, learning_rate=lambda left: 1e-3 * left, n_steps=64, batch_size=32,
                n_epochs=2, seed=5, device="cpu", policy_kwargs={"net_arch": [8]})  # fmt: skip
    agent.learn(512)
    seen = []

    class Keeping(Choice):
        def consider(self, steps, policy):
            super().consider(steps, policy)
            seen.append(policy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("niwaki.training.train.Choice", Keeping)
        train(task, seed=5, out=tmp_path / "p.safetensors", episodes=2)
    parts = [agent.policy.mlp_extractor.policy_net[0], agent.policy.action_net]
    for layer, part in zip(seen[-1].layers, parts, strict=True):
        assert np.array_equal(layer.weight, part.weight.detach().numpy())
    assert np.array_equal(seen[-1].normalizer.mean, environments.obs_rms.mean)


def test_an_interruption_keeps_the_best_checkpoint_so_far(cartpole, tmp_path):
    def stop_after_two(steps, total, best):
        if steps >= 256 and best is not None:
            raise KeyboardInterrupt

    trained = train(cartpole, out=tmp_path / "p.safetensors", progress=stop_after_two, episodes=5)
    assert trained.interrupted
    assert [c.steps for c in trained.checkpoints] == [128, 256]
    assert same(load_niwaki(tmp_path / "p.safetensors"), trained.policy)
    assert trained.row["episodes"] == 5


def test_an_interruption_before_the_first_checkpoint_says_so(cartpole, tmp_path):
    def stop(steps, total, best):
        raise KeyboardInterrupt

    with pytest.raises(NiwakiError, match="before its first checkpoint"):
        train(cartpole, out=tmp_path / "p.safetensors", progress=stop)
    assert not list(tmp_path.iterdir())


def test_progress_counts_steps_and_knows_the_best_mean(cartpole, tmp_path):
    told = []
    trained = train(cartpole, out=tmp_path / "p.safetensors", progress=lambda *news: told.append(news), episodes=2)
    assert [steps for steps, _, _ in told] == [0, 128, 256, 384]
    assert {total for _, total, _ in told} == {512}
    assert told[0][2] is None
    assert told[1][2] == trained.checkpoints[0].returns.mean


@pytest.fixture
def one_checkpoint(monkeypatch):
    monkeypatch.setattr("niwaki.training.train.CHECKPOINTS", 1)


@pytest.mark.usefixtures("one_checkpoint")
@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "trpo", "dqn", "qrdqn"])
def test_every_discrete_algorithm_trains_with_its_defaults(algorithm, tmp_path):
    trained = train(
        load_task("cartpole-v0"), algorithm=algorithm, steps=1_100, out=tmp_path / "p.safetensors", episodes=2
    )
    assert trained.policy.sizes == (4, 64, 64, 2)
    assert trained.policy.discrete


@pytest.mark.usefixtures("one_checkpoint")
@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "trpo", "sac", "td3", "tqc"])
def test_every_continuous_algorithm_trains_with_its_defaults(algorithm, tmp_path):
    task = replace(load_task("pendulum"), training=None)
    trained = train(task, algorithm=algorithm, steps=1_030, out=tmp_path / "p.safetensors", episodes=2)
    assert trained.policy.sizes == (3, 64, 64, 1)
    assert trained.training.algorithm == algorithm


def test_without_stable_baselines_the_message_names_the_extra(monkeypatch, cartpole, tmp_path):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    monkeypatch.delitem(sys.modules, "niwaki.training.stable_baselines", raising=False)
    monkeypatch.delattr(niwaki.training, "stable_baselines", raising=False)
    monkeypatch.setattr("niwaki.training.train.version", lambda name: pytest.fail(f"asked for {name}"))
    with pytest.raises(NiwakiError, match=r"pip install .niwaki\[train\]"):
        train(cartpole, out=tmp_path / "p.safetensors")


def test_settings_that_the_algorithm_does_not_take_are_named(cartpole, tmp_path):
    task = replace(cartpole, training=SMALL.model_copy(update={"arguments": {"n_step": 64}}))
    with pytest.raises(NiwakiError, match=r"ppo does not take the settings of cartpole: .*n_step"):
        train(task, out=tmp_path / "p.safetensors")


def test_weights_that_are_no_numbers_any_more_end_in_one_sentence(tmp_path):
    settings = {"n_steps": 64, "batch_size": 32, "learning_rate": 1e30}
    task = replace(load_task("pendulum"), training=SMALL.model_copy(update={"arguments": settings}))
    with pytest.raises(NiwakiError, match="not finite"):
        train(task, out=tmp_path / "p.safetensors")


def test_a_missing_folder_is_found_before_the_training(cartpole, tmp_path):
    with pytest.raises(NiwakiError, match=r"no folder .*nowhere"):
        train(
            cartpole, out=Path(tmp_path, "nowhere", "p.safetensors"), progress=lambda *news: pytest.fail("it trained")
        )


LITTLE = {
    "steps": 600,
    "environments": 4,
    "widths": (8,),
    "critic_widths": (8,),
    "episodes": 100,
}


@pytest.fixture
def point_robot():
    """The point robot with its preset in a few hundred steps."""
    task = load_task("reach-avoid")
    arguments = {**task.training.arguments, "learning_starts": 200, "batch_size": 16, "buffer_size": 1000}
    return replace(task, training=task.training.model_copy(update={**LITTLE, "arguments": arguments}))


@pytest.mark.usefixtures("one_checkpoint")
def test_prioritised_training_over_stages_gives_the_same_bits_again(point_robot, monkeypatch, tmp_path):
    monkeypatch.setattr("niwaki.training.curriculum.PROMOTION", 0.0)  # so that it goes through stages
    monkeypatch.setattr("niwaki.training.curriculum.WINDOW", 4)
    files = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        trained = train(point_robot, seed=seed, out=tmp_path / name, episodes=5)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert [checkpoint.steps for checkpoint in trained.checkpoints] == [600]


@pytest.mark.usefixtures("one_checkpoint")
def test_a_stochastic_preset_gives_a_policy_with_its_noise_chosen_with_it(point_robot, tmp_path):
    out = tmp_path / "p.safetensors"
    trained = train(point_robot, seed=1, out=out, episodes=60)
    policy = load_gaussian(out)
    assert policy.network.sizes == (44, 8, 4)
    assert load_niwaki(out).sizes == (44, 8, 2)  # without its noise, as every other file
    assert dict(policy.origin)["command"] == "niwaki train --task reach-avoid --seed 1"
    scenarios = selection_scenarios(point_robot, 100, seed=1)
    hurried = rollout(replace(point_robot.simulator, horizon=21), sampled(policy), scenarios)
    late = int(hurried.ended(point_robot.simulator.failures).sum())
    assert (hurried.returns.mean(), late) == (trained.chosen.returns.mean, trained.chosen.failures)
    assert 0 < late <= 100
    fresh = rollout(point_robot.simulator, sampled(policy), scenarios_for(point_robot.simulator, 60, seed=1))
    assert trained.row["return_mean"] == fresh.returns.mean()
    assert trained.row["parameters"] == 44 * 8 + 8 + 8 * 4 + 4


def test_the_command_says_which_variant_was_trained():
    assert train_command("reach-avoid", "sac", None, 0, unsafe=True) == (
        "niwaki train --task reach-avoid --algo sac --unsafe --seed 0"
    )
