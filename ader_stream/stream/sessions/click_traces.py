"""The contexts of traced clicks in open sessions: in memory alone, and lost with a takeover."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from ader_stream.errors import DecodeError
from ader_stream.runtime.tracing.spans import sampled_context
from ader_stream.stream.kafka.records import Record
from ader_stream.types import Click

MOST_KEYS = 10_000
"""Sessions with traced clicks; the one without a new click for longest is dropped for another."""

MOST_CONTEXTS = 16
"""Of a session, the first ones."""


class ClickTraces:
    """Remember which traces lead to the open sessions of a partition.

    Parameters
    ----------
    clicks_of
        Returns the clicks of a record; headers may be asked of the record again.
    on_dropped
        Called with the number of contexts that are dropped, because there are too many.
    """

    def __init__(
        self, clicks_of: Callable[[Record], Sequence[Click]], on_dropped: Callable[[int], None]
    ) -> None:
        self._clicks_of = clicks_of
        self._on_dropped = on_dropped
        self._contexts: OrderedDict[str, list[str]] = OrderedDict()

    def note(self, records: Iterable[Record]) -> None:
        """Take note of the records whose traces are recorded."""
        for record in records:
            if context := sampled_context(record.headers()):
                for key in self._keys_of(record):
                    self._keep(key, context)

    def take(self, keys: Iterable[str]) -> list[str]:
        """Return the contexts of the clicks of closed sessions, and drop them."""
        found = (self._contexts.pop(key, ()) for key in keys) if self._contexts else ()
        return [context for contexts in found for context in contexts]

    def _keys_of(self, record: Record) -> dict[str, None]:
        """Return the keys of a record's clicks, each once."""
        try:
            return dict.fromkeys(click.key for click in self._clicks_of(record))
        except DecodeError:  # a letter, or no click
            return {}

    def _keep(self, key: str, context: str) -> None:
        contexts = self._contexts.setdefault(key, [])
        self._contexts.move_to_end(key)
        if len(contexts) < MOST_CONTEXTS:
            contexts.append(context)
        else:
            self._on_dropped(1)
        if len(self._contexts) > MOST_KEYS:
            _, oldest = self._contexts.popitem(last=False)
            self._on_dropped(len(oldest))
