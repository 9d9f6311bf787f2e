"""Text stays text."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from niwaki.reporting.markup import Markup, join, script_json, tag

HOSTILE = "</script><script>alert('x')</script> & \"quoted\" \u2028 \u2029"


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "<b>", tag("b", "x")) == "<p>&lt;b&gt;<b>x</b></p>"
    assert join("a", None, ["<", Markup("<i>")]) == "a&lt;<i>"


def test_attributes_are_escaped_and_none_is_left_out() -> None:
    assert tag("p", class_="a", id=None, title='"<', hidden=True) == '<p class="a" title="&quot;&lt;" hidden></p>'
    assert tag("meta", name="viewport") == '<meta name="viewport">'


def test_no_text_in_json_ends_the_script_around_it() -> None:
    text = script_json({HOSTILE: [HOSTILE]})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def test_arrays_and_dataclasses_become_plain_json() -> None:
    @dataclass(frozen=True)
    class Thing:
        values: np.ndarray
        whole: np.ndarray

    text = script_json(Thing(np.array([[1.23456789, np.nan], [2.0, -1e-7]]), np.array([1, 2])))
    assert text == '{"values":[[1.235,null],[2,-1e-07]],"whole":[1,2]}'


def test_what_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError, match="object is not for JSON"):
        script_json({"x": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json({"x": float("inf")})
