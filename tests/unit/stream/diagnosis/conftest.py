from __future__ import annotations

import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def warnings_alone() -> None:
    """As for commands."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
