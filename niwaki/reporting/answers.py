"""The five answers: smaller, faster, as good, safe, same bits; each a number with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from niwaki.certification.certificate import rounded_up
from niwaki.reporting.run_folder import Claim, Run
from niwaki.reporting.verdict import seen_by
from niwaki.reporting.wording import broken, confidence, number, percent, signed


@dataclass(frozen=True)
class Answer:
    """One of the five answers: a question, a number, and what it rests on."""

    question: str
    value: str
    unit: str
    basis: tuple[str, ...]  # lines below the number
    alarm: bool = False  # the number says no


@dataclass(frozen=True)
class Bits:
    """The compiled C against its NumPy mirror. `inputs` is 0 without a compiler."""

    inputs: int
    differing: int
    same_source: bool | None  # policy.c is what policy.safetensors gives; None where there is no policy.c


def answers(run: Run, bits: Bits | None, claim: Claim) -> tuple[Answer, ...]:
    """Smaller, faster, as good, safe, same bits."""
    return (_smaller(run), faster(run), _as_good(run), _safe(run, claim), same_bits(bits))


def _smaller(run: Run) -> Answer:
    teacher, policy = run.teacher, run.result
    if policy is None:
        return Answer("Smaller", "–", "", ("nothing was shipped",))
    ratio = teacher.nonzero_weights / max(policy.nonzero_weights, 1)
    basis = [f"{teacher.nonzero_weights:,} → {policy.nonzero_weights:,} weights, counted"]
    if run.pruned is not None and run.pruned_with_biases is not None:
        basis.append(f"{percent(run.pruned)} pruned; {percent(run.pruned_with_biases)} with biases")
    basis.append(f"{teacher.bytes:,} → {policy.bytes:,} bytes of tables in C")
    return Answer("Smaller", f"{ratio:,.0f}×" if ratio >= 10 else f"{ratio:.1f}×", "fewer weights", tuple(basis))


def faster(run: Run) -> Answer:
    """How much less time a call takes."""
    before, after = run.teacher.ns_per_call, run.result.ns_per_call if run.result else None
    if not before or not after:
        return Answer("Faster", "–", "", ("not timed: that needs a C compiler",))
    basis = (f"{number(before)} → {number(after)} ns a call", "timed inside C, the quickest of several passes")
    return Answer("Faster", f"{number(round(before / after, 1))}×", "quicker", basis)


def _as_good(run: Run) -> Answer:
    difference, policy, teacher = run.paired_difference, run.result, run.teacher
    if difference is None or policy is None:
        return Answer("As good", "–", "", ("not compared with the teacher",))
    low, high = difference.return_low, difference.return_high
    basis = [f"95 % interval [{signed(low)}, {signed(high)}]"] if low is not None and high is not None else []
    basis.append(f"over {difference.episodes:,} scenarios that both flew")
    basis.append(f"return {number(policy.return_mean)}, teacher {number(teacher.return_mean)}")
    threshold = run.task.return_threshold
    if threshold is not None:
        basis.append(f"asked for: {number(threshold)}")
    short = threshold is not None and policy.return_mean is not None and policy.return_mean < threshold
    return Answer(
        "As good", signed(difference.return_mean), "of return, against the teacher", tuple(basis), alarm=short
    )


def _safe(run: Run, claim: Claim) -> Answer:
    policy, teacher, certificate = run.result, run.teacher, claim.certificate
    if policy is None or policy.violation_rate is None:
        return Answer("Safe", "–", "", ("not flown",))
    basis = [f"{broken(policy)} episodes; teacher {broken(teacher)}"]
    if certificate is not None and certificate.claimed and not claim.changed:
        limit = f"at most {rounded_up(100 * certificate.bound)} % at confidence"
        basis.append(f"certified: {limit} {confidence(certificate.plan.confidence)}, {seen_by(certificate)}")
    else:
        basis.append("no bound is certified")
    high = run.task.risk is not None and policy.violation_rate > run.task.risk
    return Answer("Safe", percent(policy.violation_rate), "of runs break a rule", tuple(basis), alarm=high)


def same_bits(bits: Bits | None) -> Answer:
    """Whether the files give the bits that were flown."""
    if bits is None:
        return Answer("Same bits", "–", "", ("nothing was shipped",))
    if bits.same_source is False:
        return Answer("Same bits", "no", "", ("policy.c is NOT what policy.safetensors gives",), alarm=True)
    if bits.inputs == 0:
        return Answer("Same bits", "–", "", ("not compared: that needs a C compiler",))
    basis = ["compiled C against its NumPy mirror, at random inputs"]
    if bits.same_source:
        basis.append("policy.c is, byte for byte, what policy.safetensors gives")
    if bits.differing:
        return Answer("Same bits", f"{bits.differing:,}", f"of {bits.inputs:,} inputs differ", tuple(basis), alarm=True)
    return Answer("Same bits", f"{bits.inputs:,}", "inputs, none differs", tuple(basis))
