"""A film appears whole or not at all. What a user sees is tested with the command line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from niwaki.playback import record_film
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.tasks import load_task
from niwaki.types import NiwakiError


def test_a_full_disk_leaves_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imageio", reason="recording needs the extra play")
    pytest.importorskip("pygame", reason="recording needs the extra play")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    simulator = load_task("cartpole").simulator
    falls = NetworkPolicy((Layer(np.zeros((2, 4)), np.array([0.0, 1.0])),), Head("argmax"))

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # the last step before the film gets its name
    with pytest.raises(NiwakiError, match="No space left"):
        record_film(simulator, falls, simulator.nominal[None], tmp_path / "fall.gif", progress=lambda n: None)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    seen = record_film(simulator, falls, simulator.nominal[None], tmp_path / "fall.gif", progress=lambda n: None)
    assert seen.ending_names[seen.endings[0]] == "fell"
    assert (tmp_path / "fall.gif").read_bytes().startswith(b"GIF8")
