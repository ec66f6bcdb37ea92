"""Block statistics as bytes: what cannot be read is refused."""

from __future__ import annotations

import pytest

from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.encoding import FORMAT
from ader_stream.drift.history import History
from ader_stream.drift.thresholds import Usual
from ader_stream.errors import DecodeError, InputError


def encoded() -> bytes:
    statistics = BlockStatistics()
    statistics.add(["hat", "shoe", "hat"], [0, 1_000, 4_000], "visit")
    return statistics.to_bytes()


def test_a_newer_format_is_refused_with_the_remedy() -> None:
    newer = encoded()[:4] + bytes([FORMAT + 1]) + encoded()[5:]
    with pytest.raises(DecodeError, match=f"format {FORMAT + 1}.*update"):
        BlockStatistics.from_bytes(newer)


def test_damaged_bytes_are_refused() -> None:
    for data in (b"", b"ADRS", b"else" + encoded()[4:], encoded()[:-9], encoded()[:5] + b"x"):
        with pytest.raises(DecodeError):
            BlockStatistics.from_bytes(data)


def test_empty_statistics_stay_empty() -> None:
    read = BlockStatistics.from_bytes(BlockStatistics().to_bytes())
    assert (read.clicks, read.sessions, read.first_time, read.last_time) == (0, 0, None, None)


@pytest.mark.parametrize(
    ("items", "times"), [([], []), (["hat"], [1, 2]), (["hat", "hat"], [2, 1])]
)
def test_what_is_no_session_is_refused_and_not_counted(items: list[str], times: list[int]) -> None:
    statistics = BlockStatistics()
    with pytest.raises(InputError):
        statistics.add(items, times)
    assert statistics.clicks == statistics.sessions == 0


def test_history_keeps_its_values_as_bytes() -> None:
    history = History({"mrr20": [Usual(0.1, 0.01), Usual(0.2, 0.01)]})
    read = History.from_bytes(history.to_bytes())
    assert read.of("mrr20") == [Usual(0.1, 0.01), Usual(0.2, 0.01)]
    assert read.to_bytes() == history.to_bytes()


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": 2, "values": {}}', b'{"format": 1}'])
def test_a_history_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        History.from_bytes(data)
