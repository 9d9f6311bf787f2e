"""The projection: always allowed, nothing allowed is nearer, and the base where nothing else is allowed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from niwaki.adaptation.ratio import kl_divergence, log_max_ratio, project
from niwaki.types import NiwakiError


def problems(n, actions=2, wide=1.0, seed=0):
    """Task and base of n states [n, actions] and the allowed log ratios [n]; `wide` stretches all scales."""
    rng = np.random.default_rng(seed)
    base_std = np.exp(rng.normal(size=(n, actions)) * wide)
    base_mean = rng.normal(size=(n, actions))
    std = base_std * np.exp(rng.normal(size=(n, actions)) * wide)
    mean = base_mean + base_std * rng.normal(size=(n, actions)) * np.exp(rng.normal(size=(n, actions)) * 2 * wide)
    return mean, std, base_mean, base_std, np.exp(rng.normal(size=n) * 2 * wide - 1)


def allowed(found, problem):
    """Whether every state keeps the limit and is no wider than the base, without any tolerance."""
    _, _, base_mean, base_std, limit = problem
    ratio = log_max_ratio(found.mean, found.std, base_mean, base_std)
    return bool((ratio <= limit).all() and (found.std <= base_std).all() and np.array_equal(ratio, found.log_ratio))


def largest_ratio(mean, std, base_mean, base_std):
    """The largest log density ratio over actions, by a search over them (one component)."""

    def negative(a):
        return stats.norm.logpdf(a, base_mean, base_std) - stats.norm.logpdf(a, mean, std)

    found = optimize.minimize_scalar(negative, bracket=(mean, mean + 0.1 * std), options={"xtol": 1e-12})
    return -found.fun


@pytest.mark.parametrize(
    ("mean", "std", "base_mean", "base_std"), [(0.3, 0.5, 0.0, 1.0), (-2.0, 0.9, 1.0, 1.1), (0.0, 0.2, 0.0, 3.0)]
)
def test_the_log_ratio_is_the_largest_over_all_actions(mean, std, base_mean, base_std):
    formula = log_max_ratio([[mean]], [[std]], [[base_mean]], [[base_std]])[0]
    assert formula == pytest.approx(largest_ratio(mean, std, base_mean, base_std), rel=1e-9)


def test_a_wider_policy_has_no_largest_ratio_and_the_same_policy_has_one_of_one():
    ratio = log_max_ratio([[0.0], [0.1], [0.0], [0.0]], [[1.0], [1.0], [1.1], [0.5]], [[0.0]] * 4, [[1.0]] * 4)
    np.testing.assert_allclose(ratio, [0, np.inf, np.inf, np.log(2)])


def test_the_divergence_is_the_integral():
    a = np.linspace(-30, 30, 200_001)
    p, q = stats.norm(0.7, 0.5), stats.norm(-0.2, 1.3)
    integral = np.trapezoid(p.pdf(a) * (p.logpdf(a) - q.logpdf(a)), a)
    assert kl_divergence([[0.7]], [[0.5]], [[-0.2]], [[1.3]])[0] == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize("wide", [0.5, 1.0, 3.0, 20.0])
def test_no_projection_exceeds_what_is_allowed_by_a_single_bit(wide):
    problem = problems(25_000, wide=wide)
    with np.errstate(all="raise", under="ignore"):
        found = project(*problem)
    assert allowed(found, problem)
    assert (log_max_ratio(*problem[:4]) > problem[4]).mean() > 0.9  # something had to be done


def test_what_is_allowed_is_used():
    problem = problems(5000, wide=0.5)
    found, limit = project(*problem), problem[4]
    binds = log_max_ratio(*problem[:4]) > limit
    assert (found.log_ratio[binds] >= limit[binds] * (1 - 1e-8)).all()


EXTREMES = {
    "a distance of 1e60 deviations": ((1e60, 0.5), (0.0, 1.0)),
    "a base of 1e-150": ((1.0, 1e-3), (0.0, 1e-150)),
    "a base next to nothing, far from zero": ((1.0, 0.1), (1e6, 1e-9)),
    "a task a million times as wide": ((0.5, 1e6), (0.0, 1.0)),
    "a task a millionth as wide": ((0.5, 1e-6), (0.0, 1.0)),
    "a task of 1e-200": ((0.5, 1e-200), (0.0, 1.0)),
    "a task a hair wider": ((0.5, 1 + 1e-15), (0.0, 1.0)),
    "a task a hair off": ((1e-15, 1.0), (0.0, 1.0)),
    "the same mean, wider": ((0.0, 2.0), (0.0, 1.0)),
}


@pytest.mark.parametrize("limit", [0.0, 1e-300, 1e-15, 1e-6, 0.1, 5.0, 1e4, 1e12])
@pytest.mark.parametrize("case", EXTREMES)
def test_extremes_stay_allowed_and_finite(case, limit):
    (mean, std), (base_mean, base_std) = EXTREMES[case]
    problem = tuple(np.array([[v, v, 0.3]]) for v in (mean, std, base_mean, base_std))
    problem = (*problem, np.array([limit]))
    found = project(*problem)
    assert allowed(found, problem)
    assert np.isfinite(found.mean).all()
    assert (found.std > 0).all()


def test_at_alpha_one_the_base_itself_is_the_only_policy_allowed():
    mean, std, base_mean, base_std, _ = problems(500)
    found = project(mean, std, base_mean, base_std, 0.0)
    assert np.array_equal(found.mean, base_mean)
    assert np.array_equal(found.std, base_std)


def test_a_task_that_is_allowed_is_left_as_it_is():
    mean, std, base_mean, base_std, _ = problems(500)
    std = np.minimum(std, base_std * 0.99)
    found = project(mean, std, base_mean, base_std, log_max_ratio(mean, std, base_mean, base_std))
    assert np.array_equal(found.mean, mean)
    assert np.array_equal(found.std, std)
    assert not found.multiplier.any()
    same = project(base_mean, base_std, base_mean, base_std, 0.3)
    assert np.array_equal(same.mean, base_mean)
    assert np.array_equal(same.std, base_std)


def test_a_component_that_rounds_to_the_base_does_not_draw_the_others_there():
    """The second component may move by 1e-13 of a deviation: less than its width can be narrowed in float64."""
    mean, std = np.array([[0.354704824, -1.43741596e-4]]), np.array([[0.557550764, 191.22]])
    found = project(mean, std, np.zeros((1, 2)), np.ones((1, 2)), 1.0202282757)
    np.testing.assert_allclose(found.mean, [[0.354704824, 0.0]], atol=1e-7)
    np.testing.assert_allclose(found.std, [[0.557550764, 1.0]], atol=1e-7)


def test_a_wider_task_on_the_bases_mean_is_only_cut_to_its_width():
    found = project([[0.0, 0.1]], [[2.0, 0.5]], np.zeros((1, 2)), np.ones((1, 2)), 1.0)
    assert found.mean.tolist() == [[0.0, 0.1]]
    assert found.std.tolist() == [[1.0, 0.5]]
    assert found.multiplier.tolist() == [0.0]


def test_each_state_may_have_a_limit_of_its_own_and_states_do_not_meet():
    problem = problems(200)
    together = project(*problem)
    for i in range(0, 200, 2):
        alone = project(*(v[i : i + 1] for v in problem))
        assert np.array_equal(alone.mean[0], together.mean[i])
        assert np.array_equal(alone.std[0], together.std[i])


numbers = st.floats(-4, 4)


@settings(max_examples=100, deadline=None)
@given(st.tuples(numbers, numbers, numbers, numbers), st.floats(-6, 3), st.integers(0, 2**20))
def test_nothing_that_is_allowed_is_nearer(task, log_limit, seed):
    """The optimum of a convex problem: no random allowed policy, near or far, has a smaller divergence."""
    mean, std = np.array([task[:2]]), np.exp(np.array([task[2:]]) / 2)
    base_mean, base_std, limit = np.zeros((1, 2)), np.ones((1, 2)), np.exp(log_limit)
    found = project(mean, std, base_mean, base_std, limit)
    rng, n = np.random.default_rng(seed), 4000
    size = 10.0 ** rng.uniform(-7, 1, size=(n, 1))
    others = found.mean + size * rng.normal(size=(n, 2))
    widths = np.minimum(found.std * np.exp(size * rng.normal(size=(n, 2))), 1.0)
    keep = log_max_ratio(others, widths, base_mean, base_std) <= limit
    best = kl_divergence(found.mean, found.std, mean, std)
    assert (kl_divergence(others[keep], widths[keep], mean, std) >= best - 1e-10 * (1 + best)).all()


def test_the_multiplier_is_the_rate_at_which_the_divergence_falls():
    mean, std, base_mean, base_std, limit = problems(300, wide=0.4)
    step = 1e-5 * limit
    ends = [project(mean, std, base_mean, base_std, limit + sign * step) for sign in (-1, 1)]
    low, high = (kl_divergence(end.mean, end.std, mean, std) for end in ends)
    found = project(mean, std, base_mean, base_std, limit).multiplier
    np.testing.assert_allclose((low - high) / (2 * step), found, rtol=1e-3, atol=1e-6)


def solved_by_cvxpy(cvxpy, mean, std, base_mean, base_std, limit):
    """The same convex problem, one state, in units of the base's deviation; drawn to the base until it is allowed."""
    d, tau = (mean - base_mean) / base_std, (std / base_std) ** 2
    x, v = cvxpy.Variable(len(d)), cvxpy.Variable(len(d))
    kl = cvxpy.sum(-cvxpy.log(v) / 2 + v / (2 * tau)) + cvxpy.sum(cvxpy.square(x - d) / (2 * tau))
    shift = sum(cvxpy.quad_over_lin(x[i], 2 * (1 - v[i])) for i in range(len(d)))
    cvxpy.Problem(cvxpy.Minimize(kl), [cvxpy.sum(-cvxpy.log(v) / 2) + shift <= limit, v <= 1]).solve(
        solver=cvxpy.CLARABEL
    )
    for part in 1 - np.append(0, 2.0 ** np.arange(-40, 1)):
        new_mean = base_mean + base_std * part * x.value
        new_std = base_std * np.sqrt(np.minimum(1 + part * (v.value - 1), 1))
        if log_max_ratio(new_mean, new_std, base_mean, base_std) <= limit:
            break
    return new_mean, new_std


