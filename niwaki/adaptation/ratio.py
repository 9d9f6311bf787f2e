"""How much likelier one Gaussian policy makes an action than another, and the nearest policy that keeps it low.

Both policies draw their action before the squash from a Gaussian with independent components, in one state:

    ln max_a N(a; mu, s) / N(a; mu_b, s_b) = sum_i ln(s_b,i / s_i) + (mu_i - mu_b,i)^2 / (2 (s_b,i^2 - s_i^2))

for s < s_b. The squash is the same function of the action for both, so no event's ratio is larger behind it.
(Cloete, Vertovec, Abate: SPoRt, IJCAI 2025; the solution of the projection is our own, see docs/papers/sport.md.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from niwaki.types import Floats, NiwakiError

EXTREME = 1e75  # beyond it a quotient of scales is treated as this: its square and its product with another are finite
SLACK = 4e-13  # how far below the allowed ratio the search may end, relatively
LEAST = 1e-200  # a multiplier below this is 0
BOLD = 7.0  # no step changes the multiplier by more than this factor's logarithm
NEWTON, OUTER = 60, 200  # iterations that are never used up: both searches are safeguarded


class _Way(NamedTuple):
    """Where a policy stands beside its base, in units of the base's deviation."""

    shift: Floats  # [B, A]
    narrowing: Floats  # [B, A], w: what its variance lacks to the base's
    variance: Floats  # [B, A], 1 - w, exact where w is nearly 1


class Projection(NamedTuple):
    """The nearest allowed policy in B states."""

    mean: Floats  # [B, A]
    std: Floats  # [B, A]
    log_ratio: Floats  # [B], of its largest ratio to the base: never above what was allowed
    multiplier: Floats  # [B], how fast the divergence would fall with the allowed log ratio; 0 where nothing binds


def log_max_ratio(mean: ArrayLike, std: ArrayLike, base_mean: ArrayLike, base_std: ArrayLike) -> Floats:
    """Logarithm [B] of the largest density ratio N(mean, std) / N(base_mean, base_std) over all actions, each [B, A].

    Infinite where a component is wider than the base's, or as wide with another mean.

    >>> log_max_ratio([[0.3]], [[0.5]], [[0.0]], [[1.0]]).round(4)
    array([0.7531])
    """
    mean, std, base_mean, base_std = (np.asarray(v, dtype=np.float64) for v in (mean, std, base_mean, base_std))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gap = (base_std - std) / base_std
        narrower = np.where(gap < 0.5, -np.log1p(-gap), np.log(base_std / std))
        shift = ((mean - base_mean) / base_std) ** 2 / (2 * gap * (1 + std / base_std))
    terms = narrower + np.where(mean == base_mean, 0.0, shift)
    return np.where(std <= base_std, terms, np.inf).sum(axis=-1)


def kl_divergence(mean: ArrayLike, std: ArrayLike, other_mean: ArrayLike, other_std: ArrayLike) -> Floats:
    """KL(N(mean, std) || N(other_mean, other_std)), each [B, A], summed over components: [B].

    >>> kl_divergence([[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]])
    array([0.5])
    """
    mean, std, other_mean, other_std = (np.asarray(v, dtype=np.float64) for v in (mean, std, other_mean, other_std))
    quotient = std / other_std
    terms = -np.log(quotient) + (quotient**2 - 1 + ((mean - other_mean) / other_std) ** 2) / 2
    return terms.sum(axis=-1)


