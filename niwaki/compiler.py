"""The machine's C compiler: found, asked who it is, and put to work."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

COMPILE_SECONDS = 300


def find_compiler() -> str | None:
    """Path of the C compiler: $CC if set, else the first of cc, gcc, clang that exists."""
    named = os.environ.get("CC")
    for candidate in (named,) if named else ("cc", "gcc", "clang"):
        path = shutil.which(candidate)
        if path:
            return path
    return None


def banner(compiler: str) -> str:
    """The first line of `compiler --version`; its path where it does not answer."""
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return compiler
    return next(iter(done.stdout.splitlines()), compiler)


def complaint(command: Sequence[str], folder: Path) -> str | None:
    """Run a compiler's command in a folder: None when it succeeds, else the first line of what it said."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
