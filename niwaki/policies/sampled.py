"""A Gaussian policy in flight: its noise is the scenario's own, so that a run replays bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray

from niwaki.policies.deployed import deployed
from niwaki.policies.gaussian import Gaussian, GaussianPolicy
from niwaki.policies.noise import episode_keys, normals
from niwaki.splitmix import Words
from niwaki.types import Floats, Integers, Policy


@dataclass(frozen=True, eq=False)
class SampledPolicy:
    """A Gaussian policy that `rollout` flies. Its network runs in the deployed arithmetic."""

    policy: GaussianPolicy
    outputs: Policy  # the policy's network, compiled or mirrored

    @property
    def observation_size(self) -> int:
        return self.policy.observation_size

    def distribution(self, observations: Floats) -> Gaussian:
        """Mean and standard deviation [B, A] before the squash, each row the same whatever the batch."""
        return self.policy.split(self.outputs(observations))

    def begin(self, scenarios: Floats, /) -> SampledPilot:
        """A pilot whose noise is drawn from scenarios [B, K]."""
        return SampledPilot(self, episode_keys(scenarios))


@dataclass(frozen=True, eq=False)
class SampledPilot:
    """Draws mean + std * noise; the noise of episode, step and component is always the same."""

    policy: SampledPolicy
    keys: Words  # [B]

    def act(self, t: int, rows: Integers, observations: Floats, /) -> NDArray:
        """Actions [n, A] of the episodes `rows` in step t."""
        mean, std = self.policy.distribution(observations)
        return self.policy.policy.actions(mean + std * normals(self.keys[rows], t, mean.shape[1]))


def sampled(policy: GaussianPolicy) -> SampledPolicy:
    """The policy as it flies, its network compiled where there is a compiler."""
    return SampledPolicy(policy, deployed(policy.network))
