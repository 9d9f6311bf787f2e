"""One door for every policy: a bundled teacher by name, or a file of a kind told from its content."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from niwaki.policies.files import check_file, naming, unzipped
from niwaki.policies.gaussian import GaussianPolicy
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.onnx import load_onnx
from niwaki.policies.sb3 import load_sb3, load_sb3_gaussian
from niwaki.policies.state_dict import load_state_dict
from niwaki.policies.storage import load_gaussian, load_niwaki
from niwaki.policies.torch_file import LEGACY_MAGIC
from niwaki.policies.vecnormalize import find_beside
from niwaki.types import NiwakiError

Kind = Literal["sb3", "torch", "niwaki", "onnx"]
KINDS: dict[Kind, str] = {
    "sb3": "a Stable-Baselines3 agent",
    "torch": "a PyTorch state_dict",
    "niwaki": "a niwaki policy",
    "onnx": "an ONNX model",
}
ONNX_START = b"\x08"  # protobuf's tag of the field every ONNX model begins with, its IR version


def load_policy(
    source: str | Path,
    *,
    vecnormalize: str | Path | Literal[False] | None = None,
    activation: str | None = None,
    layers: Sequence[int] | None = None,
) -> NetworkPolicy:
    """The policy in a file (Stable-Baselines3 zip, PyTorch state_dict, ONNX, our own) or a bundled teacher.

    `vecnormalize`: the VecNormalize pickle of a Stable-Baselines3 agent. None takes the one beside the zip,
    if there is one (a policy without its normalisation is silently another policy); False takes none. The
    policy's origin says which was taken. `activation` and `layers` are what a state_dict does not say.
    Nothing of any file is run. Raises NiwakiError, in one sentence, for everything that is not such a policy.
    """
    path = _find(source)
    kind = _kind(path)
    useless = {
        "vecnormalize": vecnormalize not in (None, False) and kind != "sb3",
        "activation": activation is not None and kind not in ("sb3", "torch"),
        "layers": layers is not None and kind != "torch",
    }
    if any(useless.values()):
        option = next(name for name, given in useless.items() if given)
        raise NiwakiError(f"{path.name} is {KINDS[kind]}, to which {option} does not apply: leave it out")
    if kind == "sb3":
        statistics = find_beside(path) if vecnormalize is None else vecnormalize
        return load_sb3(path, vecnormalize=None if statistics is False else statistics, activation=activation)
    if kind == "torch":
        return load_state_dict(path, layers=layers, activation=activation)
    return load_niwaki(path) if kind == "niwaki" else load_onnx(path)


def load_stochastic(source: str | Path, *, vecnormalize: str | Path | Literal[False] | None = None) -> GaussianPolicy:
    """The policy with its noise: of a Stable-Baselines3 agent that was trained with a Gaussian, of our own file, or
    a bundled one. `vecnormalize` as of `load_policy`, which takes the mean of the same files.

    Raises NiwakiError for deterministic and discrete policies, in one sentence.
    """
    path = _find(source)
    kind = _kind(path)
    if kind == "sb3":
        statistics = find_beside(path) if vecnormalize is None else vecnormalize
        return load_sb3_gaussian(path, vecnormalize=None if statistics is False else statistics)
    if vecnormalize not in (None, False):
        raise NiwakiError(f"{path.name} is {KINDS[kind]}, to which vecnormalize does not apply: leave it out")
    if kind != "niwaki":
        raise NiwakiError(
            f"{path.name} is {KINDS[kind]}, which says nothing of noise: a stochastic policy is needed, "
            "such as a SAC or PPO agent of Stable-Baselines3"
        )
    return load_gaussian(path)


def teacher_names() -> tuple[str, ...]:
    """Names of the bundled teachers, which `load_policy` takes."""
    return tuple(sorted(path.stem for path in _teachers_folder().glob("*.safetensors")))


def _teachers_folder() -> Path:
    return Path(str(resources.files("niwaki"))) / "teachers"


def _find(source: str | Path) -> Path:
    """The file of a source. An existing file comes before a teacher of the same name, a folder after it."""
    path = Path(source)
    names = teacher_names()
    if _exists(path):
        return path
    if str(source) in names:
        return _teachers_folder() / f"{source}.safetensors"
    if path.is_dir():
        check_file(path)
    near = difflib.get_close_matches(str(source), names, n=3) or names
    hint = f"; bundled teachers: {', '.join(near)}" if near else ""
    raise NiwakiError(f"there is no file {str(source)!r}{hint}")


def _exists(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError) as error:  # a name too long for the system, or with a NUL inside
        raise NiwakiError(f"{str(path)[:80]!r} is no usable file name ({error})") from error


def _kind(path: Path) -> Kind:
    check_file(path)
    with naming(path):
        with path.open("rb") as file:
            start = file.read(32)
        if start.startswith(b"PK"):
            return _zip_kind(path)
        if start.startswith(LEGACY_MAGIC):
            return "torch"
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8:
            return "niwaki"
        if start[:1] == b"\x80" and start[1:2] <= b"\x05":
            raise NiwakiError(
                "this is a Python pickle, which niwaki does not open as a policy: "
                "a VecNormalize goes beside its agent's zip"
            )
        if start[:1] == ONNX_START:
            return "onnx"
        raise NiwakiError(f"this file is no policy that niwaki knows: it takes {', '.join(KINDS.values())}")


def _zip_kind(path: Path) -> Kind:
    with unzipped(path) as archive:
        names = archive.namelist()
    if {"data", "policy.pth"} <= set(names):
        return "sb3"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    raise NiwakiError(
        f"this zip is neither a Stable-Baselines3 agent nor a PyTorch file: it holds {', '.join(names[:6])[:200]}"
    )
