from __future__ import annotations

from types import SimpleNamespace

from tests.conftest import pytest_terminal_summary


def test_what_was_left_out_stands_in_one_line_for_each_reason() -> None:
    def report(name: str, reason: str) -> SimpleNamespace:
        where = ("tests/test_a.py", 3, f"Skipped: {reason}")
        return SimpleNamespace(nodeid=f"tests/test_a.py::{name}", longrepr=where)

    reports = [report("one", "no\nengine"), report("two", "no\nengine"), report("three", "no GPU")]
    lines: list[str] = []
    pytest_terminal_summary(
        SimpleNamespace(
            getreports=lambda outcome: reports if outcome == "skipped" else [],
            write_line=lambda line, **_: lines.append(line),
        )
    )
    assert lines == ["left out 2 tests, no engine: one, two", "left out 1 tests, no GPU: three"]
