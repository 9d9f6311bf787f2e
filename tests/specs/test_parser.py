"""How formulas are read, and what is said about those that cannot be."""

from __future__ import annotations

import itertools
import pickle
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from niwaki.simulators.cartpole import CartPole
from niwaki.simulators.mountain_car import MountainCar
from niwaki.specs import parse_spec
from niwaki.types import Box, NiwakiError, Signal

CARTPOLE = CartPole()
LANDER = CartPole(
    name="Lander",
    action_space=Box((-1.0, -1.0), (1.0, 1.0)),
    signals=(Signal("y", "m"), Signal("crashed", "1"), Signal("observation[10]", "1")),
    endings=("time_out", "landed", "crashed"),
)


@pytest.mark.parametrize(
    ("text", "with_brackets"),
    [
        ("x <= 1 and x >= 0 or theta < 1", "((x <= 1) and (x >= 0)) or (theta < 1)"),
        ("x <= 1 or x >= 0 and theta < 1", "(x <= 1) or ((x >= 0) and (theta < 1))"),
        ("x < 1 implies x < 2 implies x < 3", "(x < 1) implies ((x < 2) implies (x < 3))"),
        ("x < 1 or x < 2 implies fell", "((x < 1) or (x < 2)) implies fell"),
        ("always x < 1 and fell", "(always (x < 1)) and fell"),
        ("not x < 1 and fell", "(not (x < 1)) and fell"),
        ("not fell until fell and fell", "((not fell) until fell) and fell"),
        ("always not eventually fell", "always(not(eventually(fell)))"),
        ("always[1,2] x < 1", "always[1,2](x < 1)"),
        ("1 + 2 * x - 3 / x <= -x * 2", "(1 + (2 * x) - (3 / x)) <= ((-x) * 2)"),
        ("-1 <= x < 1", "(-1 <= x) and (x < 1)"),
        ("abs(x-1)<=.5", "abs(x - 1) <= 0.5"),
        ("max(x, theta,\n\t1e-3) >= 2.", "max(x, theta, 0.001) >= 2"),
        ("always[0.1s,2s](x < 1)", "always[5,100](x < 1)"),
        ("always[0,2s](x < 1)", "always[0,100](x < 1)"),
    ],
)
def test_operators_bind_as_documented(text, with_brackets):
    spec = parse_spec(text, CARTPOLE, name="p")
    assert spec == parse_spec(with_brackets, CARTPOLE, name="p")
    assert spec.text == " ".join(text.split())


def test_different_formulas_differ():
    texts = ["x < 1", "x <= 1", "x < 2", "theta < 1", "fell", "not fell", "always(fell)", "eventually(fell)"]
    texts += ["always[0,1](fell)", "always[0,2](fell)", "fell or fell", "fell and fell", "fell implies fell"]
    specs = [parse_spec(text, CARTPOLE, name="p") for text in texts]
    assert all(a != b for a, b in itertools.combinations(specs, 2))


def test_a_specification_is_called_by_its_text_unless_it_has_a_name():
    assert parse_spec(" always( not fell ) ", CARTPOLE).name == "always( not fell )"
    assert parse_spec("always(not fell)", CARTPOLE, name="upright").name == "upright"


def test_an_ending_wins_over_a_signal_of_the_same_name():
    assert not parse_spec("always(not crashed)", LANDER).recorded
    with pytest.raises(NiwakiError, match="crashed holds or does not"):
        parse_spec("crashed <= 0.5", LANDER)


def test_names_with_a_number_in_brackets_are_read_whole():
    assert parse_spec("always(observation[10] <= 1)", LANDER).recorded
    with pytest.raises(NiwakiError, match=r"nothing is called observation\[1\]; did you mean observation\[10\]\?"):
        parse_spec("always(observation[1] <= 1)", LANDER)


def test_actions_are_numbered_where_there_are_several():
    assert parse_spec("always(action_1 <= 1)", LANDER).recorded
    assert parse_spec("always(action <= 1)", CARTPOLE).recorded
    with pytest.raises(NiwakiError, match=r"did you mean action_\d\?"):
        parse_spec("always(action <= 1)", LANDER)


