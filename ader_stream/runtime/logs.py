"""Write logs to standard error: key=value text, or JSON lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog


def configure_logs(format_: str = "text", level: str = "info", **context: str) -> None:
    """Set up logging, once per process; `context` (the worker's name) is part of every line."""

    def with_context(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {**context, **event}  # structlog's own contextvars would belong to one thread only

    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            with_context,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
