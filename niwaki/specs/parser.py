"""From text to formula, by precedence climbing (Pratt 1973). Nothing in the text is ever executed."""

from __future__ import annotations

import math

from niwaki.specs.formula import Formula
from niwaki.specs.parts import (
    ATOM,
    COMPARISON,
    FOREVER,
    FUNCTIONS,
    LOOSEST,
    RANKS,
    SUM,
    Arithmetic,
    Call,
    Comparison,
    Junction,
    Negation,
    Number,
    Part,
    Quantity,
    Temporal,
    Until,
    everything_in,
)
from niwaki.specs.text import Word, mistake, words
from niwaki.specs.vocabulary import Vocabulary
from niwaki.types import NiwakiError, Simulator

DEEPEST = 60  # brackets and operators inside each other
MOST_STEPS = 10**9


def parse_spec(text: str, simulator: Simulator, *, name: str | None = None) -> Formula:
    """The specification that a formula states about episodes of a simulator; its name is its text unless given.

    Raises NiwakiError with the place of the mistake and, where a name is unknown, those that exist.
    """
    try:
        part = _Parser(text, Vocabulary.of(simulator)).whole()
    except NiwakiError as error:
        raise NiwakiError(f"specification{f' {name}' if name else ''}: {error}") from None
    written = " ".join(text.split())
    return Formula(name or written, written, part)


