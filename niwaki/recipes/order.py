"""What is asked of a policy that is shipped, and what a teacher or a certificate falls short of."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

from niwaki.certification.bounds import clopper_pearson, clopper_pearson_lower, share
from niwaki.certification.certificate import SIDE_CONFIDENCE, Certificate, Plan
from niwaki.certification.differences import difference_bound
from niwaki.certification.evidence import ENOUGH_FOR_STUDENT
from niwaki.certification.plan import plan
from niwaki.gates import Gate
from niwaki.recipes.exam import Rule
from niwaki.recipes.ledger import Facts
from niwaki.tasks import Task
from niwaki.types import NiwakiError

LEAST_EPISODES = 5000  # of a certificate: what a comparison of rare violations with the teacher's needs
SELECTION = 0.5  # share of what may be lost that the trials allow: a certificate's bound needs the rest
ALARM = 0.95  # confidence with which a teacher is said to break its specification too often


@dataclass(frozen=True)
class Order:
    """What is asked of the policy that is shipped. None: the task's own, or what the rest needs."""

    return_threshold: float | None = None  # mean return at least this
    return_loss: float = 0.02  # share of the teacher's return that may be lost (one-sided, 95 %)
    more_violations: float = 0.005  # by which the violation rate may exceed the teacher's (one-sided, 95 %)
    risk: float | None = None  # violation rate that the certificate must rule out
    confidence: float = 0.999999
    episodes: int | None = None  # that the certificate may fly
    simulations: int | None = None  # of every search for counterexamples
    rounds: int = 1  # of search and repair
    smallest: bool = False  # leave out single weights and biases too, with the others polished
    even_so: bool = False  # go on where the teacher itself violates more often than the risk
    seed: int = 0

    def __post_init__(self) -> None:
        if self.return_threshold is not None and not math.isfinite(self.return_threshold):
            raise NiwakiError(f"the mean return that is needed must be a finite number, got {self.return_threshold}")
        Rule(self.return_loss, self.more_violations)  # checks both
        if self.simulations is not None and self.simulations < 1:
            raise NiwakiError(f"a search needs at least one simulation, got {self.simulations}")
        if self.rounds < 0:
            raise NiwakiError(f"rounds must not be negative, got {self.rounds}")
        if self.seed < 0:
            raise NiwakiError(f"the seed must not be negative, got {self.seed}")


def completed(order: Order, task: Task) -> Order:
    """The order with the task's own figures where none are given, checked before anything flies."""
    if not task.specs:
        raise NiwakiError(f"{task.name} has no specification: give one, such as --spec 'always(abs(x) <= 2.4)'")
    order = replace(
        order,
        risk=task.risk if order.risk is None else order.risk,
        return_threshold=task.return_threshold if order.return_threshold is None else order.return_threshold,
    )
    plan(order.risk or 0.0, confidence=order.confidence, episodes=order.episodes)
    if order.episodes is not None and order.episodes < ENOUGH_FOR_STUDENT:
        raise NiwakiError(
            f"comparing returns with the teacher's needs at least {ENOUGH_FOR_STUDENT:,} episodes, more than the "
            f"{order.episodes:,} that are allowed: allow more episodes"
        )
    return order


def refusal(order: Order, teacher: Facts) -> str:
    """Why nothing is to be shaped from the teacher with this row; empty where something is."""
    n, mean, threshold = teacher["episodes"], teacher["return_mean"], order.return_threshold
    if threshold is not None and teacher["return_high"] is not None and teacher["return_high"] < threshold:
        return (
            f"the teacher's own mean return is {mean:.1f} over {n:,} episodes, below the "
            f"{threshold:g} that is asked for: no smaller policy is expected to do better, ask for less with --return"
        )
    if order.even_so:
        return ""
    if beyond_risk(order, teacher):
        worst = max(teacher["violations"], key=teacher["violations"].get)
        broken = worst if len(teacher["violations"]) == 1 else f"its specifications (most often {worst})"
        return (
            f"the teacher itself breaks {broken} in {teacher['violation_rate']:.2%} of {n:,} episodes, more often than "
            f"the risk of {order.risk:g} allows: mend the teacher or the specification, or go on with --even-so and be "
            "measured against the teacher alone"
        )
    try:
        certificate_plan(order, teacher, attempt=1)
    except NiwakiError as error:
        return f"{error}, or go on with --even-so and be measured against the teacher alone"
    return ""


