"""Shape: what is tried next, and that a small network comes out which the gate lets pass."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from niwaki.gates import Gate, Verdict
from niwaki.policies.deployed import deployed
from niwaki.policies.network import Head, Layer, NetworkPolicy
from niwaki.recipes import shape as module
from niwaki.recipes.fitness import Fitness
from niwaki.recipes.ledger import OutOfTime
from niwaki.recipes.shape import Attempt, Effort, Step, plan, seedling, shape, shaped
from niwaki.rollout import rollout
from niwaki.tasks import load_task

QUICK = Effort(flights=16, trials=40, confirmations=100, rounds=2, steps=400)
GATE = Gate(return_threshold=195, return_loss=0.02, more_violations=0.0)


def attempt(kind, size, passed, weights=None):
    """An attempt whose network has so many weights."""
    weights = size if weights is None else weights
    network = NetworkPolicy((Layer(np.ones((1, weights)), np.zeros(1)),))
    return Attempt(Step(kind, size), network, Verdict(passed, "", 10, 0.0, 0.0), 1)


@pytest.fixture(scope="module")
def balancer():
    """A linear controller in a network of 4 x 64 + 64 x 2 weights, most of which do nothing."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(64, 4)) / 100
    second = rng.normal(size=(2, 64)) / 100
    first[0], second[:, 0] = (0.05, 0.12, 1.2, 0.4), (-8, 8)
    return NetworkPolicy((Layer(first, np.zeros(64), "tanh"), Layer(second, np.zeros(2))), Head("argmax"))


@pytest.fixture(scope="module")
def attempts(balancer):
    return list(shape(balancer, load_task("cartpole-v0"), gate=GATE, effort=QUICK))


def test_students_grow_until_one_passes_and_then_get_thinner():
    assert plan([]) == Step("grow", 0)  # a linear map
    grown = [attempt("grow", 0, False)]
    assert plan(grown) == Step("grow", 8)
    grown.append(attempt("grow", 8, False))
    assert plan(grown) == Step("grow", 16)
    assert plan([*grown, attempt("grow", 16, True, weights=100)]) == Step("thin", 70)


def test_a_second_layer_is_tried_before_a_wider_one_from_some_width_on():
    grown, steps = [], []
    while step := plan(grown, can=lambda step: step.size**step.depth <= 32**2 and step.size < 64):
        steps.append((step.size, step.depth))
        grown.append(replace(attempt("grow", 0, False), step=step))
    assert steps == [(0, 1), (8, 1), (16, 1), (16, 2), (32, 1), (32, 2)]
    shallow = [replace(attempt("grow", 0, False), step=Step("grow", 16))]
    students = Step("grow", 0), Step("grow", 8), Step("grow", 16, 2)
    assert [step.student for step in students] == ["linear", "8", "16-16"]
    assert plan(shallow, can=lambda step: step.depth == 1) == Step("grow", 32)  # where the teacher is not deep


def test_every_refusal_halves_the_cut_and_no_refused_size_is_tried_again():
    path = [attempt("grow", 4, True, weights=100)]
    for size, passed, following in ((70, True, 49), (49, False, 60), (60, True, 51)):
        path.append(attempt("thin", size, passed))
        assert plan(path) == Step("thin", following)
    path.append(attempt("thin", 51, False))
    assert plan(path).kind == "confirm"  # the next cut would be less than a tenth


def test_small_networks_lose_one_weight_at_a_time():
    assert plan([attempt("grow", 4, True, weights=3)]) == Step("thin", 2)
    assert plan([attempt("grow", 4, True, weights=3), attempt("thin", 2, False)]).kind == "confirm"
    assert plan([attempt("grow", 4, True, weights=1)]).kind == "confirm"  # one weight is the least there is


def test_the_sparsest_is_confirmed_first_then_the_next():
    path = [attempt("grow", 4, True, weights=10), attempt("thin", 7, True), attempt("thin", 6, False)]
    late = {"late": True}
    assert plan(path, **late) == Step("confirm", 1)
    path.append(attempt("confirm", 1, False))
    assert plan(path, **late) == plan(path) == Step("confirm", 0)
    assert plan([*path, attempt("confirm", 0, True)]) is None


