"""How small can the mean return be."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from niwaki.types import Floats, NiwakiError

STAKE = 0.75  # at most this part of the capital is bet on one episode
WATCHED = 10  # episodes that are seen before the first bet: they give a first variance


def student_lower(values: Floats, *, confidence: float) -> float:
    """One-sided lower bound of the mean of independent values [n] by Student's t (1908).

    Asymptotic, not exact: it leans on the mean being nearly normal, and rare bad values that were not seen are
    not in it. NaN for fewer than two values.

    >>> round(student_lower(np.array([1.0, 2.0, 3.0]), confidence=0.95), 4)
    0.3141
    """
    n = len(values)
    if n < 2:
        return float("nan")
    return float(np.mean(values) - stdtrit(n - 1, confidence) * np.std(values, ddof=1) / math.sqrt(n))


def betting_lower(values: Floats, *, floor: float, confidence: float) -> float:
    """Exact lower bound of the mean of independent values [n] that are never below `floor`
    (Waudby-Smith & Ramdas 2024, betting; Ville 1939).

    With probability at least `confidence` over the n draws, mean >= the returned value, for every n and every
    distribution above the floor. A mean m is ruled out when a player who bets on larger values, with stakes that
    depend on earlier values only, has ever multiplied a capital of 1 to 1 / (1 - confidence):

        capital = product of 1 + s_i (x_i - m),    s_i = min(sqrt(2 log(1 / (1 - confidence)) / (n v_i)), STAKE / m)

    with x_i counted from the floor and v_i the variance of the values before i.

    >>> round(betting_lower(np.full(10_000, 500.0), floor=0.0, confidence=0.95), 2)
    499.8
    """
    x = np.asarray(values, dtype=np.float64) - floor
    if not np.isfinite(x).all() or (x < 0).any():
        raise NiwakiError(f"a value {np.min(values):g} is below the floor {floor:g} that was promised")
    if len(x) <= WATCHED:
        return floor
    wanted = -math.log(1 - confidence)
    with np.errstate(divide="ignore"):
        stakes = np.sqrt(2 * wanted / (len(x) * _variances_before(x)[WATCHED:]))
    low, high = 0.0, float(np.mean(x))
    smallest_step = 1e-12 * high
    while high - low > smallest_step:
        m = (low + high) / 2
        capital = np.cumsum(np.log1p(np.minimum(stakes, STAKE / m) * (x[WATCHED:] - m)))
        low, high = (m, high) if capital.max() >= wanted else (low, m)
    return floor + low


def _variances_before(x: Floats) -> Floats:
    """[n]: variance of the values before each one."""
    seen = np.arange(len(x))
    centred = x - x[0]  # so that the difference of squares loses little
    first, second = (np.concatenate(([0.0], np.cumsum(v)[:-1])) / np.maximum(seen, 1) for v in (centred, centred**2))
    return np.maximum(second - first**2, 0.0)
