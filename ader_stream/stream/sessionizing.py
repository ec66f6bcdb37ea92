"""What the sessionizer makes of one input partition: sessions, changelog, dead letters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from ader_stream import metrics as m
from ader_stream.errors import AderError, ClickError
from ader_stream.metrics import Metrics
from ader_stream.stream.changelog import read_to_end
from ader_stream.stream.clicks import RESERVED_KEY, ClickDecoder, decode_heartbeat
from ader_stream.stream.clients import KafkaClients
from ader_stream.stream.codec import Headers, decode, encode
from ader_stream.stream.exactly_once import Transaction
from ader_stream.stream.records import Record, headers_of
from ader_stream.stream.sessions import avro_clicks, encode_outputs, session_click
from ader_stream.stream.topics import Topics
from ader_stream.stream.window import (
    BlockCounts,
    BlockEnd,
    OpenSession,
    SessionWindow,
    WindowState,
)
from ader_stream.types import BlockRule, SessionRule

PARTITION_KEY = RESERVED_KEY.encode()
"""Changelog key of the partition's own state."""

RECENT_CLICKS = 1_000
"""Clicks over which the share of dead letters is taken."""


@dataclass(frozen=True)
class SessionizerRules:
    """What decides the sessions.

    Parameters
    ----------
    blocks, sessions
        Block and session rules.
    dead_letter_ratio
        The process stops when more of the last `RECENT_CLICKS` clicks were refused.
    """

    blocks: BlockRule
    sessions: SessionRule
    dead_letter_ratio: float = 0.5


class SessionizerTask:
    """State of one partition of the clicks topic: a `SessionWindow` and its changelog.

    Implements `PartitionTask`.
    """

    def __init__(
        self,
        partition: int,
        clients: KafkaClients,
        topics: Topics,
        decoder: ClickDecoder,
        rules: SessionizerRules,
        metrics: Metrics,
    ) -> None:
        self._partition = partition
        self._clients = clients
        self._topics = topics
        self._decoder = decoder
        self._rules = rules
        self._metrics = metrics
        self._window = SessionWindow(rules.blocks, rules.sessions)
        self._dead_letters: list[tuple[bytes | None, bytes, Headers]] = []
        self._recent: deque[bool] = deque(maxlen=RECENT_CLICKS)

    def restore(self, next_offset: int, metadata: str) -> int:  # noqa: ARG002
        """Read the changelog; its last commit is `next_offset`'s."""
        newest: dict[bytes | None, Record] = {}
        topic = self._topics.sessionizer_state
        for record in read_to_end(self._clients, topic, self._partition):
            if record.value() is None:
                newest.pop(record.key(), None)
            else:
                newest[record.key()] = record
        partition = newest.pop(PARTITION_KEY, None)
        self._window = SessionWindow(
            self._rules.blocks,
            self._rules.sessions,
            _decode_state(partition) if partition else None,
            chain.from_iterable(map(_decode_open_sessions, newest.values())),
        )
        return next_offset

    def process(self, records: list[Record]) -> None:
        """Cut clicks into sessions; a heartbeat moves the watermark."""
        late_before = self._window.late_clicks
        for record in records:
            headers = headers_of(record) if record.value() is None else None
            try:
                self._take(record, headers)
            except ClickError as error:
                self._refuse(record, error, headers_of(record) if headers is None else headers)
            else:
                self._recent.append(False)
        labels = {"partition": self._partition}
        self._metrics[m.CLICKS].labels(**labels).inc(len(records))
        self._metrics[m.LATE].labels(**labels).inc(self._window.late_clicks - late_before)

    def tick(self) -> None:
        """Nothing happens here without a record."""

    def is_dirty(self) -> bool:
        """Whether dead letters, outputs or changes wait: never without a record."""
        return False

    def write(self, transaction: Transaction, next_offset: int) -> str:  # noqa: ARG002
        """Produce sessions, block ends, the changelog and dead letters."""
        partition = self._partition
        outputs = self._window.take_output()
        for value, headers in encode_outputs(partition, outputs):
            transaction.produce(self._topics.sessions, str(partition), value, headers, partition)
        for key, value_, headers in self._changes():
            transaction.produce(self._topics.sessionizer_state, key, value_, headers, partition)
        for key_, letter, headers in self._dead_letters:
            transaction.produce(self._topics.dead_letters, key_, letter, headers, partition)
        self._dead_letters.clear()
        self._count_outputs(outputs)
        return ""

    def committed(self) -> None:
        """Show where the partition stands."""
        state = self._window.state
        labels = {"partition": self._partition}
        if state.open_block is not None:
            self._metrics[m.OPEN_BLOCK].labels(**labels).set(state.open_block)
        if state.watermark is not None:
            self._metrics[m.WATERMARK].labels(**labels).set(state.watermark / 1000)
        self._metrics[m.OPEN_SESSIONS].labels(**labels).set(self._window.open_count)

    def _take(self, record: Record, headers: Headers | None) -> None:
        """Take a click, or a heartbeat: then its headers are given."""
        if headers is not None and (watermark := decode_heartbeat(headers)) is not None:
            self._window.advance(watermark)
        else:
            click = self._decoder.decode(record)
            self._window.observe(click, record.offset())

    def _refuse(self, record: Record, error: ClickError, headers: Headers) -> None:
        self._dead_letters.append((record.key(), *encode_dead_letter(record, error, headers)))
        self._metrics[m.DEAD_LETTERS].labels(reason=error.reason).inc()
        self._recent.append(True)
        refused = sum(self._recent)
        if (
            len(self._recent) == RECENT_CLICKS
            and refused > self._rules.dead_letter_ratio * RECENT_CLICKS
        ):
            raise AderError(
                f"{refused} of the last {RECENT_CLICKS} clicks of partition {self._partition} were "
                f"refused, the last one at offset {record.offset()} ({error}); expected at most "
                f"{self._rules.dead_letter_ratio:.0%}. The last of them are not committed: check "
                "clicks.format and clicks.*_field, or raise sessionizer.dead_letter_ratio"
            )

    def _changes(self) -> Iterator[tuple[bytes, bytes | None, Headers]]:
        for key in sorted(self._window.take_touched()):
            sessions = self._window.sessions_of(key)
            if sessions:
                value, headers = _encode_open_sessions(sessions)
                yield key.encode(), value, headers
            else:
                yield key.encode(), None, []
        value, headers = _encode_state(self._window.state)
        yield PARTITION_KEY, value, headers

    def _count_outputs(self, outputs: Sequence[OpenSession | BlockEnd]) -> None:
        sessions = sum(isinstance(output, OpenSession) for output in outputs)
        labels = {"partition": self._partition}
        self._metrics[m.SESSIONS].labels(**labels).inc(sessions)
        self._metrics[m.BLOCKS].labels(**labels).inc(len(outputs) - sessions)


