"""Who touches the ground in LunarLander and BipedalWalker: what Gymnasium's ContactDetector does, with less talk.

Box2D tells a Python listener of every contact twice in each step, before and after it is solved. What Gymnasium's
detector inherits for that goes back into C++ to find that there is nothing to do.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any


def listen(env: Any, main: Any, feet: Sequence[Any]) -> None:
    """Replace the world's listener: a contact of `main` is the end, those of a foot are its `ground_contact`."""
    # Box2D 2.3.5 keeps only the latest listener of all worlds alive, so each world has to hold its own.
    env.world.listener = _listener_class()(env, main, feet)
    env.world.contactListener = env.world.listener


@functools.cache
def _listener_class() -> type:
    from Box2D import b2Contact, b2ContactListener  # here: Box2D need not be installed

    fixture_a, fixture_b = b2Contact.fixtureA.fget, b2Contact.fixtureB.fget

    class Contacts(b2ContactListener):  # type: ignore[misc]
        def __init__(self, env: Any, main: Any, feet: Sequence[Any]) -> None:
            super().__init__()
            self.env = env
            self.main = {hash(fixture) for fixture in main.fixtures}  # a fixture's hash is its address
            self.feet = {hash(fixture): foot for foot in feet for fixture in foot.fixtures}

        def BeginContact(self, contact: Any) -> None:
            for fixture in (hash(fixture_a(contact)), hash(fixture_b(contact))):
                if fixture in self.main:
                    self.env.game_over = True
                elif fixture in self.feet:
                    self.feet[fixture].ground_contact = True

        def EndContact(self, contact: Any) -> None:
            for fixture in (hash(fixture_a(contact)), hash(fixture_b(contact))):
                if fixture in self.feet:
                    self.feet[fixture].ground_contact = False

        def PreSolve(self, *_: object) -> None:
            pass

        def PostSolve(self, *_: object) -> None:
            pass

    return Contacts
