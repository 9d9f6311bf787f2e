"""Training reaches the point robot both ways: through its task, and through its Gymnasium id."""

from __future__ import annotations

import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra niwaki[train]")

from niwaki.tasks import load_task, parse_task
from niwaki.training.presets import training_for
from niwaki.training.stable_baselines import make_agent

BY_ID = 'title = "By id"\ngymnasium = "niwaki/ReachAvoid-v0"\nhorizon = 100\n[arguments]\nlevel = 1\n'


@pytest.mark.parametrize("task", [load_task("reach-avoid"), parse_task("by-id", BY_ID)], ids=["task", "id"])
def test_an_agent_learns_on_the_point_robot(task) -> None:
    training = training_for(task, algorithm="sac", steps=60)
    arguments = {"learning_starts": 40, "batch_size": 8, "buffer_size": 1000}
    training = training.model_copy(update={"arguments": arguments, "widths": (8, 8)})
    agent = make_agent(task, training, seed=0)
    before = [weights.clone() for weights in agent.policy.parameters()]
    agent.learn(training.steps)
    assert any((weights != old).any() for weights, old in zip(agent.policy.parameters(), before, strict=True))
    assert agent.observation_space.shape == (44,)
