"""GaussianPolicy: a policy that draws its action, and knows the density it draws from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from niwaki.policies import arithmetic
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.types import ActionSpace, Box, Floats, NiwakiError

StdForm = Literal["clamp", "tanh"]
FORMS: tuple[StdForm, ...] = ("clamp", "tanh")
MOST_LOG_STD = 80.0  # beyond it a deviation leaves float32


class Gaussian(NamedTuple):
    """Independent normal components in B states, before the squash."""

    mean: Floats  # [B, A] float64
    std: Floats  # [B, A] float64

    def log_density(self, presquash: Floats) -> Floats:
        """Logarithm [B] of the density at actions before the squash [B, A]."""
        z = (presquash - self.mean) / self.std
        return -(z**2 / 2 + np.log(self.std) + np.log(2 * np.pi) / 2).sum(axis=1)


@dataclass(frozen=True, eq=False)
class LogStd:
    """From a network's outputs to log standard deviations within [low, high].

    clamp: clip(y, low, high), as in Stable-Baselines3's SAC, [-20, 2];
    tanh: low + (tanh(y) + 1) / 2 * (high - low), as in SPoRt, [-5, 2].
    """

    form: StdForm = "clamp"
    low: float = -20.0
    high: float = 2.0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise NiwakiError(f"unknown form of the log-std {self.form!r}; known: {', '.join(FORMS)}")
        if not -MOST_LOG_STD <= self.low < self.high <= MOST_LOG_STD:
            raise NiwakiError(
                f"the log-std needs bounds low < high within {-MOST_LOG_STD:g} and {MOST_LOG_STD:g}, "
                f"got {self.low} and {self.high}"
            )

    def __call__(self, outputs: Floats, /) -> Floats:
        """Log standard deviations [B, A], float64, of outputs [B, A]."""
        if self.form == "clamp":
            return np.clip(np.asarray(outputs, dtype=np.float64), self.low, self.high)
        squashed = arithmetic.tanh(np.asarray(outputs, dtype=np.float32)).astype(np.float64)
        return self.low + (squashed + 1) / 2 * (self.high - self.low)


@dataclass(frozen=True, eq=False)
class GaussianPolicy:
    """action = head(mean + std * noise), both parts from one network of 2A outputs: A means, then A log-stds.

    A deviation that does not depend on the state (PPO) is a bias whose weights are zero. `network.outputs` computes
    with BLAS; what flies is `niwaki.policies.sampled`, in the deployed arithmetic.
    """

    network: NetworkPolicy  # raw head, 2A outputs
    head: Head  # clip or squash, A bounds
    log_std: LogStd = field(default_factory=LogStd)

    def __post_init__(self) -> None:
        if self.network.head.kind != "raw":
            raise NiwakiError(f"a Gaussian policy's network needs a raw head, got {self.network.head.kind}")
        if self.head.kind not in ("clip", "squash"):
            raise NiwakiError(f"a Gaussian policy needs continuous actions (clip or squash), got {self.head.kind}")
        if self.network.output_size != 2 * self.head.low.size:
            raise NiwakiError(
                f"{self.head.low.size} actions need {2 * self.head.low.size} network outputs, means and log-stds, "
                f"got {self.network.output_size}"
            )

    @property
    def observation_size(self) -> int:
        return self.network.observation_size

    @property
    def action_space(self) -> ActionSpace:
        """The actions this policy gives."""
        return Box(tuple(self.head.low.tolist()), tuple(self.head.high.tolist()))

    @property
    def origin(self) -> tuple[tuple[str, str], ...]:
        """Where it came from."""
        return self.network.origin

    def distribution(self, observations: Floats) -> Gaussian:
        """Mean and standard deviation [B, A] before the squash, for observations [B, O]."""
        return self.split(self.network.outputs(observations))

    def split(self, outputs: Floats) -> Gaussian:
        """The distribution that the network's outputs [B, 2A] stand for."""
        actions = self.head.low.size
        return Gaussian(outputs[:, :actions].astype(np.float64), np.exp(self.log_std(outputs[:, actions:])))

    def log_density(self, observations: Floats, presquash: Floats) -> Floats:
        """Logarithm [B] of the density of actions before the squash [B, A]."""
        return self.distribution(observations).log_density(presquash)

    def actions(self, presquash: Floats) -> NDArray:
        """Actions float32 [B, A] from what was drawn [B, A], in the deployed arithmetic."""
        with np.errstate(over="ignore"):
            return arithmetic.apply_head(self.head, presquash.astype(np.float32))

    @property
    def deterministic(self) -> NetworkPolicy:
        """The policy without noise: the head of the mean."""
        last, actions = self.network.layers[-1], self.head.low.size
        mean = Layer(last.weight[:actions], last.bias[:actions], last.activation)
        return replace(self.network, layers=(*self.network.layers[:-1], mean), head=self.head)

    def for_actions(self, space: ActionSpace) -> GaussianPolicy:
        """This policy, checked to fit an action space. Raises NiwakiError where it does not."""
        self.deterministic.for_actions(space)
        return self
