"""What reads the values of each schema id, and whether all that is needed for it is here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from ader_stream.errors import ClickError, NotYetError
from ader_stream.stream.clicks.schema_registry import SchemaRegistry
from ader_stream.stream.clicks.values import HEADER_BYTES, schema_id_of
from ader_stream.stream.kafka.records import Record

Reader = TypeVar("Reader")


class RegisteredSchemas(Generic[Reader]):
    """Readers of values by the id of their schema; each schema is asked for once.

    Parameters
    ----------
    registry
        Knows the schemas.
    make_reader
        Schema → what reads its values.
    """

    def __init__(self, registry: SchemaRegistry, make_reader: Callable[[Any], Reader]) -> None:
        self._registry = registry
        self._make_reader = make_reader
        self._readers: dict[int, Reader] = {}

    def reader(self, schema_id: int) -> Reader:
        """Return what reads the values of a schema.

        Raises
        ------
        ClickError, NotYetError, SettingsError
            As `SchemaRegistry.schema`.
        """
        if (found := self._readers.get(schema_id)) is None:
            found = self._make_reader(self._registry.schema(schema_id))
            self._readers[schema_id] = found
        return found

    def check_readable(self, records: Iterable[Record]) -> None:
        """Have the schemas of these records at hand, or the answer that there is none.

        Until the next call, decoding them sends no request.

        Raises
        ------
        NotYetError
            With the offset of the first record whose schema cannot be had now.
        """
        self._registry.forget_old_answers()
        last = None
        with self._registry.connected():
            for record in records:
                value = record.value()
                if value is not None and value[:HEADER_BYTES] != last:  # most are as the last one
                    last = value[:HEADER_BYTES]
                    self._check(record, value)

    def _check(self, record: Record, value: bytes) -> None:
        try:
            self.reader(schema_id_of(value))
        except ClickError:
            return  # decoding it will say so again
        except NotYetError as error:
            error.offset = record.offset()
            raise
