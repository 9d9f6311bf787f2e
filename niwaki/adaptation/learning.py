"""How a task policy learns within its budget (`projected_ppo`), and what is noted of it. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from niwaki.types import NiwakiError

Surrogate = Literal["through", "published"]
SURROGATES: tuple[Surrogate, ...] = get_args(Surrogate)


@dataclass(frozen=True)
class Settings:
    """How it learns."""

    steps: int = 200_000  # control steps flown, at least
    surrogate: Surrogate = "through"
    episodes: int = 256  # flown between two updates
    warm_up: int = 2  # first updates, flown by the base, in which only the critic learns
    epochs: int = 4
    batches: int = 4  # in an epoch
    rate: float = 1e-3  # of Adam, falling to 0 linearly
    critic_rate: float = 1e-3
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    widths: tuple[int, ...] = (128, 128)  # of the critic

    def __post_init__(self) -> None:
        for name in ("steps", "episodes", "epochs", "batches"):
            if getattr(self, name) < 1:
                raise NiwakiError(f"{name} must be at least 1, got {getattr(self, name)}")


PUBLISHED = Settings(30_000, "published", episodes=9, warm_up=20, rate=5e-5)
"""Those of the paper, whose 128 steps between two updates are about 9 whole episodes."""


def settings_for(surrogate: Surrogate, steps: int | None = None) -> Settings:
    """Our settings, or the paper's for its surrogate; with so many steps, where a number is given. Raises NiwakiError
    for a surrogate that does not exist, or no steps."""
    if surrogate not in SURROGATES:
        raise NiwakiError(f"the surrogate is one of {', '.join(SURROGATES)}, got {surrogate!r}")
    found = PUBLISHED if surrogate == "published" else Settings()
    return found if steps is None else replace(found, steps=steps)


@dataclass(frozen=True)
class Update:
    """What was flown before one update of the policy."""

    steps: int  # of all flights until then
    episodes: int
    failures: int  # episodes that broke a specification
    returns: float  # mean
    length: float | None  # mean, of the episodes that broke none
    outside: float  # share of the first batch's steps whose r begins beyond the clip; 0 where only the critic learnt
