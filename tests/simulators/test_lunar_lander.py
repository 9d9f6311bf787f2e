"""LunarLander's rewritten step: the powers of its engines, and when it leaves the step to Gymnasium.

That its bits are Gymnasium's is tested in test_box2d.py.
"""

import numpy as np
import pytest

pytest.importorskip("Box2D")

from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.lunar_lander import throttles

DISCRETE = gymnasium_engine("LunarLander-v3")
CONTINUOUS = gymnasium_engine("LunarLander-v3", kwargs={"continuous": True})


@pytest.mark.parametrize(
    ("action", "main", "side", "direction"),
    [
        ((0.0, 0.0), 0.0, 0.0, None),
        ((-1.0, 0.5), 0.0, 0.0, None),  # half a side engine is not enough
        ((1e-30, 0.75), 0.5, 0.75, 1.0),  # the main engine starts at half its power
        ((0.5, -0.75), 0.75, 0.75, -1.0),
        ((7.0, -7.0), 1.0, 1.0, -1.0),
        ((np.nan, np.nan), 0.0, 0.0, None),
    ],
)
def test_throttles_are_those_of_gymnasiums_documentation(action, main, side, direction):
    powers = throttles(np.array(action, dtype=np.float32))
    assert powers[:2] == (main, side)
    assert direction is None or powers[2] == direction


def test_only_what_gymnasium_takes_without_rounding_is_flown_quickly():
    run = CONTINUOUS.open()
    run.start(CONTINUOUS.nominal)
    assert run.quick.takes(np.zeros(2, np.float32))
    assert not run.quick.takes(np.zeros(2))
    assert not run.quick.takes(np.zeros(3, np.float32))
    assert not run.quick.takes([0.0, 0.0])


def test_an_action_that_gymnasium_refuses_is_refused():
    run = DISCRETE.open()
    run.start(DISCRETE.nominal)
    with pytest.raises(AssertionError, match="invalid"):
        run.advance(4)


def test_the_reward_is_a_plain_number():
    run = CONTINUOUS.open()
    run.start(CONTINUOUS.nominal)
    assert type(run.advance(np.zeros(2, np.float32))[1]) is float
