"""How many episodes a claim needs, before one of them is flown."""

from __future__ import annotations

from niwaki.certification import bounds
from niwaki.certification.certificate import MOST_EPISODES, Plan
from niwaki.types import NiwakiError

BUDGET = 50_000  # episodes, where nobody says how many may be flown


def plan(
    risk: float,
    *,
    confidence: float = 0.999999,
    episodes: int | None = None,
    expected_rate: float = 0.0,
    anytime: bool = False,
    attempt: int = 1,
) -> Plan:
    """What is to be claimed. Without `episodes`, as many as a policy that violates at `expected_rate` needs to
    pass with probability 0.9; anytime, up to 50,000.

    Raises NiwakiError when the risk needs more episodes than that, and says how many.
    """
    each = bounds.share(confidence, attempt)
    most = BUDGET if episodes is None else episodes
    if not 1 <= most <= MOST_EPISODES:
        raise NiwakiError(f"episodes must be between 1 and {MOST_EPISODES:,}, got {most}")
    asked = f"a risk of {risk:g} at confidence {confidence!r} (attempt {attempt})"
    bound = bounds.anytime if anytime else bounds.clopper_pearson
    least = bounds.least_episodes(risk, confidence=each, bound=bound)
    if least > most:
        raise NiwakiError(
            f"{asked} needs at least {least:,} episodes without a violation, more than {most:,}: "
            "allow more episodes, or a larger risk"
        )
    if episodes is None and not anytime:
        most = bounds.episodes_needed(risk, confidence=each, rate=expected_rate)
        if most > BUDGET:
            raise NiwakiError(
                f"{asked} needs {most:,} episodes of a policy that violates at a rate of {expected_rate:g}, more than "
                f"the {BUDGET:,} that are flown unasked: ask for as many episodes, or allow a larger risk"
            )
    return Plan(float(risk), float(confidence), int(most), anytime, int(attempt))
