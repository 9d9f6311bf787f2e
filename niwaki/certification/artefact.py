"""The files that a certificate is about."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact
from niwaki.policies.files import read_bytes
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import load_niwaki
from niwaki.tasks import Task
from niwaki.types import NiwakiError

SOURCE, HEADER, WEIGHTS = "policy.c", "policy.h", "policy.safetensors"
TEACHER = "teacher.safetensors"
OPTIONAL = ("policy.onnx",)
PACKAGES = ("niwaki", "numpy", "scipy", "gymnasium", "box2d", "box2d-py", "mujoco")


def load_artefact(folder: Path) -> NetworkPolicy:
    """The network whose C is in the folder, byte for byte.

    policy.c is never trusted to be compiled: it is compared with the C that policy.safetensors gives, and
    that is what flies. Raises NiwakiError when a file is missing or the C is another one.
    """
    network = load_niwaki(folder / WEIGHTS)
    c = c_source(compact(network), name=Path(SOURCE).stem)
    for file, text in ((SOURCE, c.source), (HEADER, c.header)):
        if read_bytes(folder / file) != text.encode("ascii"):
            raise NiwakiError(
                f"{file} is not what this niwaki makes of {WEIGHTS}: export again, or use the niwaki it was made with"
            )
    return network


def fingerprints(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files, by name. Raises NiwakiError when one is missing."""
    return {file: hashlib.sha256(read_bytes(folder / file)).hexdigest() for file in files}


def bound_files(folder: Path, *, teacher: bool) -> tuple[str, ...]:
    """Names of the files in the folder that a certificate binds."""
    optional = tuple(file for file in OPTIONAL if (folder / file).exists())
    return (SOURCE, HEADER, WEIGHTS, *optional, *((TEACHER,) if teacher else ()))


def source_fingerprint(network: NetworkPolicy) -> str:
    """SHA-256 of the C that the network gives."""
    return hashlib.sha256(c_source(compact(network)).source.encode("ascii")).hexdigest()


def describe_task(task: Task) -> dict[str, Any]:
    """Everything about the task that a claim depends on, as plain JSON values; and its source text."""
    simulator = task.simulator
    kind = type(simulator)
    described = {"class": f"{kind.__module__}.{kind.__qualname__}"} | asdict(simulator)
    plain = json.loads(json.dumps(_finite(described)))
    return {"name": task.name, "title": task.title, "source": task.source, "simulator": plain}


def _finite(value: Any) -> Any:
    """The value with infinite bounds as text: JSON has no infinity."""
    if isinstance(value, dict):
        return {str(key): _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return str(value) if value in (float("inf"), float("-inf")) else value


def versions() -> dict[str, str]:
    """Versions of the installed packages that the flights depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Processor family, system, C library and Python: what a simulator's last bits may depend on."""
    library = " ".join(part for part in platform.libc_ver() if part)
    return f"{platform.machine()}, {platform.system()} {library}, Python {platform.python_version()}"


def differences_here(versions_there: Mapping[str, str], machine_there: str) -> list[str]:
    """A sentence for every package of another version than here, and for another kind of machine."""
    here, made = versions() | {"machine": machine()}, {**versions_there, "machine": machine_there}
    return [
        f"made with {name} {made.get(name, 'none')}, here is {here.get(name, 'none')}"
        for name in sorted({*here, *made})
        if here.get(name) != made.get(name)
    ]


def elsewhere(versions_there: Mapping[str, str], machine_there: str) -> str:
    """Empty with the same packages on the same kind of machine; otherwise words that say so."""
    differs = differences_here(versions_there, machine_there)
    return " (with other packages or on another machine than it was made with)" if differs else ""
