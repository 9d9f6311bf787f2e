"""What a run may say of itself: the headline, and three different words where others show one green tick."""

from __future__ import annotations

from dataclasses import dataclass

from niwaki.certification.certificate import Certificate, rounded_up
from niwaki.reporting.run_folder import Claim, Run
from niwaki.reporting.wording import broken, confidence, count, number


def headline(run: Run) -> str:
    """What was shipped, or that nothing was."""
    if run.result is None:
        return "Not shipped."
    return f"{count(run.teacher.nonzero_weights, 'weight')} became {run.result.nonzero_weights:,}."


def lede(run: Run) -> str:
    """The sentence below the headline."""
    policy, teacher = run.result, run.teacher
    if policy is None:
        return f"{sentence(run.reason)} Below is what was tried and how far it came."
    if not policy.episodes:
        return "No episode of the shipped policy is recorded here."
    return (
        f"What is left earns {number(policy.return_mean)} where its teacher earned {number(teacher.return_mean)}, and "
        f"broke its specification in {broken(policy)} episodes; the teacher did in {broken(teacher)}."
    )


def sentence(reason: str) -> str:
    """A reason as a sentence of its own.

    >>> sentence("the bound is above the risk")
    'The bound is above the risk.'
    """
    reason = (reason or "the run gives no reason").rstrip(".")
    return f"{reason[:1].upper()}{reason[1:]}."


@dataclass(frozen=True)
class Verdict:
    """One of the three words, and what it says here. `said` is "yes", "no" (not claimed) or "alarm"."""

    word: str
    text: str
    said: str


def verdicts(run: Run, claim: Claim) -> tuple[Verdict, ...]:
    """Proved; bounded; no counterexample: three different words, each with what stands behind it."""
    proved = Verdict("Proved", "Nothing. Episodes were simulated; no claim here covers every start.", "no")
    return (proved, _bounded(claim), _searched(run))


def _bounded(claim: Claim) -> Verdict:
    certificate, word = claim.certificate, "Bounded"
    if claim.complaint is not None:
        return Verdict(word, f"No: {claim.complaint}.", "alarm")
    if certificate is None:
        return Verdict(word, "No certificate was made.", "no")
    if claim.changed:
        return Verdict(word, f"No: {', '.join(claim.changed)} changed after it was certified.", "alarm")
    if not certificate.claimed:
        return Verdict(word, f"Nothing is claimed: {certificate.reason}.", "no")
    return Verdict(word, f"{bound_of(certificate)}; {seen_by(certificate)}.", "yes")


def bound_of(certificate: Certificate) -> str:
    """The claim on the violation rate; a bound is only ever rounded up."""
    return (
        f"At most {rounded_up(100 * certificate.bound)} % of runs break the specification, "
        f"with confidence {confidence(certificate.plan.confidence)}"
    )


def seen_by(certificate: Certificate) -> str:
    """The sample behind a certificate."""
    return f"{count(certificate.violations, 'violation')} in {certificate.episodes:,} fresh episodes"


def _searched(run: Run) -> Verdict:
    tries, found, left = run.search_simulations, run.counterexamples_found, run.counterexamples_left
    if tries == 0:
        return Verdict("No counterexample", "No search was made.", "no")
    tried = f"in {tries:,} simulations that looked for one"
    if left:
        return Verdict("No counterexample", f"No: {left:,} of the {found:,} found {tried} are left.", "alarm")
    text = f"None is left, {tried}; {found:,} were found on the way, and mended." if found else f"None {tried}."
    return Verdict("No counterexample", text, "yes")
