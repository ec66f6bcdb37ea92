"""What judges blocks for drift: ours, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.history import History
from ader_stream.drift.report import measure, report
from ader_stream.drift.signals import STATES, State
from ader_stream.types import Session


class Rule(Protocol):
    """Judges one block after another; can be copied between two."""

    def judge(self, sessions: Sequence[Session]) -> list[str]:
        """Return why it alarms at a block: nothing if it does not."""


class Ours:
    """`ader_stream.drift`: alarms where a signal's state is at least `least`."""

    def __init__(self, least: State) -> None:
        self._least = STATES.index(least)
        self._history = History()
        self._known: set[str] = set()
        self._before: BlockStatistics | None = None

    def judge(self, sessions: Sequence[Session]) -> list[str]:
        statistics = BlockStatistics()
        statistics.add_sessions(sessions)
        alarms = [] if self._before is None else [*self._alarms(statistics, self._before)]
        self._known |= statistics.items.weights().keys()
        self._before = statistics
        return alarms

    def _alarms(self, current: BlockStatistics, before: BlockStatistics) -> Iterator[str]:
        measured = measure(current, before, set(self._known))
        for signal in report(measured, self._history).signals:
            if STATES.index(signal.state) >= self._least:
                yield f"{signal.name}: {signal.reason}"
        self._history.append(measured)


class Always:
    """Alarms at every block."""

    def judge(self, sessions: Sequence[Session]) -> list[str]:
        return ["always"]


class Never:
    """Never alarms."""

    def judge(self, sessions: Sequence[Session]) -> list[str]:
        return []


class Adwin:
    """river's ADWIN with its defaults, over four values of each session, in the order of time."""

    def __init__(self) -> None:
        from river.drift import ADWIN  # noqa: PLC0415 - optional

        self._detectors: dict[str, Any] = {
            name: ADWIN() for name in ("unknown", "length", "repeats", "interval")
        }
        self._known: set[str] = set()

    def judge(self, sessions: Sequence[Session]) -> list[str]:
        ordered = sorted(sessions, key=lambda session: (session.times[0], session.key))
        alarms = {name for session in ordered for name in self._alarms(session)}
        self._known |= {item for session in sessions for item in session.items}
        return sorted(alarms)

    def _alarms(self, session: Session) -> Iterator[str]:
        size = len(session.items)
        pauses = np.diff(session.times)
        values = {
            "unknown": sum(item not in self._known for item in session.items) / size,
            "length": size,
            "repeats": 1 - len(set(session.items)) / size,
            "interval": float(np.log1p(pauses).mean()) if size > 1 else None,
        }
        for name, value in values.items():
            if value is not None:
                self._detectors[name].update(value)
                if self._detectors[name].drift_detected:
                    yield name


RULES: dict[str, Callable[[], Rule]] = {
    "ours, *act*": lambda: Ours("act"),
    "ours, *watch* or *act*": lambda: Ours("watch"),
    "always alarms": Always,
    "never alarms": Never,
    "ADWIN (river), 4 values a session": Adwin,
}
