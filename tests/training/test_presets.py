"""Which settings a run uses."""

import pytest

from niwaki.tasks import load_task, parse_task, task_names
from niwaki.training.presets import CONTINUOUS_ONLY, DEFAULTS, DISCRETE_ONLY, EITHER, stages_of, training_for
from niwaki.types import NiwakiError


def test_the_preset_of_the_task_comes_first():
    task = load_task("mountaincar-continuous")
    assert training_for(task) == task.training
    assert training_for(task, algorithm="ppo") == task.training


def test_steps_replace_those_of_the_preset_and_nothing_else():
    task = load_task("cartpole")
    assert training_for(task, steps=7) == task.training.model_copy(update={"steps": 7})


def test_another_algorithm_than_the_presets_takes_its_own_defaults():
    assert training_for(load_task("cartpole"), algorithm="dqn") == DEFAULTS["dqn"]


def test_a_task_without_preset_takes_the_defaults_of_ppo():
    assert training_for(load_task("MountainCar-v0")) == DEFAULTS["ppo"]


def test_every_algorithm_has_defaults_under_its_own_name():
    assert set(DEFAULTS) == {*EITHER, *DISCRETE_ONLY, *CONTINUOUS_ONLY}
    assert all(training.algorithm == name for name, training in DEFAULTS.items())


@pytest.mark.parametrize("name", task_names())
def test_every_bundled_preset_can_learn_its_task(name):
    assert training_for(load_task(name)).steps > 0


@pytest.mark.parametrize(
    ("task", "algorithm", "sentence"),
    [
        ("cartpole", "sac", "sac cannot learn the discrete actions of cartpole: use one of ppo, a2c, trpo, dqn, qrdqn"),
        (
            "pendulum",
            "dqn",
            "dqn cannot learn the continuous actions of pendulum: use one of ppo, a2c, trpo, sac, td3, tqc",
        ),
        ("pendulum", "reinforce", "unknown algorithm 'reinforce'; for pendulum: ppo, a2c, trpo, sac, td3, tqc"),
    ],
)
def test_an_algorithm_that_cannot_learn_the_task_is_refused(task, algorithm, sentence):
    with pytest.raises(NiwakiError) as caught:
        training_for(load_task(task), algorithm=algorithm)
    assert str(caught.value) == sentence


def test_no_steps_are_refused():
    with pytest.raises(NiwakiError, match="steps must be at least 1, got 0"):
        training_for(load_task("cartpole"), steps=0)


@pytest.mark.parametrize(
    ("task", "settings", "sentence"),
    [
        ("pendulum", "prioritized = true", "only sac replays by priority, not ppo"),
        ("cartpole", "critic_widths = [8]", "dqn has no critic beside its policy"),
        ("pendulum", "stochastic = true", "td3 trains no Gaussian policy"),
        ("cartpole", "stochastic = true", "cartpole takes discrete actions"),
    ],
)
def test_settings_that_an_algorithm_cannot_follow_are_refused(task, settings, sentence):
    algorithm = next((word for word in sentence.split() if word in ("dqn", "td3")), "ppo")
    text = f'title = "t"\nsimulator = "{task}"\n[training]\nalgorithm = "{algorithm}"\nsteps = 9\n{settings}\n'
    with pytest.raises(NiwakiError, match=sentence):
        training_for(parse_task(task, text))


def test_stages_are_the_presets_own():
    task = load_task("reach-avoid")
    assert len(stages_of(task, training_for(task))) == 5
    assert stages_of(task, training_for(task, algorithm="ppo")) == (task.simulator,)
