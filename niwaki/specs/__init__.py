"""Specifications: what must hold along an episode, written as text, judged by a margin."""

from niwaki.specs.formula import Formula
from niwaki.specs.parser import parse_spec

__all__ = ["Formula", "parse_spec"]
