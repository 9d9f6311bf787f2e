"""Policies from plain PyTorch state_dicts (.pth, .pt): one chain of Linear layers, found by name and size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from niwaki.policies.files import naming, read_bytes
from niwaki.policies.network import ACTIVATIONS, Layer, NetworkPolicy
from niwaki.policies.torch_file import Tensors, read_checkpoint, to_arrays
from niwaki.types import Floats, NiwakiError

NESTED = ("model_state_dict", "state_dict", "actor_state_dict", "actor", "policy", "model")
# One part of a dotted name, such as "actor_mean", "critic" or "qf1".
ACTOR = re.compile(r"(actor|policy|pi|mu|mean)(_.*|\d*)")
CRITIC = re.compile(r"(critic|value|vf|v|qf|q|baseline)(_.*|\d*)|(.+_)?target")
NORMALIZER = re.compile(r"norm|preproc|running_(mean|var)|rms|scaler", re.IGNORECASE)
SPREAD = re.compile(r"(.+_)?(log_?std|std|sigma|log_?var)(_.*)?")  # of a Gaussian: the mean is what we import


@dataclass(frozen=True)
class Linear:
    """One linear layer of a state_dict and the name its tensors share."""

    name: str
    weight: Floats  # [out, in]
    bias: Floats  # [out]


def load_state_dict(
    path: str | Path, *, layers: Sequence[int] | None = None, activation: str | None = None
) -> NetworkPolicy:
    """The policy whose Linear layers a state_dict holds, with a `raw` head: a task gives it its meaning.

    A state_dict says nothing of activations: `activation` names the one between the layers. `layers` are the
    widths from observation to output, (8, 128, 128, 2), to check or to choose by. Raises NiwakiError when
    the chain of layers is not unique, or when the file holds tensors that are not part of it.
    """
    path = Path(path)
    if activation is not None and activation not in ACTIVATIONS:
        raise NiwakiError(f"unknown activation {activation!r}; known: {', '.join(ACTIVATIONS)}")
    with naming(path):
        data = read_bytes(path)
        tensors = to_arrays(_state_dict(read_checkpoint(data)), file_size=len(data))
        chain = _chain(_linears(tensors), None if layers is None else tuple(layers))
        if activation is None and len(chain) > 1:
            raise NiwakiError(
                f"a state_dict does not say its activation: pass it, for example --activation relu ({_sizes(chain)})"
            )
        hidden = [Layer(linear.weight, linear.bias, activation or "identity") for linear in chain[:-1]]
        origin = (("source", path.name), ("format", "PyTorch state_dict"))
        return NetworkPolicy((*hidden, Layer(chain[-1].weight, chain[-1].bias)), origin=origin)


def _state_dict(checkpoint: object) -> Mapping[object, object]:
    """The table of tensors, possibly nested in a training checkpoint."""
    import torch

    for _ in range(3):
        if not isinstance(checkpoint, Mapping):
            break
        statistics = [str(name)[:60] for name in checkpoint if NORMALIZER.search(str(name))]
        if statistics:
            raise NiwakiError(
                f"{statistics[0]!r} looks like observation statistics, which cannot be imported from a .pth"
            )
        inner = [checkpoint[name] for name in NESTED if isinstance(checkpoint.get(name), Mapping)]
        if not inner and any(isinstance(value, torch.Tensor) for value in checkpoint.values()):
            return checkpoint
        checkpoint = inner[0] if inner else None
    raise NiwakiError(f"this PyTorch file holds no state_dict, neither at its top nor under {', '.join(NESTED)}")


def _linears(tensors: Tensors) -> list[Linear]:
    """The actor's Linear layers in file order. Critics and spreads are left out; anything else is refused."""
    wanted = {key: value for key, value in tensors.items() if not _is_aside(key)}
    linears = []
    for key, weight in wanted.items():
        stem, _, kind = key.rpartition(".")
        if kind == "bias" and f"{stem}.weight" in wanted:
            continue
        if kind != "weight" or weight.ndim != 2:
            raise NiwakiError(
                f"{key!r} of shape {weight.shape} is not part of a Linear layer: only plain MLPs can be imported"
            )
        bias = wanted.get(f"{stem}.bias", np.zeros(len(weight), dtype=np.float32))
        linears.append(Linear(stem, weight, bias))
    if not linears:
        raise NiwakiError("this state_dict holds no Linear layer of an actor")
    return linears


def _is_aside(key: str) -> bool:
    parts = key.split(".")
    return any(CRITIC.fullmatch(part) or SPREAD.fullmatch(part) for part in parts)


def _chain(linears: list[Linear], layers: tuple[int, ...] | None) -> list[Linear]:
    """The one sequence of layers that fit each other: all of them, the actor's own, or those of the given widths."""
    actor = [linear for linear in linears if any(ACTOR.fullmatch(part) for part in linear.name.split("."))]
    found = next((group for group in (linears, actor) if group and _fits(group)), None)
    if layers is not None and (found is None or _widths(found) != layers):
        count = len(layers) - 1
        windows = [linears[i : i + count] for i in range(len(linears) - count + 1)] if count > 0 else []
        matching = [window for window in windows if _fits(window) and _widths(window) == layers]
        if len(matching) != 1:
            wanted = "-".join(map(str, layers))
            raise NiwakiError(f"{len(matching)} sequences of layers are {wanted}; the file holds {_sizes(linears)}")
        found = matching[0]
    if found is None:
        raise NiwakiError(
            f"the Linear layers {_sizes(linears)} do not form one chain: "
            "pass the actor's widths, for example --layers 8-128-128-2"
        )
    _check_gaps(found)
    return found


def _fits(chain: list[Linear]) -> bool:
    return all(len(a.weight) == b.weight.shape[1] for a, b in pairwise(chain))


def _widths(chain: list[Linear]) -> tuple[int, ...]:
    return (chain[0].weight.shape[1], *(len(linear.weight) for linear in chain))


def _sizes(chain: list[Linear]) -> str:
    return ", ".join(f"{linear.name[:40]} {linear.weight.shape[1]}-{len(linear.weight)}" for linear in chain[:12])


def _check_gaps(chain: list[Linear]) -> None:
    """Numbered layers must leave room for exactly one activation (Sequential: 0, 2, 4) or none (a list: 0, 1, 2)."""
    steps: dict[str, list[int]] = {}
    for linear in chain:
        parent, _, last = linear.name.rpartition(".")
        if re.fullmatch(r"\d{1,6}", last):
            steps.setdefault(parent, []).append(int(last))
    for parent, numbers in steps.items():
        gaps = {b - a for a, b in pairwise(numbers)}
        if gaps not in (set(), {1}, {2}):
            raise NiwakiError(
                f"{parent or 'the network'} has Linear layers at {numbers}: what lies between them is not known"
            )
