"""What the experiments of SPoRt ask for and find: the sweep over alpha, the methods that are compared, the paper's
figures. (Cloete, Vertovec, Abate: SPoRt, IJCAI 2025, arXiv 2504.06386.)"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import Field

from niwaki.adaptation.learning import Surrogate
from niwaki.recipes import adapt as adapting
from niwaki.recipes.adapted_certificate import Method
from niwaki.recipes.prior import Rule
from niwaki.recipes.validate import CONFIDENCE, HorizonRow
from niwaki.types import NiwakiError

RECIPE = "sport"
PAGE = "report.html"
LAYOUTS = ("fixed", "random")
ALPHAS = (1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # of the paper's sweep


class Way(NamedTuple):
    """Of `niwaki adapt`: a method, the rule of its stages, and how its task policy is trained, where it is."""

    method: Method
    rule: Rule = "ratio"
    finetune: Surrogate | None = None


METHODS = {
    "ratio": Way("ratio"),
    "odometer": Way("odometer"),
    "gaussian": Way("gaussian"),
    "stagewise ratio": Way("stagewise"),
    "stagewise odometer": Way("stagewise", "odometer"),
    "stagewise gaussian": Way("stagewise", "gaussian"),
    "published ratio": Way("ratio", finetune="published"),
    "finetuned ratio": Way("ratio", finetune="through"),
    "finetuned odometer": Way("odometer", finetune="through"),
    "finetuned gaussian": Way("gaussian", finetune="through"),
    "finetuned stagewise odometer": Way("stagewise", "odometer", finetune="through"),
}
UNTRAINED = tuple(name for name, way in METHODS.items() if way.finetune is None)
# The paper's figures by alpha: mean steps to the goal, violation rate where it is printed. One layout, one seed.
PUBLISHED: dict[int, dict[float, tuple[float, float | None]]] = {
    1: {
        1.0: (14.0, 0.004),
        1.1: (13.75, None),
        1.2: (13.58, None),
        1.5: (13.15, None),
        2.0: (12.75, 0.01),
        5.0: (12.27, 0.03),
        10.0: (11.9, 0.10),
        20.0: (11.6, 0.25),
        100.0: (11.28, 0.78),
    },
    2: {
        1.1: (13.8, 0.006),  # the rates: at most this, everywhere
        2.0: (12.9, 0.006),
        5.0: (12.3, 0.006),
        20.0: (11.83, 0.006),
        100.0: (12.06, 0.006),
    },
}


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    experiment: int = 1
    bound: float = 0.1  # at which the methods are compared, and for which the horizon is chosen
    confidence: float = CONFIDENCE  # of every bound
    episodes: int = 10_000  # of every policy, on each layout
    stages: int = 3  # of the methods in stages
    alphas: tuple[float, ...] = ALPHAS
    methods: tuple[str, ...] = UNTRAINED
    steps: int | None = None  # of every training; None: as published 30,000, ours 200,000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.experiment not in PUBLISHED:
            raise NiwakiError(f"the paper has experiments 1 and 2, got {self.experiment}")
        if not self.alphas or not all(1 <= alpha < math.inf for alpha in self.alphas):
            raise NiwakiError(f"the ratios alpha must be at least 1, got {list(self.alphas)[:20]}")
        if len(set(self.alphas)) < len(self.alphas):
            raise NiwakiError(f"every alpha once, got {list(self.alphas)[:20]}")
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or len(set(self.methods)) < len(self.methods):
            raise NiwakiError(f"the methods are {', '.join(METHODS)}, each once, got {list(self.methods)[:20]}")
        self.adapting("published ratio", horizon=1)  # refuses what is wrong with the rest

    def adapting(self, method: str, *, horizon: int) -> adapting.Order:
        """The order of `niwaki adapt` by one of METHODS."""
        name, rule, surrogate = METHODS[method]
        return adapting.Order(
            method=name, rule=rule, bound=self.bound, confidence=self.confidence, episodes=self.episodes,
            horizon=horizon, stages=self.stages, finetune=surrogate, steps=self.steps, seed=self.seed,
        )  # fmt: skip


@dataclass(frozen=True)
class Flown:
    """One policy over the scenarios of a layout, beside the base over the same ones."""

    episodes: int
    violations: int  # not at the goal within the horizon, or a hazard before
    violation_rate: float
    violation_low: float  # two-sided, at 95 %
    violation_high: float
    posterior_bound: float  # on its failure probability, from these episodes, with the order's confidence
    steps_to_goal: float | None  # mean of the episodes without a violation
    sooner: float | None  # steps that it is at the goal before the base, mean where neither failed
    sooner_low: float | None  # at 95 %
    sooner_high: float | None
    reduction: float | None  # sooner as a share of the base's steps in the same episodes


@dataclass(frozen=True)
class Point:
    """A policy of the sweep, and the paper's figures for the same alpha."""

    alpha: Annotated[float, Field(ge=1)]
    prior_bound: float  # min(1, eps(T) alpha^T), known before it flew
    flown: Flown
    published_steps_to_goal: float | None
    published_violation_rate: float | None


@dataclass(frozen=True)
class Compared:
    """A method at the wanted bound. Its certificate and its own flights are in the run's folder LAYOUT/METHOD."""

    method: str
    refused: str | None  # why there is no certificate
    stages: int  # policies that were flown and certified on the way
    own_violations: int | None  # in the certificate's own episodes, of the last policy
    own_episodes: int | None
    own_bound: float | None  # upper bound from those
    flown: Flown | None  # without a certificate too, where the budget keeps the bound


@dataclass(frozen=True)
class Result:
    """All about one layout."""

    layout: str
    horizon: int  # T, chosen by the pilot's episodes
    horizons: tuple[HorizonRow, ...]  # what the pilot says of all, together with the order's confidence
    base_episodes: int  # fresh ones, after T was fixed
    base_failures: int
    base_failure_bound: float  # eps(T)
    permitted_alpha: float | None  # at the wanted bound
    base: Flown  # over the paired scenarios
    task_policy: Flown  # by itself, which nothing bounds
    points: tuple[Point, ...]
    methods: tuple[Compared, ...]


@dataclass(frozen=True)
class Sport:
    """The outcome; `asdict` gives the JSON of `niwaki sport`."""

    experiment: int
    task: str
    bound: float
    confidence: float
    seed: int
    episodes: int
    layouts: tuple[Result, ...]
    holds: bool  # no policy failed more often than was promised
    out: str
    seconds: float


def layout_named(layout: str) -> str:
    """The layout, one of LAYOUTS. Raises NiwakiError for another one: it becomes part of a path."""
    if layout not in LAYOUTS:
        raise NiwakiError(f"a run of niwaki sport has the layouts {' and '.join(LAYOUTS)}, not {layout[:40]!r}")
    return layout


def method_folder(layout: str, method: str) -> str:
    """Where a method's run lies in the folder. Raises NiwakiError for one that is not of METHODS."""
    if method not in METHODS:
        raise NiwakiError(f"a run of niwaki sport has the methods {', '.join(METHODS)}, not {method[:40]!r}")
    return f"{layout_named(layout)}/{method.replace(' ', '-')}"
