"""What an exported policy costs on a microcontroller: flash and RAM on a Cortex-M4, from the cross compiler."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from niwaki.compiler import COMPILE_SECONDS, banner
from niwaki.policies.c_source import CSource
from niwaki.policies.compiled import write_sources
from niwaki.types import NiwakiError

COMPILER = "arm-none-eabi-gcc"
FLAGS = (
    "-mcpu=cortex-m4",
    "-mthumb",
    "-mfloat-abi=hard",
    "-mfpu=fpv4-sp-d16",
    "-Os",
    "-std=c99",
    "-ffreestanding",
    "-ffunction-sections",
    "-fdata-sections",
)
FLASH, RAM = (".text", ".rodata", ".data"), (".data", ".bss")  # sections, by how their names begin
TEST_TABLES = (".rodata.test_input", ".rodata.test_output")


@dataclass(frozen=True)
class TargetSize:
    """Bytes on the target. Code and tables of `<name>_act` alone: a linker with --gc-sections leaves the
    self-test out where nobody calls it."""

    flash_bytes: int
    self_test_bytes: int  # what calling `<name>_self_test` adds to the flash
    ram_bytes: int  # the deepest stack of one call, and static variables (there are none)
    flags: tuple[str, ...]
    compiler: str


def cortex_m4_size(c: CSource) -> TargetSize | None:
    """Size of the policy on a Cortex-M4 with its FPU; None where arm-none-eabi-gcc is missing.

    Raises NiwakiError when the cross compiler refuses the source.
    """
    compiler, size = shutil.which(COMPILER), shutil.which("arm-none-eabi-size")
    if compiler is None or size is None:
        return None
    with tempfile.TemporaryDirectory(prefix="niwaki-") as folder:
        write_sources(c, Path(folder))
        _output([compiler, *FLAGS, "-fstack-usage", "-c", f"{c.name}.c", "-o", "policy.o"], folder)
        sections = _sections(_output([size, "-A", "policy.o"], folder))
        frames = _frames((Path(folder) / "policy.su").read_text())
    test = (f".text.{c.name}_self_test", *TEST_TABLES)
    stack = _deepest_stack(frames, f"{c.name}_act", f"{c.name}_self_test")
    return TargetSize(
        flash_bytes=sum(n for name, n in sections.items() if name.startswith(FLASH) and name not in test),
        self_test_bytes=sum(sections.get(name, 0) for name in test),
        ram_bytes=stack + sum(n for name, n in sections.items() if name.startswith(RAM)),
        flags=FLAGS,
        compiler=banner(compiler),
    )


def _sections(text: str) -> dict[str, int]:
    """Bytes by section, from `size -A`: lines of name, size, address."""
    rows = (line.split() for line in text.splitlines() if line.startswith("."))
    return {row[0]: int(row[1]) for row in rows}


def _frames(text: str) -> dict[str, int]:
    """Stack bytes by function, from -fstack-usage: lines of file:line:column:function, bytes, kind."""
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0].rsplit(":", 1)[1]: int(row[1]) for row in rows}


def _deepest_stack(frames: dict[str, int], act: str, self_test: str) -> int:
    """Stack bytes of one call. Below `act` there are at most two calls (`wide` and `wide_block`, an
    activation and `tanh_of`), so its two largest callees bound them."""
    callees = sorted(n for name, n in frames.items() if name not in (act, self_test))
    return frames[act] + sum(callees[-2:])


def _output(command: list[str], folder: str | None = None) -> str:
    """What the command prints. Raises NiwakiError with the first line of its complaint when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NiwakiError(f"{command[0]} does not run: {error}") from error
    if done.returncode != 0:
        complaint = next(iter(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        raise NiwakiError(f"{command[0]} fails on the policy: {complaint}")
    return done.stdout
