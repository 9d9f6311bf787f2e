"""Tasks: a simulator with its horizon, scenario ranges, specifications, goal and training preset, as TOML.

A task is named by a bundled file (`cartpole`), a path to a file of your own, or a Gymnasium id.
"""

from __future__ import annotations

import difflib
import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from niwaki.simulators.acrobot import Acrobot
from niwaki.simulators.cartpole import CartPole
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.mountain_car import MountainCar
from niwaki.simulators.mountain_car_continuous import MountainCarContinuous
from niwaki.simulators.pendulum import Pendulum
from niwaki.simulators.reach_avoid import reach_avoid
from niwaki.specs import parse_spec
from niwaki.types import Column, NiwakiError, Simulator, Spec

LOCKSTEP: dict[str, Callable[..., Simulator]] = {
    "acrobot": Acrobot,
    "cartpole": CartPole,
    "mountaincar": MountainCar,
    "mountaincar-continuous": MountainCarContinuous,
    "pendulum": Pendulum,
    "reach-avoid": reach_avoid,
}
MAX_FILE_BYTES = 1_000_000
DEFAULT_RISK = 0.01

Range = tuple[FiniteFloat, FiniteFloat]
Argument = bool | int | float | str
Algorithm = Literal["ppo", "a2c", "dqn", "sac", "td3", "tqc", "trpo", "qrdqn"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Training(_Strict):
    """How `niwaki train` makes a policy for the task. `arguments` go to the Stable-Baselines3 algorithm."""

    algorithm: Algorithm
    steps: Annotated[int, Field(gt=0)]
    environments: Annotated[int, Field(gt=0, le=256)] = 1
    normalize: bool = False
    widths: tuple[Annotated[int, Field(gt=0, le=4096)], ...] = (64, 64)
    critic_widths: tuple[Annotated[int, Field(gt=0, le=4096)], ...] | None = None  # where they are not the policy's
    activation: Literal["tanh", "relu", "elu"] = "tanh"
    linear_schedule: bool = False  # the learning rate falls to zero over the run
    prioritized: bool = False  # replay what was predicted worst more often; only SAC
    stochastic: bool = False  # keep the policy's noise, and choose the checkpoint with it
    episodes: Annotated[int, Field(ge=100, le=100_000)] = 300  # that choose a checkpoint
    choice_horizon: Annotated[int, Field(gt=0)] | None = None  # steps of those, where not the task's
    stages: tuple[dict[str, Argument], ...] = ()  # a curriculum: simulator arguments on top of the task's own
    arguments: dict[str, Argument] = {}


class TaskFile(_Strict):
    """What a task file may hold."""

    title: str
    simulator: str | None = None
    gymnasium: str | None = None
    arguments: dict[str, Argument] = {}
    horizon: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    failures: tuple[str, ...] | None = None
    return_threshold: FiniteFloat | None = None
    risk: Annotated[float, Field(gt=0, lt=1)] = DEFAULT_RISK
    specs: dict[str, str] = {}
    search: dict[str, Range] = {}
    sample: dict[str, FiniteFloat | Range] = {}
    training: Training | None = None
    unsafe: str | None = None  # the task without its dangers, for `niwaki train --unsafe`


@dataclass(frozen=True)
class Task:
    """A simulator with a goal: what must hold, how often it may fail, what return is good enough."""

    name: str
    title: str
    simulator: Simulator
    specs: tuple[Spec, ...]
    return_threshold: float | None = None
    risk: float = DEFAULT_RISK  # the violation rate that a certificate shall rule out
    training: Training | None = None
    stages: tuple[Simulator, ...] = ()  # of the training preset's curriculum
    unsafe: str | None = None  # the name of the task without its dangers
    source: str = ""  # the TOML text, empty for a Gymnasium id


def task_names() -> list[str]:
    """Names of the bundled tasks."""
    files = resources.files("niwaki.tasks").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load_task(name: str) -> Task:
    """The task with a bundled name, in the TOML file at a path, or around a Gymnasium id.

    A Gymnasium id may name a module to import first ("mymodule:MyEnv-v0"), in a task file too: use only
    task files you trust. Raises NiwakiError when nothing fits, with the nearest names.
    """
    if name in task_names():
        return parse_task(name, (resources.files("niwaki.tasks") / f"{name}.toml").read_text(encoding="utf-8"))
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return parse_task(path.stem, _read(path))
    if ":" in name or _looks_like_an_id(name):
        simulator = gymnasium_engine(name)
        return Task(name, f"{name} as Gymnasium registers it", simulator, specs_of(simulator))
    near = difflib.get_close_matches(name, task_names(), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the tasks are {', '.join(task_names())}"
    raise NiwakiError(f"no task is called {name!r}; {hint} (a .toml file or a Gymnasium id will do as well)")


def parse_task(name: str, text: str) -> Task:
    """The task that a TOML text describes. Raises NiwakiError with the place and the offending value."""
    try:
        file = TaskFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise NiwakiError(f"task {name}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NiwakiError(f"task {name}: {place}: {first['msg']}, got {first['input']!r}") from error
    simulator = _simulator(name, file)
    stages = _stages(name, file)
    try:
        specs = specs_of(simulator, file.specs)
    except NiwakiError as error:
        raise NiwakiError(f"task {name}: {error}") from error
    return Task(
        name,
        file.title,
        simulator,
        specs,
        return_threshold=file.return_threshold,
        risk=file.risk,
        training=file.training,
        stages=stages,
        unsafe=file.unsafe,
        source=text,
    )


def unsafe_variant(task: Task) -> Task:
    """The task without its dangers, whose policies are fast and heed nothing. Raises NiwakiError where there is none,
    or where its observations or actions are others."""
    if task.unsafe is None:
        raise NiwakiError(f'{task.name} has no unsafe variant: its file names none (unsafe = "...")')
    variant = load_task(task.unsafe)
    if _interface(variant.simulator) != _interface(task.simulator):
        raise NiwakiError(f"{variant.name} is no variant of {task.name}: its observations or actions are others")
    return variant


def _interface(simulator: Simulator) -> tuple[int, object]:
    return simulator.observation_size, simulator.action_space


def specs_of(simulator: Simulator, formulas: Mapping[str, str] | None = None) -> tuple[Spec, ...]:
    """Specifications from formulas by name; without any, that none of the simulator's failures ever happens.

    Raises NiwakiError for a formula that cannot be read.
    """
    formulas = formulas or {f"never_{failure}": f"always(not {failure})" for failure in simulator.failures}
    return tuple(parse_spec(text, simulator, name=name) for name, text in formulas.items())


def with_specs(task: Task, formulas: Sequence[str] | None) -> Task:
    """The task with these specifications instead of its own (None keeps its own)."""
    if not formulas:
        return task
    return replace(task, specs=tuple(parse_spec(text, task.simulator) for text in formulas))


def _looks_like_an_id(name: str) -> bool:
    head, dash, version = name.rpartition("-v")
    return bool(head and dash and version.isdigit())


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NiwakiError(f"{path} is {path.stat().st_size} bytes: too large for a task file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NiwakiError(f"cannot read the task file {path}: {error}") from error


def _simulator(name: str, file: TaskFile) -> Simulator:
    if (file.simulator is None) == (file.gymnasium is None):
        raise NiwakiError(f"task {name}: give either simulator or gymnasium")
    if file.gymnasium is not None:
        simulator: Simulator = gymnasium_engine(file.gymnasium, kwargs=file.arguments, horizon=file.horizon)
    elif file.simulator in LOCKSTEP:
        simulator = _own_simulator(name, file.simulator, file.arguments)
    else:
        raise NiwakiError(f"task {name}: unknown simulator {file.simulator!r}; known: {', '.join(LOCKSTEP)}")
    failures = simulator.failures if file.failures is None else file.failures
    unknown = [f for f in failures if f not in simulator.endings]
    if unknown:
        raise NiwakiError(f"task {name}: unknown failure {unknown[0]!r}; {simulator.name} ends in {simulator.endings}")
    return replace(
        simulator,
        columns=_columns(name, simulator.columns, file),
        horizon=file.horizon or simulator.horizon,
        failures=failures,
    )


def _stages(name: str, file: TaskFile) -> tuple[Simulator, ...]:
    """The simulators that the training preset goes through."""
    stages = [] if file.training is None else file.training.stages
    return tuple(_simulator(name, file.model_copy(update={"arguments": file.arguments | stage})) for stage in stages)


def _own_simulator(task: str, name: str, arguments: Mapping[str, Argument]) -> Simulator:
    """One of niwaki's own; those that are functions have variants, chosen by arguments."""
    make = LOCKSTEP[name]
    known = () if isinstance(make, type) else tuple(inspect.signature(make).parameters)
    unknown = [key for key in arguments if key not in known]
    if unknown:
        taken = f"it takes {', '.join(known)}" if known else f"{name} takes none"
        raise NiwakiError(f"task {task}: arguments.{unknown[0]}: {taken}")
    try:
        return make(**arguments)
    except NiwakiError as error:
        raise NiwakiError(f"task {task}: {error}") from error


def _columns(name: str, columns: tuple[Column, ...], file: TaskFile) -> tuple[Column, ...]:
    known = [c.name for c in columns]
    for table, entries in (("search", file.search), ("sample", file.sample)):
        for key, value in entries.items():
            if key not in known:
                raise NiwakiError(f"task {name}: {table}.{key}: no such scenario column; there are {', '.join(known)}")
            if isinstance(value, tuple) and value[0] > value[1]:
                raise NiwakiError(f"task {name}: {table}.{key}: low {value[0]:g} is above high {value[1]:g}")
    return tuple(_narrowed(c, file.search.get(c.name), file.sample.get(c.name)) for c in columns)


def _narrowed(column: Column, search: Range | None, sample: float | Range | None) -> Column:
    if sample is not None:
        low, high = sample if isinstance(sample, tuple) else (sample, sample)
        nominal = min(max(column.nominal, low), high)
        column = replace(column, sample=(low, high), nominal=nominal)
    return column if search is None else replace(column, search=search)
