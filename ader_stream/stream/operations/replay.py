"""Write recorded clicks into the clicks topic, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, Message

from ader_stream.errors import AderError, DecodeError, SettingsError, TopicError
from ader_stream.stream.avro.codec import Headers
from ader_stream.stream.clicks.decoder import (
    WATERMARK_HEADER,
    ClickDecoder,
    ClickFormat,
    encode_click,
)
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import produce
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.kafka.sampling import SampledRecord
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.topics.topics import Topics, check_topics
from ader_stream.types import BlockRule, Click

SAMPLE_TIME = 1_700_000_000_000
"""ms since 1970: any time that every time format can write."""

RATE_BATCH = 100
"""Clicks between two checks of the clock."""


class Replayer:
    """Writes clicks and heartbeats.

    Parameters
    ----------
    format
        The clicks' encoding and field names; our own Click if it is Avro.
    rate
        Clicks a second; None for as fast as possible.

    Raises
    ------
    SettingsError
        If only the user can write the format, or the settings would not read what is written.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        blocks: BlockRule,
        format: ClickFormat,  # noqa: A002 - the setting's own word
        rate: float | None,
    ) -> None:
        if format.avro_schema or format.encoding == "avro-registry":
            raise SettingsError(
                f"clicks.format = {format.encoding} with a schema of your own: replay writes json, "
                "or avro with our own Click; set clicks.format for this run"
            )
        require_readable(format)
        self._clients = clients
        self._topics = topics
        self._blocks = blocks
        self._format = format
        self._rate = rate
        self._partitions = check_topics(clients.admin(), topics)
        self._producer = clients.producer(partitioner="murmur2_random")
        self._refusal: KafkaError | None = None
        self.clicks_sent = 0

    def send(self, clicks: Sequence[Click]) -> None:
        """Write clicks, each to its key's partition, at the given rate."""
        started = time.monotonic()
        for number, click in enumerate(clicks):
            if self._rate and number % RATE_BATCH == 0:
                self._producer.poll(max(0.0, started + number / self._rate - time.monotonic()))
                time.sleep(max(0.0, started + number / self._rate - time.monotonic()))
            self._produce(
                click.key,
                encode_click(click, self._format),
                timestamp=click.time if self._format.reads_record_time else 0,
            )
        self._flush()
        self.clicks_sent += len(clicks)

    def end_block(self, block: int) -> None:
        """Send a heartbeat to every partition: event time has reached the end of the block."""
        end = str(self._blocks.start(block + 1)).encode()
        for partition in range(self._partitions):
            self._produce(None, None, [(WATERMARK_HEADER, end)], partition)
        self._flush()

    def _produce(
        self,
        key: str | None,
        value: bytes | None,
        headers: Headers | None = None,
        partition: int = -1,
        timestamp: int = 0,
    ) -> None:
        topic, note = self._topics.clicks, self._note_delivery
        produce(self._producer, topic, key, value, headers, partition, note, timestamp)

    def _note_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refusal = error

    def _flush(self) -> None:
        left = self._producer.flush(REQUEST_TIMEOUT)
        if self._refusal:
            raise TopicError(f"{self._topics.clicks}: not written: {self._refusal.str()}")
        if left:
            raise AderError(
                f"{left} clicks were not acknowledged within {REQUEST_TIMEOUT:g} s; is the broker "
                f"at {self._clients.bootstrap_servers} up?"
            )


def require_readable(format: ClickFormat) -> None:  # noqa: A002 - the setting's own word
    """Refuse settings that would not read a click as it is written here.

    Raises
    ------
    SettingsError
        Names what would be read instead.
    """
    written = Click("key", "item", SAMPLE_TIME, "id" if format.event_id else None)
    value, at = encode_click(written, format), (TIMESTAMP_CREATE_TIME, written.time)
    record = SampledRecord(("", 0, 0, written.key.encode(), value, at), [])
    try:
        read: object = ClickDecoder(replace(format, extra=())).decode(record)
    except DecodeError as error:
        read = error
    if read != written:
        raise SettingsError(
            f"replay writes {value!r:.200}, which clicks.* would not read as the same click: "
            f"{read}; name fields of the value (user, event.user.id) for this run, and no "
            "clicks.where"
        )


def wait_until_served(
    view: SystemView, block: int, on_wait: Callable[[], None], poll_seconds: float = 0.1
) -> None:
    """Return when a version that was trained on the block serves on every partition."""
    served = view.served_block()
    while served is None or served < block:
        on_wait()
        view.poll(poll_seconds)
        served = view.served_block()
