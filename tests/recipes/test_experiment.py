"""What sport may be asked for, and the paper's figures."""

from __future__ import annotations

import math

import pytest

from niwaki.recipes.experiment import ALPHAS, METHODS, PUBLISHED, UNTRAINED, Order, method_folder
from niwaki.types import NiwakiError


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experiment": 3}, "experiments 1 and 2, got 3"),
        ({"alphas": ()}, "must be at least 1, got"),
        ({"alphas": (0.5,)}, r"must be at least 1, got \[0.5\]"),
        ({"alphas": (math.nan,)}, "must be at least 1"),
        ({"alphas": (2.0, 2.0)}, "every alpha once"),
        ({"bound": 0.0}, "above 0 and at most 1, got 0"),
        ({"episodes": 0}, "at least 1, got 0"),
        ({"stages": 0}, "1 to 20 stages"),
        ({"seed": -1}, "must not be negative"),
        ({"methods": ("magic",)}, r"the methods are ratio, .*, each once, got \['magic'\]"),
        ({"methods": ("ratio", "ratio")}, "each once"),
        ({"steps": 0}, "at least 1, got 0"),
    ],
)
def test_a_wrong_order_is_refused(wrong, message):
    with pytest.raises(NiwakiError, match=message):
        Order(**wrong)


def test_a_folder_is_only_of_a_known_layout_and_method():
    assert method_folder("fixed", "stagewise ratio") == "fixed/stagewise-ratio"
    with pytest.raises(NiwakiError, match=r"has the methods ratio, .* not '\.\./x'"):
        method_folder("fixed", "../x")
    with pytest.raises(NiwakiError, match=r"the layouts fixed and random, not '\.\.'"):
        method_folder("..", "ratio")


def test_the_published_alphas_are_flown_and_only_experiment_2_trains_by_itself():
    assert len(ALPHAS) == 13
    assert set(PUBLISHED[1]) | set(PUBLISHED[2]) <= set(ALPHAS)
    assert Order().methods == UNTRAINED
    assert set(METHODS) - set(UNTRAINED) == {name for name in METHODS if Order().adapting(name, horizon=9).finetune}
