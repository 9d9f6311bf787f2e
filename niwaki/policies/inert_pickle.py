"""Reading a pickle as data: a small stack machine that imports nothing, calls nothing and builds no object.

A pickle is a program. Python's unpickler runs it; this one only writes down what it asks for. A class or
function becomes a `Name`, a call becomes a `Built` (what would have been called, with what, and the state
that would have been set). Numbers are then read out of that description. A name that is not on the list
below is refused outright, so that a file which asks for `os.system` is reported and not half understood.
Opcodes: the standard library's `pickletools`, protocols 2 to 5.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass

from niwaki.policies.files import parsing
from niwaki.types import NiwakiError

OPCODE_LIMIT = 500_000

SHELL_PACKAGES = ("stable_baselines3", "sb3_contrib", "gym", "gymnasium")
KNOWN_NAMES = frozenset(
    {
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
        *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        *(("numpy.random._pickle", f"__{name}_ctor") for name in ("randomstate", "generator", "bit_generator")),
        ("numpy.random._mt19937", "MT19937"),
        ("numpy.random._pcg64", "PCG64"),
        ("numpy.random.bit_generator", "SeedSequence"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
        *(("collections", name) for name in ("OrderedDict", "defaultdict", "deque")),
    }
)


@dataclass(frozen=True)
class Name:
    """A class or function the pickle names. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:120]


@dataclass(eq=False)
class Built:
    """An object the pickle asks for: maker(*args), then its state. It is never made."""

    maker: Name
    args: tuple
    state: object = None


def read_pickle(data: bytes) -> object:
    """What the pickle describes: plain values, lists, dicts (text keys only), tuples, `Name` and `Built`.

    Time and memory grow with len(data) only. Raises NiwakiError for a damaged pickle, for a name that is
    not known to be harmless and for an opcode that such files do not use.
    """
    machine = _Machine()
    with parsing("pickle"):
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > OPCODE_LIMIT:
                raise NiwakiError(f"refused: the pickle has more than {OPCODE_LIMIT} instructions")
            machine.step(opcode.name, argument)
        return machine.stack.pop()


class _Machine:
    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def step(self, opcode: str, argument: object) -> None:
        if opcode in _PUSH:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _MEMO_WRITE:
            self.memo[len(self.memo) if argument is None else int(str(argument))] = self.stack[-1]
        elif opcode in _MEMO_READ:
            self.stack.append(self.memo[int(str(argument))])
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self)
        elif opcode == "GLOBAL":
            self.stack.append(_name(*str(argument).split(" ", 1)))
        elif opcode not in ("PROTO", "FRAME", "STOP"):
            raise NiwakiError(f"refused: the pickle uses the instruction {opcode}, which such files do not need")

    def pop(self, count: int) -> tuple:
        """The last `count` values, oldest first."""
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise NiwakiError("this pickle is damaged: it takes more values than it gives")
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return values

    def pop_to_mark(self) -> tuple:
        values = self.pop(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return values

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def discard(self) -> None:
        self.pop(1)

    def discard_to_mark(self) -> None:
        self.pop_to_mark()

    def name(self) -> None:
        self.stack.append(_name(*self.pop(2)))

    def build(self) -> None:
        maker, args = self.pop(2)
        if not isinstance(maker, Name) or not isinstance(args, tuple):
            raise NiwakiError("refused: the pickle calls something that is not a named class or function")
        self.stack.append(Built(maker, args))

    def set_state(self) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if not isinstance(target, Built):
            raise NiwakiError("refused: the pickle sets the state of something that is not an object")
        target.state = state

    def extend(self, values: tuple) -> None:
        # The items of an object that is a list (a deque) are dropped with it: nothing here reads them.
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def put(self, pairs: tuple) -> None:
        # Attributes have text keys. Other keys are dropped: hashing them can be made arbitrarily slow.
        if isinstance(self.stack[-1], dict):
            keyed = zip(pairs[::2], pairs[1::2], strict=True)
            self.stack[-1].update((key, value) for key, value in keyed if isinstance(key, str))


def _name(module: object, name: object = None) -> Name:
    found = Name(str(module), str(name))
    known = isinstance(module, str) and isinstance(name, str)
    if known and (module, name) in KNOWN_NAMES:
        return found
    if known and str(module).split(".")[0] in SHELL_PACKAGES:
        return found
    raise NiwakiError(
        f"refused: the file asks for {str(found)!r}, which is not needed to read numbers; nothing was run"
    )


_PUSH = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    }
)
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,  # a list: a set would have to hash what the file puts into it
}
_MEMO_WRITE = frozenset({"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})
_MEMO_READ = frozenset({"GET", "BINGET", "LONG_BINGET"})
_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.discard,
    "POP_MARK": _Machine.discard_to_mark,
    "TUPLE": lambda m: m.stack.append(m.pop_to_mark()),
    "TUPLE1": lambda m: m.stack.append(m.pop(1)),
    "TUPLE2": lambda m: m.stack.append(m.pop(2)),
    "TUPLE3": lambda m: m.stack.append(m.pop(3)),
    "FROZENSET": lambda m: m.stack.append(list(m.pop_to_mark())),
    "APPEND": lambda m: m.extend(m.pop(1)),
    "APPENDS": lambda m: m.extend(m.pop_to_mark()),
    "ADDITEMS": lambda m: m.extend(m.pop_to_mark()),
    "SETITEM": lambda m: m.put(m.pop(2)),
    "SETITEMS": lambda m: m.put(m.pop_to_mark()),
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.build,
    "NEWOBJ": _Machine.build,
    "BUILD": _Machine.set_state,
}
