"""The gate lets through what is good enough on the teacher's scenarios, and wastes no flights on the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from niwaki.gates import CONFIDENCE, FIRST_LOOK, Gate, judge, patient
from niwaki.rollout import rollout
from niwaki.simulators.columns import varying
from niwaki.types import Box, Column, Floats, Lockstep, NiwakiError, Signal, Trajectories, Transition, seed_column

RNG = np.random.default_rng(8)
ACTIONS = Box((-100.0,), (100.0,))


@dataclass(frozen=True, kw_only=True)
class Luck(Lockstep):
    """One step; the reward is luck plus action, and an action below -50 breaks the machine."""

    name: str = "Luck"
    columns: tuple[Column, ...] = (varying("luck", "1", -10.0, 10.0), seed_column())
    observation_size: int = 1
    action_space: Box = ACTIONS
    signals: tuple[Signal, ...] = (Signal("luck", "1"),)
    endings: tuple[str, ...] = ("time_out", "broke")
    failures: tuple[str, ...] = ("broke",)
    horizon: int = 1

    def reset(self, scenarios: Floats) -> Floats:
        return scenarios.copy()

    def step(self, state: Floats, actions: NDArray) -> Transition:
        return Transition(state, state[:, 0] + actions[:, 0], (actions[:, 0] < -50).astype(np.int64))

    def observe(self, state: Floats) -> Floats:
        return state[:, :1].astype(np.float32)

    def measure(self, state: Floats) -> Floats:
        return state[:, :1]


@dataclass(frozen=True)
class Player:
    """Always the same action, but another one where luck is above a limit."""

    action: float
    lucky: float | None = None
    limit: float = np.inf
    observation_size: int = 1

    def __call__(self, observations: Floats, /) -> NDArray:
        return np.where(observations > self.limit, self.lucky or self.action, self.action).astype(np.float32)


@dataclass(frozen=True)
class Unbroken:
    name: str = "unbroken"
    text: str = "always(not broke)"
    recorded: bool = False

    def __call__(self, trajectories: Trajectories, /) -> Floats:
        return np.where(trajectories.ended(["broke"]), -1.0, 1.0)


SIMULATOR, SPECS = Luck(), (Unbroken(),)
SCENARIOS = SIMULATOR.sample(RNG, 400)


def flown(policy: Player) -> Trajectories:
    return rollout(SIMULATOR, policy, SCENARIOS, specs=SPECS)


TEACHER = flown(Player(100.0))


@pytest.mark.parametrize(
    ("gate", "least"),
    [
        (Gate(return_threshold=95.0), 95.0),
        (Gate(return_loss=0.1), 0.9 * TEACHER.returns.mean()),
        (Gate(return_threshold=95.0, return_loss=0.1), 95.0),
        (Gate(return_threshold=50.0, return_loss=0.1), 0.9 * TEACHER.returns.mean()),
    ],
)
def test_the_verdict_on_all_scenarios_is_a_plain_comparison_of_means(gate: Gate, least: float) -> None:
    for action in np.linspace(-2, 2, 9) + least:
        policy = Player(float(action))
        verdict = judge(gate, SIMULATOR, policy, TEACHER, specs=SPECS)
        assert verdict.passed == (flown(policy).returns.mean() >= least)
        if verdict.passed:
            assert verdict.episodes == 400
            assert verdict.return_mean == pytest.approx(flown(policy).returns.mean())


def test_a_teacher_with_negative_returns_may_lose_a_share_of_their_size() -> None:
    teacher = flown(Player(-40.0))
    assert Gate(return_loss=0.5).least_return(teacher) == pytest.approx(1.5 * teacher.returns.mean())


def test_what_clearly_earns_too_little_is_refused_at_the_first_look() -> None:
    verdict = judge(Gate(return_loss=0.02), SIMULATOR, Player(90.0), TEACHER, specs=SPECS)
    assert (verdict.passed, verdict.episodes) == (False, FIRST_LOOK)
    assert "asked for" in verdict.reason


def test_a_rare_violation_is_found_and_a_teacher_that_shares_it_excuses_it() -> None:
    rare = Player(100.0, lucky=-60.0, limit=9.5)
    broken = int(flown(rare).violated.sum())
    assert 0 < broken < 20
    strict = judge(Gate(), SIMULATOR, rare, TEACHER, specs=SPECS)
    assert not strict.passed
    assert strict.episodes < 400
    assert strict.violations == {"unbroken": round(strict.violation_rate * strict.episodes)}
    assert "broke a specification" in strict.reason
    assert judge(Gate(), SIMULATOR, rare, flown(rare), specs=SPECS).passed
    assert judge(Gate(more_violations=broken / 400), SIMULATOR, rare, TEACHER, specs=SPECS).passed
    assert not judge(Gate(more_violations=(broken - 1) / 400), SIMULATOR, rare, TEACHER, specs=SPECS).passed
    assert judge(Gate(more_violations=None), SIMULATOR, Player(-60.0), TEACHER, specs=SPECS).passed


def test_a_patient_gate_does_not_take_a_teacher_s_luck_for_its_skill() -> None:
    rare = Player(100.0, lucky=-60.0, limit=9.5)
    broken = int(flown(rare).violated.sum())
    spared = broken + math.isqrt(broken)
    assert patient(Gate(), TEACHER).most_violations(TEACHER) == 1  # none was seen, one may still come
    assert patient(Gate(), TEACHER, usual=broken / 400).most_violations(TEACHER) == spared
    assert patient(Gate(), flown(rare)).most_violations(flown(rare)) == spared
    assert patient(Gate(), flown(rare), usual=0.0).most_violations(flown(rare)) == spared  # nor does it forget any
    assert patient(Gate(more_violations=0.05), TEACHER).most_violations(TEACHER) == 21
    assert patient(Gate(more_violations=None), TEACHER).more_violations is None


def test_what_loses_a_little_everywhere_may_still_avoid_the_teacher_s_rare_disasters() -> None:
    late = np.arange(400) >= 200
    teacher = replace(TEACHER, returns=np.where(late & (np.arange(400) % 10 == 0), -900.0, TEACHER.returns))
    verdict = judge(Gate(return_loss=0.01), SIMULATOR, Player(98.0), teacher, specs=SPECS)
    assert teacher.returns.mean() < 60 < 90 < verdict.return_mean
    assert (verdict.passed, verdict.episodes) == (True, 400)


def test_a_policy_that_is_good_enough_is_hardly_ever_refused_early() -> None:
    """Noise that is independent of the teacher's, the mean exactly what is asked: the hardest case."""
    refused = 0
    for i in range(600):
        rng = np.random.default_rng([i, 4])
        scenarios = SIMULATOR.sample(rng, 160)
        teacher = rollout(SIMULATOR, Player(0.0), scenarios, specs=SPECS)
        noise = rng.normal(size=160) * 10
        noise -= noise.mean()

        @dataclass(frozen=True)
        class Noisy:
            noise: NDArray
            seen: list[int]
            observation_size: int = 1

            def __call__(self, observations: Floats, /) -> NDArray:
                start = sum(self.seen)
                self.seen.append(len(observations))
                return self.noise[start : start + len(observations), None].astype(np.float32)

        gate = Gate(return_threshold=float(teacher.returns.mean()) - 1e-3)
        refused += not judge(gate, SIMULATOR, Noisy(noise, []), teacher, specs=SPECS).passed
    assert refused <= 5  # the chance of more is below 1e-4 at a rate of 1 - CONFIDENCE
    assert CONFIDENCE == 0.999


