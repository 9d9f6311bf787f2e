"""Weights on a grid: small whole numbers times a power of two, which C can keep in a byte each.

Nothing is told apart for them anywhere else: they are float32 weights like all others, the products are those of
float32, and the bits of the outputs are the same whether a weight is read as a float or as a byte that is scaled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.types import Floats

LARGEST = 127  # of the whole numbers
LEAST_EXPONENT = -126  # smaller steps than this are no normal floats


@dataclass(frozen=True, eq=False)
class Grid:
    """weight = step * numbers, exactly."""

    numbers: NDArray[np.int8]
    step: float  # a power of two


def step_for(weight: Floats) -> float:
    """The smallest power of two of which no weight is more than LARGEST times; 1 where all are zero."""
    largest = float(np.abs(weight).max(initial=0.0))
    if largest == 0:
        return 1.0
    _, exponent = math.frexp(largest / LARGEST)  # in [2^(exponent - 1), 2^exponent)
    step = math.ldexp(1.0, max(exponent - 1, LEAST_EXPONENT))
    return step if largest <= LARGEST * step else 2 * step


def grid_of(weight: Floats) -> Grid | None:
    """The weights [out, in] as whole numbers of one byte, or None where they are none. Zeros alone are none either."""
    step = step_for(weight)
    numbers = weight.astype(np.float64) / step
    if not weight.any() or not (numbers == np.rint(numbers)).all():
        return None
    return Grid(numbers.astype(np.int8), step)
