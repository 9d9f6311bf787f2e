"""What a report shows, collected before a word of HTML is made."""

from __future__ import annotations

from dataclasses import dataclass

from niwaki.reporting.answers import Bits
from niwaki.reporting.cases import Case
from niwaki.reporting.reach_tube import Limit, ReachTube
from niwaki.reporting.run_folder import Claim, Run
from niwaki.reporting.starts import StartMap
from niwaki.reporting.weight_pictures import LayerPicture, Mosaic
from niwaki.types import Signal


@dataclass(frozen=True, eq=False)
class Flown:
    """What the report saw when it flew both policies itself."""

    scene: str | None
    signals: tuple[Signal, ...]
    first_signal: int  # index of the one to show first
    step_seconds: float | None
    cases: tuple[Case, ...]
    starts: StartMap
    tube: ReachTube
    limits: tuple[Limit, ...]


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report shows. What a run did not leave is None or empty, and the page says so."""

    run: Run
    claim: Claim
    teacher_weights: tuple[LayerPicture, ...]
    policy_weights: tuple[LayerPicture, ...]
    formulas: tuple[str, ...]  # the policy written out, where it is small enough to be read
    mosaic: Mosaic | None  # None where nothing was shipped
    bits: Bits | None
    flown: Flown | None  # None where nothing was shipped
