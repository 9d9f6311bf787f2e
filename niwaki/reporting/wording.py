"""Numbers as people read them."""

from __future__ import annotations

from niwaki.reporting.run_folder import Measured


def count(n: int, thing: str) -> str:
    """
    >>> count(1, "weight"), count(12000, "weight")
    ('1 weight', '12,000 weights')
    """
    return f"{n:,} {thing}" + "s" * (n != 1)


def number(value: float | None) -> str:
    """A number for people: about four significant digits, a dash where nothing was measured.

    >>> number(1234.56), number(0.01234), number(-3.0), number(None)
    ('1,235', '0.01234', '-3', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(rate: float | None) -> str:
    """A rate for people: two significant digits or two decimals; only all is 100 % and only none is 0 %.

    >>> percent(0.5), percent(0.00012), percent(0.0), percent(0.994321), percent(0.999999)
    ('50 %', '0.012 %', '0 %', '99.43 %', '99.9999 %')
    """
    if rate is None:
        return "–"
    if rate < 0.01:
        return f"{float(f'{100 * rate:.2g}'):.10g} %"
    shown = (round(100 * rate, digits) for digits in range(2, 15))
    return f"{next(value for value in shown if value < 100 or rate >= 1):.14g} %"


def interval(row: Measured) -> str:
    """The 95 % interval of a mean return."""
    if row.return_low is None or row.return_high is None:
        return ""
    return f"[{number(row.return_low)}, {number(row.return_high)}]"


def broken(row: Measured) -> str:
    """How many of how many episodes broke a specification."""
    rate = row.violation_rate or 0.0
    return f"{round(rate * row.episodes):,} of {row.episodes:,}"


def duration(seconds: float) -> str:
    """
    >>> duration(0.02), duration(9.3), duration(75), duration(7300)
    ('0.02 s', '9.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def confidence(value: float) -> str:
    """
    >>> confidence(0.999999), confidence(0.95)
    ('99.9999 %', '95 %')
    """
    return f"{100 * value:.12g} %"


def signed(value: float) -> str:
    """A difference, with its sign.

    >>> signed(0.25), signed(-2.0), signed(0.0)
    ('+0.25', '−2', '0')
    """
    if value == 0:
        return "0"
    return ("−" if value < 0 else "+") + number(abs(float(f"{value:.3g}")))
