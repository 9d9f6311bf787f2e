"""The quick listener hears what Gymnasium's ContactDetector hears."""

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("Box2D")

from niwaki.simulators import bipedal_walker, contacts, lunar_lander
from niwaki.simulators.gymnasium import gymnasium_engine


def test_a_listener_lives_as_long_as_its_world():
    """Box2D 2.3.5 forgets the listener of one world when another world gets one."""
    engine = gymnasium_engine("LunarLander-v3")
    first, second = engine.open(), engine.open()
    first.start(engine.nominal)
    listener = weakref.ref(first.env.world.contactListener)
    second.start(engine.nominal)
    gc.collect()
    assert listener() is first.env.world.listener


@pytest.mark.parametrize("name", ["LunarLander-v3", "BipedalWalker-v3"])
def test_contacts_begin_and_end_as_gymnasium_says(name, monkeypatch):
    engine = gymnasium_engine(name)
    with monkeypatch.context() as patch:
        patch.setattr(lunar_lander, "KNOWN", {})
        patch.setattr(bipedal_walker, "KNOWN", {})
        theirs = engine.open()
    ours, heard = engine.open(), []
    listener = contacts._listener_class()
    for event in ("BeginContact", "EndContact"):
        said = getattr(listener, event)
        monkeypatch.setattr(
            listener, event, lambda self, contact, said=said, event=event: (heard.append(event), said(self, contact))
        )
    rng, seen = np.random.default_rng(0), set()
    for seed in range(8):
        row = np.array([*engine.nominal[:-1], seed])
        ours.start(row), theirs.start(row)
        for _ in range(300):
            action = 0 if name == "LunarLander-v3" else rng.uniform(-1, 1, 4).astype(np.float32)
            ending = ours.advance(action)[2]
            assert theirs.advance(action)[2] == ending
            state = [
                [run.env.game_over, *(getattr(leg, "ground_contact", None) for leg in run.env.legs)]
                for run in (ours, theirs)
            ]
            assert state[0] == state[1]
            seen.add(tuple(state[0]))
            if ending:
                break
    assert {"BeginContact", "EndContact"} == set(heard)
    assert len(seen) > 3
