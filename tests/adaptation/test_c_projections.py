"""What the C chooses keeps the budget in exact arithmetic, on every path; versions that are a bit off do not."""

from __future__ import annotations

import ctypes
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.adaptation.ratio import kl_divergence, project

EXACT = Context(prec=60)
ODOMETER, FIXED = Odometer(0.01, 2.3), FixedRatio(0.01, 21, 0.11)
SHIFT = GaussianShift.within(0.1, risk=0.01, horizon=21)

# The static functions on arrays of cases.
PROBES = """
void approach_all(int32_t n, const double *task, const double *base, const double *allowed, double *chosen,
                  double *used)
{
  int32_t k;
  for (k = 0; k < n; ++k)
    used[k] = approach((const normal *)task + k, (const normal *)base + k, allowed[k], (normal *)chosen + k);
}

void spent_all(int32_t n, const double *chosen, const double *base, const double *allowed, const double *noise,
               double *used)
{
  int32_t k;
  for (k = 0; k < n; ++k)
    used[k] = spent((const normal *)chosen + k, (const normal *)base + k, allowed[k], (const normal *)chosen + k,
                    noise + k * POLICY_ACTIONS);
}

void arithmetic_all(int32_t n, const double *x, double *e, double *l, double *r, double *a)
{
  int32_t k;
  for (k = 0; k < n; ++k) {
    e[k] = exponential(x[k]);
    l[k] = logarithm(x[k]);
    r[k] = root(x[k]);
    a[k] = twice_artanh(x[k]);
  }
}
"""


def call(function, n: int, *arrays: np.ndarray) -> None:
    assert all(array.flags.c_contiguous and array.dtype == np.float64 for array in arrays)
    function(n, *(ctypes.c_void_p(array.ctypes.data) for array in arrays))


def approach(built, task, base, allowed):
    """Chosen [n, 2, A] and what it may use [n], of task and base [n, 2, A]: means and deviations."""
    chosen, used = np.zeros_like(base), np.zeros(len(base))
    call(built.library.approach_all, len(base), task, base, allowed, chosen, used)
    return chosen, used


def numbers(values) -> list[Decimal]:
    return [Decimal(float(value)) for value in values]


def exact_largest_ratio(chosen, base) -> Decimal:
    """The largest log ratio over all actions of two distributions [2, A], to sixty digits."""
    total = Decimal(0)
    for mean, std, base_mean, base_std in zip(*map(numbers, (*chosen, *base)), strict=True):
        if (mean, std) == (base_mean, base_std):
            continue
        if std >= base_std:
            return Decimal("inf")
        total += (base_std / std).ln() + (mean - base_mean) ** 2 / (2 * (base_std**2 - std**2))
    return total


def exact_spent(chosen, base, point: list[Decimal]) -> Decimal:
    """The log ratio at a point."""
    total = Decimal(0)
    for mean, std, base_mean, base_std, x in zip(*map(numbers, (*chosen, *base)), point, strict=True):
        total += (base_std / std).ln() + ((x - base_mean) / base_std) ** 2 / 2 - ((x - mean) / std) ** 2 / 2
    return total


def exact_move(chosen, base) -> Decimal:
    """The squared move of the mean in the base's deviations; infinite where the deviations are others."""
    if not np.array_equal(chosen[1], base[1]):
        return Decimal("inf")
    columns = zip(*map(numbers, (chosen[0], *base)), strict=True)
    return sum(((mean - base_mean) / std) ** 2 for mean, base_mean, std in columns)


def problems(n: int, wide: float, seed: int = 0, actions: int = 2):
    """Task and base [n, 2, A], and the allowed log ratios [n]; `wide` stretches all scales."""
    rng = np.random.default_rng(seed)
    base = np.stack([rng.normal(size=(n, actions)), np.exp(rng.normal(size=(n, actions)) * wide)], axis=1)
    away = rng.normal(size=(n, actions)) * np.exp(rng.normal(size=(n, actions)) * 2 * wide)
    task = np.stack([base[:, 0] + base[:, 1] * away, base[:, 1] * np.exp(rng.normal(size=(n, actions)) * wide)], axis=1)
    return task, base, np.exp(rng.normal(size=n) * 2 * wide - 1)


@pytest.fixture(scope="module")
def built(in_c, wired):
    return in_c(wired(ODOMETER), extra=PROBES)


def test_exponential_logarithm_and_root_are_right_to_the_last_digits(built):
    rng = np.random.default_rng(0)
    near, far = 1 + rng.uniform(-0.5, 0.5, 300) * 10.0 ** rng.uniform(-16, 0, 300), 10.0 ** rng.uniform(-290, 290, 300)
    small = rng.uniform(-1 / 3, 1 / 3, 300) * 10.0 ** rng.uniform(-100, 0, 300)
    cases = {"e": rng.uniform(-80, 80, 300), "l": np.concatenate([near, far]), "r": far, "a": small}
    truth = {
        "e": lambda x: x.exp(),
        "l": lambda x: x.ln(),
        "r": lambda x: x.sqrt(),
        "a": lambda x: ((1 + x) / (1 - x)).ln(),
    }
    with localcontext(Context(prec=130)):
        for name, x in cases.items():
            found = {key: np.zeros(len(x)) for key in truth}
            valid = np.ascontiguousarray(x)
            call(
                built.library.arithmetic_all, len(x), np.clip(valid, -80, 80) if name == "e" else valid, *found.values()
            )
            for given_, got in zip(numbers(x), numbers(found[name]), strict=True):
                expected = truth[name](given_)
                assert abs(got - expected) <= abs(expected) * Decimal(2) ** -50, (name, given_)