def encode_dead_letter(
    record: Record, error: ClickError, headers: Headers
) -> tuple[bytes, Headers]:
    """Return a DeadLetter's value and headers: the original, where it stood, and why.

    `headers` are the original's: they can be asked for once only (see `headers_of`).
    """
    return encode(
        "DeadLetter",
        {
            "topic": record.topic(),
            "partition": record.partition(),
            "offset": record.offset(),
            "timestamp": record.timestamp()[1],
            "key": record.key(),
            "value": record.value(),
            "headers": [{"name": name, "value": value} for name, value in headers],
            "reason": error.reason,
            "error": str(error),
        },
    )


def _encode_open_sessions(sessions: list[OpenSession]) -> tuple[bytes, Headers]:
    values = [{"block": s.block, "clicks": avro_clicks(s.clicks)} for s in sessions]
    return encode("OpenSessions", {"sessions": values})


def _decode_open_sessions(record: Record) -> Iterator[OpenSession]:
    _, value = decode(record.value(), record.headers())
    key = (record.key() or b"").decode()
    for session in value["sessions"]:
        clicks = [session_click(click) for click in session["clicks"]]
        yield OpenSession(key, session["block"], clicks)


def _encode_state(state: WindowState) -> tuple[bytes, Headers]:
    counts = [
        {"block": block, "clicks": c.clicks, "sessions": c.sessions, "late": c.late}
        for block, c in state.counts.items()
    ]
    return encode(
        "PartitionState",
        {"watermark": state.watermark, "open_block": state.open_block, "counts": counts},
    )


def _decode_state(record: Record) -> WindowState:
    _, value = decode(record.value(), record.headers())
    counts = {
        c["block"]: BlockCounts(c["clicks"], c["sessions"], c["late"]) for c in value["counts"]
    }
    return WindowState(value["watermark"], value["open_block"], counts)
