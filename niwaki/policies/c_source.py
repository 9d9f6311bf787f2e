"""A policy as dependency-free C99: the source text of policy.h and policy.c.

The text depends on nothing but the policy and the name: the same policy always gives the same bytes.
It follows `niwaki.policies.arithmetic` operation by operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.policies import arithmetic
from niwaki.policies.c_kernels import KERNELS, PRELUDE, c_float
from niwaki.policies.grid import grid_of
from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.types import Floats, NiwakiError

TEST_VECTORS = 4
_BREAK = "\n    + "
MOST_TERMS = 128  # of a layer that is written out term by term: more would be more code than table
RESERVED = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main"
)


@dataclass(frozen=True)
class CSource:
    """The two files of an exported policy, and what they need."""

    name: str
    header: str
    source: str
    table_bytes: int  # constants: weights, biases, normaliser, action bounds
    stack_bytes: int  # arrays on the stack of one call


def c_source(policy: NetworkPolicy, *, name: str = "policy") -> CSource:
    """C99 source of the policy; functions are called `<name>_act` and `<name>_self_test`.

    Emits the layers as they are: `niwaki.policies.compact.compact` first, to leave dead units out.
    Raises NiwakiError when `name` is not a C identifier.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name) or name in RESERVED.split():
        raise NiwakiError(f"the name must be a C identifier such as policy, got {name!r}")
    tables = _tables(policy)
    parts = [
        _preamble(policy, name),
        _kernels(policy),
        _table_text(tables),
        _act(policy, name),
        _self_test(policy, name),
    ]
    width = _buffer_width(policy)
    return CSource(
        name=name,
        header=_header(policy, name),
        source="\n".join(parts),
        table_bytes=table_bytes(policy),
        stack_bytes=4 * (sum(width) + (policy.output_size if policy.discrete else 0)),
    )


def random_observations(policy: NetworkPolicy, n: int, *, seed: int | Sequence[int] = 0) -> Floats:
    """n observations [n, O] float32 that reach all of the network: normal, around the normaliser's mean
    and scale where there is one, one in ten ten times as wide, so that saturated parts are reached too."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, policy.observation_size)) * np.where(rng.random((n, 1)) < 0.1, 10.0, 1.0)
    if policy.normalizer is not None:
        z = policy.normalizer.mean + policy.normalizer.scale * z
    return z.astype(np.float32)


def table_bytes(policy: NetworkPolicy) -> int:
    """Bytes of the constants in the policy's C: weights, biases, normaliser, action bounds. Of a layer that is written
    out they are those that are not zero; weights on a grid are one byte each."""
    written = [layer for layer in policy.layers if written_out(layer)]
    terms = sum(np.count_nonzero(layer.weight) + np.count_nonzero(layer.bias) for layer in written)
    return 4 * int(terms) + sum(array.nbytes for array in _tables(policy).values())


def written_out(layer: Layer) -> bool:
    """Whether the layer's C has a term for each non-zero weight, instead of a loop over tables that hold zeros too."""
    nonzero = int(np.count_nonzero(layer.weight))
    return 0 < nonzero <= MOST_TERMS and 2 * nonzero <= layer.weight.size


def _tables(policy: NetworkPolicy) -> dict[str, NDArray]:
    """Constants by name: float32, or int8 for weights on a grid."""
    tables: dict[str, NDArray] = {}
    if policy.normalizer is not None:
        n = arithmetic.normalizer_tables(policy.normalizer)
        tables |= {"mean": n.mean, "mean_rest": n.mean_rest, "factor": n.factor}
    for i, layer in enumerate(policy.layers):
        if written_out(layer):
            continue
        grid = grid_of(layer.weight)
        weight: NDArray = layer.weight if grid is None else grid.numbers
        # a wide layer is read across its outputs, a narrow one across its inputs
        tables[f"weights_{i}"] = weight if arithmetic.narrow(layer) else weight.T
        tables[f"biases_{i}"] = layer.bias
    if policy.head.kind == "clip":
        bounds = arithmetic.clip_bounds(policy.head)
        if bounds is not None:
            tables |= {"low": bounds[0], "high": bounds[1]}
    elif policy.head.kind == "squash":
        tables |= {"low": policy.head.low, "half_range": arithmetic.half_ranges(policy.head)}
    return tables


def _table_text(tables: dict[str, NDArray]) -> str:
    lines = []
    for name, array in tables.items():
        shape = array.shape if array.ndim == 1 else (array.size,)
        note = f" /* [{array.shape[0]}][{array.shape[1]}] */" if array.ndim == 2 else ""
        kind, values = (
            ("int8_t", _rows(map(str, array.ravel()), 24))
            if array.dtype == np.int8
            else ("float", _numbers(array.ravel()))
        )
        lines.append(f"static const {kind} {name}[{shape[0]}] ALIGNED = {{{note}\n{values}\n}};")
    return "\n".join(lines) + "\n"


