"""HTML that cannot be broken into: text is escaped where it enters, and nowhere else is HTML made."""

from __future__ import annotations

import html
import json
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

DIGITS = 4  # significant digits of plotted numbers


class Markup(str):
    """HTML already made. Every other string is text, and is escaped before it becomes part of one."""


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. `class_` is the class; a None child or attribute is left out; True is a bare attribute.

    >>> tag("p", "a < b", tag("br"), class_="note")
    '<p class="note">a &lt; b<br></p>'
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    closed = "" if name in ("br", "img", "input", "hr", "meta") else f"</{name}>"
    return Markup(f"<{name}{shown}>{join(*children)}{closed}")


def join(*children: object) -> Markup:
    """Children one after the other: markup as it is, lists flattened, anything else escaped."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, (list, tuple)):
            parts.append(join(*child))
        elif child is not None:
            parts.append(child if isinstance(child, Markup) else html.escape(str(child)))
    return Markup("".join(parts))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def script_json(value: object) -> Markup:
    """The value as JSON that may stand inside a <script>: no text in it can end the element.

    Dataclasses become objects, arrays lists of numbers with `DIGITS` significant digits, NaN null.
    """
    text = json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _plain(value: Any) -> object:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind in "biu" else rounded(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")


def rounded(array: np.ndarray) -> object:
    """Nested lists of the array's numbers, to `DIGITS` significant digits; whole numbers as such, NaN as None."""
    if array.ndim > 1:
        return [rounded(part) for part in array]
    shown = (float(f"{value:.{DIGITS}g}") for value in array.tolist())
    return [None if value != value else int(value) if value.is_integer() else value for value in shown]
