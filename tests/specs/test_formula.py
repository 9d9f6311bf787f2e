"""Margins against the textbook definition, other monitors, and what a specification must be able to do."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from niwaki.rollout import rollout
from niwaki.simulators.cartpole import CartPole
from niwaki.specs import parse_spec
from niwaki.specs.formula import LARGEST
from niwaki.types import Box, NiwakiError, Recording, Signal, Spec, Trajectories

SIMULATOR = CartPole(action_space=Box((-1.0, -1.0), (1.0, 1.0)))
NUMBERS = ("x", "x_dot", "theta", "action_0", "action_1", "reward", "return")
EVENTS = ("terminated", "time_out", "fell")


# The textbook, over lists and with recursion. A trace holds a list for each name; its last value holds for ever.


def number(tree, trace, t):
    match tree:
        case float():
            return tree
        case str():
            return trace[tree][min(t, len(trace[tree]) - 1)]
        case ("abs", a):
            return abs(number(a, trace, t))
        case ("neg", a):
            return -number(a, trace, t)
        case ("min" | "max" as which, a, b):
            return {"min": min, "max": max}[which](number(a, trace, t), number(b, trace, t))
    operator, a, b = tree
    a, b = number(a, trace, t), number(b, trace, t)
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1.0)}[operator]


def margin(tree, trace, t):
    match tree:
        case str():
            return number(tree, trace, t)
        case ("<=" | "<", a, b):
            return number(b, trace, t) - number(a, trace, t)
        case (">=" | ">", a, b):
            return number(a, trace, t) - number(b, trace, t)
        case ("not", p):
            return -margin(p, trace, t)
        case ("and" | "or" as which, *parts):
            return {"and": min, "or": max}[which](margin(p, trace, t) for p in parts)
        case ("implies", p, q):
            return max(-margin(p, trace, t), margin(q, trace, t))
        case ("always", p, window):
            return min(margin(p, trace, u) for u in ahead(t, window, trace))
        case ("eventually", p, window):
            return max(margin(p, trace, u) for u in ahead(t, window, trace))
    _, p, q, window = tree
    return max(min([margin(q, trace, u), *(margin(p, trace, v) for v in range(t, u))]) for u in ahead(t, window, trace))


def ahead(t, window, trace):
    last = max(t, len(trace["x"]) - 1)
    return range(t, last + 1) if window is None else range(t + window[0], t + window[1] + 1)


def written(tree):
    """A tree as text, with brackets around everything."""
    match tree:
        case float():
            return repr(tree)
        case str():
            return tree
        case ("abs", a):
            return f"abs({written(a)})"
        case ("neg", a):
            return f"(-{written(a)})"
        case ("min" | "max" as which, a, b):
            return f"{which}({written(a)}, {written(b)})"
        case ("not", p):
            return f"(not {written(p)})"
        case ("always" | "eventually" as which, p, window):
            return f"{which}{bounds(window)}({written(p)})"
        case ("until", p, q, window):
            return f"({written(p)} until{bounds(window)} {written(q)})"
    operator, *parts = tree
    return f"({f' {operator} '.join(map(written, parts))})"


def bounds(window):
    return "" if window is None else f"[{window[0]},{window[1]}]"


constants = st.sampled_from((0.0, 0.5, 1.0, 2.4, 3.0))
divisors = st.sampled_from((0.5, 2.0, 3.0))
windows = st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted).map(tuple)


def numbers(names):
    return st.recursive(
        st.sampled_from(names) | constants,
        lambda a: st.one_of(
            st.tuples(st.sampled_from(("abs", "neg")), a),
            st.tuples(st.sampled_from(("min", "max", "+", "-", "*")), a, a),
            st.tuples(st.just("/"), a, divisors),
        ),
        max_leaves=4,
    )


def truths(leaves, windows=windows):
    return st.recursive(
        leaves,
        lambda p: st.one_of(
            st.tuples(st.just("not"), p),
            st.tuples(st.sampled_from(("and", "or", "implies")), p, p),
            st.tuples(st.sampled_from(("and", "or")), p, p, p),
            st.tuples(st.sampled_from(("always", "eventually")), p, windows),
            st.tuples(st.just("until"), p, p, windows),
        ),
        max_leaves=6,
    )


comparisons = st.tuples(st.sampled_from(("<=", "<", ">=", ">")), st.sampled_from(NUMBERS), numbers(NUMBERS))
trees = truths(comparisons | st.sampled_from(EVENTS))


@st.composite
def flights(draw):
    """Up to four episodes, recorded in one array that is at least as long as the longest of them."""
    lengths = np.array(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)), dtype=np.int32)
    endings = np.array(draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths))))
    return make(lengths, endings, seed=draw(st.integers(0, 2**20)), spare=draw(st.integers(0, 3)))


def make(lengths, endings, *, seed, spare=0):
    n, steps, rng = len(lengths), int(max(lengths)) + spare, np.random.default_rng(seed)
    held = np.minimum(np.arange(steps + 1), lengths[:, None])
    alive = np.arange(steps) < lengths[:, None]
    recording = Recording(
        tuple(s.name for s in SIMULATOR.signals),
        np.take_along_axis((rng.integers(-6, 7, (n, steps + 1, 4)) / 2), held[:, :, None], axis=1),
        (rng.integers(-2, 3, (n, steps, 2)) / 2 * alive[:, :, None]).astype(np.float32),
        rng.integers(-2, 3, (n, steps)) / 2 * alive,
        np.zeros((n, steps + 1, 4), dtype=np.float32),
    )
    names, returns = SIMULATOR.endings, recording.rewards.sum(axis=1)
    return Trajectories(np.zeros((n, 1)), returns, lengths, endings, names, recording)


def trace_of(flown, row):
    """What a formula may read of one episode, as lists over its own indices 0 .. L."""
    length, seen = int(flown.lengths[row]), flown.recording
    trace = {name: seen.signal(name)[row, : length + 1].tolist() for name in ("x", "x_dot", "theta")}
    for i in (0, 1):
        actions = seen.actions[row, :length, i].tolist()
        trace[f"action_{i}"] = [*actions, actions[-1]]
    rewards = [0.0, *seen.rewards[row, :length].tolist()]
    trace["reward"] = rewards
    trace["return"] = [sum(rewards[: t + 1]) for t in range(length + 1)]
    ending = flown.ending_names[flown.endings[row]]
    for event in EVENTS:
        happened = ending != "time_out" if event == "terminated" else ending == event
        trace[event] = [-1.0] * length + [1.0 if happened else -1.0]
    return trace


def row_alone(flown, row):
    """One episode, in a recording as long as itself."""
    length, seen = int(flown.lengths[row]), flown.recording
    states, steps = np.s_[row : row + 1, : length + 1], np.s_[row : row + 1, :length]
    recording = Recording(
        seen.signal_names, seen.signals[states], seen.actions[steps], seen.rewards[steps], seen.observations[states]
    )
    one = slice(row, row + 1)
    arrays = (flown.scenarios[one], flown.returns[one], flown.lengths[one], flown.endings[one])
    return Trajectories(*arrays, flown.ending_names, recording)


@settings(max_examples=300, deadline=None)
@given(trees, flights())
def test_margins_are_those_of_the_textbook(tree, flown):
    expected = [margin(tree, trace_of(flown, row), 0) for row in range(len(flown))]
    assert parse_spec(written(tree), SIMULATOR)(flown).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(flights())
def test_what_must_always_hold_is_lost_at_the_first_index_where_it_does_not(flown):
    spec = parse_spec("always(x <= 1 and not fell)", SIMULATOR)
    lost, beyond = spec.lost(flown), flown.lengths.max() + 1
    assert ((lost < beyond) == (spec(flown) < 0)).all()
    for row in np.flatnonzero(lost < beyond):
        trace = trace_of(flown, row)
        broken = [x > 1 or fell > 0 for x, fell in zip(trace["x"], trace["fell"], strict=True)]
        assert lost[row] == broken.index(True)


def test_what_may_still_come_true_is_never_lost():
    flown = one_episode([5.0, 5.0, 5.0])
    for text in ("eventually(x <= 1)", "always[0,1](x <= 1)", "always(eventually[0,1](x <= 1))", "x <= 1"):
        spec = parse_spec(text, SIMULATOR)
        assert spec(flown)[0] < 0
        assert spec.lost(flown).tolist() == [3]


@settings(max_examples=150, deadline=None)
@given(trees, flights())
def test_a_margin_does_not_depend_on_the_batch(tree, flown):
    spec = parse_spec(written(tree), SIMULATOR)
    alone = [spec(row_alone(flown, row))[0] for row in range(len(flown))]
    assert spec(flown).tolist() == alone


@settings(max_examples=150, deadline=None)
@given(trees, windows, flights())
def test_negation_turns_the_sign_and_always_is_not_eventually_not(tree, window, flown):
    p, w = written(tree), bounds(window)

    def margins(text):
        return parse_spec(text, SIMULATOR)(flown).tolist()

    assert margins(f"not ({p})") == [-value for value in margins(p)]
    assert margins(f"always{w}({p})") == margins(f"not eventually{w}(not ({p}))")


@settings(max_examples=200, deadline=None)
@given(trees)
def test_a_formula_written_out_and_read_again_is_the_same(tree):
    spec = parse_spec(written(tree), SIMULATOR, name="p")
    again = parse_spec(str(spec), SIMULATOR, name="p")
    assert again == spec
    assert hash(again) == hash(spec)
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert parse_spec(f"not ({written(tree)})", SIMULATOR, name="p") != spec


# Other monitors. Both are given the last value once more for every step that a window reaches beyond the end.

simple = truths(
    st.tuples(st.sampled_from(("<=", ">=")), st.sampled_from(("x", "theta")), constants),
    st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted).map(tuple),
)
HELD = 60  # more than the windows of a tree can reach


def held_traces(flown, row):
    trace = trace_of(flown, row)
    return {name: trace[name] + [trace[name][-1]] * HELD for name in ("x", "theta")}


@settings(max_examples=60, deadline=None)
@given(simple, flights())
def test_rtamt_gives_the_same_margins(tree, flown):
    rtamt = pytest.importorskip("rtamt")
    monitor = rtamt.StlDiscreteTimeSpecification()
    for name in ("x", "theta", "out"):
        monitor.declare_var(name, "float")
    monitor.spec = f"out = {written(tree)}"
    monitor.parse()
    margins = parse_spec(written(tree), SIMULATOR)(flown)
    for row in range(len(flown)):
        traces = held_traces(flown, row)
        (_, first), *_ = monitor.evaluate({"time": list(range(len(traces["x"]))), **traces})
        assert margins[row] == pytest.approx(first)


def in_tidystl(tree):
    match tree:
        case ("always" | "eventually" as which, p, window):
            return f"{which[0].replace('a', 'G').replace('e', 'F')}{bounds(window)}({in_tidystl(p)})"
        case ("until", p, q, window):
            return f"({in_tidystl(p)} U{bounds(window)} {in_tidystl(q)})"
        case ("implies", p, q):
            return f"((not {in_tidystl(p)}) or {in_tidystl(q)})"
        case ("not", p):
            return f"(not {in_tidystl(p)})"
        case ("and" | "or" as operator, *parts):
            return f"({f' {operator} '.join(map(in_tidystl, parts))})"
    return written(tree)


def for_tidystl(tree):
    """tidystl's until asks that the left side still holds when the right side does."""
    if isinstance(tree, tuple) and tree[0] == "until":
        _, p, q, window = tree
        return ("until", for_tidystl(p), ("and", for_tidystl(p), for_tidystl(q)), window)
    return tuple(map(for_tidystl, tree)) if isinstance(tree, tuple) and tree[0] not in ("<=", ">=") else tree


