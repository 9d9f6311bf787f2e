"""SAC that replays what it predicts worst: proportional prioritised replay (Schaul, Quan, Antonoglou & Silver 2016,
arXiv 1511.05952).

Stable-Baselines3 has neither the buffer nor a place in SAC for its importance weights. Needs the extra `train`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.utils import polyak_update, update_learning_rate

from niwaki.training.sum_tree import SumTree
from niwaki.types import Floats, Integers

REPLAY = 0x9E71A  # keeps the dice of the replay apart from those of the episodes
FLOOR = 1e-6  # added to every error, so that nothing is never replayed again


class Drawn(NamedTuple):
    """Transitions drawn from the buffer."""

    observations: torch.Tensor  # [n, O]
    actions: torch.Tensor  # [n, A], within [-1, 1]
    next_observations: torch.Tensor  # [n, O]
    dones: torch.Tensor  # [n, 1], 0 for an episode that was only cut off
    rewards: torch.Tensor  # [n, 1]
    weights: torch.Tensor  # [n, 1], the importance weights, the largest is 1
    leaves: Integers  # [n], their places in the buffer


class PrioritizedReplayBuffer(ReplayBuffer):  # type: ignore[misc]  # Stable-Baselines3 is not type-checked here
    """Draws transition i with the probability P(i) = p_i^alpha / sum_k p_k^alpha, p_i its last temporal-difference
    error. A new transition is as likely as the likeliest so far."""

    def __init__(self, *args: Any, alpha: float, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alpha = alpha
        self.tree = SumTree(self.buffer_size * self.n_envs)
        self.most = 1.0  # the highest p so far, to the power of alpha
        self.rng = np.random.default_rng([seed, REPLAY])

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Keep one transition of each environment, in place of the oldest."""
        self.tree.put(self.pos * self.n_envs + np.arange(self.n_envs), np.full(self.n_envs, self.most))
        super().add(*args, **kwargs)

    def draw(self, count: int, *, beta: float, env: Any = None) -> Drawn:
        """Draw so many transitions, one from each of `count` equal parts of the total (their section 3.3).

        The importance weights (N P(i))^-beta, divided by the largest among them, make up for what is drawn too often:
        wholly for beta = 1, not at all for 0. `env` is the VecNormalize, where there is one.
        """
        points = (np.arange(count) + self.rng.random(count)) * (self.tree.total / count)
        leaves = self.tree.find(points)
        rows, columns = np.divmod(leaves, self.n_envs)
        likelihoods = self.tree.weights(leaves)
        arrays = (
            self._normalize_obs(self.observations[rows, columns], env),
            self.actions[rows, columns],
            self._normalize_obs(self.next_observations[rows, columns], env),
            (self.dones[rows, columns] * (1 - self.timeouts[rows, columns]))[:, None],
            self._normalize_reward(self.rewards[rows, columns][:, None], env),
            ((likelihoods / likelihoods.min()) ** -beta).astype(np.float32)[:, None],
        )
        return Drawn(*(self.to_torch(array) for array in arrays), leaves)  # type: ignore[call-arg]

    def judge(self, leaves: Integers, errors: Floats) -> None:
        """Set the priorities of drawn transitions [n] by their temporal-difference errors [n]."""
        priorities = (np.abs(errors) + FLOOR) ** self.alpha
        self.most = max(self.most, float(priorities.max()))
        self.tree.put(leaves, priorities)


class PrioritizedSAC(SAC):  # type: ignore[misc]
    """Stable-Baselines3's SAC with the buffer above: in the critics' loss every squared error is multiplied by its
    importance weight. With equal weights an update is the original's, bit for bit.

    alpha: exponent of the priorities; beta: exponent of the importance weights in the beginning, 1 in the end;
    policy_delay: updates of the critics per update of the actor and of the entropy coefficient;
    critic_learning_rate: of the critics and of the entropy coefficient, where it is not the actor's.
    """

    def __init__(
        self,
        *args: Any,
        alpha: float = 0.6,
        beta: float = 0.4,
        policy_delay: int = 1,
        critic_learning_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        if not (0 <= alpha <= 1 and 0 <= beta <= 1 and policy_delay >= 1):
            raise ValueError(f"alpha {alpha} and beta {beta} must be in [0, 1], policy_delay {policy_delay} at least 1")
        self.beta, self.policy_delay, self.critic_learning_rate = beta, policy_delay, critic_learning_rate
        replay = {"alpha": alpha, "seed": kwargs.get("seed") or 0}
        super().__init__(*args, replay_buffer_class=PrioritizedReplayBuffer, replay_buffer_kwargs=replay, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """So many updates, each from transitions of its own."""
        self.policy.set_training_mode(True)
        self._set_learning_rates()
        beta = 1.0 - (1.0 - self.beta) * self._current_progress_remaining
        for _ in range(gradient_steps):
            drawn = self.replay_buffer.draw(batch_size, beta=beta, env=self._vec_normalize_env)
            self.replay_buffer.judge(drawn.leaves, self._update(drawn))

    def _set_learning_rates(self) -> None:
        quick = [self.critic.optimizer, *([] if self.ent_coef_optimizer is None else [self.ent_coef_optimizer])]
        self._update_learning_rate([self.actor.optimizer, *quick])
        if self.critic_learning_rate is not None:
            for optimizer in quick:
                update_learning_rate(optimizer, self.critic_learning_rate)

    def _update(self, drawn: Drawn) -> Floats:
        """One update; the temporal-difference errors [n] before it, the larger one of both critics."""
        temperature = self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.detach().exp()
        acting = self._n_updates % self.policy_delay == 0
        if acting:
            actions, log_density = self.actor.action_log_prob(drawn.observations)
            log_density = log_density.reshape(-1, 1)
            self._learn_temperature(log_density.detach())
        errors = self._learn_values(drawn, temperature)
        if acting:
            values = torch.cat(self.critic(drawn.observations, actions), dim=1).min(dim=1, keepdim=True).values
            _descend(self.actor.optimizer, (temperature * log_density - values).mean())
        if self._n_updates % self.target_update_interval == 0:
            polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        self._n_updates += 1
        return errors

    def _learn_temperature(self, log_density: torch.Tensor) -> None:
        if self.ent_coef_optimizer is not None:
            _descend(self.ent_coef_optimizer, -(self.log_ent_coef * (log_density + self.target_entropy)).mean())

    def _learn_values(self, drawn: Drawn, temperature: torch.Tensor) -> Floats:
        with torch.no_grad():
            actions, log_density = self.actor.action_log_prob(drawn.next_observations)
            values = torch.cat(self.critic_target(drawn.next_observations, actions), dim=1)
            values = values.min(dim=1, keepdim=True).values - temperature * log_density.reshape(-1, 1)
            targets = drawn.rewards + (1 - drawn.dones) * self.gamma * values
        errors = [value - targets for value in self.critic(drawn.observations, drawn.actions)]
        _descend(self.critic.optimizer, 0.5 * sum((drawn.weights * error**2).mean() for error in errors))
        return torch.cat(errors, dim=1).detach().abs().max(dim=1).values.numpy().astype(np.float64)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
