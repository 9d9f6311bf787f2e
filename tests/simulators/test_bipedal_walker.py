"""BipedalWalker's rewritten step: its signals, and when it leaves the step to Gymnasium.

That its bits are Gymnasium's is tested in test_box2d.py.
"""

import numpy as np
import pytest

pytest.importorskip("Box2D")

from niwaki.simulators.gymnasium import gymnasium_engine

WALKER = gymnasium_engine("BipedalWalker-v3")


def test_only_actions_that_numpy_computes_in_single_precision_are_flown_quickly():
    run = WALKER.open()
    run.start(WALKER.nominal)
    assert run.quick.takes(np.zeros(4, np.float32))
    assert not run.quick.takes(np.zeros(4))
    assert not run.quick.takes(np.zeros(5, np.float32))
    assert not run.quick.takes([0.0] * 4)


def test_the_hardcore_course_is_gymnasiums_own():
    engine = gymnasium_engine("BipedalWalkerHardcore-v3")
    run = engine.open()
    run.start(engine.nominal)
    assert run.quick is None
    assert len(run.advance(np.ones(4, np.float32))[0]) == 24
    assert run.measure().shape == (len(engine.signals),)


def test_signals_are_the_current_state_of_the_bodies():
    run = WALKER.open()
    run.start(WALKER.nominal)
    seen = set()
    for t in range(120):
        run.advance(np.full(4, 0.9 * (-1) ** (t // 9), np.float32))
        env = run.env
        hull, (hip_1, knee_1, hip_2, knee_2) = env.hull, env.joints
        feet = env.legs[1].ground_contact, env.legs[3].ground_contact
        expected = [hull.angle, hull.angularVelocity, *hull.linearVelocity, hip_1.angle, knee_1.angle, hip_2.angle]
        expected += [knee_2.angle, *feet, hull.position[0], env.game_over]
        assert run.measure().tolist() == expected
        seen.add(feet)
    assert len(seen) > 1
