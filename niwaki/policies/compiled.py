"""CompiledPolicy: the same policy as machine code made from our C. What is certified is what is flashed."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from niwaki.compiler import banner, complaint, find_compiler
from niwaki.policies.c_source import CSource, c_source
from niwaki.policies.compact import compact
from niwaki.policies.network import NetworkPolicy
from niwaki.types import Floats, NiwakiError

FLAGS = ("-std=c99", "-O3", "-march=native", "-fPIC", "-shared")
PORTABLE_FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared")  # for compilers that know no -march=native
BATCH_FILE = "niwaki-batch.c"  # the hyphen keeps it apart from every policy's name

_BATCH = """
#include "{name}.h"
void niwaki_batch(const float *observations, int64_t n, {kind} *actions)
{{
  int64_t i;
  for (i = 0; i < n; ++i) {call};
}}
"""


class Built(NamedTuple):
    """A library that a compiler has made, and how."""

    library: str
    command: tuple[str, ...]


class CompiledPolicy:
    """A policy compiled from its emitted C and loaded. Rows are computed one by one, so an action does
    not depend on the batch it is computed in. Pickles as its network and the place of its library: a worker on
    another machine, where there is none, compiles again. Calls from several threads need an object each.

    Raises NiwakiError when there is no compiler, or when the compiled code fails its own self-test.
    """

    def __init__(
        self,
        policy: NetworkPolicy,
        *,
        name: str = "policy",
        flags: tuple[str, ...] | None = None,
        built: Built | None = None,
    ) -> None:
        self.policy = policy
        self.network = compact(policy)
        self.c = c_source(self.network, name=name)
        self.observation_size = policy.observation_size
        self.action_space = policy.action_space
        self.flags = flags
        self._key = hashlib.sha256(repr((self.c.source, flags)).encode()).hexdigest()
        library = self._open(built) or self._compile()
        if getattr(library, f"{name}_self_test")() != 0:
            raise NiwakiError(
                f"{self.built.command[0]} compiled code that fails its own self-test; set CC to another compiler"
            )
        self._batch = library.niwaki_batch
        self._batch.restype = None
        self._batch.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        # one row is computed in buffers made once: asking an array for its address costs more than the call
        self._row = np.zeros((1, self.observation_size), dtype=np.float32)
        self._row_action = self._empty(1)
        self._row_pointers = (self._row.ctypes.data, 1, self._row_action.ctypes.data)

    def __call__(self, observations: Floats, /) -> NDArray:
        """Actions for observations [B, O]: int32 [B] or float32 [B, A]."""
        if np.shape(observations) == self._row.shape:
            self._row[...] = observations
            self._batch(*self._row_pointers)
            return self._row_action.copy()
        rows = np.ascontiguousarray(observations, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.observation_size:
            raise NiwakiError(f"observations must be [B, {self.observation_size}], got {rows.shape}")
        actions = self._empty(len(rows))
        self._batch(rows.ctypes.data, len(rows), actions.ctypes.data)
        return actions

    @property
    def built_with(self) -> str:
        """The compiler, its version and the flags that were used."""
        flags = " ".join(part for part in self.built.command if part.startswith("-") and part != "-o")
        return f"{banner(self.built.command[0])}, {flags}"

    def __reduce__(self) -> tuple:
        return _rebuild, (self._key, self.policy, self.c.name, self.flags, self.built)

    def _empty(self, n: int) -> NDArray:
        if self.policy.discrete:
            return np.empty(n, dtype=np.int32)
        return np.empty((n, self.policy.output_size), dtype=np.float32)

    def _open(self, built: Built | None) -> ctypes.CDLL | None:
        if built is None:
            return None
        self.built = built
        try:
            return ctypes.CDLL(built.library)
        except OSError:
            return None

    def _compile(self) -> ctypes.CDLL:
        compiler = find_compiler()
        if compiler is None:
            raise NiwakiError("no C compiler found: install gcc or clang, or set CC to one")
        folder = Path(tempfile.mkdtemp(prefix="niwaki-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        write_sources(self.c, folder)
        discrete = self.policy.discrete
        call = f"actions[i] = {self.c.name}_act(observations + i * {self.observation_size})"
        if not discrete:
            size = self.policy.output_size
            call = f"{self.c.name}_act(observations + i * {self.observation_size}, actions + i * {size})"
        batch = _BATCH.format(name=self.c.name, kind="int32_t" if discrete else "float", call=call)
        (folder / BATCH_FILE).write_text(batch)
        library = folder / "policy.so"
        for flags in (self.flags,) if self.flags else (FLAGS, PORTABLE_FLAGS):
            command = [compiler, *flags, f"{self.c.name}.c", BATCH_FILE, "-o", library.name]
            message = complaint(command, folder)
            if message is None:
                self.built = Built(str(library), tuple(command))
                return ctypes.CDLL(str(library))
        raise NiwakiError(f"{compiler} cannot compile the policy: {message}")


def write_sources(c: CSource, folder: Path) -> tuple[Path, Path]:
    """Write <name>.c and <name>.h into the folder."""
    paths = (folder / f"{c.name}.c", folder / f"{c.name}.h")
    for path, text in zip(paths, (c.source, c.header), strict=True):
        path.write_text(text, encoding="ascii")
    return paths


_rebuilt: dict[str, CompiledPolicy] = {}
REBUILT_AT_MOST = 8


def _rebuild(key: str, policy: NetworkPolicy, name: str, flags: tuple[str, ...] | None, built: Built) -> CompiledPolicy:
    """Unpickle: open or compile once per process, however many tasks bring the same policy."""
    if key not in _rebuilt:
        if len(_rebuilt) >= REBUILT_AT_MOST:
            del _rebuilt[next(iter(_rebuilt))]
        _rebuilt[key] = CompiledPolicy(policy, name=name, flags=flags, built=built)
    return _rebuilt[key]
