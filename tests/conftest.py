"""What a run has left out stands at its end, by name: nothing is skipped in silence."""

from __future__ import annotations

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.getreports("skipped"):
        by_reason[_reason(report)].append(report.nodeid.rpartition("::")[2])
    for reason, names in by_reason.items():
        terminalreporter.write_line(
            f"left out {len(names)} tests, {reason}: {', '.join(names)}", yellow=True
        )


def _reason(report: pytest.TestReport) -> str:
    """Say why a test was skipped, in one line: pytest keeps it behind file and line."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return " ".join(reason.removeprefix("Skipped: ").split())
