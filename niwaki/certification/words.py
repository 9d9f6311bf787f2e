"""A certificate in words: the statement, what it rests on, what it does not say."""

from __future__ import annotations

from niwaki.certification.certificate import SIDE_CONFIDENCE, Beside, Certificate, Plan, Returns, rounded_up

METHODS = {
    False: "Clopper-Pearson, exact, the number of episodes fixed in advance",
    True: "a confidence sequence, exact, the number of episodes free",
}


def statement(certificate: Certificate) -> str:
    """The claim in words, every number with its sample size and its confidence."""
    c = certificate
    seen = f"{c.violations:,} violation{'s' if c.violations != 1 else ''} in {c.episodes:,} fresh episodes"
    specs = " or ".join(spec.text for spec in c.specs)
    bounded = (
        f"with confidence {c.plan.confidence!r} the probability that an episode breaks {specs} is at most "
        f"{rounded_up(c.bound)}, over scenarios drawn from the sample distribution of the task {c.task['name']}; "
        f"{seen}, attempt {c.plan.attempt}, {METHODS[c.plan.anytime]}."
    )
    first = f"Bounded: {bounded}" if c.claimed else f"Nothing is claimed: {c.reason}. What was found: {bounded}"
    return " ".join([first, *_returns(c.returns), *_beside(c.teacher)])


def why_not(plan: Plan, bound: float) -> str | None:
    """Why nothing is claimed; None where something is."""
    return None if bound <= plan.risk else f"the bound {rounded_up(bound)} is above the allowed risk {plan.risk:g}"


def _returns(returns: Returns | None) -> list[str]:
    if returns is None:
        return []
    text = f"Mean return {returns.mean:.6g}"
    if returns.lower is not None:
        kind = "asymptotic, Student's t" if returns.method == "student" else "exact, by betting"
        kind += "; all returns were the same" if returns.lower == returns.mean else ""
        text += f", the true mean at least {returns.lower:.6g} with confidence {SIDE_CONFIDENCE} ({kind})"
    return [f"{text}."]


def _beside(teacher: Beside | None) -> list[str]:
    if teacher is None:
        return []
    text = f"The teacher violated in {teacher.violations:,} of the same episodes"
    if teacher.rate_difference_upper is not None:
        more = rounded_up(teacher.rate_difference_upper)
        side = f"at most {more} above" if teacher.rate_difference_upper >= 0 else f"at least {more[1:]} below"
        text += f"; with confidence {SIDE_CONFIDENCE} the policy's probability is {side} the teacher's (exact)"
    return [f"{text}."]


def assumptions(plan: Plan, returns: Returns | None, teacher: Beside | None) -> tuple[str, ...]:
    """What the claim rests on."""
    lines = [
        "The scenarios of the claim are independent draws from the sample distribution written under task; drawing "
        "them by NumPy's PCG64, seeded with the SHA-256 of policy.c and the attempt, is as good as that.",
        "policy.c and the plan were fixed before they were drawn, and neither was made anew until the draw was kind: "
        "every such new try is an attempt of the run.",
        f"This is attempt {plan.attempt} of its run. Attempt j may err with probability "
        "(1 - confidence) / (j (j + 1)), so that the attempts of a run together keep the confidence.",
        "The world is the simulator written under task, stepped as it steps, for at most its horizon.",
        "The compiler translates policy.c as the C standard says; its own self-test passed.",
    ]
    if returns is not None and returns.method == "betting":
        lines.append(f"No return can be below {returns.floor:g}.")
    if returns is not None and returns.method == "student":
        lines.append(
            "The bound on the mean return treats the mean as normally distributed: it is asymptotic, and rare bad "
            "returns that were not seen are not in it."
        )
    if teacher is not None and teacher.return_difference_lower is not None:
        lines.append(
            "The bound on the difference of the mean returns treats it as normally distributed: it is asymptotic. "
            "The bound on the difference of the violation rates is exact."
        )
    return tuple(lines)


def not_claimed(plan: Plan, teacher: Beside | None) -> tuple[str, ...]:
    """What nobody may read into it."""
    lines = [
        "That no violation exists: the probability is bounded, the absence is not proved.",
        "Anything about scenarios drawn otherwise, the worst case in the search ranges included.",
        "Anything about the real machine beyond the simulator, or about the time a call takes there.",
        "Anything between two steps of the simulator, or after its horizon.",
        f"That several bounds hold at once. Those on returns and on the teacher have confidence {SIDE_CONFIDENCE} "
        "each, by themselves, and do not share the risk budget.",
        "Who made it: a digest shows that nothing was changed by accident, it is no signature.",
    ]
    if plan.anytime:
        lines.append("Bounds on returns and on the teacher: the number of episodes was not fixed for them.")
    if teacher is not None:
        lines.append("That the teacher is safe: it is a measure, no judge.")
    return tuple(lines)