@pytest.mark.parametrize("wide", [0.5, 1.0, 3.0, 15.0])
def test_no_projection_exceeds_what_is_allowed_in_exact_arithmetic(built, wide):
    task, base, allowed = problems(600, wide)
    chosen, used = approach(built, task, base, allowed)
    assert (used == allowed).mean() > 0.9  # something else than the base was chosen
    with localcontext(EXACT):
        for new, old, limit in zip(chosen, base, allowed, strict=True):
            assert exact_largest_ratio(new, old) <= Decimal(limit)


def test_without_the_margin_rounding_would_exceed_it(built, in_c, wired):
    """It is needed: what lies above the limit by its last digits only is not seen by the formula in float64."""
    bare = in_c(
        wired(ODOMETER), extra=PROBES, change=lambda text: text.replace("#define MARGIN 0x1p-40", "#define MARGIN 0.0")
    )
    task, base, _ = problems(400, 0.5)
    task[:, 1] = np.minimum(task[:, 1], base[:, 1] / 2)
    above = []
    with localcontext(EXACT):
        allowed = np.array([float(exact_largest_ratio(new, old)) for new, old in zip(task, base, strict=True)])
        for each in (built, bare):
            chosen, _ = approach(each, task, base, allowed)
            ratios = [exact_largest_ratio(new, old) for new, old in zip(chosen, base, strict=True)]
            above.append(sum(ratio > Decimal(limit) for ratio, limit in zip(ratios, allowed, strict=True)))
    assert above[0] == 0
    assert above[1] > 20


@pytest.mark.parametrize(("wide", "actions"), [(0.5, 2), (1.0, 1), (2.0, 3)])
def test_it_is_as_near_to_the_task_as_the_references(in_c, wired, wide, actions):
    built = in_c(wired(ODOMETER, actions=actions), extra=PROBES)
    task, base, allowed = problems(4000, wide, seed=1, actions=actions)
    chosen, _ = approach(built, task, base, allowed)
    expected = project(task[:, 0], task[:, 1], base[:, 0], base[:, 1], allowed)
    np.testing.assert_allclose((chosen[:, 0] - expected.mean) / base[:, 1], 0, atol=1e-7)
    np.testing.assert_allclose(chosen[:, 1] / base[:, 1], expected.std / base[:, 1], rtol=1e-9)
    ours, theirs = (kl_divergence(*each, task[:, 0], task[:, 1]) for each in (chosen.swapaxes(0, 1), expected[:2]))
    assert (ours <= theirs + 1e-9 * (1 + theirs)).all()


anything = st.floats(width=64) | st.sampled_from([0.0, 1.0, 1e-320, 1e-160, 1e75, 1e160, -1e308])
positive = st.floats(-300, 300).map(lambda power: 10.0**power)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(anything, min_size=4, max_size=4),
    st.lists(positive | anything, min_size=4, max_size=4),
    positive | anything,
)
def test_whatever_numbers_come_the_ratio_is_allowed_or_the_base_is_taken(built, means, deviations, allowed):
    """Not only what policies can say: any bits at all."""
    task, base = (np.array([[means[i : i + 2], deviations[i : i + 2]]]) for i in (0, 2))
    chosen, used = approach(built, task, base, np.array([allowed]))
    if used[0] == 0:
        assert np.array_equal(chosen, base, equal_nan=True)
    else:
        assert used[0] == allowed
        assert np.isfinite(chosen).all()
        with localcontext(EXACT):
            assert exact_largest_ratio(chosen[0], base[0]) <= Decimal(allowed)


def test_what_was_spent_is_rounded_up_but_not_by_much(built):
    task, base, allowed = problems(1500, 1.0, seed=2)
    noise = np.random.default_rng(3).normal(size=(1500, 2)) * 2
    chosen, used = approach(built, task, base, allowed)
    charged = np.zeros(1500)
    call(built.library.spent_all, 1500, chosen, base, used, noise, charged)
    assert (charged <= used).all()
    with localcontext(EXACT):
        for new, old, z, got in zip(chosen, base, noise, charged, strict=True):
            point = [m + s * x for m, s, x in zip(*map(numbers, (*new, z)), strict=True)]
            truth = exact_spent(new, old, point)
            assert truth <= Decimal(got) <= truth + Decimal("1e-8") * (1 + abs(truth))


def test_noise_that_no_normal_number_is_refills_nothing(built):
    task, base, allowed = problems(1, 0.5)
    chosen, used = approach(built, task, base, allowed)
    assert used == allowed
    for hostile in (np.nan, np.inf, -np.inf, 1e9, -1e200):
        charged = np.zeros(1)
        call(built.library.spent_all, 1, chosen, base, used, np.array([[hostile, 0.0]]), charged)
        assert charged == allowed


