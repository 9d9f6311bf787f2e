"""export: a policy as policy.c, policy.h and policy.onnx, verified before a file appears."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from niwaki.compiler import find_compiler
from niwaki.export.cross import cortex_m4_size
from niwaki.export.onnx import onnx_model
from niwaki.export.verification import ONNX_INPUTS, Progress, verify
from niwaki.policies.c_source import CSource, c_source
from niwaki.policies.compact import compact, is_constant
from niwaki.policies.compiled import CompiledPolicy, write_sources
from niwaki.policies.deployed import ns_per_call
from niwaki.policies.network import NetworkPolicy
from niwaki.types import NiwakiError

NO_COMPILER = "no C compiler found (install gcc or clang, or set CC): the C was written, but neither run nor timed"
CONSTANT = "no path of weights leads from the observations to the actions: the policy always does the same"


@dataclass(frozen=True)
class Export:
    """What was written, how it was verified and what it costs. Fields are plain: `asdict` gives JSON."""

    files: tuple[str, ...]
    bit_exact: bool | None  # the C gave the mirror's bits on all tested inputs; None without a compiler
    tested_inputs: int  # of the C; 0 without a compiler
    onnx_agrees: bool  # with the mirror, to rounding
    onnx_inputs: int
    onnx_max_abs_difference: float | None  # of continuous actions; None for an argmax head
    argmax_ties: int  # inputs where ONNX Runtime chose another action whose score is as large, to rounding
    constant: bool  # no path from input to output
    compiler: str | None  # its name, version and the flags used
    ns_per_call: float | None
    table_bytes: int
    stack_bytes: int  # arrays on the stack of one call
    cortex_m4: dict[str, object] | None  # `TargetSize`; None without the cross compiler
    notes: tuple[str, ...]
    seconds: float


def export_policy(
    policy: NetworkPolicy,
    out: str | Path,
    *,
    name: str = "policy",
    tested_inputs: int = 1_000_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Export:
    """Write <name>.c, <name>.h and <name>.onnx into the folder `out`.

    The files are made, compiled and compared in a hidden folder inside `out` (the same file system) and
    moved into place at the end: on any error `out` is as it was. `progress` is told (inputs done, inputs in
    all). Whether the bits agree is reported, not raised. Raises NiwakiError where the policy cannot be
    exported or `out` cannot be written.
    """
    start = time.perf_counter()
    if tested_inputs < 1 or seed < 0:
        raise NiwakiError(f"export needs at least one tested input and a seed >= 0, got {tested_inputs} and {seed}")
    network, out = compact(policy), Path(out)
    c, model = c_source(network, name=name), onnx_model(network).SerializeToString(deterministic=True)
    with _staging(out) as folder:
        names = _write(c, model, folder)
        compiled = _compile(policy, c, folder) if find_compiler() else None
        agreement = verify(network, compiled, model, inputs=tested_inputs, seed=seed, progress=progress)
        size = cortex_m4_size(c)
        nanoseconds = None if compiled is None else ns_per_call(compiled)
        _move(names, folder, out)
    constant = is_constant(network)
    notes = [NO_COMPILER] * (compiled is None) + [CONSTANT] * constant
    return Export(
        files=tuple(str(out / file) for file in names),
        bit_exact=None if compiled is None else agreement.differing_inputs == 0,
        tested_inputs=0 if compiled is None else tested_inputs,
        onnx_agrees=agreement.onnx_errors == 0,
        onnx_inputs=min(tested_inputs, ONNX_INPUTS),
        onnx_max_abs_difference=agreement.onnx_max_abs_difference,
        argmax_ties=agreement.argmax_ties,
        constant=constant,
        compiler=None if compiled is None else compiled.built_with,
        ns_per_call=nanoseconds,
        table_bytes=c.table_bytes,
        stack_bytes=c.stack_bytes,
        cortex_m4=None if size is None else asdict(size),
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A hidden folder inside `out`, gone afterwards. An `out` made here goes too when nothing was put in it."""
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".niwaki-", dir=out))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise NiwakiError(f"cannot export to {out}: {error.strerror or error}{where}") from error
    finally:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _write(c: CSource, model: bytes, folder: Path) -> tuple[str, ...]:
    """Write the files; returns their names."""
    sources = write_sources(c, folder)
    onnx = folder / f"{c.name}.onnx"
    onnx.write_bytes(model)
    return (*(path.name for path in sources), onnx.name)


def _compile(policy: NetworkPolicy, c: CSource, folder: Path) -> CompiledPolicy:
    """The compiled policy, made from the very text that was written."""
    compiled = CompiledPolicy(policy, name=c.name)
    written = tuple((folder / f"{c.name}.{kind}").read_text(encoding="ascii") for kind in ("c", "h"))
    if (compiled.c.source, compiled.c.header) != written:
        raise NiwakiError(
            f"the file {c.name}.c does not hold what was compiled: the disk or another program changed it"
        )
    return compiled


def _move(names: tuple[str, ...], folder: Path, out: Path) -> None:
    """Rename the files into `out`; when one cannot be, the ones before it are put back as they were."""
    previous = folder / "previous"
    previous.mkdir()
    for name in names:
        if (out / name).is_file():
            shutil.copy2(out / name, previous / name)
    moved: list[str] = []
    try:
        for name in names:
            os.replace(folder / name, out / name)
            moved.append(name)
    except BaseException:
        for name in moved:
            if (previous / name).exists():
                os.replace(previous / name, out / name)
            else:
                (out / name).unlink()
        raise
