from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from ader_stream.runtime.memory.garbage import COLLECT_SECONDS, GarbageSchedule


class Node:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_cycles_are_looked_for_when_it_is_time_to_and_not_before() -> None:
    now = [0.0]
    collector = GarbageSchedule(lambda: now[0])
    node = weakref.ref(Node())
    now[0] = COLLECT_SECONDS - 1
    collector.collect_if_due()
    assert node() is not None
    now[0] = COLLECT_SECONDS
    collector.collect_if_due()
    assert node() is None


def test_objects_alone_start_no_look() -> None:
    GarbageSchedule()
    node = weakref.ref(Node())
    _ = [[] for _ in range(100_000)]
    assert node() is not None
