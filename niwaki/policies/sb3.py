"""Policies from Stable-Baselines3 and sb3-contrib zips, without running anything of the zip.

Two members are read: `data` (JSON; what is pickled inside stays text) and `policy.pth` (tensors). Every
tensor must belong to the known layout of the algorithm's MLP policy: a custom network is refused, never
imported in part.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from niwaki.policies.files import check_file, naming, parsing, unzip, unzipped
from niwaki.policies.gaussian import MOST_LOG_STD, GaussianPolicy, LogStd
from niwaki.policies.network import ACTIVATIONS, Head, Layer, NetworkPolicy
from niwaki.policies.sb3_space import read_action_space, read_observation_size
from niwaki.policies.torch_file import Tensors, read_checkpoint, to_arrays
from niwaki.policies.vecnormalize import load_vecnormalize
from niwaki.types import Box, Discrete, Floats, NiwakiError

CLIP_MEAN = 2.0  # SAC's and TQC's default bound on the mean under state-dependent exploration
SAC_LOG_STD = (-20.0, 2.0)  # what SAC and TQC clip the log standard deviation to
TORCH_ACTIVATIONS = {
    f"<class 'torch.nn.modules.activation.{torch_name}'>": name
    for torch_name, name in {
        "ReLU": "relu",
        "Tanh": "tanh",
        "ELU": "elu",
        "LeakyReLU": "leaky_relu",
        "Sigmoid": "sigmoid",
        "SiLU": "silu",
    }.items()
}


@dataclass(frozen=True)
class Layout:
    """Where an algorithm's MLP policy keeps its tensors."""

    name: str
    actor: tuple[str, ...]  # prefixes of the actor's parts, from observation to action
    rest: tuple[str, ...]  # prefixes of everything else the policy holds
    activation: str  # the default
    squashed: bool = False


ACTOR_CRITIC = Layout(
    "actor-critic",
    ("mlp_extractor.shared_net.", "mlp_extractor.policy_net.", "action_net."),
    ("mlp_extractor.value_net.", "value_net.", "log_std"),
    "tanh",
)
ARS = Layout("ARS", ("action_net.",), (), "relu")
DQN = Layout("DQN", ("q_net.q_net.",), ("q_net_target.",), "relu")
QRDQN = Layout("QR-DQN", ("quantile_net.quantile_net.",), ("quantile_net_target.",), "relu")
_CRITICS = ("critic.", "critic_target.", "actor_target.")
TD3 = Layout("TD3", ("actor.mu.",), _CRITICS, "relu", squashed=True)
SAC = Layout("SAC", ("actor.latent_pi.", "actor.mu."), ("actor.log_std", *_CRITICS), "relu", squashed=True)


def load_sb3(
    path: str | Path, *, vecnormalize: str | Path | None = None, activation: str | None = None
) -> NetworkPolicy:
    """The deterministic policy of a PPO, A2C, TRPO, ARS, DQN, QR-DQN, SAC, TD3, DDPG or TQC agent.

    `vecnormalize` is the agent's VecNormalize pickle, read as data and baked into the policy;
    `activation` overrides what the zip says. Raises NiwakiError for what is not an MLP on a vector.
    """
    path = Path(path)
    if activation is not None and activation not in ACTIVATIONS:
        raise NiwakiError(f"unknown activation {activation!r}; known: {', '.join(ACTIVATIONS)}")
    with naming(path):
        data, tensors = _read(path)
        layout = _layout(data, tensors)
        kwargs = _mapping(data.get("policy_kwargs"))
        layers = _layers(layout, tensors, activation or _activation(layout, kwargs))
        actions = read_action_space(data.get("action_space"))
        if layout is QRDQN and isinstance(actions, Discrete):
            layers = (*layers[:-1], _mean_of_quantiles(layers[-1], actions.n))
        _check_sizes(layers, read_observation_size(data.get("observation_space")), actions)
        origin = (("source", path.name), ("format", "Stable-Baselines3"), ("algorithm", _algorithm(layout, data)))
        policy = NetworkPolicy(layers, _head(layout, data, kwargs, tensors, actions), origin=origin)
    return policy if vecnormalize is None else _normalised(policy, Path(vecnormalize))


