"""Running the command line as a user does."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from niwaki.cli import main
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.storage import save_policy


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def niwaki(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `niwaki ARGUMENTS` in an empty folder: in this process, where everything is imported already; under another
    environment in a process of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, **environment: str) -> Ran:
        words = [str(argument) for argument in arguments]
        if environment:
            for key, value in environment.items():
                monkeypatch.setenv(key, value)
            command = [sys.executable, "-m", "niwaki", *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            return Ran(done.returncode, done.stdout, done.stderr)
        monkeypatch.setattr(sys, "argv", ["niwaki", *words])
        out, err, terminated = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGTERM, terminated)
        return Ran(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def balancer(tmp_path: Path) -> Path:
    """A linear policy that balances CartPole, with dead units around it."""
    hidden = Layer(np.array([[0.02, 0.1, 1.0, 0.2], [0, 0, 0, 0], [1, 1, 1, 1]]), np.array([0, 0.5, 0]), "identity")
    output = Layer(np.array([[-1.0, 0.1, 0], [1.0, 0.1, 0]]), np.zeros(2))
    path = tmp_path / "balancer.safetensors"
    save_policy(NetworkPolicy((hidden, output), Head("argmax")), path)
    return path