@settings(max_examples=60, deadline=None)
@given(simple, flights())
def test_tidystl_gives_the_same_margins(tree, flown):
    tidystl = pytest.importorskip("tidystl")
    formula = tidystl.parse(in_tidystl(tree))
    margins = parse_spec(written(for_tidystl(tree)), SIMULATOR)(flown)
    for row in range(len(flown)):
        traces = {name: np.array(values) for name, values in held_traces(flown, row).items()}
        signal = tidystl.Signal.from_dict(np.arange(float(len(traces["x"]))), traces)
        assert margins[row] == pytest.approx(tidystl.robustness(formula, signal)[0, 0])


# What a margin is made of, by hand.


def one_episode(x, *, ending="fell"):
    length = len(x) - 1
    flown = make(np.array([length]), np.array([SIMULATOR.endings.index(ending)]), seed=0)
    flown.recording.signals[0, :, 0] = x
    return flown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x <= 2", 1.0),  # at the start
        ("always(x <= 2)", -3.0),
        ("eventually(x >= 4)", 1.0),
        ("eventually(always(x <= 2))", 2.0),  # at the end
        ("always[0,1](x <= 2)", 0.0),
        ("always[2,2](x <= 2)", -3.0),
        ("always[100,1000000000](x <= 2)", 2.0),
        ("x <= 2 until x >= 5", 0.0),
        ("x <= 1 until x >= 5", -1.0),
        ("not eventually(x > 4)", -1.0),
        ("x >= 3 implies x >= 9", 2.0),
        ("1 <= x <= 9", 0.0),
        ("always(not fell)", -1.0),
        ("always(not time_out)", 1.0),
        ("eventually[2,2](fell)", -1.0),
        ("eventually[3,3](fell)", 1.0),
        ("eventually[9,9](terminated)", 1.0),
        ("max(x, 3, 2) - -x * 2 <= 6 / 2 + 2.5", 0.5),
        ("x - 4 - 2 <= 16 / 4 / 2", 7.0),
        ("always(x < 5 or x >= 5 and not fell)", 0.0),
    ],
)
def test_margins_by_hand(text, expected):
    assert parse_spec(text, SIMULATOR)(one_episode([1.0, 2.0, 5.0, 0.0])).tolist() == [expected]