METHODS = {
    "ratio": (FIXED,),
    "odometer": (ODOMETER,),
    "odometer, all at once": (Odometer(0.01, 2.3, fraction=1.0),),
    "gaussian": (SHIFT,),
    "gaussian, a fraction": (GaussianShift(0.01, 21, 1.1, fraction=0.5),),
    "odometer in stages": (ODOMETER, Odometer(0.005, 1.1)),
    "a ratio, then an odometer": (FixedRatio(0.01, 9, 0.3), ODOMETER),
    "gaussian in stages": (SHIFT, GaussianShift(0.005, 12, 0.7)),
}


def kept_on_every_path(budgets, flown, noise) -> bool:
    """Whether every stage's budget holds in exact arithmetic, after every step of every episode."""
    with localcontext(EXACT):
        for episode in range(len(noise)):
            total = [Decimal(0)] * len(budgets)
            for t, (chain, drawn) in enumerate(zip(flown.chosen[episode], noise[episode], strict=True)):
                point = [m + s * x for m, s, x in zip(*map(numbers, (*chain[-1], drawn)), strict=True)]
                for k, budget in enumerate(budgets):
                    base, chosen = chain[k], chain[k + 1]
                    if isinstance(budget, GaussianShift):
                        total[k] += exact_move(chosen, base)
                        kept = total[k] <= Decimal(budget.shift**2)
                    elif isinstance(budget, Odometer):
                        total[k] += exact_spent(chosen, base, point)
                        kept = total[k] <= Decimal(budget.log_budget)
                    else:
                        most = exact_largest_ratio(chosen, base)
                        kept = most <= (Decimal(budget.log_alpha_per_step) if t < budget.horizon else 0)
                    if not kept:
                        return False
    return True


def worst_noise(chosen: np.ndarray) -> np.ndarray:
    """Noise [n, T, A] of the largest ratio of the last stage to the one before, from chains [n, T, S + 1, 2, A]."""
    (base_mean, base_std), (mean, std) = (np.moveaxis(chosen[:, :, k], 2, 0) for k in (-2, -1))
    lack = np.maximum(base_std**2 - std**2, 1e-9 * base_std**2)
    return (mean - base_mean) * std / lack


def fly_against(built, seen, noise):
    """Episodes in which half of the draws are the worst there are. What they are depends on the steps before."""
    noise = noise.copy()
    rng = np.random.default_rng(5)
    for t in range(noise.shape[1]):
        worst = worst_noise(built.fly(seen[:, : t + 1], noise[:, : t + 1]).chosen)[:, t]
        noise[:, t] = np.where(rng.random((len(noise), 1)) < 0.5, np.clip(worst, -8, 8), noise[:, t])
    return built.fly(seen, noise), noise


@pytest.mark.parametrize("method", METHODS)
def test_the_budget_is_kept_on_every_path_in_exact_arithmetic(in_c, wired, situations, method):
    budgets = METHODS[method]
    seen, noise = situations(8, 24, wide=0.5, seed=4)
    flown, noise = fly_against(in_c(wired(*budgets)), seen, noise)
    assert kept_on_every_path(budgets, flown, noise)
    assert (flown.left >= 0).all()
    moved = (flown.chosen[:, :, -1] != flown.chosen[:, :, 0]).any(axis=(2, 3)).mean()
    assert moved > 0.05  # all at once is soon nothing


BROKEN = {
    "twice the ratio": (FIXED, "allowed * (1.0 - MARGIN)", "2.0 * allowed"),
    "a ratio kept but for a billionth": (FIXED, "allowed * (1.0 - MARGIN)", "allowed * (1.0 + 1e-9)"),
    "a ratio beyond the horizon": (FIXED, "rest > 0 ?", "rest > -2 ?"),
    "the task's own width": (FIXED, "log_max_ratio(chosen, base) <= goal", "log_max_ratio(chosen, base) <= 1e6"),
    "an odometer that forgets to subtract": (ODOMETER, "spends[k] ?", "spends[k] > 1 ?"),
    "an odometer that only adds": (ODOMETER, "charge != 0.0", "charge < 0.0"),
    "an odometer that takes back twice": (
        ODOMETER,
        "left[k] - charge",
        "left[k] - (charge < 0.0 ? 2.0 * charge : charge)",
    ),
    "a shift that is never taken off": (SHIFT, "sum *= 1.0 + MARGIN", "sum *= MARGIN"),
    "a shift of all that is left": (
        SHIFT,
        "return sum <= allowed ? sum : allowed;",
        "return sum < allowed / 2.0 ? sum : allowed / 2.0;",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_version_is_caught_by_the_same_check(in_c, wired, situations, case):
    budget, right, wrong = BROKEN[case]

    def change(text):
        assert right in text
        return text.replace(right, wrong)

    seen, noise = situations(8, 24, wide=0.5, seed=4)
    flown, noise = fly_against(in_c(wired(budget), change=change), seen, noise)
    assert not kept_on_every_path((budget,), flown, noise)