def test_a_convex_solver_comes_no_nearer():
    cvxpy = pytest.importorskip("cvxpy", reason="needs cvxpy")
    mean, std, base_mean, base_std, limit = problems(60, wide=0.5, seed=3)
    found = project(mean, std, base_mean, base_std, limit)
    ours = kl_divergence(found.mean, found.std, mean, std)
    for i in range(len(limit)):
        other = solved_by_cvxpy(cvxpy, mean[i], std[i], base_mean[i], base_std[i], limit[i])
        theirs = kl_divergence(*other, mean[i], std[i])
        assert ours[i] <= theirs + 1e-12 * (1 + theirs)
        assert ours[i] == pytest.approx(theirs, rel=1e-3, abs=1e-4)  # and it is the same problem


GOOD = ([[0.0]], [[1.0]], [[0.0]], [[1.0]], 0.1)
REFUSED = {
    "a mean that is not a number": ((0, [[np.nan]]), "mean is not finite"),
    "a deviation of zero": ((1, [[0.0]]), "positive and finite, got 0.0"),
    "an infinite deviation of the base": ((3, [[np.inf]]), "positive and finite, got inf"),
    "a ratio below one": ((4, -0.1), "not negative, got -0.1"),
    "a limit that is not a number": ((4, np.nan), "not negative, got nan"),
    "no list of states": ((0, [0.0]), None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_describes_no_policies_is_refused(case):
    (place, value), words = REFUSED[case]
    arguments = [*GOOD[:place], value, *GOOD[place + 1 :]]
    if words is None:
        arguments, words = [[0.0], [1.0], [0.0], [1.0], 0.1], "must be .states, actions., got .1."
    with pytest.raises(NiwakiError, match=words):
        project(*arguments)
