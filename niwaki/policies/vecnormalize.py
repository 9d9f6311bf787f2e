"""Stable-Baselines3's VecNormalize: the observation statistics a policy was trained with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from niwaki.policies.files import naming, read_bytes
from niwaki.policies.inert_pickle import Built, read_pickle
from niwaki.policies.network import Normalizer
from niwaki.types import Floats, NiwakiError

SIZE_LIMIT = 16 * 2**20  # bytes; real files have a few thousand
LARGEST = 1e300  # no number of a VecNormalize comes near; a Python integer in a pickle may be any length
FILE_NAMES = ("vecnormalize.pkl", "vec_normalize.pkl")
NUMBERS = frozenset({"b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"})


def load_vecnormalize(path: str | Path) -> Normalizer | None:
    """The observation normaliser of a saved VecNormalize; None when it left observations alone (norm_obs=False).

    scale = sqrt(var + epsilon). The pickle is read as data, nothing of it is run. Raises NiwakiError for a
    file that asks for anything else than numbers, is damaged, or normalises dictionary observations.
    """
    path = Path(path)
    with naming(path):
        return _normalizer(read_pickle(read_bytes(path, limit=SIZE_LIMIT)))


def find_beside(agent: Path) -> Path | None:
    """The one VecNormalize file that belongs to an agent's zip, or None.

    It lies in the zip's folder or, as RL Zoo writes it, in the folder beside it that has the zip's name.
    """
    folders = (agent.parent, agent.parent / agent.stem)
    found = [folder / name for folder in folders for name in FILE_NAMES if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(str(file.relative_to(agent.parent)) for file in found)
        raise NiwakiError(f"{agent.name} has {names} beside it: say which one holds its normalisation")
    return found[0] if found else None


def _normalizer(pickled: object) -> Normalizer | None:
    if not isinstance(pickled, Built) or not pickled.maker.name.endswith("VecNormalize"):
        held = str(pickled.maker) if isinstance(pickled, Built) else type(pickled).__name__
        raise NiwakiError(f"this pickle holds {held!r}, not a Stable-Baselines3 VecNormalize")
    state = _attributes(pickled, "VecNormalize")
    if not _number(state, "norm_obs"):
        return None
    if isinstance(state.get("obs_rms"), dict):
        raise NiwakiError("dictionary observations are not supported: niwaki shapes policies with one vector as input")
    statistics = _attributes(state.get("obs_rms"), "observation statistics")
    variance = _array(statistics, "var")
    epsilon = _number(state, "epsilon")
    with np.errstate(invalid="ignore"):
        scale = np.sqrt(variance + epsilon)  # a negative variance gives NaN, which Normalizer refuses
    return Normalizer(_array(statistics, "mean"), scale, _number(state, "clip_obs"))


def _attributes(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, Built) or not isinstance(value.state, dict):
        raise NiwakiError(f"the {what} in this pickle have no attributes: it was not saved by Stable-Baselines3")
    return value.state


def _number(state: dict[str, object], key: str) -> float:
    value = state.get(key)
    if isinstance(value, Built) and value.maker.name == "scalar" and len(value.args) == 2:
        dtype, raw = value.args
        return float(_decode(dtype, raw, ())[()])
    if not isinstance(value, (bool, int, float)) or not abs(value) <= LARGEST:
        raise NiwakiError(f"the VecNormalize has no usable number {key!r}")
    return float(value)


def _array(state: dict[str, object], key: str) -> Floats:
    """A 1-D array as float64."""
    value = state.get(key)
    if isinstance(value, Built) and value.maker.name == "_frombuffer" and len(value.args) == 4:
        raw, dtype, shape, _ = value.args
    elif isinstance(value, Built) and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, _, raw = value.state
    else:
        raise NiwakiError(f"the observation statistics have no array {key!r}")
    if not isinstance(shape, tuple) or len(shape) != 1:
        raise NiwakiError(f"the observation statistics {key!r} are not one vector of numbers")
    return _decode(dtype, raw, shape)


def _decode(dtype: object, raw: object, shape: tuple) -> Floats:
    """float64 numbers from the raw bytes of a pickled array, its size checked against its shape."""
    layout = _layout(dtype)
    if layout is None or not isinstance(raw, (bytes, bytearray)):
        raise NiwakiError("refused: an array of this pickle holds objects or an unknown type instead of plain numbers")
    if not all(isinstance(n, int) and n >= 0 for n in shape) or math.prod(shape) * layout.itemsize != len(raw):
        raise NiwakiError(f"an array of this pickle has {len(raw)} bytes, which does not fit the shape it claims")
    return np.frombuffer(raw, layout).reshape(shape).astype(np.float64)


def _layout(dtype: object) -> np.dtype | None:
    """The NumPy type a pickled dtype describes, when it is one of the plain numbers."""
    if not isinstance(dtype, Built) or not dtype.args or str(dtype.args[0]) not in NUMBERS:
        return None
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "="
    return np.dtype(f"{order}{dtype.args[0]}") if order in ("<", ">", "|", "=") else None