class _Parser:
    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self.text, self.vocabulary = text, vocabulary
        self.words, self.next, self.depth = words(text), 0, 0

    @property
    def word(self) -> Word:
        return self.words[self.next]

    def whole(self) -> Part:
        part = self.truth(LOOSEST)
        if self.word.kind != "end":
            raise self.mistake(self.word, f"{self.word.text} is not expected here")
        return part

    def truth(self, rank: int) -> Part:
        """An operand that holds or not."""
        word, part = self.word, self.operand(rank)
        self.need(word, part, truth=True)
        return part

    def number(self, rank: int) -> Part:
        """An operand that is a number."""
        word, part = self.word, self.operand(rank)
        self.need(word, part, truth=False)
        return part

    def need(self, word: Word, part: Part, *, truth: bool) -> None:
        if part.truth and not truth:
            raise self.mistake(word, f"{_short(part)} holds or does not: it cannot be used as a number")
        if truth and not part.truth:
            raise self.mistake(word, f"{_short(part)} is a number: compare it with another, as in {_short(part)} <= 1")

    def operand(self, rank: int) -> Part:
        """An operand and whatever follows it that binds at least as tightly as the rank."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.mistake(self.word, f"the formula is nested more than {DEEPEST} deep")
        word, part = self.word, self.prefix()
        while RANKS.get(self.word.text, 0) >= rank:
            part = self.infix(word, part)
        self.depth -= 1
        return part

    def prefix(self) -> Part:
        """The part that begins here, without what may follow it."""
        word = self.take()
        if word.kind == "number":
            return Number(self.finite(word))
        if word.text == "(":
            part = self.operand(LOOSEST)
            self.expect(")")
            return part
        if word.text == "-":
            return Negation(self.number(ATOM))
        if word.text == "not":
            return Negation(self.truth(COMPARISON))
        if word.text in ("always", "eventually"):
            start, stop = self.bounds()
            return Temporal(word.text, self.truth(COMPARISON), start, stop)
        if word.text in FUNCTIONS:
            return self.call(word)
        if word.kind == "name" and word.text not in RANKS:
            return self.named(word)
        missing = "something is missing here" if word.kind == "end" else f"{word.text} is not expected here"
        raise self.mistake(word, missing)

    def infix(self, word: Word, left: Part) -> Part:
        """What an operator makes of the part before it, which began at a word, and of those after it."""
        sign = self.take()
        rank = RANKS[sign.text]
        self.need(word, left, truth=rank < COMPARISON)
        if rank == COMPARISON:
            return self.comparison(sign, left)
        if rank > COMPARISON:
            rest = [(sign.text, self.number(rank + 1))]
            while RANKS.get(self.word.text) == rank:
                rest.append((self.take().text, self.number(rank + 1)))
            return Arithmetic(left, tuple(rest))
        if sign.text == "implies":
            return Junction("implies", (left, self.truth(rank)))
        if sign.text == "until":
            start, stop = self.bounds()
            right = self.truth(COMPARISON)
            if self.word.text == "until":
                raise self.mistake(self.word, "put brackets around one until to say which comes first")
            return Until(left, right, start, stop)
        parts = [left, self.truth(rank + 1)]
        while self.accept(sign.text):
            parts.append(self.truth(rank + 1))
        return Junction(sign.text, tuple(parts))

    def comparison(self, sign: Word, left: Part) -> Part:
        """left <= right; a <= b <= c is (a <= b) and (b <= c)."""
        parts: list[Part] = []
        while True:
            right = self.number(SUM)
            parts.append(Comparison(left, sign.text, right))
            if not any(isinstance(part, Quantity) for part in everything_in(parts[-1])):
                raise self.mistake(sign, f"{_short(parts[-1])} reads no signal, so it says nothing about an episode")
            if RANKS.get(self.word.text) != COMPARISON:
                return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))
            sign, left = self.take(), right

    def call(self, word: Word) -> Part:
        self.expect("(")
        arguments = [self.number(SUM)]
        while self.accept(","):
            arguments.append(self.number(SUM))
        if (len(arguments) == 1) != (word.text == "abs"):
            wanted = "one number" if word.text == "abs" else "two numbers or more"
            raise self.mistake(word, f"{word.text} takes {wanted}, got {len(arguments)}")
        self.expect(")")
        return Call(word.text, tuple(arguments))

    def named(self, word: Word) -> Part:
        if word.text not in self.vocabulary.names:
            sentence = f"nothing is called {_short(word.text)}"
            raise self.mistake(word, sentence, self.vocabulary.nearest(word.text), self.vocabulary.listing())
        return self.vocabulary.names[word.text]

    def bounds(self) -> tuple[int, int]:
        """[a,b] in steps, or in seconds where a unit follows; without bounds, all that is to come."""
        opening = self.word
        if not self.accept("["):
            return 0, FOREVER
        first, first_seconds = self.bound()
        self.expect(",")
        last, last_seconds = self.bound()
        self.expect("]")
        if first_seconds != last_seconds and first != 0:
            raise self.mistake(opening, "give both bounds in seconds, as in [1s,2s], or both in steps")
        if first > last:
            raise self.mistake(opening, f"the window ends before it begins: {first} is above {last} steps")
        return first, last

    def bound(self) -> tuple[int, bool]:
        """A bound in steps, and whether it was given in seconds."""
        word = self.take()
        if word.kind != "number":
            raise self.mistake(word, f"a bound must be a number of steps, or of seconds as in 2s, got {word.text}")
        steps, seconds, unit = self.finite(word), self.vocabulary.step_seconds, self.accept("s")
        if unit:
            if seconds is None:
                raise self.mistake(word, "this simulator has no clock: give the bounds in steps")
            steps /= seconds
        if abs(steps - round(steps)) > 1e-6 * max(1.0, steps):
            of = f" of {seconds:g} s" if unit else ""
            raise self.mistake(word, f"a bound must be a whole number of steps{of}, this is {steps:g} steps")
        if steps > MOST_STEPS:
            raise self.mistake(word, f"a bound must be at most {MOST_STEPS:,} steps")
        return round(steps), unit

    def finite(self, word: Word) -> float:
        value = float(word.text)
        if math.isinf(value):
            raise self.mistake(word, "this number is too large")
        return value

    def take(self) -> Word:
        """The next word, which is then behind us; the end stays where it is."""
        word = self.word
        self.next = min(self.next + 1, len(self.words) - 1)
        return word

    def accept(self, text: str) -> bool:
        if self.word.text != text:
            return False
        self.take()
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.mistake(self.word, f"expected {text} instead of {_short(self.word.text)}")

    def mistake(self, word: Word, *sentences: str) -> NiwakiError:
        return mistake(self.text, word.place, *sentences)


def _short(part: Part | str) -> str:
    text = str(part)
    return text if len(text) <= 40 else f"{text[:40]}..."
