"""Report the outcome of sampled clicks: sessions that close, blocks that end, open sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ader_stream import metrics as m
from ader_stream.plausible_times import describe_time
from ader_stream.stream.diagnosis.dry_run import DryPartition
from ader_stream.stream.diagnosis.finding import Finding, as_duration
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.sessions.open.session import OpenSession

Runs = Sequence[DryPartition]


def describe_sessions(subject: DiagnosisInput, runs: Runs) -> Iterator[Finding]:
    """Report how many sessions close, and why the others are open."""
    if not any(run.taken for run in runs):
        return  # other findings explain why no click is accepted
    closed = sum(run.closed_by_clicks for run in runs)
    followed = sum(run.total(m.SESSIONS) for run in runs) - closed
    opened = sum(run.window.open_count for run in runs)
    details = {"closed": closed, "closed_when_idle": followed, "open": opened}
    later = f", {followed:,} more when their partitions fall silent" if followed else ""
    has_closed = closed + followed > 0
    yield Finding(
        "ok" if has_closed else "waiting",
        f"sessions that close: {closed:,}{later}; that stay open: {opened:,}",
        "" if has_closed else "send more clicks, later ones of any visitor, and look again",
        details,
    )
    for run in sorted(runs, key=lambda run: -run.window.open_count)[:1]:
        yield from _why_open(subject, run, is_all=not has_closed)


def describe_blocks(subject: DiagnosisInput, runs: Runs) -> Iterator[Finding]:
    """Report which block is open, and when it ends."""
    at = [run.window.open_block for run in runs if run.taken and run.window.open_block is not None]
    if not at:
        return
    rule, open_block = subject.rules_in_force.blocks, min(at)
    ended = sum(max(0, run.total(m.BLOCKS) - 1) for run in runs)  # without the first
    ends = rule.start(open_block + 1)
    yield Finding(
        "ok",
        f"blocks that end: {ended:,}; block {open_block} is open until event time passes "
        f"{describe_time(ends)} on every partition, and is trained then (blocks.length = "
        f"{as_duration(rule.length)})",
        details={"ended": ended, "open_block": open_block, "ends": describe_time(ends)},
    )


def _why_open(subject: DiagnosisInput, run: DryPartition, *, is_all: bool) -> Iterator[Finding]:
    """Explain the session of a partition that closes first."""
    watermark = run.window.watermark
    oldest = min(run.window.open_sessions(), key=lambda session: session.last, default=None)
    if oldest is None or watermark is None:
        return
    closes = _closes_at(subject, oldest)
    yield Finding(
        "waiting" if is_all else "ok",
        f"partition {run.partition}: event time has reached {describe_time(watermark)}. Its oldest "
        f"open session (key {oldest.key!r:.60}, last click {describe_time(oldest.last)}) closes "
        f"when event time there passes {describe_time(closes)}: {_what_moves_it(subject)}",
        details={"partition": run.partition, "watermark": describe_time(watermark)},
    )


def _closes_at(subject: DiagnosisInput, session: OpenSession) -> int:
    """Return the event time (ms) at which a session closes at the latest."""
    blocks, rule = subject.rules_in_force.blocks, subject.rules.sessions
    return min(session.last + rule.gap, blocks.start(session.block + 1)) + rule.lateness


def _what_moves_it(subject: DiagnosisInput) -> str:
    own = "the next click of any visitor there, or a heartbeat, advances it"
    if subject.idle is None:
        return f"{own} (sessionizer.idle_timeout = off: it follows no other partition)"
    if len(subject.sample().ranges) < 2:
        return f"{own}; it is the only partition, so that there is none to follow"
    idle = as_duration(subject.idle)
    return f"{own}, or, after {idle} of silence, another partition that is ahead"
