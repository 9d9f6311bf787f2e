"""The text of a specification: its words, and messages that point into it."""

from __future__ import annotations

import re
from typing import NamedTuple

from niwaki.types import NiwakiError

MAX_CHARACTERS = 10_000
EXCERPT = 50  # characters shown on either side of a mistake

WORD = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>(?:always|eventually|until)\b|[A-Za-z_][A-Za-z0-9_]*(?:\[\d+\])?)"
    r"|(?P<sign><=|>=|[-+*/()<>,\[\]])",
    re.ASCII,
)
MEANT = {
    **dict.fromkeys(("&", "&&", "∧"), "write: and"),
    **dict.fromkeys(("|", "||", "∨"), "write: or"),
    **dict.fromkeys(("!", "~", "¬"), "write: not"),
    **dict.fromkeys(("->", "=>", "→"), "write: implies (or >= to compare numbers)"),
    **dict.fromkeys(("=", "=="), "numbers are compared by <= or >=, as in abs(a - b) <= 0.1"),
    **dict.fromkeys(("!=", "<>"), "numbers are compared by <= or >=, as in abs(a - b) >= 0.1"),
    **dict.fromkeys(("^", "**"), "write the product: x * x"),
    "≤": "write: <=",
    "≥": "write: >=",
}


FOREIGN = re.compile("|".join(re.escape(sign) for sign in sorted(MEANT, key=len, reverse=True)))


class Word(NamedTuple):
    """A number, a name or a sign, and where it stands; the kind of the last one is "end"."""

    kind: str
    text: str
    place: int


def words(text: str) -> list[Word]:
    """The words of a formula. Raises NiwakiError when it is too long or holds a sign that means nothing."""
    if len(text) > MAX_CHARACTERS:
        raise NiwakiError(f"a specification may have {MAX_CHARACTERS} characters, this one has {len(text)}")
    found, place = [], 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match, foreign = WORD.match(text, place), FOREIGN.match(text, place)
        if foreign:
            raise mistake(text, place, f"{foreign[0]} is not known", MEANT[foreign[0]])
        if match is None:
            raise mistake(text, place, f"{text[place]!a} has no meaning here")
        found.append(Word(str(match.lastgroup), match[0], place))
        place = match.end()
    return [*found, Word("end", "the end", len(text))]


def mistake(text: str, place: int, *sentences: str) -> NiwakiError:
    """The error that says what is wrong and what to do, and shows where."""
    start, stop = max(0, place - EXCERPT), place + EXCERPT
    shown = "".join(c if c.isprintable() and c.isascii() else " " if c.isspace() else "?" for c in text[start:stop])
    before, after = "... " if start else "", " ..." if stop < len(text) else ""
    caret = " " * (len(before) + place - start) + "^"
    return NiwakiError(f"{'; '.join(filter(None, sentences))}\n  {before}{shown}{after}\n  {caret}")
