"""What a shrink run may say of itself: the headline, three different words, five answers, and what backs what."""

from __future__ import annotations

from niwaki.certification.certificate import rounded_up
from niwaki.reporting.answers import Answer, Bits, faster, same_bits
from niwaki.reporting.markup import Markup, join, tag
from niwaki.reporting.run_folder import Exam, Fronts, Run, Shrunk
from niwaki.reporting.verdict import Verdict, sentence
from niwaki.reporting.wording import broken, count, number, percent, signed


def title(run: Run) -> Markup:
    """How many numbers do the job, or that none of the smaller policies was good enough."""
    if run.result is None or run.reason:
        return join("Not ", tag("em", "shrunk."))
    left, of = run.result.nonzero_parameters, run.teacher.parameters
    return join(tag("em", f"{left:,}"), f" of {of:,} parameters do the job.")


def lede(run: Run) -> str:
    """The sentence below the headline."""
    policy, teacher = run.result, run.teacher
    if policy is None:
        return f"{sentence(run.reason)} Below is what was tried and how far it came."
    if run.reason:
        return f"{sentence(run.reason)} Below is the smallest that passed its exam."
    return (
        f"On {policy.episodes:,} fresh episodes they earned {number(policy.return_mean)} where their teacher earned "
        f"{number(teacher.return_mean)}, and broke a specification in {broken(policy)}; the teacher did in "
        f"{broken(teacher)}."
    )


def asked(shrunk: Shrunk) -> str:
    """What the small policy was to keep."""
    size = "" if shrunk.most_parameters is None else f"; at most {count(shrunk.most_parameters, 'parameter')}"
    return (
        f"at most {percent(shrunk.rule.return_loss)} of the teacher's return lost, and a violation rate at most "
        f"{points(shrunk.rule.more_violations)} above the teacher's, each with a confidence of 95 %{size}"
    )


def points(difference: float) -> str:
    """A difference of two rates.

    >>> points(0.005)
    '0.5 percentage points'
    """
    return f"{float(f'{100 * difference:.3g}'):g} percentage points"


def verdicts(shrunk: Shrunk) -> tuple[Verdict, ...]:
    """Proved; bounded; no counterexample: what an exam says of each."""
    proved = Verdict("Proved", "Nothing. Episodes were simulated; no claim here covers every start.", "no")
    searched = Verdict("No counterexample", "No search was made; niwaki ship --smallest makes one.", "no")
    return (proved, _bounded(shrunk.exam), searched)


def _bounded(exam: Exam | None) -> Verdict:
    if exam is None:
        return Verdict("Bounded", "No exam was taken.", "no")
    if not exam.passed:
        return Verdict("Bounded", f"Nothing is claimed: {exam.reason}.", "no")
    text = (
        f"Beside its teacher only: {_worst_return(exam)}, and violates at most {_worst_rate(exam)} more often, each "
        f"with confidence 95 %; {exam.policy.episodes:,} fresh episodes. The rate itself is not certified."
    )
    return Verdict("Bounded", text, "yes")


def _worst_return(exam: Exam) -> str:
    """A bound is only ever rounded to the worse."""
    worst = exam.return_difference_lower
    return f"earns at most {rounded_up(-worst)} less" if worst < 0 else f"earns at least {_least(worst)} more"


def _least(worst: float) -> str:
    return "0" if worst == 0 else rounded_up(-worst).removeprefix("-")


def _worst_rate(exam: Exam) -> str:
    return f"{rounded_up(100 * max(exam.rate_difference_upper, 0.0))} percentage points"


def answers(run: Run, bits: Bits | None) -> tuple[Answer, ...]:
    """Smaller, faster, as good, safe, same bits."""
    exam = None if run.shrunk is None else run.shrunk.exam
    return (_smaller(run), faster(run), _as_good(run, exam), _safe(run, exam), same_bits(bits))


def _smaller(run: Run) -> Answer:
    teacher, policy = run.teacher, run.result
    if policy is None:
        return Answer("Smaller", "–", "", ("nothing was shipped",))
    ratio = teacher.parameters / max(policy.nonzero_parameters, 1)
    basis = (
        f"{teacher.parameters:,} → {policy.nonzero_parameters:,} weights and biases, counted",
        f"{teacher.weights:,} → {policy.nonzero_weights:,} weights alone",
        f"{teacher.bytes:,} → {policy.bytes:,} bytes of tables in C",
    )
    return Answer("Smaller", f"{ratio:,.0f}×" if ratio >= 10 else f"{ratio:.1f}×", "fewer parameters", basis)


def _as_good(run: Run, exam: Exam | None) -> Answer:
    if exam is None or run.result is None:
        return Answer("As good", "–", "", ("nothing passed an exam",))
    assert run.shrunk is not None
    allowed = run.shrunk.rule.return_loss * abs(exam.teacher.return_mean or 0.0)
    basis = (
        f"it {_worst_return(exam)} (95 %, one-sided); {number(allowed)} less is allowed",
        f"over {exam.policy.episodes:,} scenarios that both flew",
        f"return {number(exam.policy.return_mean)}, teacher {number(exam.teacher.return_mean)}",
    )
    return Answer("As good", signed(exam.return_difference), "of return, against the teacher", basis)


def _safe(run: Run, exam: Exam | None) -> Answer:
    if exam is None or run.result is None:
        return Answer("Safe", "–", "", ("nothing passed an exam",))
    if not run.task.specs:
        return Answer("Safe", "–", "", ("the task has no specification that could be broken",))
    basis = (
        f"{broken(exam.policy)} episodes; teacher {broken(exam.teacher)}",
        f"at most {_worst_rate(exam)} above the teacher's (95 %, one-sided)",
        "no bound on the rate itself is certified",
    )
    return Answer("Safe", percent(exam.policy.violation_rate), "of runs break a rule", basis)


def backing_section(run: Run, shrunk: Shrunk) -> Markup:
    """What each number of the page rests on, and what none of them says."""
    facts = [*_backed(run, shrunk), *([] if run.fronts is None else _of_the_fronts(run.fronts))]
    facts += [
        ("Same bits", "is tried again while this page is made."),
        (
            "The flights, the map and the tube",
            "were flown for this page, from dice that nothing else uses. They illustrate; they back no claim.",
        ),
        (
            "No certificate",
            "was made: nothing here bounds how often the policy fails, only how much more often than its teacher. "
            "niwaki ship --smallest certifies that, and searches for counterexamples before.",
        ),
    ]
    items = (tag("li", tag("b", name), " ", text) for name, text in facts)
    return tag("section", tag("h2", "What backs what"), tag("ul", *items, class_="small"), id="backing")


def _backed(run: Run, shrunk: Shrunk) -> list[tuple[str, str]]:
    if shrunk.exam is None:
        return []
    text = (
        "rest on the exam: its rule was fixed before anything flew, and no search, no trial and no earlier exam has "
        f"seen its {shrunk.exam.policy.episodes:,} episodes. It took {count(shrunk.exam.looks, 'look')}, each with its "
        "share of the error."
    )
    if shrunk.exams > 1:
        text += f" It was the last of {shrunk.exams} exams; each has a confidence of 95 % of its own."
    return [("The headline and the answers", text)]


def _of_the_fronts(fronts: Fronts) -> list[tuple[str, str]]:
    return [
        (
            "The front and the knee",
            f"rest on {fronts.teacher.episodes:,} other episodes, the same for every policy. The best of many looks a "
            "little better than it is: they show the way, they are no exam.",
        ),
        ("Times", "are of this machine, inside C, the quickest of several passes."),
    ]
