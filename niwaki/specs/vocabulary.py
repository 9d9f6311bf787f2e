"""The names that a specification may use on a simulator."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from niwaki.specs.parts import Event, Part, Quantity
from niwaki.types import Discrete, Simulator

TERMINATED = "terminated"  # the event of any ending but the time limit
KEYWORDS = ("always", "eventually", "until", "and", "or", "not", "implies", "abs", "min", "max")
LISTED = 40


@dataclass(frozen=True)
class Vocabulary:
    """What each name means. An ending wins over a signal of the same name, a signal over the rest."""

    names: dict[str, Part]
    step_seconds: float | None

    @staticmethod
    def of(simulator: Simulator) -> Vocabulary:
        """The vocabulary of a simulator."""
        space = simulator.action_space
        count = 1 if isinstance(space, Discrete) else len(space.low)
        actions = ["action"] if count == 1 else [f"action_{i}" for i in range(count)]
        names: dict[str, Part] = {name: Quantity(name, "action", i) for i, name in enumerate(actions)}
        names |= {"reward": Quantity("reward", "reward"), "return": Quantity("return", "return")}
        names[TERMINATED] = Event(TERMINATED)
        names |= {signal.name: Quantity(signal.name, "signal") for signal in simulator.signals}
        names |= {ending: Event(ending) for ending in simulator.endings}
        return Vocabulary(names, simulator.step_seconds)

    def listing(self) -> str:
        """The names that exist, signals and events apart."""
        numbers = [name for name, part in self.names.items() if not part.truth]
        events = [name for name, part in self.names.items() if part.truth]
        return f"signals: {_some(numbers)}; events: {_some(events)}"

    def nearest(self, name: str) -> str:
        """A question that names the nearest name; empty when none is near."""
        known = {known.lower(): known for known in (*self.names, *KEYWORDS)}
        near = difflib.get_close_matches(name.lower()[:100], known, n=1)
        return f"did you mean {known[near[0]]}?" if near else ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