def load_sb3_gaussian(
    path: str | Path, *, vecnormalize: str | Path | None = None, activation: str | None = None
) -> GaussianPolicy:
    """The policy of a SAC, TQC, PPO, A2C or TRPO agent with the noise it was trained with; options as of `load_sb3`.

    Raises NiwakiError where there is no Gaussian that is drawn anew at every step: discrete actions, deterministic
    agents, state-dependent exploration.
    """
    path = Path(path)
    mean = load_sb3(path, vecnormalize=vecnormalize, activation=activation)
    with naming(path):
        data, tensors = _read(path)
        layout, last = _layout(data, tensors), mean.layers[-1]
        if mean.discrete:
            raise NiwakiError("this agent takes discrete actions: a policy with a mean and a deviation is needed")
        if layout is SAC and "actor.log_std" not in tensors:
            pairs = _linears("actor.log_std.", tensors)
            weight, bias = pairs[0] if len(pairs) == 1 else (np.zeros((0, 0)), np.zeros(0))
            log_std = LogStd("clamp", *SAC_LOG_STD)
        elif layout is ACTOR_CRITIC and "log_std" in tensors and tensors["log_std"].ndim == 1:
            weight, bias = np.zeros_like(last.weight), tensors["log_std"]
            log_std = LogStd("clamp", -MOST_LOG_STD, MOST_LOG_STD)
        elif layout in (SAC, ACTOR_CRITIC):
            raise NiwakiError("state-dependent exploration keeps its noise over several steps: it is not supported")
        else:
            raise NiwakiError(f"this {layout.name} agent is deterministic: a stochastic one is needed, such as SAC")
        if weight.shape != last.weight.shape or bias.shape != last.bias.shape:
            raise NiwakiError(f"the log-std is a layer of shape {weight.shape}, the mean one of {last.weight.shape}")
        both = Layer(np.concatenate((last.weight, weight)), np.concatenate((last.bias, bias)))
        network = NetworkPolicy((*mean.layers[:-1], both), normalizer=mean.normalizer, origin=mean.origin)
        return GaussianPolicy(network, mean.head, log_std)


def _normalised(policy: NetworkPolicy, path: Path) -> NetworkPolicy:
    normalizer = load_vecnormalize(path)
    origin = (*policy.origin, ("vecnormalize", path.name))
    with naming(path):
        return NetworkPolicy(policy.layers, policy.head, normalizer, origin)


def _read(path: Path) -> tuple[dict[str, object], Tensors]:
    check_file(path)
    with unzipped(path) as archive:
        if not {"data", "policy.pth"} <= set(archive.namelist()):
            raise NiwakiError("this zip is not a Stable-Baselines3 agent: it needs the members data and policy.pth")
        text, weights = unzip(archive, "data"), unzip(archive, "policy.pth")
    with parsing("agent's JSON data"):
        data = json.loads(text)
    checkpoint = read_checkpoint(weights)
    if not isinstance(data, dict) or not isinstance(checkpoint, Mapping):
        raise NiwakiError("this zip is not a Stable-Baselines3 agent: data or policy.pth holds no table")
    return data, to_arrays(checkpoint, file_size=len(weights))


def _layout(data: dict[str, object], tensors: Tensors) -> Layout:
    module = str(_mapping(data.get("policy_class")).get("__module__"))
    if module.split(".")[0] not in ("stable_baselines3", "sb3_contrib"):
        raise NiwakiError(
            f"the policy class comes from {module[:80]!r}: only Stable-Baselines3's own MLP policies are known"
        )
    if any("lstm" in key for key in tensors):
        raise NiwakiError("recurrent (LSTM) policies are not supported yet: niwaki takes MLP policies")
    if any("features_extractor." in key for key in tensors):
        raise NiwakiError("policies with a features extractor (images, dictionaries, custom) are not supported yet")
    if any(key.startswith("quantile_net.") for key in tensors):
        return QRDQN
    if any(key.startswith("q_net.") for key in tensors):
        return DQN
    if any(key.startswith("actor.") for key in tensors):
        return SAC if any(key.startswith("actor.log_std") for key in tensors) else TD3
    return ACTOR_CRITIC if any(key.startswith("value_net.") for key in tensors) else ARS


def _activation(layout: Layout, kwargs: dict[str, object]) -> str:
    extractor = str(kwargs.get("features_extractor_class", "FlattenExtractor"))
    if "FlattenExtractor" not in extractor:
        raise NiwakiError(f"the features extractor {extractor[:80]!r} is not supported yet, only FlattenExtractor")
    if "activation_fn" not in kwargs:
        return layout.activation
    text = str(kwargs["activation_fn"])
    if text not in TORCH_ACTIVATIONS:
        raise NiwakiError(
            f"unknown activation {text[:80]!r}: name one of {', '.join(ACTIVATIONS)} if it is the same function"
        )
    return TORCH_ACTIVATIONS[text]


