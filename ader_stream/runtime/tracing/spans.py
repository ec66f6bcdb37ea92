"""Traces: what becomes of a click, from its record to the version that has learned from it.

A span is named to others by its context, the text of a W3C ``traceparent``: in headers of HTTP and
of Kafka records. The producer of a click and the caller of a request decide by the flag in their
context whether they are traced; cycles and swaps always are. `otlp` records spans, with an extra.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

HEADER = "traceparent"

TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

SAMPLED = 1
"""Bit of the flags: the trace is recorded where it began."""

Headers = Iterable[tuple[str, bytes | None]]


class Tracing:
    """Record no spans; `otlp.OtlpTracing` records them."""

    is_on = False

    @contextmanager
    def span(
        self,
        name: str,  # noqa: ARG002
        parent: str = "",  # noqa: ARG002
        links: Iterable[str] = (),  # noqa: ARG002
        **attributes: object,  # noqa: ARG002
    ) -> Iterator[str]:
        """Record what the context manager encloses; yield the span's context, empty if none.

        Parameters
        ----------
        parent
            Context of the span that has led to this one; empty for a new trace.
        links
            Contexts of the others.
        attributes
            Texts and numbers, each shown as ``ader.NAME``.
        """
        yield ""

    def note(self, **attributes: object) -> None:
        """Add attributes to the innermost span of this thread or task, if there is one."""

    def close(self) -> None:
        """Send what was not sent yet."""


NO_TRACING = Tracing()


def sampled_context(headers: Headers | None) -> str:
    """Return the context in a record's headers if its trace is recorded; else empty.

    >>> sampled_context([("traceparent", b"00-" + 32 * b"a" + b"-" + 16 * b"b" + b"-01")])
    '00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01'
    >>> sampled_context([("traceparent", b"00-" + 32 * b"a" + b"-" + 16 * b"b" + b"-00")])
    ''
    >>> sampled_context([("traceparent", b"?"), ("other", None)])
    ''
    """
    for name, value in headers or ():
        if name == HEADER:
            return sampled((value or b"").decode("ascii", "replace"))
    return ""


def sampled(context: str) -> str:
    """Return a context if its trace is recorded; else, and if it is none, empty."""
    found = TRACEPARENT.fullmatch(context)
    return context if found and int(found[3], 16) & SAMPLED else ""


def trace_of(headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the trace of a request as the labels of an exemplar; None without a trace.

    Exemplars are in answers to readers of OpenMetrics only.

    >>> trace_of({"traceparent": "00-" + 32 * "a" + "-" + 16 * "b" + "-01"})
    {'trace_id': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}
    """
    found = TRACEPARENT.fullmatch(headers.get(HEADER, ""))
    return {"trace_id": found[1]} if found else None


def header_of(context: str) -> list[tuple[str, bytes]]:
    """Return a context as a record's headers; none for an empty one."""
    return [(HEADER, context.encode())] if context else []
