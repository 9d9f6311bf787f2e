"""Everything public says what it is, in the code and in the documentation; examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import niwaki

API = Path(__file__).resolve().parents[2] / "docs" / "reference" / "api"
COMMAND_LINE = ("niwaki.cli", "niwaki.__main__")  # documented by docs/reference/commands.md, see test_reference.py
MODULES = sorted(m.name for m in pkgutil.walk_packages(niwaki.__path__, "niwaki.") if not m.name.endswith("__main__"))
PAGE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("niwaki"):
            raise
        pytest.skip(f"needs {error.name}")


def public(module: ModuleType) -> dict[str, object]:
    """Functions and classes that the module defines, and the methods and properties of these classes."""
    found = {}
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            found[name] = value
        if inspect.isclass(value):
            members = {n: m for n, m in vars(value).items() if not n.startswith("_")}
            kinds = (inspect.isfunction, lambda m: isinstance(m, (property, staticmethod, classmethod)))
            found |= {f"{name}.{n}": m for n, m in members.items() if any(kind(m) for kind in kinds)}
    return found


def documented(module: ModuleType, name: str, value: object) -> bool:
    """A method may inherit what it says; a property whose name says it all may be silent."""
    owner, _, member = name.rpartition(".")
    if owner:
        bases = getattr(module, owner).__mro__
        return isinstance(value, property) or any(
            inspect.getdoc(vars(base)[member]) for base in bases if member in vars(base)
        )
    own = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    return bool(own) and not str(own).startswith(f"{name}(")  # what dataclass writes where nobody wrote anything


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_says_what_it_is(name):
    module = load(name)
    silent = [n for n, value in public(module).items() if n != "register" and not documented(module, n, value)]
    assert not silent, f"{name}: without a docstring: {', '.join(silent)}"
    holds_something = bool(public(module))
    assert module.__doc__ or not holds_something, f"{name} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_print_what_they_say(name):
    module = load(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        result = doctest.DocTestRunner().run(test)
        assert result.failed == 0, f"{test.name}: see the output above"


def test_some_docstrings_have_examples():
    tests = [
        t
        for name in ("niwaki.evaluation", "niwaki.policies.c_kernels")
        for t in doctest.DocTestFinder().find(load(name))
    ]
    assert sum(len(t.examples) for t in tests) >= 2


def test_every_public_module_is_in_the_api_pages():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in API.glob("*.md"))
    described = PAGE.findall(pages)
    assert len(described) == len(set(described)), "a module is described twice"
    expected = {n for n in MODULES if not n.startswith(COMMAND_LINE) and public(load(n))}
    assert set(described) == expected
