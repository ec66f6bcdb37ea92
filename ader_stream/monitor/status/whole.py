"""Everything that the monitor shows, as one value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from ader_stream.monitor.intake import Intake
from ader_stream.monitor.leader import Leader
from ader_stream.monitor.status.blocks import BlockReports, BlocksStatus
from ader_stream.monitor.status.lag import StageLag, stage_lags
from ader_stream.monitor.status.quality import VersionsStatus, versions_status
from ader_stream.monitor.status.quality_measurements import QualityMeasurements
from ader_stream.monitor.status.refusals import RefusalsStatus, refusals_status
from ader_stream.types import BlockRule

STARTING, STANDBY, READING, OUTDATED, NO_BLOCK, SHOWING = (
    "starting",
    "standby",
    "reading",
    "outdated",
    "no block yet",
    "showing",
)
"""States of a monitor, see `Status.state`."""

REASONS = {
    STARTING: "the group is waited for",
    STANDBY: "another monitor leads and shows the numbers; this one takes over if it ends",
    READING: "the topics are still read for the first time; numbers are those so far",
    NO_BLOCK: "no block has ended on every partition yet",
    SHOWING: "",
}


@dataclass(frozen=True)
class ReadingStatus:
    """How far the topics were read.

    Parameters
    ----------
    unreadable
        Topic/partition → why counting has stopped there.
    lost, skipped
        Offsets that were deleted before they were counted; records that could not be read.
    """

    is_at_end: bool = False
    unreadable: dict[str, str] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """What `/status` returns.

    Parameters
    ----------
    state
        ``starting``, ``standby``, ``reading`` (not at the end of the topics yet), ``outdated``
        (some records only a newer release can read), ``no block yet`` or ``showing``.
    reason
        What the state means; empty if all is well.
    """

    state: str = STARTING
    reason: str = REASONS[STARTING]
    reading: ReadingStatus = field(default_factory=ReadingStatus)
    blocks: BlocksStatus = field(default_factory=BlocksStatus)
    versions: VersionsStatus = field(default_factory=VersionsStatus)
    lags: tuple[StageLag, ...] = ()
    refusals: RefusalsStatus = field(default_factory=RefusalsStatus)
    block_rule: BlockRule | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        shown = asdict(self)
        shown["blocks"] = [self._block(asdict(block)) for block in self.blocks.blocks]
        shown["drift"] = {
            report.scope: asdict(report) | {"drift": report.drift.as_json()}
            for report in self.blocks.reports
        }
        shown["versions"] |= {"skew": self.versions.skew, "age_blocks": self.age_blocks}
        shown["refusals"] |= {"ratios": self.refusals.ratios}
        shown["lags"] = {lag.pop("stage"): lag for lag in shown["lags"]}
        del shown["block_rule"]
        return shown

    @property
    def age_blocks(self) -> int | None:
        """Return the complete blocks that no serving version has learned from; None without one."""
        last, served_to = self.blocks.last_complete, self.versions.served_to
        return max(0, last.block - served_to) if last and served_to is not None else None

    def _block(self, block: dict[str, Any]) -> dict[str, Any]:
        """Return a block with the event times (ms) between which it lies."""
        number, rule = block["block"], self.block_rule
        times = (rule.start(number), rule.start(number + 1)) if rule else (None, None)
        return block | {"start": times[0], "end": times[1]}


def standby_status() -> Status:
    """Return the status of a monitor that stands by."""
    return Status(STANDBY, REASONS[STANDBY])


class StatusMaker:
    """Make the status of a leader, from time to time.

    Parameters
    ----------
    blocks
        Rule of blocks, unless another one is logged.
    """

    def __init__(self, leader: Leader, blocks: BlockRule) -> None:
        self._leader = leader
        self._blocks = blocks
        self._reports = BlockReports()

    def make(self) -> Status:
        """Return the status now."""
        state, views = self._leader.state, self._leader.views
        versions = versions_status(views)
        blocks = self._reports.status(state, QualityMeasurements(views), versions.served_to)
        rule = views.registry.rules.blocks or self._blocks
        reading = _reading_status(self._leader)
        name = _state_name(reading, blocks)
        reasons = REASONS | {OUTDATED: next(iter(reading.unreadable.values()), "")}
        return Status(
            name,
            reasons[name],
            reading,
            blocks,
            versions,
            stage_lags(state, views, versions, rule),
            refusals_status(state, blocks.last_complete or blocks.open),
            rule,
        )


def _state_name(reading: ReadingStatus, blocks: BlocksStatus) -> str:
    if reading.unreadable:
        return OUTDATED
    if not reading.is_at_end:
        return READING
    return SHOWING if blocks.last_complete else NO_BLOCK


def _reading_status(leader: Leader) -> ReadingStatus:
    intake, skipped, lost = leader.intake, dict(leader.views.skipped), dict[str, int]()
    for place in leader.state.places:
        skipped[place.topic] = skipped.get(place.topic, 0) + place.skipped
        lost[place.topic] = lost.get(place.topic, 0) + place.lost
    return ReadingStatus(intake.has_caught_up, _unreadable(intake), lost, skipped)


def _unreadable(intake: Intake) -> dict[str, str]:
    return {f"{topic}/{p}": reason for (topic, p), reason in intake.unreadable.items()}


class StatusBoard:
    """Hold the last status for the threads that answer HTTP.

    Attributes
    ----------
    changes
        Number of the changes so far.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._status = Status()
        self._json = self._status.as_json()
        self.changes = 0
        self.changed_at = clock()

    @property
    def status(self) -> Status:
        """Return the last status."""
        return self._status

    @property
    def json(self) -> dict[str, Any]:
        """Return the last status as JSON values, with the time (s since 1970) of its change."""
        return self._json | {"changed_at": self.changed_at}

    def show(self, status: Status) -> None:
        """Replace the status; count it as a change if it differs."""
        shown = status.as_json()
        self._status = status
        if shown != self._json:
            self._json, self.changed_at = shown, self._clock()
            self.changes += 1
