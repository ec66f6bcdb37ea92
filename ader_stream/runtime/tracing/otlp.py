"""Spans by OpenTelemetry, sent by OTLP: an extra, imported only where an endpoint is set."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from ader_stream.runtime.tracing.spans import TRACEPARENT, Tracing

log = structlog.get_logger(__name__)

MOST_LINKS = 128
"""Of a span: OpenTelemetry's own default. An attribute counts the contexts that have none."""

EXPORT_SECONDS = 5
"""Seconds that a request to the collector may take; spans that it does not take are lost."""

CLOSE_SECONDS = 2.0
"""Seconds for the last spans when a worker stops."""


class OtlpTracing(Tracing):
    """Send spans to a collector by OTLP over HTTP, from another thread.

    Parameters
    ----------
    endpoint
        Address such as http://localhost:4318/v1/traces.
    worker
        Name of the worker: part of the service's name.
    """

    is_on = True

    def __init__(self, endpoint: str, worker: str) -> None:
        self._endpoint = endpoint
        resource = Resource.create({"service.name": f"ader-stream-{worker}"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ader_stream")

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
        get_current_span().set_attributes(_shown(attributes))

    def close(self) -> None:
        """Send what was not sent yet; give up after `CLOSE_SECONDS`.

        OpenTelemetry's own limits leave a collector that is away more time than a worker has to
        stop.
        """
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            log.warning("the collector is away: the last spans are lost", endpoint=self._endpoint)


def _link(context: str) -> Link | None:
    remote = _span_context(context)
    return Link(remote) if remote else None


def _parent(context: str) -> Any:
    """Return a remote parent's context; an empty one for a new trace."""
    remote = _span_context(context)
    return set_span_in_context(NonRecordingSpan(remote), Context()) if remote else Context()


def _span_context(context: str) -> SpanContext | None:
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