def test_a_margin_that_is_not_a_number_counts_as_the_worst():
    flown = one_episode([0.0, np.nan, 0.0])
    assert parse_spec("always(x <= 1)", SIMULATOR)(flown).tolist() == [-LARGEST]
    assert parse_spec("not always(x <= 1)", SIMULATOR)(flown).tolist() == [-LARGEST]
    assert parse_spec("x / x <= 1", SIMULATOR)(flown).tolist() == [-LARGEST]
    assert parse_spec("1 / x <= 1", SIMULATOR)(one_episode([0.0, 1.0])).tolist() == [-LARGEST]
    assert parse_spec("1 / x >= 1", SIMULATOR)(one_episode([0.0, 1.0])).tolist() == [LARGEST]


def test_the_sign_of_a_tiny_violation_is_kept():
    flown = one_episode([np.nextafter(2.4, 3), 0.0])
    assert parse_spec("always(x <= 2.4)", SIMULATOR)(flown)[0] < 0


class Nudge:
    """Pushes the way the pole leans."""

    observation_size = 4

    def __call__(self, observations):
        return (observations[:, 2] > 0).astype(np.int64)


def test_a_specification_judges_flights_the_same_in_every_batch_and_process():
    simulator = CartPole(horizon=60)
    specs = tuple(
        parse_spec(text, simulator)
        for text in ("always(not fell)", "always(abs(theta) <= 0.2)", "return >= 10 or always(action < 1)")
    )
    assert all(isinstance(spec, Spec) for spec in specs)
    rows = simulator.sample(np.random.default_rng(0), 40)
    together = rollout(simulator, Nudge(), rows, specs=specs)
    alone = np.concatenate([rollout(simulator, Nudge(), row, specs=specs).margins for row in rows])
    elsewhere = rollout(simulator, Nudge(), rows, specs=specs, workers=2)
    assert together.margins.tolist() == alone.tolist() == elsewhere.margins.tolist()
    assert together.margins[:, 0].min() == -1


