"""Does what was exported compute the policy: the C bit for bit, the ONNX model to rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niwaki.export.onnx import INPUT
from niwaki.policies import arithmetic
from niwaki.policies.c_source import random_observations
from niwaki.policies.compiled import CompiledPolicy
from niwaki.policies.network import Head, NetworkPolicy
from niwaki.types import Floats

Progress = Callable[[int, int], None]  # (inputs done, inputs in all)

CHUNK = 512  # rows at a time: more fall out of cache
ONNX_INPUTS = 100_000
TOLERANCE = 1e-5  # of the ONNX model, times the size of the outputs where that is above one
INPUT_SEED = 0xC0DE  # keeps these inputs apart from the test vectors inside the C


@dataclass(frozen=True)
class Agreement:
    """How far the exported files agree with the policy on random inputs."""

    differing_inputs: int | None  # inputs on which the C gave other bits than the mirror; None: nothing compiled
    onnx_max_abs_difference: float | None  # of continuous actions; None for an argmax head
    argmax_ties: int  # inputs where ONNX Runtime chose another action whose score is as large, to rounding
    onnx_errors: int  # inputs where the ONNX model is off by more than rounding


def verify(
    network: NetworkPolicy,
    compiled: CompiledPolicy | None,
    onnx_bytes: bytes,
    *,
    inputs: int,
    seed: int,
    progress: Progress | None = None,
) -> Agreement:
    """Compare the C on `inputs` random observations, and ONNX Runtime on the first 100,000 of them, with the
    mirror of the compacted `network`. Without a compiled policy only the ONNX model is run."""
    onnx_inputs = min(inputs, ONNX_INPUTS)
    total = inputs if compiled is not None else onnx_inputs
    session = onnx_session(onnx_bytes)
    differing, gaps = 0, OnnxGaps()
    for done in range(0, total, CHUNK):
        rows = min(CHUNK, total - done)
        observations = random_observations(network, rows, seed=(seed, INPUT_SEED, done))
        outputs = arithmetic.mirror_outputs(network, observations)
        expected = arithmetic.apply_head(network.head, outputs)
        if compiled is not None:
            differing += int(rows_differing(expected, compiled(observations)).sum())
        n = min(rows, onnx_inputs - done)
        if n > 0:
            (found,) = session.run(None, {INPUT: observations[:n]})
            gaps = gaps.plus(onnx_gaps(network.head, outputs[:n], expected[:n], found))
        if progress is not None:
            progress(done + rows, total)
    return Agreement(
        differing_inputs=None if compiled is None else differing,
        onnx_max_abs_difference=None if network.discrete else gaps.largest,
        argmax_ties=gaps.ties,
        onnx_errors=gaps.errors,
    )


def onnx_session(onnx_bytes: bytes) -> Any:
    """An ONNX Runtime session on one thread of the CPU."""
    import onnxruntime  # a third of a second: only those who export pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def rows_differing(expected: NDArray, found: NDArray) -> NDArray[np.bool_]:
    """[B]: whether a row of actions differs in any bit. NaN equals NaN: its bits are no standard's business."""
    if expected.ndim == 1:
        return np.asarray(expected != found)
    same = (expected.view(np.int32) == found.view(np.int32)) | (np.isnan(expected) & np.isnan(found))
    return np.asarray(~same.all(axis=1))


@dataclass(frozen=True)
class OnnxGaps:
    """Where an ONNX model and the mirror part, counted in inputs."""

    largest: float = 0.0  # difference of a continuous action
    ties: int = 0
    errors: int = 0

    def plus(self, other: OnnxGaps) -> OnnxGaps:
        """The gaps of both sets of inputs together."""
        return OnnxGaps(max(self.largest, other.largest), self.ties + other.ties, self.errors + other.errors)


def onnx_gaps(head: Head, outputs: Floats, expected: NDArray, found: NDArray) -> OnnxGaps:
    """Compare ONNX actions with the mirror's actions, given the mirror's outputs [B, out] before the head.

    For an argmax head the gap is how much smaller the score of the found action is; a smaller gap than the
    tolerance is a tie. For the others it is the largest difference of an action. The tolerance grows with
    the largest output of the batch, not of the row: a small sum of large terms is rounded as coarsely.
    """
    size = max(1.0, float(np.abs(outputs).max()))
    if head.kind == "argmax":
        rows = np.arange(len(outputs))
        gap = outputs[rows, expected] - outputs[rows, found]
    else:
        gap = np.abs(expected - found).max(axis=1)
    if head.kind == "squash":
        size *= max(1.0, float(arithmetic.half_ranges(head).max()))
    wrong = ~(gap <= TOLERANCE * size)
    if head.kind == "argmax":
        return OnnxGaps(ties=int(((expected != found) & ~wrong).sum()), errors=int(wrong.sum()))
    return OnnxGaps(largest=float(gap.max()), errors=int(wrong.sum()))
