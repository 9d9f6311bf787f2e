"""Gym and Gymnasium spaces as Stable-Baselines3 writes them into a zip's JSON text."""

from __future__ import annotations

import math
import re

import numpy as np

from niwaki.types import Box, Discrete, Floats, NiwakiError

_TYPE = re.compile(r"<class '(?:gym|gymnasium)\.spaces\.\w+\.(\w+)'>")


def read_observation_size(entry: object) -> int:
    """Length of the observation vector. Raises NiwakiError for every space that is not a vector."""
    fields, kind = _fields(entry, "observation space")
    shape = _shape(fields)
    if kind != "Box" or len(shape) != 1:
        detail = f"{kind} of shape {shape}" if kind == "Box" else kind
        raise NiwakiError(f"observations are a {detail}, which is not supported yet: niwaki takes a Box with one axis")
    return shape[0]


def read_action_space(entry: object) -> Discrete | Box:
    """Discrete(n) or Box(low, high). The bounds are as exact as their text: at least 8 significant digits
    when they are of similar size. Raises NiwakiError for every other space."""
    fields, kind = _fields(entry, "action space")
    if kind == "Discrete":
        if _whole(fields.get("start", 0)) != 0:
            raise NiwakiError(f"discrete actions that start at {fields['start']} are not supported yet, only at 0")
        return Discrete(_whole(fields.get("n")))
    if kind != "Box":
        raise NiwakiError(f"{kind} actions are not supported yet: niwaki takes Discrete and Box actions")
    shape = _shape(fields)
    if len(shape) != 1:
        raise NiwakiError(f"actions of shape {shape} are not supported yet: niwaki takes a Box with one axis")
    low, high = (_bounds(fields, side, shape[0]) for side in ("low", "high"))
    return Box(tuple(low.tolist()), tuple(high.tolist()))


def _fields(entry: object, what: str) -> tuple[dict[str, object], str]:
    kind = _TYPE.fullmatch(str(entry.get(":type:"))) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or kind is None:
        raise NiwakiError(f"the zip's data has no {what} of a known kind")
    return entry, kind[1]


def _shape(fields: dict[str, object]) -> tuple[int, ...]:
    shape = fields.get("_shape", fields.get("shape"))  # Gym before 0.22 wrote `shape`
    return tuple(_whole(n) for n in shape) if isinstance(shape, list) else ()


def _whole(value: object) -> int:
    text = str(value)  # NumPy integers were written as text
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise NiwakiError(f"a space in the zip's data has {text[:40]!r} where a whole number belongs")
    return int(text)


def _bounds(fields: dict[str, object], side: str, size: int) -> Floats:
    text = str(fields.get(side))
    if "..." in text:  # NumPy shortens long arrays; equal bounds are also written as one number
        text = " ".join([str(fields.get(f"{side}_repr"))] * size)
    try:
        bounds = np.array([float(word) for word in text.strip("[]").split()], dtype=np.float32)
    except ValueError:
        bounds = np.zeros(0, dtype=np.float32)
    if bounds.shape != (size,) or any(math.isnan(bound) for bound in bounds):
        raise NiwakiError(
            f"the {side} action bounds are not readable from the zip's data: {text[:60]!r} for {size} actions"
        )
    return bounds
