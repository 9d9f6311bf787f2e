"""Every example of the README and of docs/ is run, page by page, each page in a folder of its own.

    ```python                 run; all blocks of a page share their names
    ```text                   directly behind it: what it printed
    ```python title="a.py"    written to the file a.py instead (any language)
    ```console                every line that begins with "$ " is run, the lines below it are what it printed
    ```sh                     not run

Printed text must agree word for word, wherever its lines break: pages are narrow, and what is not printed on a
terminal is not wrapped. Numbers may differ by 5 %, because other machines have another sine, and freely on lines
that speak of time. A line "..." stands for any words. A command whose output begins with
"niwaki:" must fail with that message; one whose output is shown may end with exit code 1, a claim that does not hold.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from niwaki.cli import main
from niwaki.types import NiwakiError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?%?")
TIME = re.compile(r"\bns\b|ns_per_call|seconds?\b|\d s\b|speed|took")
TOLERANCE = 0.05


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    title: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(text.count("\n", 0, m.start()) + 1, m[1], m[2], m[3]) for m in FENCE.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run_and_print_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, object] = {"__name__": "__page__"}
    printed = ""
    for block in blocks(page):
        place = f"{page.relative_to(ROOT)}:{block.line}"
        if block.title is not None:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            printed = run_python(block, names, place)
        elif block.language == "console":
            run_console(block, place)
        elif block.language == "text" and printed:
            assert alike(block.text, printed), f"{place} shows\n{block.text}\nbut the code printed\n{printed}"
            printed = ""


def run_python(block: Block, names: dict[str, object], place: str) -> str:
    code = compile("\n" * block.line + block.text, place, "exec")
    with missing_is_skipped(), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue()


def run_console(block: Block, place: str) -> None:
    for command, shown in commands(block.text):
        code, printed, complaint = run_command(shlex.split(command))
        if shown.startswith("niwaki:"):
            assert code == 2, f"{place}: {command!r} should have failed, it printed\n{printed}"
            printed = complaint
        elif code not in ((0, 1) if shown else (0,)):
            if "pip install" in complaint:
                pytest.skip(complaint)
            raise AssertionError(f"{place}: {command!r} failed with exit code {code}:\n{complaint}{printed}")
        if shown:
            assert alike(shown, printed), f"{place}: {command!r} shows\n{shown}\nbut printed\n{printed}"


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what is shown below it) of a console block."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def run_command(words: list[str]) -> tuple[int, str, str]:
    if words[0] == "niwaki":
        return run_niwaki(words)
    if words[0] == "python":
        words = [sys.executable, *words[1:]]
    elif not words[0].startswith("./") and shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


def run_niwaki(words: list[str]) -> tuple[int, str, str]:
    """The command line in this process: starting a new one takes longer than most examples."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        patch.setenv("COLUMNS", "100")
        try:
            main()
            code: object = 0
        except SystemExit as stop:
            code = stop.code or 0
    return int(str(code)), out.getvalue(), err.getvalue()


@contextlib.contextmanager
def missing_is_skipped():
    try:
        yield
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")
    except NiwakiError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))


def alike(shown: str, printed: str) -> bool:
    """Whether the words agree, wherever lines break. A line "..." stands for any words."""
    parts = re.split(r"^ *\.\.\. *$", shown, flags=re.MULTILINE)
    wanted = [[(word, bool(TIME.search(line))) for line in p.splitlines() for word in line.split()] for p in parts]
    words = printed.split()
    if len(wanted) == 1:
        return words_alike(wanted[0], words)
    first, *middle, last = wanted
    start, end = len(first), len(words) - len(last)
    if not (words_alike(first, words[:start]) and start <= end and words_alike(last, words[end:])):
        return False
    for part in middle:
        places = (i for i in range(start, end - len(part) + 1) if words_alike(part, words[i : i + len(part)]))
        place = next(places, None)
        if place is None:
            return False
        start = place + len(part)
    return True


def words_alike(shown: list[tuple[str, bool]], printed: list[str]) -> bool:
    """`shown` holds words, and whether their numbers are free."""
    return len(shown) == len(printed) and all(
        word_alike(word, other, free) for (word, free), other in zip(shown, printed, strict=True)
    )


def word_alike(shown: str, printed: str, free: bool) -> bool:
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return free or all(math.isclose(value(a), value(b), rel_tol=TOLERANCE) for a, b in pairs)


def value(number: str) -> float:
    return float(number.replace(",", "").rstrip("%"))


def test_printed_text_is_compared_by_words_and_numbers():
    assert alike("return 500.0\n", "return   498.2")
    assert not alike("return 500.0\n", "return 420.0")
    assert not alike("return 500.0\n", "returns 500.0")
    assert not alike("return 500.0\n", "return 500.0\nmore")
    assert alike("a 1\n...\nz\n", "a 1\nb\nc\nz")
    assert not alike("a\n...\nz\n", "a\nb")
    assert not alike("a\n...\na\n", "a")
    assert alike("...\nb\n...\nd e\n", "a\nb c\nd\ne")
    assert not alike("...\nb\n...\nb\n...\n", "a b c")
    assert alike("one sentence\nof four words\n", "one sentence of\nfour words")
    assert not alike("...\n500.0\n...\n", "return 420.0")
    assert alike("ns per call 120.0", "ns per call 900.0")


def test_a_page_that_is_wrong_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run_python(Block(1, "python", None, "1 / 0\n"), {}, "page:1")
    with pytest.raises(AssertionError, match="exit code 2"):
        run_console(Block(1, "console", None, "$ niwaki info nosuch.zip\n"), "page:1")
    with pytest.raises(AssertionError, match="should have failed"):
        run_console(Block(1, "console", None, "$ niwaki tasks --json\nniwaki: no\n"), "page:1")