def project(
    mean: ArrayLike, std: ArrayLike, base_mean: ArrayLike, base_std: ArrayLike, log_alpha: ArrayLike
) -> Projection:
    """The policy nearest to N(mean, std) whose ratio to N(base_mean, base_std) is nowhere above alpha: the exact
    minimiser of KL(it || N(mean, std)), state by state; mean and std [B, A], log_alpha a number or [B].

    In units of the base's deviation let d be the distance of the task's mean, tau its variance, 1 - w the new
    variance and y = w + lam tau with the multiplier lam >= 0. The conditions of optimality separate:

        new shift = d w / y,    1 / tau + lam d^2 / y^2 = (1 + lam) / (1 - w),    w = 0 where that has no root,

    and the log ratio falls with lam, to 0 at a known lam. What is returned lies on the allowed side as
    `log_max_ratio` computes it in float64. Raises NiwakiError for numbers that describe no policies.
    """
    task = [np.array(v, dtype=np.float64) for v in np.broadcast_arrays(mean, std, base_mean, base_std)]
    if task[0].ndim != 2:
        raise NiwakiError(f"means and deviations must be [states, actions], got {list(task[0].shape)}")
    new_mean, new_std, base_mean, base_std = task
    limit = np.array(np.broadcast_to(log_alpha, len(new_mean)), dtype=np.float64)
    _check(new_mean, new_std, base_mean, base_std, limit)
    multiplier = np.zeros(len(limit))
    wanted = new_std.copy()
    new_std = np.minimum(new_std, base_std)  # the best where the ratio binds nowhere
    rows = np.flatnonzero(log_max_ratio(new_mean, new_std, base_mean, base_std) > limit)
    some_mean, some_std = base_mean[rows], base_std[rows]
    distance = np.clip((new_mean[rows] - some_mean) / some_std, -EXTREME, EXTREME)
    variance = np.clip(wanted[rows] / some_std, EXTREME**-0.5, EXTREME**0.5) ** 2
    multiplier[rows], way = _solve(distance, variance, limit[rows])
    new_mean[rows], new_std[rows] = _settle(way, some_mean, some_std, limit[rows])
    return Projection(new_mean, new_std, log_max_ratio(new_mean, new_std, base_mean, base_std), multiplier)


def _check(mean: Floats, std: Floats, base_mean: Floats, base_std: Floats, limit: Floats) -> None:
    if not (np.isfinite(mean).all() and np.isfinite(base_mean).all()):
        raise NiwakiError("a policy's mean is not finite: it cannot be projected")
    for deviations in (std, base_std):
        wrong = ~((deviations > 0) & np.isfinite(deviations))
        if wrong.any():
            raise NiwakiError(f"standard deviations must be positive and finite, got {deviations[wrong][0]}")
    wrong = ~((limit >= 0) & np.isfinite(limit))
    if wrong.any():
        raise NiwakiError(f"the allowed log ratio must be finite and not negative, got {limit[wrong][0]}")


def _solve(d: Floats, tau: Floats, limit: Floats) -> tuple[Floats, _Way]:
    """Multipliers [B] and optimum where the task itself is not allowed.

    Safeguarded Newton on ln g against ln lam, where g is the log ratio: it falls like a power of lam over most of
    its range. `high` is always on the allowed side, and what is known of it is kept.
    """
    at_base = _multiplier_at_base(d, tau)
    low, high = np.zeros(len(d)), at_base.max(axis=1, initial=0.0)
    best = _Way(np.zeros_like(d), np.zeros_like(d), np.ones_like(d))
    lam = high / 2
    rows = np.flatnonzero((limit > 0) & (high > 0))  # where alpha is 1, the base itself is the only policy allowed
    for _ in range(OUTER):
        if not len(rows):
            break
        now, goal = lam[rows], limit[rows]
        w, u, y = _variance(now[:, None], d[rows], tau[rows], at_base[rows])
        g, slope = _log_ratio(now[:, None], d[rows], tau[rows], w, u, y)
        allowed = g <= goal
        good = rows[allowed]
        high[good], low[rows[~allowed]] = now[allowed], now[~allowed]
        for kept, new in zip(best, (d[rows] * (w / y), w, u), strict=True):
            kept[good] = new[allowed]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = np.log(goal * (1 - SLACK / 2) / g) * g / (slope * now)
            guess = now * np.exp(np.clip(step, -BOLD, BOLD))
            middle = np.where(low[rows] > 0, np.sqrt(low[rows]) * np.sqrt(high[rows]), high[rows] / 64)
        lam[rows] = np.where((guess > low[rows]) & (guess < high[rows]), guess, middle)
        found = allowed & (g >= goal * (1 - SLACK))
        closed = (lam[rows] <= low[rows]) | (lam[rows] >= high[rows]) | (lam[rows] < LEAST)
        rows = rows[~(found | closed)]
    return high, best


def _multiplier_at_base(d: Floats, tau: Floats) -> Floats:
    """The multiplier [B, A] from which on a component is the base's: lam^2 + lam (1 - r) = d^2 r^2 with r = 1 / tau."""
    r = 1 / tau
    root = np.hypot(r - 1, 2 * d * r)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(r >= 1, (r - 1 + root) / 2, np.where(d == 0, 0.0, 2 * (d * r) ** 2 / (1 - r + root)))