def test_events_need_no_recording_and_all_else_does():
    events = parse_spec("always(not fell) and eventually(time_out)", SIMULATOR)
    signals = parse_spec("always(not fell or x > 0)", SIMULATOR)
    assert not events.recorded
    assert signals.recorded
    flown = make(np.array([3, 5, 3, 3]), np.array([2, 0, 0, 2]), seed=1)
    bare = Trajectories(flown.scenarios, flown.returns, flown.lengths, flown.endings, flown.ending_names)
    assert events(bare).tolist() == events(flown).tolist() == [-1, 1, 1, -1]
    with pytest.raises(NiwakiError, match="record=True"):
        signals(bare)


def test_a_recording_of_another_simulator_is_refused():
    other = CartPole(signals=(Signal("z", "m"),))
    with pytest.raises(NiwakiError, match="no signal 'z'"):
        parse_spec("z <= 1", other)(one_episode([0.0, 1.0]))


def test_no_episodes_have_no_margins():
    flown = one_episode([0.0, 1.0])
    none = Trajectories(flown.scenarios[:0], flown.returns[:0], flown.lengths[:0], flown.endings[:0], ("time_out",))
    assert parse_spec("always(not fell)", SIMULATOR)(none).shape == (0,)
    assert parse_spec("x < 1", SIMULATOR)(none).shape == (0,)


def test_a_thousand_long_episodes_are_judged_in_milliseconds():
    flown = make(np.full(1000, 500), np.zeros(1000, dtype=int), seed=0)
    text = "always(abs(x) <= 2.4) and always((theta > 0.1) implies eventually[0,20](abs(theta) <= 0.05))"
    spec = parse_spec(text, SIMULATOR)
    seconds = []
    for _ in range(15):
        start = time.process_time()  # of this core: other work on the machine does not count
        spec(flown)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.02, f"took {min(seconds) * 1e3:.1f} ms"


def test_ten_thousand_characters_do_not_take_the_machine():
    text = " and ".join(["always[0,1000000000](x <= 2.4)"] * 285)
    assert 9_900 < len(text) <= 10_000
    flown = make(np.full(20, 500), np.zeros(20, dtype=int), seed=0)
    assert parse_spec(text, SIMULATOR)(flown).shape == (20,)
    sum_of_many = "+".join(["x"] * 4_990) + " <= 1"
    assert parse_spec(sum_of_many, SIMULATOR)(flown).shape == (20,)
