"""Fixtures and rules for every test."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
MAY_BE_ABSENT = "../shared"  # beside the repository, not in it


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public agents beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared with the public agents")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return in_ci_a_skip_fails((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return in_ci_a_skip_fails((yield))


def in_ci_a_skip_fails(report: Report) -> Report:
    """Continuous integration installs everything, so a test that is skipped there is a test nobody runs."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if MAY_BE_ABSENT not in reason:
            report.outcome, report.longrepr = "failed", f"skipped, but nothing may be skipped in CI: {reason}"
    return report