def test_where_none_is_confirmed_a_wider_student_begins_anew():
    path = [attempt("grow", 0, True, weights=8), attempt("thin", 6, False), attempt("confirm", 0, False)]
    assert plan(path, late=True) is None
    assert plan(path) == Step("grow", 8)
    path.append(attempt("grow", 8, True, weights=10))
    assert plan(path) == Step("thin", 7)  # the refusal of 6 was about other networks
    path.append(attempt("thin", 7, False))
    assert plan(path) == Step("thin", 8)
    path.append(attempt("thin", 8, False))
    assert plan(path) == Step("confirm", 3)


def test_late_means_no_new_size():
    assert plan([], late=True) is None
    assert plan([attempt("grow", 4, True, weights=100)], late=True) == Step("confirm", 0)


def test_the_network_that_comes_out_is_small_and_keeps_the_specifications(attempts, balancer):
    network = shaped(attempts)
    task = load_task("cartpole-v0")
    fresh = task.simulator.sample(np.random.default_rng(12345), 300)
    flown = rollout(task.simulator, deployed(network), fresh, specs=task.specs)
    assert network.nonzero_weights <= 12 < 0.05 * balancer.weights
    assert flown.returns.mean() >= 195
    assert flown.violated.mean() <= 0.01


def test_the_path_is_told_and_only_passed_networks_are_thinned(attempts):
    kinds = [a.step.kind for a in attempts]
    assert kinds == sorted(kinds, key=["grow", "thin", "confirm"].index)
    for before, after in pairwise(attempts):
        if after.step.kind == "thin":
            assert after.network.nonzero_weights <= after.step.size
            assert before.step.kind == "thin" or before.verdict.passed
    assert attempts[-1].verdict.episodes == QUICK.confirmations


def test_the_same_seed_gives_the_same_networks(attempts, balancer):
    again = shape(balancer, load_task("cartpole-v0"), gate=GATE, effort=QUICK)
    for old in attempts[:2]:
        new = next(again)
        assert new.step == old.step
        assert new.verdict == old.verdict
        assert np.array_equal(new.network.layers[0].weight, old.network.layers[0].weight)


def test_a_run_goes_on_after_what_was_done(attempts, balancer):
    told: list[str] = []
    rest = shape(balancer, load_task("cartpole-v0"), gate=GATE, effort=QUICK, done=attempts[:-1], progress=told.append)
    last = next(rest)
    assert last.step == attempts[-1].step
    assert told == [f"confirming {attempts[last.step.size].network.nonzero_weights} weights"]


@pytest.mark.parametrize("cut", [1, 2, -1])
def test_an_interrupted_run_ends_with_the_same_bits(attempts, balancer, cut):
    rest = shape(balancer, load_task("cartpole-v0"), gate=GATE, effort=QUICK, done=attempts[:cut])
    new, old = next(rest), attempts[cut]
    assert (new.step, new.verdict, new.fits) == (old.step, old.verdict, old.fits)
    for new_layer, old_layer in zip(new.network.layers, old.network.layers, strict=True):
        assert np.array_equal(new_layer.weight, old_layer.weight)
        assert np.array_equal(new_layer.bias, old_layer.bias)


@pytest.mark.parametrize("family", [module.TRIAL, module.CONFIRMATION])
def test_where_an_exam_follows_a_lucky_teacher_s_usual_rate_counts(balancer, monkeypatch, family):
    asked = []
    monkeypatch.setattr(module, "judge", lambda gate, *_, **__: asked.append(gate.more_violations))
    for usual in (None, 0.2):
        module._Workshop(balancer, load_task("cartpole-v0"), GATE, QUICK, 0, usual)._judge(balancer, family, 100)
    once, spare = 1 / 100, (0.2 * 100 + np.sqrt(20)) / 100  # the teacher fails in none of these flights
    assert asked == [once if family == module.TRIAL else 0.0, pytest.approx(spare)]


@pytest.mark.parametrize(("flown", "longer", "fits"), [(40, 2, 4), (39, 2, 2), (40, 1, 2)])
def test_a_student_that_misses_by_little_may_learn_longer(balancer, monkeypatch, flown, longer, fits):
    refused = Verdict(False, "", flown, 0.0, 0.0)
    monkeypatch.setattr(module, "judge", lambda *_, **__: refused)
    effort = replace(QUICK, longer=longer)
    workshop = module._Workshop(balancer, load_task("cartpole-v0"), GATE, effort, 0)
    assert workshop.do(Step("grow", 0), []).fits == fits
    grown = Attempt(Step("grow", 8), balancer, replace(refused, passed=True), 1)
    assert workshop.do(Step("thin", 4), [grown]).fits == 2


