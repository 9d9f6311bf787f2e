"""A command that is told to end ends as by Ctrl-C, and takes its worker processes with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROC = Path("/proc")


def children(pid: int) -> list[int]:
    return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]


def until(true, seconds=90.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(not PROC.is_dir(), reason="no /proc to look for processes in")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_no_worker_survives(sent):
    pytest.importorskip("Box2D")
    command = ["evaluate", "lunarlander", "--episodes", "100000", "--workers", "2"]
    with subprocess.Popen([sys.executable, "-m", "niwaki", *command], stderr=subprocess.PIPE, text=True) as process:
        until(lambda: len(children(process.pid)) > 2)  # two workers, and what looks after them
        workers = children(process.pid)
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().endswith("stopped")
    until(lambda: not any((PROC / str(worker)).exists() for worker in workers))
