"""Shared rules of the test suite."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI (F3S_NO_SKIP=1) a skip is a failure: there every real tool is installed."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("F3S_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped (F3S_NO_SKIP is set): {report.longrepr}"