def test_too_many_violations_early_on_are_refused_and_an_unlucky_order_hardly_ever() -> None:
    often = judge(Gate(more_violations=0.2), SIMULATOR, Player(100.0, lucky=-60.0, limit=-2.0), TEACHER, specs=SPECS)
    assert not often.passed
    assert often.violation_rate * often.episodes < 0.2 * 400  # before it had broken as many as it may
    allowed = int(flown(Player(100.0, lucky=-60.0, limit=6.0)).violated.sum())
    refused = 0
    for i in range(600):
        order = np.random.default_rng(i).permutation(400)
        teacher = rollout(SIMULATOR, Player(100.0), SCENARIOS[order], specs=SPECS)
        at_limit = Gate(more_violations=allowed / 400)
        refused += not judge(at_limit, SIMULATOR, Player(100.0, lucky=-60.0, limit=6.0), teacher, specs=SPECS).passed
    assert refused <= 5


def test_few_scenarios_are_flown_at_once() -> None:
    few = rollout(SIMULATOR, Player(100.0), SCENARIOS[:4], specs=SPECS)
    assert judge(Gate(return_loss=0.0), SIMULATOR, Player(100.0), few, specs=SPECS).episodes == 4


def test_wrong_use_is_refused() -> None:
    with pytest.raises(NiwakiError, match="share of at least 0, got -1"):
        Gate(return_loss=-1)
    with pytest.raises(NiwakiError, match=r"from -1 to 1, got 1\.5"):
        Gate(more_violations=1.5)
    with pytest.raises(NiwakiError, match="the teacher was flown under"):
        judge(Gate(), SIMULATOR, Player(1.0), TEACHER)
