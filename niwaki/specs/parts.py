"""The parts of a formula of signal temporal logic, each with its values over time.

The margin of a comparison a <= b is b - a, an event is +1 where it holds and -1 elsewhere, and the
connectives are minimum and maximum (Fainekos & Pappas 2009; Donze & Maler 2010).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np

from niwaki.specs.samples import Samples, Source
from niwaki.specs.windows import sliding, until
from niwaki.types import Floats

FOREVER = 2**62  # the upper bound of a window without one

# How tightly operators bind, the loosest first; names, numbers and calls cannot be taken apart.
RANKS = {
    **{"implies": 1, "or": 2, "and": 3, "until": 4},
    **dict.fromkeys(("<=", "<", ">=", ">"), 5),
    **{"+": 6, "-": 6, "*": 7, "/": 7},
}
LOOSEST, COMPARISON, SUM, ATOM = 1, RANKS["<="], RANKS["+"], 8

OPERATIONS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
FUNCTIONS = {"abs": np.abs, "min": np.minimum, "max": np.maximum}


class Part(ABC):
    """A part of a formula: something that holds or not (`truth`), or a number such as `x + 1`."""

    truth: ClassVar[bool] = True
    rank: ClassVar[int] = ATOM  # of the operator that it was made by

    @abstractmethod
    def values(self, samples: Samples, count: int) -> Floats:
        """Margins, or numbers, [count, B] at the first indices of time; a constant is one number."""

    def inside(self) -> tuple[Part, ...]:
        """The parts it is made of."""
        return ()


@dataclass(frozen=True)
class Number(Part):
    """A constant."""

    value: float
    truth: ClassVar[bool] = False

    def values(self, samples: Samples, count: int) -> Floats:
        return np.asarray(self.value)

    def __str__(self) -> str:
        return repr(self.value).removesuffix(".0")


@dataclass(frozen=True)
class Quantity(Part):
    """A number that changes along the episode."""

    name: str
    source: Source
    column: int = 0  # of an action
    truth: ClassVar[bool] = False

    def values(self, samples: Samples, count: int) -> Floats:
        return samples.read(self.source, self.column if self.source == "action" else self.name)[:count]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Event(Part):
    """Holds from the end of an episode on, if that is how it ended."""

    name: str

    def values(self, samples: Samples, count: int) -> Floats:
        return samples.read("event", self.name)[:count]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Arithmetic(Part):
    """first op number op number ..., from left to right, with operators of one rank."""

    first: Part
    rest: tuple[tuple[str, Part], ...]
    truth: ClassVar[bool] = False

    @property
    def rank(self) -> int:  # type: ignore[override]
        return RANKS[self.rest[0][0]]

    def values(self, samples: Samples, count: int) -> Floats:
        total = self.first.values(samples, count)
        for operator, part in self.rest:
            total = OPERATIONS[operator](total, part.values(samples, count))
        return total

    def inside(self) -> tuple[Part, ...]:
        return (self.first, *(part for _, part in self.rest))

    def __str__(self) -> str:
        text = enclosed(self.first, self.rank + 1)
        return text + "".join(f" {operator} {enclosed(part, self.rank + 1)}" for operator, part in self.rest)


@dataclass(frozen=True)
class Call(Part):
    """abs, min or max of numbers."""

    function: str
    arguments: tuple[Part, ...]
    truth: ClassVar[bool] = False

    def values(self, samples: Samples, count: int) -> Floats:
        values = [part.values(samples, count) for part in self.arguments]
        function = FUNCTIONS[self.function]
        return function(values[0]) if len(values) == 1 else reduce(function, values)

    def inside(self) -> tuple[Part, ...]:
        return self.arguments

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True)
class Negation(Part):
    """`not` of a truth, `-` of a number: in both, the sign is turned."""

    part: Part

    @property
    def truth(self) -> bool:  # type: ignore[override]
        return self.part.truth

    @property
    def rank(self) -> int:  # type: ignore[override]
        return COMPARISON if self.truth else ATOM

    def values(self, samples: Samples, count: int) -> Floats:
        return np.negative(self.part.values(samples, count))

    def inside(self) -> tuple[Part, ...]:
        return (self.part,)

    def __str__(self) -> str:
        return f"{'not ' if self.truth else '-'}{enclosed(self.part, self.rank)}"


@dataclass(frozen=True)
class Comparison(Part):
    """left <= right, or with another of < > >=; a strict one has the same margin."""

    left: Part
    operator: str
    right: Part
    rank: ClassVar[int] = COMPARISON

    def values(self, samples: Samples, count: int) -> Floats:
        left, right = self.left.values(samples, count), self.right.values(samples, count)
        return right - left if self.operator[0] == "<" else left - right

    def inside(self) -> tuple[Part, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        return f"{enclosed(self.left, SUM)} {self.operator} {enclosed(self.right, SUM)}"


@dataclass(frozen=True)
class Junction(Part):
    """Two or more truths joined by `and` or `or`; `implies` joins two."""

    operator: str
    parts: tuple[Part, ...]

    @property
    def rank(self) -> int:  # type: ignore[override]
        return RANKS[self.operator]

    def values(self, samples: Samples, count: int) -> Floats:
        choose = np.minimum if self.operator == "and" else np.maximum
        total = self.parts[0].values(samples, count)
        total = -total if self.operator == "implies" else total.copy()
        for part in self.parts[1:]:
            choose(total, part.values(samples, count), out=total)
        return total

    def inside(self) -> tuple[Part, ...]:
        return self.parts

    def __str__(self) -> str:
        return f" {self.operator} ".join(enclosed(part, self.rank + 1) for part in self.parts)


@dataclass(frozen=True)
class Temporal(Part):
    """`always` or `eventually` over the indices from start to stop steps ahead."""

    operator: str
    part: Part
    start: int = 0
    stop: int = FOREVER

    def values(self, samples: Samples, count: int) -> Floats:
        needed = min(count + self.stop, len(samples.indices))
        choose = np.minimum if self.operator == "always" else np.maximum
        return sliding(choose, self.part.values(samples, needed), self.start, self.stop, count)

    def inside(self) -> tuple[Part, ...]:
        return (self.part,)

    def __str__(self) -> str:
        return f"{self.operator}{window(self.start, self.stop)}({self.part})"


@dataclass(frozen=True)
class Until(Part):
    """`right` holds at some index from start to stop steps ahead, and `left` at every index before that."""

    left: Part
    right: Part
    start: int = 0
    stop: int = FOREVER
    rank: ClassVar[int] = RANKS["until"]

    def values(self, samples: Samples, count: int) -> Floats:
        needed = min(count + self.stop, len(samples.indices))
        left, right = self.left.values(samples, needed), self.right.values(samples, needed)
        return until(left, right, self.start, self.stop, count)

    def inside(self) -> tuple[Part, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        left, right = enclosed(self.left, COMPARISON), enclosed(self.right, COMPARISON)
        return f"{left} until{window(self.start, self.stop)} {right}"


def enclosed(part: Part, rank: int) -> str:
    """The part as text, in brackets where an operator of the rank would take it apart."""
    return str(part) if part.rank >= rank else f"({part})"


def window(start: int, stop: int) -> str:
    """The bounds of an operator as text; none where they do not bound anything."""
    return "" if (start, stop) == (0, FOREVER) else f"[{start},{stop}]"


def everything_in(part: Part) -> Iterator[Part]:
    """The part and all that it is made of."""
    yield part
    for inner in part.inside():
        yield from everything_in(inner)
