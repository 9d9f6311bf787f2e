"""Gymnasium environments by id: finding them, making them, and reading their spaces into ours."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

import niwaki.simulators.as_gymnasium  # noqa: F401  # registers niwaki's own environments
from niwaki.types import ActionSpace, Box, Discrete, NiwakiError

Arguments = tuple[tuple[str, object], ...]  # keyword arguments as sorted pairs, so that an engine is a plain value


def make_environment(env_id: str, kwargs: Arguments, *, render_mode: str | None = None) -> Any:
    """The environment, without time limit and checks."""
    arguments = dict(kwargs) if render_mode is None else {**dict(kwargs), "render_mode": render_mode}
    spec = find_spec(env_id)
    bare = replace(
        spec,
        max_episode_steps=None,
        order_enforce=False,
        disable_env_checker=True,
        kwargs={**spec.kwargs, **arguments},
    )
    if "mujoco" in str(spec.entry_point):
        _route_mujoco_warnings()
    try:
        env = gymnasium.make(bare)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        extra = next((e for e in ("box2d", "mujoco") if e in str(spec.entry_point)), None)
        advice = f'pip install "niwaki[{extra}]"' if extra else "install what it asks for"
        raise NiwakiError(f"{env_id} needs a package that is not installed ({one_line(error)}): {advice}") from error
    except Exception as error:  # an environment's own constructor may raise anything
        raise NiwakiError(f"Gymnasium could not make {env_id}: {one_line(error)}") from error
    if render_mode is not None and render_mode not in env.metadata.get("render_modes", ()):
        modes = ", ".join(env.metadata.get("render_modes", ())) or "none"
        raise NiwakiError(f"{env_id} cannot draw in the mode {render_mode!r}; its modes: {modes}")
    return env


def _route_mujoco_warnings() -> None:
    """Make MuJoCo's warnings Python's: by itself it writes them into a file in the current folder. What it
    says about the deprecated words in Gymnasium's own models is nothing a user could mend."""
    with contextlib.suppress(ImportError):  # a missing MuJoCo is reported where the environment is made
        import mujoco

        def warn(message: str) -> None:
            if "deprecated" not in message:
                warnings.warn(f"MuJoCo: {message.strip()}", RuntimeWarning, stacklevel=2)

        mujoco.set_mju_user_warning(warn)


def find_spec(env_id: str) -> Any:
    """Gymnasium's registration of an id."""
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(name)
    except ImportError as error:
        raise NiwakiError(f"the module of {env_id!r} cannot be imported: {one_line(error)}") from error
    except gymnasium.error.Error as error:
        near = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.5)
        hint = f"; the nearest registered names: {', '.join(near)}" if near else ""
        raise NiwakiError(f"Gymnasium knows no environment {name!r}{hint}") from error
    if spec.nondeterministic:
        raise NiwakiError(f"{env_id} is registered as nondeterministic, so no run of it could be replayed")
    return spec


def plain_arguments(kwargs: Mapping[str, object] | Arguments) -> Arguments:
    """Keyword arguments as sorted pairs of plain values; lists become tuples."""
    pairs = dict(kwargs)
    if "render_mode" in pairs:
        raise NiwakiError("render_mode is not an argument of the engine: pass it to open()")
    return tuple((key, plain_value(key, pairs[key])) for key in sorted(pairs))


def plain_value(key: str, value: object) -> object:
    """The value itself when it is a number, text, truth value or None; a tuple of such for a sequence."""
    if isinstance(value, (list, tuple)):
        return tuple(plain_value(key, item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise NiwakiError(f"the argument {key} must be a number, text or a list of such, got {type(value).__name__}")


def observation_size(env_id: str, space: Any) -> int:
    """The length O of a flat Box."""
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise NiwakiError(
            f"{env_id} must observe one vector, a Box of shape (n,), but its observation space is {one_line(space)}"
        )
    return int(space.shape[0])


def action_space(env_id: str, space: Any) -> ActionSpace:
    """Our action space for Gymnasium's."""
    if isinstance(space, gymnasium.spaces.Discrete) and space.start == 0:
        return Discrete(int(space.n))
    is_box = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
    if is_box and np.issubdtype(space.dtype, np.floating):
        return Box(tuple(map(float, space.low)), tuple(map(float, space.high)))
    raise NiwakiError(
        f"{env_id} must take one of n actions counted from 0 (Discrete) or one vector of floats (Box), "
        f"but its action space is {one_line(space)}"
    )


def one_line(text: object) -> str:
    """The text without line breaks and not too long; the type's name when there is no text."""
    return textwrap.shorten(str(text) or type(text).__name__, 300)
