"""Readers of values by their schema ids, and whether all needed schemas are available."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from ader_stream.errors import ClickError, NotYetError
from ader_stream.stream.clicks.formats.values import HEADER_BYTES, schema_id_of
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.schema_registry.client import RecordPosition, SchemaRegistry
from ader_stream.stream.schema_registry.token_bucket import TokenBucket

Reader = TypeVar("Reader")

PATIENCE_SECONDS = 1.0
PATIENCE_A_SECOND = 0.1
"""Seconds to wait for new schemas before their clicks are postponed: nothing else is
read or committed meanwhile. The allowance recovers one second in ten."""


class RegisteredSchemas(Generic[Reader]):
    """Readers of values by the id of their schema; each schema is requested once.

    Parameters
    ----------
    registry
        Source of the schemas.
    make_reader
        Schema → reader of its values.
    clock
        Returns monotonic seconds.
    bytes_of
        Record → the bytes that start with the id of a schema.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        make_reader: Callable[[Any], Reader],
        clock: Callable[[], float] = time.monotonic,
        bytes_of: Callable[[Record], bytes | None] = lambda record: record.value(),
    ) -> None:
        self._registry = registry
        self._make_reader = make_reader
        self._readers: dict[int, Reader] = {}
        self._clock = clock
        self._bytes_of = bytes_of
        self._patience = TokenBucket(PATIENCE_SECONDS, PATIENCE_A_SECOND, clock)

    def reader(self, schema_id: int) -> Reader:
        """Return the reader of a schema's values; wait for a schema that was not requested yet.

        Raises
        ------
        ClickError, NotYetError, SettingsError
            As `SchemaRegistry.schema`.
        """
        if (found := self._readers.get(schema_id)) is None:
            return self._new_reader(schema_id, self._registry.schema(schema_id))
        return found

    def check_readable(self, records: Iterable[Record]) -> None:
        """Get the schemas of these records, or the answer that they do not exist.

        Until the next call, decoding these records sends no request.

        Raises
        ------
        NotYetError
            With the offset of the first record whose schema is not available now.
        """
        self._registry.expire_old_answers()
        places = self._without_reader(records)
        if not places:
            return
        self._registry.ask(
            {schema_id: None if len(some) > 1 else some[0] for schema_id, some in places.items()}
        )
        began = self._clock()
        self._registry.wait(places, max(0.0, self._patience.left()))
        self._patience.spend(self._clock() - began)
        for schema_id, [(_, offset), *_] in places.items():
            self._check(schema_id, offset)

    def _without_reader(self, records: Iterable[Record]) -> dict[int, list[RecordPosition]]:
        """Return schema ids without a reader, in order, with the records of each."""
        places: defaultdict[int, list[RecordPosition]] = defaultdict(list)
        last, of_last = None, None
        for record in records:
            value = self._bytes_of(record)
            if value is None:
                continue
            if value[:HEADER_BYTES] != last:  # most have the schema of the last one
                last, of_last = value[:HEADER_BYTES], self._places_for(value, places)
            if of_last is not None:
                of_last.append((record.partition(), record.offset()))
        return places

    def _places_for(
        self, value: bytes, places: defaultdict[int, list[RecordPosition]]
    ) -> list[RecordPosition] | None:
        """Return the list for places of this value's schema; None if the schema has a reader."""
        try:
            schema_id = schema_id_of(value)
        except ClickError:
            return None  # decoding it will raise it again
        return None if schema_id in self._readers else places[schema_id]

    def _check(self, schema_id: int, offset: int) -> None:
        try:
            self._new_reader(schema_id, self._registry.answer(schema_id))
        except ClickError:
            return  # decoding it will raise it again
        except NotYetError as error:
            error.offset = offset
            raise

    def _new_reader(self, schema_id: int, schema: Any) -> Reader:
        try:
            reader = self._make_reader(schema)
        except Exception as error:  # no error of a schema may end the worker
            raise self._registry.refuse(schema_id, f"cannot read clicks: {error!r:.300}") from None
        self._readers[schema_id] = reader
        return reader
