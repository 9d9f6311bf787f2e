"""The bundled teachers: they load, they fit their tasks, they reach their goals."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from niwaki.evaluation import scenarios_for
from niwaki.policies.deployed import deployed
from niwaki.policies.loading import load_policy, load_stochastic, teacher_names
from niwaki.policies.sampled import sampled
from niwaki.rollout import rollout
from niwaki.tasks import load_task, task_names
from niwaki.training.presets import training_for

FOLDER = Path(str(resources.files("niwaki"))) / "teachers"
EXPECTED = {
    "acrobot",
    "bipedalwalker",
    "cartpole",
    "lunarlander",
    "lunarlander-continuous",
    "mountaincar-continuous",
    "pendulum",
}
STOCHASTIC = {  # the task that each flies in, the one it was trained on, its command but for the seed
    "reach-avoid-base": ("reach-avoid", "reach-avoid", "niwaki train --task reach-avoid"),
    "reach-avoid-task": ("reach-avoid", "reach-avoid-reset-goal", "niwaki train --task reach-avoid --unsafe"),
}
BOX2D = ("bipedalwalker", "lunarlander", "lunarlander-continuous")
LIMIT = 1_000_000  # bytes
SEED = 2024  # not the seed that the README's figures come from


def test_all_teachers_are_bundled_and_named_after_tasks():
    assert set(teacher_names()) == EXPECTED | set(STOCHASTIC)
    assert set(task_names()) >= EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED | set(STOCHASTIC)))
def test_a_teacher_is_small_and_fits_its_task(name):
    assert (FOLDER / f"{name}.safetensors").stat().st_size < LIMIT
    if name in BOX2D:
        pytest.importorskip("Box2D", reason="needs the extra niwaki[box2d]")
    flown_in, _, _ = STOCHASTIC.get(name, (name, "", ""))
    simulator, policy = load_task(flown_in).simulator, load_policy(name)
    assert policy.observation_size == simulator.observation_size
    assert policy.for_actions(simulator.action_space).action_space == simulator.action_space


def flown_by(name, episodes):
    task = load_task(name)
    scenarios = scenarios_for(task.simulator, episodes, seed=SEED)
    return task, rollout(task.simulator, deployed(load_policy(name)), scenarios, workers=1)


@pytest.mark.parametrize("name", sorted(EXPECTED - set(BOX2D)))
def test_a_teacher_reaches_the_return_threshold_of_its_task(name):
    task, flown = flown_by(name, 100)
    assert flown.returns.mean() >= task.return_threshold


@pytest.mark.parametrize("name", BOX2D)
def test_a_box2d_teacher_reaches_its_threshold_in_most_of_a_few_episodes_and_seldom_fails(name):
    # Few episodes, because they are slow. One fall in 20 would move their mean by a twentieth of some 350.
    pytest.importorskip("Box2D", reason="needs the extra niwaki[box2d]")
    task, flown = flown_by(name, 20)
    assert np.median(flown.returns) >= task.return_threshold
    assert flown.ended(task.simulator.failures).sum() <= 2


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_teacher_says_how_it_was_made_and_the_preset_still_does_that(name):
    if name in BOX2D:
        pytest.importorskip("Box2D", reason="needs the extra niwaki[box2d]")
    policy = load_policy(name)
    origin, training = dict(policy.origin), training_for(load_task(name))
    assert origin["command"] == f"niwaki train --task {name} --seed {origin['seed']}"
    assert (origin["algorithm"], origin["steps"]) == (training.algorithm.upper(), str(training.steps))
    assert policy.sizes[1:-1] == training.widths
    assert {layer.activation for layer in policy.layers[:-1]} == {training.activation}
    assert (policy.normalizer is not None) == training.normalize


@pytest.mark.parametrize("name", sorted(STOCHASTIC))
def test_a_stochastic_teacher_says_how_it_was_made_and_the_preset_still_does_that(name):
    policy, (_, trained_on, command) = load_stochastic(name), STOCHASTIC[name]
    origin, training = dict(policy.origin), training_for(load_task(trained_on), algorithm="sac")
    assert origin["command"] == f"{command} --seed {origin['seed']}"
    assert (origin["task"], origin["algorithm"], origin["steps"]) == (trained_on, "SAC", str(training.steps))
    assert policy.network.sizes[1:-1] == training.widths
    assert {layer.activation for layer in policy.network.layers[:-1]} == {training.activation}
    assert policy.network.normalizer is None


@pytest.mark.parametrize("name", sorted(STOCHASTIC))
def test_the_readme_has_a_row_for_every_stochastic_teacher_with_its_command(name):
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if f"| {name} |" in line and "`" in line)
    policy = load_stochastic(name)
    assert f"`{dict(policy.origin)['command']}`" in row
    assert f"{policy.network.parameters:,}" in row
    assert "-".join(map(str, policy.network.sizes)) in row
    assert f"{int(dict(policy.origin)['checkpoint'].split()[0]):,} of {int(dict(policy.origin)['steps']):,}" in row


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_readme_has_a_row_for_every_teacher_with_its_command(name):
    row = next(
        line for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines() if f"| {name} |" in line
    )
    policy = load_policy(name)
    assert dict(policy.origin)["command"] in row
    assert f"{policy.parameters:,}" in row
    assert "-".join(map(str, policy.sizes)) in row


@pytest.fixture(scope="module")
def drives():
    """Endings and lengths of 2,000 drives of each policy with its noise, on the same random layouts of level 5."""
    task = load_task("reach-avoid")
    scenarios = scenarios_for(task.simulator, 2000, seed=SEED)
    return {name: rollout(task.simulator, sampled(load_stochastic(name)), scenarios) for name in STOCHASTIC}


def steps_to_goal(flown):
    return flown.lengths[flown.ended(("goal_reached",))].mean()


def test_the_base_of_the_point_robot_is_as_safe_as_claimed(drives):
    flown = drives["reach-avoid-base"]
    assert flown.ended(("time_out", "hazard_entered")).mean() <= 0.01


def test_the_base_draws_its_actions_widely():
    task, policy = load_task("reach-avoid"), load_stochastic("reach-avoid-base")
    starts = task.simulator.observe(task.simulator.reset(scenarios_for(task.simulator, 500, seed=SEED)))
    assert (policy.distribution(starts).std.mean(axis=0) > 0.3).all()


def test_the_task_policy_is_clearly_faster_and_enters_the_hazard_often(drives):
    base, fast = drives["reach-avoid-base"], drives["reach-avoid-task"]
    assert steps_to_goal(fast) <= steps_to_goal(base) - 1
    assert fast.ended(("hazard_entered",)).mean() >= 0.2