def gate(order: Order, teacher: Facts) -> Gate:
    """What a candidate must do before it is worth a certificate, beside the teacher with this row.

    What a certificate of so many episodes can bear is less than what is allowed: it bounds what it sees."""
    n, rate = certificate_plan(order, teacher, attempt=1).episodes, teacher["violation_rate"]
    more = min(SELECTION * order.more_violations, _bearable_difference(order, n, rate))
    if not beyond_risk(order, teacher):
        more = min(more, max(0.0, SELECTION * _bearable(order, n) / n - rate))
    return Gate(order.return_threshold, SELECTION * order.return_loss, more)


def confirmations(order: Order, teacher: Facts) -> int:
    """Episodes that a network and a teacher of this rate fly to be compared by a gate: as many as make the noise of
    the difference in violations no larger than the difference that the gate lets pass, and 1,000 at least."""
    n, rate = teacher["episodes"], teacher["violation_rate"]
    rate = max(rate, 1 / n)  # a few flights without a violation do not say that there is none
    return max(1000, math.ceil(2 * rate * (1 - rate) / max(SELECTION * order.more_violations, 1e-3) ** 2))


def _bearable(order: Order, n: int) -> int:
    """Violations in n episodes with which the first certificate still rules out the risk."""
    confidence, k = share(order.confidence, 1), 0
    while clopper_pearson(k + 1, n, confidence=confidence) <= risk_of(order):
        k += 1
    return k


def _bearable_difference(order: Order, n: int, rate: float) -> float:
    """By how much a policy may violate more often than a teacher of this rate, in n episodes in which the two go
    wrong independently, for the comparison to hold. Negative where it must violate less."""
    differing = round(2 * rate * (1 - rate) * n)  # episodes in which one of the two goes wrong, expected

    def too_many(seen: int) -> bool:
        better = max(0, (differing - seen) // 2)
        return difference_bound(better + seen, better, n, confidence=SIDE_CONFIDENCE) > order.more_violations

    fewest = -differing
    return (fewest + bisect_left(range(fewest, n), True, key=too_many) - 1) / n


def beyond_risk(order: Order, teacher: Facts) -> bool:
    """Whether no policy as good as the teacher could keep the risk, by its row."""
    n, rate = teacher["episodes"], teacher["violation_rate"]
    return clopper_pearson_lower(round(rate * n), n, confidence=ALARM) > risk_of(order)


def risk_of(order: Order) -> float:
    """The violation rate that a completed order wants ruled out."""
    assert order.risk is not None
    return order.risk


def certificate_plan(order: Order, teacher: Facts, *, attempt: int) -> Plan:
    """The certificate's plan: enough episodes for a policy that violates as often as its teacher, and for the
    comparison with it. Where the risk cannot be kept, the comparison is all that is left of it (--even-so)."""
    risk = risk_of(order)
    compared = Plan(risk, order.confidence, order.episodes or LEAST_EPISODES, False, attempt)
    if beyond_risk(order, teacher):
        return compared
    try:
        planned = plan(
            risk,
            confidence=order.confidence,
            episodes=order.episodes,
            expected_rate=teacher["violation_rate"],
            attempt=attempt,
        )
    except NiwakiError:
        if order.even_so:
            return compared
        raise
    return planned if order.episodes else replace(planned, episodes=max(planned.episodes, LEAST_EPISODES))


def shortfall(order: Order, teacher: Facts, certificate: Certificate) -> str:
    """What a certificate's episodes say against shipping; empty when nothing. `teacher`: its row before."""
    beside, returns = certificate.teacher, certificate.returns
    if not certificate.claimed and not (order.even_so or beyond_risk(order, teacher)):
        return str(certificate.reason)
    if beside is None or returns is None:
        return "some return was not finite"
    threshold = order.return_threshold
    if threshold is not None and (returns.lower is None or returns.lower < threshold):
        return f"the mean return {returns.mean:.1f} is not clearly at least {threshold:g}"
    worse = beside.rate_difference_upper
    if worse is None or worse > order.more_violations:
        may = "an unknown share" if worse is None else f"up to {worse:.2%}"
        return f"the policy may violate {may} more often than its teacher, {order.more_violations:.2%} is allowed"
    least = -order.return_loss * abs(beside.return_mean)
    lost = beside.return_difference_lower
    if lost is None or lost < least:
        may = "an unknown amount" if lost is None else f"up to {-lost:.1f}"
        return f"the policy may earn {may} less than its teacher, {-least:.1f} is allowed"
    return ""
