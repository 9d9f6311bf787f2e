"""Our own policy file: one safetensors file, metadata as JSON in its header. Reading it runs nothing."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from niwaki.policies.files import naming, parsing, read_bytes, write_whole
from niwaki.policies.gaussian import FORMS, GaussianPolicy, LogStd, StdForm
from niwaki.policies.network import HEADS, Head, HeadKind, Layer, NetworkPolicy, Normalizer
from niwaki.types import NiwakiError

METADATA = "niwaki"  # one key: safetensors does not promise an order of several
FORMAT = 1  # a NetworkPolicy
LARGEST = sys.float_info.max  # a whole number of JSON may be any length
GAUSSIAN = 2  # a GaussianPolicy: a reader that knows only the first refuses it by its number


def save_policy(policy: NetworkPolicy | GaussianPolicy, path: str | Path) -> None:
    """Writes the policy; loading it gives the same bits. The same policy gives the same file.

    The file appears whole or not at all. Raises NiwakiError when it cannot be written.
    """
    write_whole(Path(path), _encoded(policy))


def fingerprint(policy: GaussianPolicy) -> str:
    """SHA-256 of all that a policy computes with; where it came from is not part of it."""
    return hashlib.sha256(_encoded(replace(policy, network=replace(policy.network, origin=())))).hexdigest()


def load_niwaki(path: str | Path) -> NetworkPolicy:
    """The policy that `save_policy` wrote, without its noise. Raises NiwakiError for any other file."""
    policy = _load(Path(path))
    return policy.deterministic if isinstance(policy, GaussianPolicy) else policy


def load_gaussian(path: str | Path) -> GaussianPolicy:
    """The Gaussian policy that `save_policy` wrote. Raises NiwakiError for any other file."""
    policy = _load(Path(path))
    if isinstance(policy, NetworkPolicy):
        raise NiwakiError(
            f"{Path(path).name}: this policy is deterministic, it holds no standard deviations: "
            "a stochastic one is needed, such as a SAC or PPO agent"
        )
    return policy


def _encoded(policy: NetworkPolicy | GaussianPolicy) -> bytes:
    return save(_arrays(policy), {METADATA: json.dumps(_describe(policy), sort_keys=True, allow_nan=False)})


def _load(path: Path) -> NetworkPolicy | GaussianPolicy:
    with naming(path):
        data = read_bytes(path)
        with parsing("safetensors file"):
            arrays = load(data)
            size = int.from_bytes(data[:8], "little")
            text = json.loads(data[8 : 8 + size]).get("__metadata__", {}).get(METADATA)
        if text is None:
            raise NiwakiError("this safetensors file is not a niwaki policy: it has no niwaki metadata")
        with parsing("niwaki policy's metadata"):
            description = json.loads(text)
            version = description["format"]
        if version not in (FORMAT, GAUSSIAN):
            raise NiwakiError(
                f"this policy has format {str(version)[:40]}, this niwaki reads formats 1 and 2: update niwaki"
            )
        network, head = _parts(description, arrays)
        if version == FORMAT:
            return replace(network, head=head)
        return GaussianPolicy(network, head, _log_std(description.get("log_std")))


def _describe(policy: NetworkPolicy | GaussianPolicy) -> dict[str, object]:
    if isinstance(policy, GaussianPolicy):
        std, head = policy.log_std, {"head": policy.head.kind, "limit": _finite(policy.head.limit)}
        log_std = {"form": std.form, "low": float(std.low), "high": float(std.high)}
        return {**_describe(policy.network), **head, "format": GAUSSIAN, "log_std": log_std}
    normalizer = policy.normalizer
    return {
        "format": FORMAT,
        "activations": [layer.activation for layer in policy.layers],
        "head": policy.head.kind,
        "limit": _finite(policy.head.limit),
        "normalizer": None if normalizer is None else {"clip": _finite(normalizer.clip)},
        "origin": [list(pair) for pair in policy.origin],
    }


def _arrays(policy: NetworkPolicy | GaussianPolicy) -> dict[str, NDArray]:
    if isinstance(policy, GaussianPolicy):
        return _arrays(policy.network) | {"head.low": policy.head.low, "head.high": policy.head.high}
    arrays: dict[str, NDArray] = {}
    for i, layer in enumerate(policy.layers):
        arrays |= {f"layer{i}.weight": layer.weight, f"layer{i}.bias": layer.bias}
    if policy.normalizer is not None:
        arrays |= {"normalizer.mean": policy.normalizer.mean, "normalizer.scale": policy.normalizer.scale}
    if policy.head.low.size:
        arrays |= {"head.low": policy.head.low, "head.high": policy.head.high}
    return arrays


def _parts(description: dict[str, object], arrays: dict[str, NDArray]) -> tuple[NetworkPolicy, Head]:
    """The network with a raw head, and the head. Checks every field: the file may come from anybody."""
    activations, origin = description.get("activations"), description.get("origin")
    kind, normalizer = description.get("head"), description.get("normalizer")
    if not isinstance(activations, list) or not all(isinstance(name, str) for name in activations):
        raise NiwakiError("the policy's metadata has no list of activations")
    if not isinstance(origin, list) or not all(_is_pair(pair) for pair in origin):
        raise NiwakiError("the policy's metadata has no list of origins")
    if not isinstance(normalizer, (dict, type(None))):
        raise NiwakiError("the policy's metadata has no usable normaliser")
    expected = _expected(len(activations), bounded="head.low" in arrays, normalised=normalizer is not None)
    found = {name: array.dtype.name for name, array in arrays.items()}
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))[0]
        raise NiwakiError(f"the policy's arrays do not match its metadata, first at {wrong[0][:60]!r} ({wrong[1]})")
    layers = [Layer(arrays[f"layer{i}.weight"], arrays[f"layer{i}.bias"], name) for i, name in enumerate(activations)]
    none = np.zeros(0)
    head = Head(
        _head_kind(kind), arrays.get("head.low", none), arrays.get("head.high", none), _bound(description, "limit")
    )
    if normalizer is None:
        return NetworkPolicy(tuple(layers), origin=_pairs(origin)), head
    statistics = Normalizer(arrays["normalizer.mean"], arrays["normalizer.scale"], _bound(normalizer, "clip"))
    return NetworkPolicy(tuple(layers), normalizer=statistics, origin=_pairs(origin)), head


def _expected(count: int, *, bounded: bool, normalised: bool) -> dict[str, str]:
    """Array names and types of a file with so many layers."""
    expected = {f"layer{i}.{kind}": "float32" for i in range(count) for kind in ("weight", "bias")}
    if bounded:
        expected |= {"head.low": "float32", "head.high": "float32"}
    if normalised:
        expected |= {"normalizer.mean": "float64", "normalizer.scale": "float64"}
    return expected


def _head_kind(kind: object) -> HeadKind:
    for known in HEADS:
        if kind == known:
            return known
    raise NiwakiError(f"unknown action head {str(kind)[:40]!r}; known: {', '.join(HEADS)}")


def _log_std(fields: object) -> LogStd:
    fields = fields if isinstance(fields, dict) else {}
    bounds = [v for v in (fields.get("low"), fields.get("high")) if isinstance(v, (int, float)) and abs(v) <= LARGEST]
    forms: list[StdForm] = [known for known in FORMS if known == fields.get("form")]
    if not forms or len(bounds) != 2:
        raise NiwakiError(f"the policy's metadata has no usable log-std, got {str(fields)[:80]}")
    return LogStd(forms[0], float(bounds[0]), float(bounds[1]))


def _finite(value: float) -> float | None:
    """JSON has no infinity: None means no bound."""
    return None if value == float("inf") else float(value)


def _bound(fields: dict[str, object], key: str) -> float:
    value = fields.get(key)
    if value is None:
        return float("inf")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LARGEST:
        raise NiwakiError(f"the policy's {key} must be a positive number, got {str(value)[:40]!r}")
    return float(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _pairs(origin: list) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in origin)
