"""A small certified folder, made once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from niwaki.certification.certificate import Certificate
from niwaki.certification.certify import certify
from niwaki.certification.plan import plan
from niwaki.compiler import find_compiler
from niwaki.policies.c_source import c_source
from niwaki.policies.compact import compact
from niwaki.policies.compiled import write_sources
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.storage import save_policy
from niwaki.tasks import Task, load_task, with_specs

SPECS = ("always(abs(x) <= 0.24)", "always(not fell)")


def linear(*gains: float) -> NetworkPolicy:
    """A policy for CartPole: push to the right where the weighted sum of the observation is positive."""
    push = np.array(gains)
    return NetworkPolicy((Layer(np.stack([-push, push]), np.zeros(2)),), Head("argmax"))


CARELESS = linear(0, 0, 1, 0.01)  # falls in one of twelve episodes
TEACHER = linear(0, 0.12, 1, 0.1)


def export(network: NetworkPolicy, folder: Path) -> None:
    """What `niwaki export` leaves, without the ONNX file."""
    folder.mkdir(exist_ok=True)
    save_policy(network, folder / "policy.safetensors")
    write_sources(c_source(compact(network)), folder)


@pytest.fixture(scope="module", autouse=True)
def compiled(compiled_once: None) -> None:
    """Two policies are compiled again and again here."""


@pytest.fixture(scope="session")
def task() -> Task:
    """CartPole for 60 steps, under a specification that is now and then broken."""
    known = load_task("cartpole-v0")
    return with_specs(replace(known, simulator=replace(known.simulator, horizon=60)), SPECS)


@pytest.fixture(scope="session")
def _certified(task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Certificate]:
    if find_compiler() is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("certified")
    export(CARELESS, folder)
    (folder / "policy.onnx").write_bytes(b"stands for an ONNX file " * 9)
    planned = plan(0.4, confidence=0.99, episodes=330)
    return folder, certify(folder, task, planned, teacher=TEACHER, return_floor=0.0).certificate


@pytest.fixture
def certified(_certified: tuple[Path, Certificate], tmp_path: Path) -> Path:
    """A copy of the certified folder, to be spoilt."""
    shutil.copytree(_certified[0], tmp_path / "certified")
    return tmp_path / "certified"


@pytest.fixture(scope="session")
def certificate(_certified: tuple[Path, Certificate]) -> Certificate:
    """The certificate in that folder."""
    return _certified[1]