def _numbers(values: Iterable[float]) -> str:
    return _rows(map(c_float, values), 6)


def _rows(literals: Iterable[str], per_line: int) -> str:
    text = list(literals)
    rows = [", ".join(text[i : i + per_line]) for i in range(0, len(text), per_line)]
    return "  " + ",\n  ".join(rows)


def _buffer_width(policy: NetworkPolicy) -> tuple[int, int]:
    """Sizes of the two buffers that layers read from and write to in turn (0: not needed)."""
    normalized = policy.normalizer is not None
    held = ([policy.observation_size] if normalized else []) + [layer.bias.size for layer in policy.layers[:-1]]
    return max(held[0::2], default=0), max(held[1::2], default=0)


def _signature(policy: NetworkPolicy, name: str) -> str:
    observation = f"const float observation[{policy.observation_size}]"
    if policy.discrete:
        return f"int32_t {name}_act({observation})"
    return f"void {name}_act({observation}, float action[{policy.output_size}])"


def _header(policy: NetworkPolicy, name: str) -> str:
    guard = f"{name.upper()}_H"
    layers = ", ".join(f"{size}" for size in policy.sizes)
    action = (
        f"The index of the chosen action, 0 .. {policy.output_size - 1}." if policy.discrete else "Writes the action."
    )
    apart = "" if policy.discrete else "; observation and action must not overlap"
    return f"""/* {name}.h: a control policy, written by niwaki. Layers: {layers}. */
#ifndef {guard}
#define {guard}
#include <stdint.h>
#ifdef __cplusplus
extern "C" {{
#endif

#define {name.upper()}_OBSERVATIONS {policy.observation_size}
#define {name.upper()}_ACTIONS {policy.output_size}

/* {action} Observations must be finite. Pure, reentrant, no heap{apart}. */
{_signature(policy, name)};

/* 0 when this build computes the same bits as the policy that was tested. Call it once on the target. */
int32_t {name}_self_test(void);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _preamble(policy: NetworkPolicy, name: str) -> str:
    origin = "; ".join(f"{key} {value}" for key, value in policy.origin)
    origin = re.sub(r"[^\x20-\x7e]|[*?\\]", "_", origin)  # no end of comment, no trigraph
    return f'/* {name}.c: written by niwaki; see {name}.h. {origin} */\n#include "{name}.h"\n\n{PRELUDE}'


def _kernels(policy: NetworkPolicy) -> str:
    """The functions this policy uses, and no others, in the order in which they call each other."""
    activations = {layer.activation for layer in policy.layers} - {"identity"}
    needed = set(activations)
    if activations & {"tanh", "elu", "sigmoid", "silu"} or policy.head.kind == "squash":
        needed.add("tanh_of")
    looped = [layer for layer in policy.layers if not written_out(layer)]
    needed |= {_kernel(layer) for layer in looped}
    needed |= {"bytes" for layer in looped if grid_of(layer.weight)}
    return "\n".join(text for key, text in KERNELS.items() if key in needed)


def _kernel(layer: Layer) -> str:
    return ("narrow" if arithmetic.narrow(layer) else "wide") + ("_bytes" if grid_of(layer.weight) else "")


def _act(policy: NetworkPolicy, name: str) -> str:
    sizes = _buffer_width(policy)
    names = ("a", "b")
    lines = [f"{_signature(policy, name)}", "{"]
    lines += [f"  float {n}[{size}] ALIGNED;" for n, size in zip(names, sizes, strict=True) if size]
    out = "action"
    if policy.discrete:
        lines.append(f"  float score[{policy.output_size}];")
        out = "score"
    if policy.normalizer is not None or policy.head.kind in ("argmax", "clip", "squash"):
        lines.append("  int32_t i;")
    if policy.discrete:
        lines.append("  int32_t best = 0;")
    source, turn = "observation", 0
    if policy.normalizer is not None:
        lines += _normalize_lines(policy)
        source, turn = "a", 1
    for i, layer in enumerate(policy.layers):
        target = out if i == len(policy.layers) - 1 else names[turn % 2]
        outputs, inputs = layer.weight.shape
        if written_out(layer):
            lines += [f"  {target}[{j}] = {_sum(layer, j, source)};" for j in range(outputs)]
        else:
            grid = grid_of(layer.weight)
            weights = f"weights_{i}" if grid is None else f"weights_{i}, {c_float(grid.step)}"
            lines.append(f"  {_kernel(layer)}({source}, {inputs}, {weights}, biases_{i}, {outputs}, {target});")
        if layer.activation != "identity":
            lines.append(f"  {layer.activation}_all({target}, {outputs});")
        source, turn = target, turn + 1
    return "\n".join([*lines, *_head_lines(policy), "}", ""])


def _sum(layer: Layer, output: int, source: str) -> str:
    """One output before its activation: the terms whose weight is not zero, in the order of `arithmetic.linear`."""
    weights, bias = layer.weight[output], c_float(layer.bias[output])
    terms = {i: f"{c_float(weights[i])} * {source}[{i}]" for i in np.flatnonzero(weights).tolist()}
    if not arithmetic.narrow(layer):
        return _BREAK.join([bias, *terms.values()])
    lanes = arithmetic.PARTIAL_SUMS
    sums = [_added(terms[i] for i in terms if i % lanes == t) for t in range(lanes)]
    while len(sums) > 1:
        sums = [_added(pair) for pair in zip(sums[0::2], sums[1::2], strict=True)]
    return _BREAK.join(filter(None, (bias, *sums)))


def _added(terms: Iterable[str]) -> str:
    """The sum of the terms that are there, in parentheses; empty where none is."""
    there = [term for term in terms if term]
    return f"({_BREAK.join(there)})" if len(there) > 1 else "".join(there)


def _normalize_lines(policy: NetworkPolicy) -> list[str]:
    assert policy.normalizer is not None
    n = policy.observation_size
    lines = [
        f"  for (i = 0; i < {n}; ++i) {{",
        "    float z = ((observation[i] - mean[i]) - mean_rest[i]) * factor[i];",
    ]
    limit = arithmetic.normalizer_tables(policy.normalizer).clip
    if np.isfinite(limit):
        clip = c_float(limit)
        lines += [f"    z = z < {clip} ? z : {clip};", f"    z = z > -{clip} ? z : -{clip};"]
    return [*lines, "    a[i] = z;", "  }"]


def _head_lines(policy: NetworkPolicy) -> list[str]:
    head, m = policy.head, policy.output_size
    if head.kind == "argmax":
        return [f"  for (i = 1; i < {m}; ++i) {{", "    if (score[i] > score[best]) best = i;", "  }", "  return best;"]
    if head.kind == "clip" and "low" in _tables(policy):
        return [
            f"  for (i = 0; i < {m}; ++i) {{",
            "    action[i] = action[i] < high[i] ? action[i] : high[i];",
            "    action[i] = action[i] > low[i] ? action[i] : low[i];",
            "  }",
        ]
    if head.kind == "squash":
        lines = [f"  for (i = 0; i < {m}; ++i) {{"]
        if np.isfinite(arithmetic.squash_limit(head)):
            limit = c_float(head.limit)
            lines += [
                f"    action[i] = action[i] < {limit} ? action[i] : {limit};",
                f"    action[i] = action[i] > -{limit} ? action[i] : -{limit};",
            ]
        return [*lines, "    action[i] = low[i] + (tanh_of(action[i]) + 0x1p+0f) * half_range[i];", "  }"]
    return []


def _self_test(policy: NetworkPolicy, name: str) -> str:
    inputs = random_observations(policy, TEST_VECTORS)
    if not np.isfinite(arithmetic.mirror_outputs(policy, inputs)).all():
        raise NiwakiError("the policy's outputs overflow float32 on ordinary observations: it cannot be deployed")
    expected = arithmetic.mirror_act(policy, inputs)
    o, m = policy.observation_size, policy.output_size
    kind = "int32_t" if policy.discrete else "float"
    values = ", ".join(str(int(v)) for v in expected) if policy.discrete else _numbers(expected.ravel())
    call = f"if ({name}_act(test_input + k * {o}) != test_output[k]) return k + 1;"
    if not policy.discrete:
        call = (
            f"float action[{m}];\n    int32_t i;\n    {name}_act(test_input + k * {o}, action);\n"
            f"    for (i = 0; i < {m}; ++i) if (action[i] != test_output[k * {m} + i]) return k + 1;"
        )
    return f"""static const float test_input[{inputs.size}] = {{
{_numbers(inputs.ravel())}
}};
static const {kind} test_output[{expected.size}] = {{
{values if not policy.discrete else "  " + values}
}};

int32_t {name}_self_test(void)
{{
  int32_t k;
  for (k = 0; k < {TEST_VECTORS}; ++k) {{
    {call}
  }}
  return 0;
}}
"""
