"""Prioritised replay against its formulas written out, and the update against Stable-Baselines3's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra niwaki[train]")

import torch
from gymnasium.spaces import Box
from scipy.stats import chisquare
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from niwaki.tasks import load_task
from niwaki.training.environment import SimulatorVecEnv
from niwaki.training.prioritized import FLOOR, Drawn, PrioritizedReplayBuffer, PrioritizedSAC

ENVIRONMENTS, FILLED = 3, 8
SPACES = Box(-np.inf, np.inf, (2,)), Box(-1.0, 1.0, (1,))


def buffer_of(alpha: float, size: int = 30) -> PrioritizedReplayBuffer:
    return PrioritizedReplayBuffer(size, *SPACES, device="cpu", n_envs=ENVIRONMENTS, alpha=alpha, seed=4)


def fill(buffer: PrioritizedReplayBuffer, rows: int = FILLED, *, cut_off: bool = False) -> None:
    """Transitions whose reward is their own number."""
    for row in range(rows):
        numbers = row * ENVIRONMENTS + np.arange(ENVIRONMENTS, dtype=np.float32)
        seen = np.repeat(numbers[:, None], 2, axis=1)
        infos = [{"TimeLimit.truncated": cut_off}] * ENVIRONMENTS
        buffer.add(seen, seen + 0.5, -numbers[:, None] / 100, numbers, np.ones(ENVIRONMENTS), infos)


@pytest.fixture
def judged() -> tuple[PrioritizedReplayBuffer, np.ndarray]:
    """A buffer, and the P(i) of its 24 transitions by the formula."""
    buffer = buffer_of(0.6)
    fill(buffer)
    errors = np.random.default_rng(2).normal(size=FILLED * ENVIRONMENTS) * 3
    buffer.judge(np.arange(len(errors)), errors)
    powers = (np.abs(errors) + FLOOR) ** 0.6
    return buffer, powers / powers.sum()


def test_transitions_are_drawn_in_proportion_to_the_power_of_their_error(judged) -> None:
    buffer, likelihoods = judged
    # One at a time, for the parts of a batch are not independent: fewer surprises than chance would have.
    drawn = np.concatenate([buffer.draw(1, beta=1.0).leaves for _ in range(20_000)])
    counts = np.bincount(drawn, minlength=len(likelihoods))
    assert len(counts) == len(likelihoods)
    assert chisquare(counts, likelihoods * len(drawn)).pvalue > 1e-3
    batch = np.bincount(buffer.draw(10_000, beta=1.0).leaves, minlength=len(likelihoods))
    assert np.abs(batch - 10_000 * likelihoods).max() <= 2  # a batch holds one of each equal part


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_the_importance_weights_are_those_of_the_formula(judged, beta: float) -> None:
    buffer, likelihoods = judged
    drawn = buffer.draw(50, beta=beta)
    expected = (len(likelihoods) * likelihoods[drawn.leaves]) ** -beta
    assert drawn.weights.numpy()[:, 0] == pytest.approx(expected / expected.max(), rel=1e-6)


def test_weighted_means_are_those_of_uniform_replay_when_beta_is_one(judged) -> None:
    buffer, _ = judged
    drawn = buffer.draw(200_000, beta=1.0)
    weights = drawn.weights.double()
    assert float((weights * drawn.rewards).sum() / weights.sum()) == pytest.approx(11.5, abs=0.01)


def test_what_is_drawn_belongs_to_its_place() -> None:
    buffer = buffer_of(1.0)
    fill(buffer)
    drawn = buffer.draw(100, beta=0.5)
    numbers = drawn.leaves[:, None].astype(np.float32)
    assert np.array_equal(drawn.rewards, numbers)
    assert np.array_equal(drawn.observations, np.repeat(numbers, 2, axis=1))
    assert np.array_equal(drawn.next_observations, np.repeat(numbers, 2, axis=1) + 0.5)
    assert np.array_equal(drawn.actions, -numbers / 100)
    assert (drawn.dones == 1).all()


def test_an_episode_that_was_cut_off_is_not_done() -> None:
    buffer = buffer_of(1.0)
    fill(buffer, cut_off=True)
    assert (buffer.draw(10, beta=0.5).dones == 0).all()


def test_a_new_transition_is_as_likely_as_the_likeliest_so_far() -> None:
    buffer = buffer_of(0.5)
    fill(buffer, 2)
    buffer.judge(np.array([0, 1]), np.array([-9.0, 0.25]))
    fill(buffer, 1)
    weights = buffer.tree.weights(np.arange(9))
    assert weights == pytest.approx([3.0, 0.5, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0], rel=1e-5)


def test_a_full_buffer_forgets_the_oldest_and_its_priority() -> None:
    buffer = buffer_of(1.0, size=6)  # two rows of three
    fill(buffer, 2)
    buffer.judge(np.arange(6), np.full(6, 0.5))
    fill(buffer, 1)
    assert buffer.tree.weights(np.arange(6)) == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.5, 0.5], rel=1e-5)
    assert set(buffer.draw(60, beta=1.0).leaves) == set(range(6))


def agent_of(kind: Callable[..., SAC], **arguments: object) -> SAC:
    environments = SimulatorVecEnv(load_task("pendulum").simulator, 2)
    return kind("MlpPolicy", environments, seed=1, learning_starts=40, buffer_size=200, device="cpu",
                policy_kwargs={"net_arch": [8]}, **arguments)  # fmt: skip


def numbers_of(agent: SAC) -> list[np.ndarray]:
    weights = [*agent.policy.parameters(), *agent.critic_target.parameters()]
    if agent.log_ent_coef is not None:
        weights.append(agent.log_ent_coef)
    return [weight.detach().numpy().copy() for weight in weights]


@pytest.mark.parametrize("entropy", [{"ent_coef": "auto_0.1", "target_entropy": 0.0}, {"ent_coef": 0.2}])
def test_with_equal_weights_updates_are_those_of_stable_baselines(entropy: dict[str, object]) -> None:
    drawn = batch_of(torch.ones(16, 1))
    updated = []
    for kind in (SAC, PrioritizedSAC):
        agent = agent_of(kind, **entropy)
        agent.learn(10)  # only collects: sets up the schedules
        torch.manual_seed(0)
        if kind is SAC:
            agent.replay_buffer.sample = lambda *args, **kwargs: ReplayBufferSamples(*drawn[:5])
            agent.train(gradient_steps=4, batch_size=16)
        else:
            for _ in range(4):
                agent._update(drawn)
        updated.append(numbers_of(agent))
    assert any((a != b).any() for a, b in zip(updated[0], numbers_of(agent_of(SAC, **entropy)), strict=True))
    for theirs, ours in zip(*updated, strict=True):
        assert np.abs(theirs - ours).max() <= 1e-7


def batch_of(weights: torch.Tensor) -> Drawn:
    rng, n = np.random.default_rng(0), len(weights)
    sizes = (3, 1, 3, 1, 1)
    parts = [torch.as_tensor(rng.uniform(-1, 1, (n, size)).astype(np.float32)) for size in sizes]
    parts[3] = (parts[3] > 0.5).float()
    return Drawn(*parts, weights, np.arange(n))


def test_a_transition_of_weight_zero_teaches_the_critics_nothing() -> None:
    full, weights = batch_of(torch.ones(16, 1)), torch.ones(16, 1)
    weights[8:] = 0
    gradients = []
    for rewards in (full.rewards, torch.cat((full.rewards[:8], full.rewards[8:] + 100))):
        agent = agent_of(PrioritizedSAC)
        torch.manual_seed(0)
        agent._learn_values(full._replace(weights=weights, rewards=rewards), torch.tensor(0.1))
        gradients.append([weight.grad.numpy().copy() for weight in agent.critic.parameters()])
    assert all(np.array_equal(a, b) for a, b in zip(*gradients, strict=True))
    assert any(np.abs(gradient).max() > 0 for gradient in gradients[0])


def test_the_gradient_of_a_critic_is_the_weighted_sum_of_its_transitions() -> None:
    weights = torch.as_tensor(np.random.default_rng(5).random((4, 1)).astype(np.float32))
    whole = batch_of(weights)
    parts = [Drawn(*(part[i : i + 1] for part in whole)) for i in range(4)]
    gradients = []
    for drawn in (whole, *(part._replace(weights=torch.ones(1, 1)) for part in parts)):
        agent = agent_of(PrioritizedSAC)
        agent.actor.action_log_prob = lambda seen: (torch.tanh(seen[:, :1]), seen[:, 1])  # no dice
        agent._learn_values(drawn, torch.tensor(0.3))
        gradients.append(np.concatenate([weight.grad.numpy().ravel() for weight in agent.critic.parameters()]))
    expected = sum(float(weights[i]) * gradients[1 + i] for i in range(4)) / 4
    assert gradients[0] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_with_a_delay_the_actor_is_updated_every_second_time() -> None:
    agent, drawn = agent_of(PrioritizedSAC, policy_delay=2), batch_of(torch.ones(16, 1))
    changed = []
    for _ in range(4):
        actor = [weight.detach().clone() for weight in agent.actor.parameters()]
        critic = [weight.detach().clone() for weight in agent.critic.parameters()]
        agent._update(drawn)
        changed.append(
            tuple(
                any((a != b).any() for a, b in zip(old, part.parameters(), strict=True))
                for old, part in ((actor, agent.actor), (critic, agent.critic))
            )
        )
    assert changed == [(True, True), (False, True), (True, True), (False, True)]


def test_beta_rises_to_one_and_the_critics_have_a_rate_of_their_own() -> None:
    agent = agent_of(PrioritizedSAC, beta=0.4, learning_rate=1e-4, critic_learning_rate=2e-3, batch_size=8)
    betas: list[float] = []
    draw = agent.replay_buffer.draw

    def noted(count: int, *, beta: float, env: object) -> Drawn:
        betas.append(beta)
        return draw(count, beta=beta, env=env)

    agent.replay_buffer.draw = noted
    agent.learn(100)
    assert betas == sorted(betas)
    assert betas[0] == pytest.approx(1 - 0.6 * (1 - 42 / 100))
    assert betas[-1] == pytest.approx(1.0)
    rates = [part.optimizer.param_groups[0]["lr"] for part in (agent.actor, agent.critic)]
    assert rates == [1e-4, 2e-3]


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"beta": -0.1}, {"policy_delay": 0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        agent_of(PrioritizedSAC, **wrong)