def _layers(layout: Layout, tensors: Tensors, activation: str) -> tuple[Layer, ...]:
    """The actor's layers. Every tensor of the file is accounted for."""
    strange = [key for key in tensors if not key.startswith((*layout.actor, *layout.rest))]
    if strange:
        raise NiwakiError(
            f"the policy holds {strange[0]!r}, which is no part of an {layout.name} MLP policy: "
            "custom networks are not supported"
        )
    pairs = [pair for prefix in layout.actor for pair in _linears(prefix, tensors)]
    if not pairs:
        raise NiwakiError("policy.pth holds no actor")
    hidden = [Layer(weight, bias, activation) for weight, bias in pairs[:-1]]
    return (*hidden, Layer(*pairs[-1]))


def _linears(prefix: str, tensors: Tensors) -> list[tuple[Floats, Floats]]:
    """Weights and biases of one part: a Linear (`weight`, `bias`) or a Sequential (`0.weight`, `2.weight` ...)."""
    part = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
    matches = {name: re.fullmatch(r"(?:(\d{1,4})\.)?(weight|bias)", name) for name in part}
    steps = sorted({int(match[1] or 0) for match in matches.values() if match})
    stems = ["" if "weight" in part else f"{step}." for step in steps]
    weights = [part.get(f"{stem}weight") for stem in stems]
    expected = {f"{stem}{kind}" for stem in stems for kind in ("weight", "bias")}
    if (
        not set(part) <= expected
        or any(b - a != 2 for a, b in pairwise([-2, *steps]))
        or any(weight is None or weight.ndim != 2 for weight in weights)
    ):
        raise NiwakiError(
            f"{prefix}* is not Linear layers with one activation between: it holds {', '.join(part)[:120]}"
        )
    return [
        (weight, part.get(f"{stem}bias", np.zeros(len(weight), dtype=np.float32)))
        for stem, weight in zip(stems, weights, strict=True)
        if weight is not None
    ]


def _mean_of_quantiles(layer: Layer, actions: int) -> Layer:
    """The last layer averaged over its quantiles, in float64: outputs are ordered [quantile, action]."""
    rows = layer.weight.shape[0]
    if actions < 1 or rows % actions:
        raise NiwakiError(f"{rows} quantile outputs do not divide into {actions} actions")
    weight = layer.weight.astype(np.float64).reshape(-1, actions, layer.weight.shape[1]).mean(axis=0)
    return Layer(weight, layer.bias.astype(np.float64).reshape(-1, actions).mean(axis=0))


def _check_sizes(layers: tuple[Layer, ...], observations: int, actions: Discrete | Box) -> None:
    inputs, outputs = layers[0].weight.shape[1], layers[-1].weight.shape[0]
    count = actions.n if isinstance(actions, Discrete) else len(actions.low)
    if (inputs, outputs) != (observations, count):
        raise NiwakiError(
            f"the network is {inputs} to {outputs}, but the spaces are {observations} observations to {count} actions"
        )


def _head(
    layout: Layout, data: dict[str, object], kwargs: dict[str, object], tensors: Tensors, actions: Discrete | Box
) -> Head:
    if isinstance(actions, Discrete):
        return Head("argmax")
    low, high = np.array(actions.low), np.array(actions.high)
    if not (layout.squashed or _squashes(layout, data, kwargs)):
        return Head("clip", low, high)
    # Under state-dependent exploration SAC's mean layer is followed by Hardtanh, hence the index in its name.
    limited = layout is SAC and "actor.log_std" in tensors and "actor.mu.0.weight" in tensors
    limit = _number(kwargs.get("clip_mean", CLIP_MEAN)) if limited else float("inf")
    if not limit > 0:
        raise NiwakiError(f"clip_mean must be a positive number, got {str(kwargs.get('clip_mean'))[:40]!r}")
    return Head("squash", low, high, limit)


def _squashes(layout: Layout, data: dict[str, object], kwargs: dict[str, object]) -> bool:
    linear = "ARSLinearPolicy" in str(_mapping(data.get("policy_class")).get("__init__"))
    return str(kwargs.get("squash_output", layout is ARS and not linear)) == "True"


def _algorithm(layout: Layout, data: dict[str, object]) -> str:
    """The algorithm's name, from the settings only it has; TD3 and DDPG are the same policy."""
    if layout is ACTOR_CRITIC:
        return "PPO" if "clip_range" in data else "TRPO" if "cg_max_steps" in data else "A2C"
    return "TQC" if "top_quantiles_to_drop_per_net" in data else layout.name


def _number(value: object) -> float:
    try:
        return float(str(value))  # NumPy numbers were written as text
    except ValueError:
        return float("nan")


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