MISTAKES = [  # the formula with ^ before the place that must be shown, and a part of the message
    ("always(abs(^thetta) <= 0.2)", "nothing is called thetta; did you mean theta?; signals: "),
    ("always(^q <= 0.2)", "signals: action, reward, return, x, x_dot, theta, theta_dot; events: terminated"),
    ("^Always(x <= 1)", "did you mean always?"),
    ("x <= 1 ^&& fell", "write: and"),
    ("^! fell", "write: not"),
    ("fell ^-> fell", "write: implies"),
    ("x ^== 1", "as in abs(a - b) <= 0.1"),
    ("x ^= 1", "as in abs(a - b) <= 0.1"),
    ("x ^≤ 1", "write: <="),
    ("x^**2 < 1", "write the product"),
    ("x <= 1 ^$", "'$' has no meaning"),
    ("x ^\x1b[31m <= 1", r"'\x1b' has no meaning"),
    ("^", "something is missing"),
    ("x <=^", "something is missing"),
    ("x <= 1 and ^or fell", "or is not expected"),
    ("x <= 1^) and fell", ") is not expected"),
    ("x <= 1 ^x", "x is not expected"),
    ("always(x <= 1^", "expected )"),
    ("abs(x^, 1) <= 1", ""),
    ("^min(x) <= 1", "min takes two numbers or more, got 1"),
    ("^x", "x is a number"),
    ("always^(x + 1)", "x + 1 is a number"),
    ("fell and ^theta", "theta is a number"),
    ("x + ^fell <= 1", "fell holds or does not"),
    ("^fell <= 1", "fell holds or does not"),
    ("-^(x <= 1)", "x <= 1 holds or does not"),
    ("1 ^<= 2", "reads no signal"),
    ("x <= ^1e999", "too large"),
    ("fell until fell ^until fell", "put brackets"),
    ("always^[3,2](fell)", "ends before it begins"),
    ("always[0^](fell)", "expected ,"),
    ("always[^-1,2](fell)", "a bound must be a number of steps"),
    ("always[0,^x](fell)", "a bound must be a number of steps"),
    ("always[0,^1.5](fell)", "whole number of steps, this is 1.5 steps"),
    ("always[0,^0.03s](fell)", "whole number of steps of 0.02 s, this is 1.5 steps"),
    ("always[0,^1e10](fell)", "at most 1,000,000,000 steps"),
    ("always^[1,2s](fell)", "both bounds in seconds"),
    ("__import__^('os')", ""),
]


@pytest.mark.parametrize(("marked", "message"), MISTAKES)
def test_a_mistake_is_named_and_pointed_at(marked, message):
    place = marked.index("^")
    text = marked.replace("^", "", 1)
    with pytest.raises(NiwakiError) as caught:
        parse_spec(text, CARTPOLE, name="mine")
    sentence, shown, caret = str(caught.value).split("\n")
    assert sentence.startswith("specification mine: ")
    assert message in sentence
    assert caret == "  " + " " * place + "^" or not message
    assert len(shown) == len(text) + 2
    assert shown.isascii()
    assert shown.isprintable()


def test_seconds_need_a_clock():
    with pytest.raises(NiwakiError, match="has no clock"):
        parse_spec("eventually[0,2s](goal)", MountainCar())


def test_a_long_formula_is_shown_in_part_with_the_caret_in_place():
    text = "x <= 1 and " * 300 + "thetta <= 1" + " and x <= 1" * 300
    with pytest.raises(NiwakiError) as caught:
        parse_spec(text, CARTPOLE)
    _, shown, caret = str(caught.value).split("\n")
    assert shown.startswith("  ... ")
    assert shown.endswith(" ...")
    assert len(shown) < 120
    assert shown[caret.index("^") :].startswith("thetta")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000,
        "not " * 2_400 + "fell",
        "-" * 5_000 + "x < 1",
        "abs(" * 2_000,
        "always " * 1_400 + "fell",
        "fell implies " * 700 + "fell",
        "x <= 1 until (" * 600,
    ],
)
def test_what_is_nested_too_deep_is_refused(text):
    with pytest.raises(NiwakiError, match="nested more than 60 deep"):
        parse_spec(text, CARTPOLE)


def test_what_is_just_not_nested_too_deep_can_be_used():
    spec = parse_spec("not " * 57 + "fell", CARTPOLE)
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert parse_spec(str(spec), CARTPOLE, name=spec.name) == spec


def test_a_text_that_is_too_long_is_refused():
    parse_spec("fell" + " " * 9_996, CARTPOLE)
    with pytest.raises(NiwakiError, match="10000 characters, this one has 10001"):
        parse_spec("fell" + " " * 9_997, CARTPOLE)


PIECES = ["always", "until", "not", "and", "implies", "x", "fell", "abs", "(", ")", "[", "]", ",", "<=", "-", "1", "2s"]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES)).map(" ".join) | st.text(string.printable + "é≤∧\x00", max_size=60))
@example("always[0,1](x<1" + "\ud800")
def test_any_text_is_either_a_formula_or_one_clear_error(text):
    spec, error = None, "\n\n"
    try:
        spec = parse_spec(text, CARTPOLE)
    except NiwakiError as refused:
        error = str(refused)
    assert error.count("\n") == 2
    assert spec is None or parse_spec(str(spec), CARTPOLE, name=spec.name) == spec


@pytest.mark.parametrize(
    "text",
    [
        "always[0,20](abs(x) <= 2.4) and not (fell or x < 1)",
        "x < 1 until theta > 2 * (1 - x) implies (fell implies x - (1 - 2) - 3 >= -(x + 1))",
        "(fell implies fell) implies not fell until[1,2] not (fell until x >= 1e-05)",
        "(fell and fell) and (fell or fell) and -x / (x * 2) * 3 < max(1, x, -2)",
    ],
)
def test_a_formula_is_written_out_with_the_brackets_it_needs(text):
    assert str(parse_spec(text, CARTPOLE)) == text
