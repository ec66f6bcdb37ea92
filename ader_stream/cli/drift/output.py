"""Print drift reports as tables or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

import click

from ader_stream.cli.tables import print_table
from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.report import DriftReport
from ader_stream.drift.signals import Range, Signal


@dataclass(frozen=True, slots=True)
class BlockReport:
    """The report of a block.

    Parameters
    ----------
    block
        Its number.
    clicks, sessions
        Of the block.
    against
        What it is compared with: ``block 3``, ``version 4``.
    report
        Its signals.
    """

    block: int
    clicks: int
    sessions: int
    against: str
    report: DriftReport

    @classmethod
    def of(
        cls, block: int, statistics: BlockStatistics, against: str, report: DriftReport
    ) -> BlockReport:
        """Return the report of a block with these statistics."""
        return cls(block, statistics.clicks, statistics.sessions, against, report)


def print_report(found: BlockReport, *, as_json: bool) -> None:
    """Print every signal of a block, and why, for each that is not fine."""
    if as_json:
        _print_json(found)
        return
    click.echo(f"block {found.block}: {found.report.state}; {_size(found)} ({found.against})")
    print_table(("signal", "value", "usual", "state"), map(_row, found.report.signals))
    _print_reasons([(s.name, s) for s in found.report.signals if s.state != "fine"])


def print_overview(found: list[BlockReport], *, as_json: bool) -> None:
    """Print a line for each block, and why, for each signal that is *watch* or *act*."""
    if as_json:
        for one in found:
            _print_json(one)
        return
    rows = [(str(one.block), f"{one.clicks:,}", one.report.state, _names(one)) for one in found]
    print_table(("block", "clicks", "state", "signals that are watch or act"), rows)
    _print_reasons([(f"block {one.block}", s) for one in found for s in _shifted(one)])


def _print_json(found: BlockReport) -> None:
    facts = {"block": found.block, "clicks": found.clicks, "sessions": found.sessions}
    click.echo(json.dumps(facts | {"against": found.against} | found.report.as_json()))


def _print_reasons(signals: list[tuple[str, Signal]]) -> None:
    if signals:
        click.echo()
        rows = [(name, f"{s.name} {s.state}: {s.reason}") for name, s in signals]
        print_table(("where", "why"), rows)


def _row(signal: Signal) -> tuple[str, ...]:
    return signal.name, _number(signal.value), _usual(signal.watch), signal.state


def _usual(usual: Range | None) -> str:
    if usual is None:
        return ""
    low = "" if usual.low is None else f"{_number(usual.low)} or more"
    high = "" if usual.high is None else f"{_number(usual.high)} or less"
    return f"{_number(usual.low)} to {_number(usual.high)}" if low and high else low + high


def _shifted(found: BlockReport) -> list[Signal]:
    return [signal for signal in found.report.signals if signal.state in ("watch", "act")]


def _names(found: BlockReport) -> str:
    return ", ".join(f"{signal.name} {signal.state}" for signal in _shifted(found))


def _size(found: BlockReport) -> str:
    return f"{found.clicks:,} clicks, {found.sessions:,} sessions"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
