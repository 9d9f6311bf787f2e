"""The adapted policy in flight: it replays bit for bit, keeps its memory per episode, and its bound in a real world."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from niwaki.adaptation.adapted import AdaptedPolicy
from niwaki.adaptation.budget import FixedRatio, GaussianShift, Odometer
from niwaki.policies.deployed import MirrorPolicy
from niwaki.policies.gaussian import Gaussian, GaussianPolicy, LogStd
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.policies.sampled import SampledPolicy
from niwaki.rollout import rollout, take_over
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.pendulum import Pendulum
from niwaki.testing import check_episodic
from niwaki.types import Box, Floats, Lockstep, NiwakiError, Signal, Transition, seed_column

HEAD = Head("squash", [-2.0], [2.0])
BUDGETS = {
    "ratio": FixedRatio.within(0.2, risk=0.01, horizon=20),
    "odometer": Odometer.within(0.2, risk=0.01),
    "gaussian": GaussianShift.within(0.2, risk=0.01, horizon=20),
}


def policy(make_network, seed, head=HEAD):
    gaussian = GaussianPolicy(make_network((3, 8, 2), ("relu",), seed=seed), head, LogStd("tanh", -1.0, 0.5))
    return SampledPolicy(gaussian, MirrorPolicy(gaussian.network))


@pytest.mark.parametrize("method", BUDGETS)
def test_it_keeps_what_every_episodic_policy_promises(make_network, method):
    adapted = AdaptedPolicy(policy(make_network, 1), policy(make_network, 2), BUDGETS[method])
    check_episodic(adapted, Pendulum().sample(np.random.default_rng(0), 4))


@pytest.mark.parametrize("method", BUDGETS)
def test_together_or_alone_lockstep_or_engine_or_taking_over_from_itself_are_the_same_bits(make_network, method):
    adapted = AdaptedPolicy(policy(make_network, 1), policy(make_network, 2), BUDGETS[method])
    for simulator in (Pendulum(horizon=12), gymnasium_engine("Pendulum-v1", horizon=12)):
        rows = simulator.sample(np.random.default_rng(1), 3)
        together = rollout(simulator, adapted, rows, record=True, workers=1)
        alone = [rollout(simulator, adapted, row, workers=1).returns[0] for row in rows]
        assert together.returns.tolist() == alone
        again = take_over(simulator, adapted, together, rows=np.arange(3), steps=np.array([0, 5, 12]), workers=1)
        assert np.array_equal(again.returns, together.returns)


def test_at_alpha_one_it_is_the_base_and_without_limit_it_is_the_task(make_network):
    simulator = Pendulum(horizon=15)
    rows = simulator.sample(np.random.default_rng(2), 5)
    base, task = policy(make_network, 1), policy(make_network, 2)
    task = replace(task, policy=replace(task.policy, log_std=LogStd("clamp", -3.0, -2.0)))  # narrower than the base
    ends = [
        rollout(simulator, AdaptedPolicy(base, task, FixedRatio(0.1, 15, limit)), rows).returns for limit in (0.0, 1e9)
    ]
    assert np.array_equal(ends[0], rollout(simulator, base, rows).returns)
    assert np.array_equal(ends[1], rollout(simulator, task, rows).returns)
    assert not np.array_equal(ends[0], ends[1])


@dataclass(frozen=True, kw_only=True)
class Line(Lockstep):
    """Adds up its actions; more than `limit` at the end is a failure."""

    limit: float

    def reset(self, scenarios: Floats) -> Floats:
        return np.zeros((len(scenarios), 2))

    def step(self, state: Floats, actions: Floats) -> Transition:
        after = state + np.column_stack((actions[:, 0], np.ones(len(state))))
        over = (after[:, 1] >= self.horizon) & (after[:, 0] > self.limit)
        return Transition(after, after[:, 0] - state[:, 0], over.astype(np.int64))

    def observe(self, state: Floats) -> Floats:
        return state[:, :1].astype(np.float32)

    def measure(self, state: Floats) -> Floats:
        return state[:, :1]


def drawing(mean, std):
    """A policy that draws from N(mean, std) everywhere."""
    layer = Layer(np.zeros((2, 1)), np.array([mean, np.log(std)]))
    gaussian = GaussianPolicy(NetworkPolicy((layer,)), Head("clip", [-np.inf], [np.inf]))
    return SampledPolicy(gaussian, MirrorPolicy(gaussian.network))


RISK, STEPS, WANTED = 0.02, 6, 0.2
LINE = Line(
    name="Line",
    columns=(seed_column(),),
    observation_size=1,
    action_space=Box((-np.inf,), (np.inf,)),
    signals=(Signal("sum", "1"),),
    endings=("time_out", "over"),
    failures=("over",),
    horizon=STEPS,
    limit=float(stats.norm.isf(RISK) * np.sqrt(STEPS)),
)


def failures(flying, n=30_000):
    rows = LINE.sample(np.random.default_rng(4), n)
    return rollout(LINE, flying, rows).ended(["over"]).mean()


def test_in_flight_the_base_fails_as_often_as_it_should_and_no_method_more_often_than_its_bound():
    """The adversary of the Gaussian method meets its bound; all within 4 standard errors."""
    base, task, n = drawing(0.0, 1.0), drawing(30.0, 0.8), 30_000
    assert abs(failures(base) - RISK) < 4 * np.sqrt(RISK / n)
    rates = {
        "ratio": failures(AdaptedPolicy(base, task, FixedRatio.within(WANTED, risk=RISK, horizon=STEPS))),
        "odometer": failures(AdaptedPolicy(base, task, Odometer.within(WANTED, risk=RISK))),
        "gaussian": failures(AdaptedPolicy(base, task, GaussianShift.within(WANTED, risk=RISK, horizon=STEPS))),
    }
    error = 4 * np.sqrt(WANTED / n)
    assert abs(rates["gaussian"] - WANTED) < error
    assert RISK < rates["ratio"] < rates["odometer"] < WANTED + error


def test_base_and_task_must_observe_and_squash_alike(make_network):
    base = policy(make_network, 1)
    with pytest.raises(NiwakiError, match="they need one head"):
        AdaptedPolicy(base, policy(make_network, 2, Head("clip", [-2.0], [2.0])), BUDGETS["ratio"])
    with pytest.raises(NiwakiError, match="observe 3 and 1 numbers"):
        AdaptedPolicy(base, drawing(0.0, 1.0), BUDGETS["ratio"])


def exact_failure(budgets):
    """P(the sum of two actions > 2.2 sqrt(2)) under stages of budgets, base N(0, 1), task N(4, 0.8): by quadrature over
    the first action, the second in closed form."""
    nodes = np.linspace(-9, 9, 4001)
    weights = stats.norm.pdf(nodes) / stats.norm.pdf(nodes).sum()
    base, task = (Gaussian(np.full((1, 1), m), np.full((1, 1), s)) for m, s in ((0.0, 1.0), (4.0, 0.8)))
    chain, memories = [base], [budget.begin(1) for budget in budgets]
    for budget, memory in zip(budgets, memories, strict=True):
        chain.append(budget.project(0, memory, task, chain[-1]))
    first = (chain[-1].mean + chain[-1].std * nodes).reshape(-1, 1)
    many = [Gaussian(*(np.repeat(part, len(nodes), axis=0) for part in each)) for each in (*chain, task)]
    chosen = many[0]
    for budget, memory, before, after in zip(budgets, memories, many, many[1:], strict=False):
        left = budget.charge(np.repeat(memory, len(nodes)), after, before, first)
        chosen = budget.project(1, left, many[-1], chosen)
    return float(weights @ stats.norm.sf(2.2 * np.sqrt(2), loc=first + chosen.mean, scale=chosen.std)[:, 0])


MAKE = {
    "ratio": lambda bound, risk: FixedRatio.within(bound, risk=risk, horizon=2),
    "odometer": lambda bound, risk: Odometer.within(bound, risk=risk),
    "gaussian": lambda bound, risk: GaussianShift.within(bound, risk=risk, horizon=2),
}


@pytest.mark.parametrize("second", MAKE)
@pytest.mark.parametrize("first", MAKE)
def test_every_stage_keeps_its_bound_from_the_true_risk_of_the_stage_before(first, second):
    risks, budgets = [float(stats.norm.sf(2.2))], ()
    assert exact_failure(()) == pytest.approx(risks[0], rel=1e-6)
    for method, bound in ((first, 0.05), (second, 0.1), (second, 0.3)):
        budgets = (*budgets, MAKE[method](bound, risks[-1]))
        risks.append(exact_failure(budgets))
        assert risks[-2] < risks[-1] <= bound * (1 + 1e-6)
    if first == second == "gaussian":  # the event is the worst there is: the bound is attained, nothing is left to give
        assert risks[1:] == pytest.approx([0.05, 0.1, 0.3], rel=1e-6)
