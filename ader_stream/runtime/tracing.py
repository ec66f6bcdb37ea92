"""Traces: what becomes of a click, from its record to the version that has learned from it.

A span is named to others by its context, the text of a W3C ``traceparent``: in headers of HTTP and
of Kafka records. The producer of a click and the caller of a request decide by the flag in their
context whether they are traced; cycles and swaps always are. Spans are made by OpenTelemetry, which
is an extra: without an endpoint nothing of it is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ader_stream.errors import InputError

if TYPE_CHECKING:
    from opentelemetry.trace import Link, SpanContext, Tracer

HEADER = "traceparent"

TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

SAMPLED = 1
"""Bit of the flags: the trace is recorded where it began."""

MOST_LINKS = 128
"""Of a span: OpenTelemetry's own default. An attribute counts the contexts that have none."""

EXPORT_SECONDS = 5
"""Seconds that a request to the collector may take; spans that it does not take are lost."""

Headers = Iterable[tuple[str, bytes | None]]


class Tracing:
    """Record no spans; `OtlpTracing` records them."""

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


class OtlpTracing(Tracing):
    """Send spans to a collector by OTLP over HTTP, from another thread.

    Parameters
    ----------
    endpoint
        Address such as http://localhost:4318/v1/traces.
    worker
        Name of the worker: part of the service's name.

    Raises
    ------
    InputError
        If OpenTelemetry is not installed.
    """

    is_on = True

    def __init__(self, endpoint: str, worker: str) -> None:
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
            raise InputError("tracing.endpoint needs pip install 'ader-stream[tracing]'")
        # Imported here, because they are an extra.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create({"service.name": f"ader-stream-{worker}"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer: Tracer = self._provider.get_tracer("ader_stream")

    @contextmanager
    def span(
        self, name: str, parent: str = "", links: Iterable[str] = (), **attributes: object
    ) -> Iterator[str]:
        """Record a span (`Tracing.span`)."""
        contexts = [*links]
        kept = [link for text in contexts[:MOST_LINKS] if (link := _link(text))]
        shown = _shown(attributes)
        if len(contexts) > len(kept):
            shown["ader.contexts_without_link"] = len(contexts) - len(kept)
        with self._tracer.start_as_current_span(
            name, context=_parent(parent), links=kept, attributes=shown
        ) as span:
            yield _text(span.get_span_context())

    def note(self, **attributes: object) -> None:
        """Add attributes to the innermost span (`Tracing.note`)."""
        from opentelemetry.trace import get_current_span  # noqa: PLC0415

        get_current_span().set_attributes(_shown(attributes))

    def close(self) -> None:
        """Send what was not sent yet; give up after `EXPORT_SECONDS`."""
        self._provider.force_flush(EXPORT_SECONDS * 1000)
        self._provider.shutdown()


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


def _link(context: str) -> Link | None:
    from opentelemetry.trace import Link  # noqa: PLC0415

    remote = _span_context(context)
    return Link(remote) if remote else None


def _parent(context: str) -> Any:
    """Return a remote parent's context; an empty one for a new trace."""
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context  # noqa: PLC0415

    remote = _span_context(context)
    return set_span_in_context(NonRecordingSpan(remote), Context()) if remote else Context()


def _span_context(context: str) -> SpanContext | None:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    found = TRACEPARENT.fullmatch(context)
    if not found:
        return None
    trace, span, flags = (int(part, 16) for part in found.groups())
    made = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags))
    return made if made.is_valid else None


def _text(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _shown(attributes: Mapping[str, object]) -> dict[str, Any]:
    return {
        f"ader.{name}": value if isinstance(value, str | int | float) else str(value)
        for name, value in attributes.items()
    }