def _variance(lam: Floats, d: Floats, tau: Floats, at_base: Floats) -> tuple[Floats, Floats, Floats]:
    """w, 1 - w and y [B, A] at a multiplier lam [B, 1].

    f(y) = (1/tau + lam d^2/y^2) (1 + lam tau - y) - (1 + lam) falls and is convex, so that Newton started left of
    its root never passes it. Three lower bounds of the root: w = 0, and f without either of its first two terms.
    """
    top = 1 + lam * tau
    free = lam < at_base
    with np.errstate(divide="ignore", over="ignore"):
        alone = 2 * top / (1 + np.sqrt(1 + 4 * (1 + lam) / lam * (top / d / d)))
    y = np.maximum(np.maximum(lam * tau, 1 - tau), np.where(d == 0, 0.0, alone))
    for _ in range(NEWTON):
        pull = lam * (d / y) ** 2
        push = 1 / tau + pull
        step = (push * (top - y) - (1 + lam)) / (push + 2 * pull * ((top - y) / y))
        moves = step > 4e-16 * y  # one that has arrived stays, so that no state's bits depend on the others
        y = np.where(moves, y + step, y)
        if not (free & moves).any():
            break
    u = np.where(free, np.minimum((1 + lam) / (1 / tau + lam * (d / y) ** 2), 1.0), 1.0)  # nothing cancels here
    w = np.where(free, np.clip(np.where(y < 1, y - lam * tau, 1 - u), 0.0, 1.0), 0.0)
    return w, np.where(w < 0.5, 1 - w, u), np.where(free, y, lam * tau)


def _log_ratio(lam: Floats, d: Floats, tau: Floats, w: Floats, u: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The log ratio [B] at the optimum of a multiplier, and its derivative."""
    p = d / y
    g = np.where(w < 0.5, -np.log1p(-np.minimum(w, 0.5)), -np.log(u)) / 2 + p * p * w / 2
    along = 1 / (2 * u) + p * p * ((y - 2 * w) / y) / 2
    turn = (p * p * (1 - 2 * lam * tau / y) - 1 / u) / (2 * lam * p * p / y + (1 + lam) / u / u)
    slope = np.where(w > 0, along * turn - p * p * (w / y) * tau, 0.0)
    return g.sum(axis=1), slope.sum(axis=1)


def _settle(way: _Way, base_mean: Floats, base_std: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """Means and deviations [B, A]; where rounding left a ratio above its limit, a little nearer to the base.

    The log ratio is convex in mean and variance and 0 at the base, so on the way there it falls at least in
    proportion; the base itself always keeps the limit.
    """
    mean, std = _at(way, 0.0, base_mean, base_std)
    rows = np.flatnonzero(log_max_ratio(mean, std, base_mean, base_std) > limit)
    for bits in range(52, -1, -1):
        if not len(rows):
            break
        part = _Way(*(array[rows] for array in way))
        mean[rows], std[rows] = _at(part, 2.0**-bits, base_mean[rows], base_std[rows])
        rows = rows[log_max_ratio(mean[rows], std[rows], base_mean[rows], base_std[rows]) > limit[rows]]
    return mean, std


def _at(way: _Way, nearer: float, base_mean: Floats, base_std: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation, moved to the base by a part of the distance in mean and variance.

    A deviation next to the base's is rounded by much of what it lacks to it. Each component's shift gives way as
    far as it must to keep the component's own part of the log ratio.
    """
    w = (1 - nearer) * way.narrowing
    root = np.sqrt(way.variance + nearer * way.narrowing)
    std = np.where(w < 0.5, base_std - base_std * (w / (1 + root)), base_std * root)
    gap = (base_std - std) / base_std
    with np.errstate(divide="ignore", invalid="ignore"):
        part = -np.log(root) + np.where(w > 0, ((1 - nearer) * way.shift) ** 2 / w / 2, 0.0)
        room = 2 * gap * (1 + std / base_std) * np.maximum(part + np.log1p(-gap), 0.0)
    far = base_std * np.copysign(np.minimum((1 - nearer) * np.abs(way.shift), np.sqrt(room)), way.shift)
    mean = base_mean + far
    return np.where(np.abs(mean - base_mean) > np.abs(far), np.nextafter(mean, base_mean), mean), std