@pytest.mark.parametrize(
    ("flown", "fits"), [([10] * 6, 4), ([40, 40, 10, 30, 20, 10], 6), ([10, 10, 40, 40, 40, 10], 6)]
)
def test_a_student_is_given_up_where_two_fits_in_a_row_are_refused_at_a_glance(balancer, monkeypatch, flown, fits):
    left = iter(flown)
    monkeypatch.setattr(module, "judge", lambda *_, **__: Verdict(False, "", next(left), 0.0, 0.0))
    monkeypatch.setattr(module, "GLANCE", 1.0)  # every fit comes to its trial
    workshop = module._Workshop(balancer, load_task("cartpole-v0"), GATE, replace(QUICK, rounds=6, steps=10), 0)
    assert workshop.do(Step("grow", 0), []).fits == fits


def confirmed(network, teacher, monkeypatch, polish=None):
    """What becomes of a network that is to be confirmed on an engine and has nothing to learn from its lessons."""
    monkeypatch.setattr(Fitness, "quick", False)
    monkeypatch.setattr(module, "distil", lambda network, *_, **__: network)
    if polish is not None:
        monkeypatch.setattr(module, "polish", polish)
    workshop = module._Workshop(teacher, load_task("cartpole-v0"), GATE, QUICK, 0)
    return workshop.do(Step("confirm", 0), [Attempt(Step("grow", 0), network, Verdict(True, "", 10, 200.0, 0.0), 1)])


def controller(*gains, bias=0.0):
    return NetworkPolicy((Layer([[0, 0, 0, 0], gains], [0.0, bias]),), Head("argmax"))


def test_what_fails_its_confirmation_on_an_engine_is_polished_by_flights(balancer, monkeypatch):
    crooked = controller(0.0, 0.1, 1.0, 0.3, bias=0.15)
    last = confirmed(crooked, balancer, monkeypatch)
    assert last.verdict.passed
    assert not np.array_equal(last.network.layers[0].weight, crooked.layers[0].weight)


def test_what_a_polish_does_not_mend_stays_as_it_was(balancer, monkeypatch):
    crooked = controller(0.0, 0.1, 1.0, 0.3, bias=0.15)
    worse = controller(0.0, 0.1, 1.0, 0.3, bias=0.5)
    last = confirmed(crooked, balancer, monkeypatch, polish=lambda *_, **__: (worse, 0.0))
    assert not last.verdict.passed
    assert last.network is crooked


def test_what_is_as_safe_as_its_teacher_is_not_polished(balancer, monkeypatch):
    def never(*_, **__):
        raise AssertionError("there is nothing to mend")

    steady = controller(0.0, 0.1, 1.0, 0.3)
    assert confirmed(steady, balancer, monkeypatch, polish=never).network is steady


def test_where_nothing_smaller_passes_there_is_no_network(balancer):
    impossible = replace(GATE, return_threshold=201)
    effort = replace(QUICK, rounds=1, steps=1, flights=2)
    attempts = list(shape(balancer, load_task("cartpole-v0"), gate=impossible, effort=effort))
    assert [a.step for a in attempts] == [Step("grow", width) for width in (0, 8, 16, 32, 64)]  # as wide as the teacher
    assert shaped(attempts) is None


def test_where_the_time_is_over_before_the_search_it_says_so_and_more_time_takes_it_on(balancer):
    task, late = load_task("cartpole-v0"), replace(QUICK, seconds=-1.0)
    refused = Attempt(Step("grow", 0), seedling(balancer, 0, np.random.default_rng(0)), Verdict(False, "", 1, 0, 0), 1)
    with pytest.raises(OutOfTime):
        next(shape(balancer, task, gate=GATE, effort=late, done=[refused]))
    assert next(shape(balancer, task, gate=GATE, effort=QUICK, done=[refused])).step == Step("grow", 8)


def test_a_seedling_has_the_teacher_s_inputs_activation_and_head(make_network):
    rng = np.random.default_rng(0)
    teacher = make_network((5, 32, 32, 3), ("relu",), head=Head("argmax"), normalized=True)
    young = seedling(teacher, 7, rng)
    assert young.sizes == (5, 7, 3)
    assert [layer.activation for layer in young.layers] == ["relu", "identity"]
    assert young.head == teacher.head
    assert young.normalizer is teacher.normalizer
    assert seedling(teacher, 0, rng).sizes == (5, 3)
    assert seedling(teacher, 7, rng, depth=2).sizes == (5, 7, 7, 3)
