"""What erasing costs: process CPU time for many requests beside many open sessions.

Run it with ``python -m tests.benchmarks.erasures``. Ten times the requests, or ten times the
sessions, cost ten times as much where the cost is linear, and a hundred times where each of the one
is compared with all of the other. ``step`` is the longest pause between two batches of clicks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import NamedTuple

from ader_stream.stream.avro.codec import encode
from ader_stream.stream.blocks.columns import SessionColumns
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import BlockRule, Click, IntakeRule, Session, SessionRule
from tests.fakes import FakeRecord

REQUESTS = (1_000, 10_000)
SESSIONS = (100_000, 1_000_000)
NOW = 1_764_500_000_000
TOPIC = "id"


class Cost(NamedTuple):
    """CPU seconds: in all, and of the longest step."""

    total: float
    step: float


def main() -> None:
    asked = {count: requests(count) for count in REQUESTS}
    show("requests read", [(f"{n:,}", Cost(read(records)[1], 0)) for n, records in asked.items()])
    erasures = {count: read(records)[0].erasures for count, records in asked.items()}
    for count in SESSIONS:
        costs = [(f"{n:,}", looked_through(erasures[n], count)) for n in REQUESTS]
        show(f"{count:,} open sessions", costs)
    more = [(f"{count:,}", looked_through(erasures[REQUESTS[-1]], count)) for count in SESSIONS]
    show(f"{REQUESTS[-1]:,} requests, open sessions", more)
    for count in SESSIONS:
        costs = [(f"{n:,}", left_out(a_block(count), erasures[n])) for n in REQUESTS]
        show(f"block of {count:,} sessions", costs)
    one_by_one(a_block(SESSIONS[-1]), erasures[REQUESTS[0]])


def show(what: str, costs: Sequence[tuple[str, Cost]]) -> None:
    """Print costs, and how many times the one before each is."""
    for name, found in costs:
        step = f", longest step {1000 * found.step:.1f} ms" if found.step else ""
        print(f"{what} × {name}: {found.total:.3f} s{step}")
    for (_, before), (_, after) in pairwise(costs):
        print(f"  ratio {after.total / before.total:.1f}")


def cost(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def requests(count: int) -> list[FakeRecord]:
    """Records of `control`, half of them of keys that have sessions."""
    before, records = Erasures(), []
    for number in range(count):
        key = f"visitor-{number}" if number % 2 else f"gone-{number}"
        request = erasure_request(key, before, (10**9,), TOPIC, NOW + number)
        before.take(request, number)
        value, headers = encode("Control", asdict(request))
        records.append(FakeRecord(value, request.key.encode(), headers=headers, offset=number))
    return records


def read(records: Sequence[FakeRecord]) -> tuple[Registry, float]:
    """Have a registry read requests."""
    registry = Registry(Trust())

    def take_all() -> None:
        for record in records:
            registry.take_command(record)

    return registry, cost(take_all)


def looked_through(erasures: Erasures, sessions: int) -> Cost:
    """Have a partition with open sessions apply requests."""
    rule = SessionRule(gap=1_800_000, max_open=2 * sessions)
    window = SessionWindow(BlockRule(0, 7 * 86_400_000), rule)
    for number in range(sessions):
        window.observe(Click(f"visitor-{number}", "item", NOW + number // 1_000), number)
    intake = Intake(window, IntakeRule(), 0)
    partition = PartitionErasures(erasures, 0, TOPIC)
    steps = []
    while partition.waiting:
        steps.append(cost(lambda: partition.step(intake, 10**9)))
    assert window.open_count == sessions - len(erasures) // 2
    return Cost(sum(steps), max(steps))


def a_block(count: int) -> TrainingBlock:
    """A block whose keys were not hashed yet."""
    columns = SessionColumns.of(Session(f"visitor-{n}", ("item",), (NOW,)) for n in range(count))
    return TrainingBlock((0,), columns, {}, {})


def left_out(block: TrainingBlock, erasures: Erasures) -> Cost:
    """Have a trainer leave out of a block what requests cover."""
    return Cost(cost(lambda: block.without(erasures)), 0)


def one_by_one(block: TrainingBlock, erasures: Erasures) -> None:
    """Print what a request costs that comes while a block is trained."""
    first = cost(lambda: block.without(erasures, erasures.next_offset - 1))
    further = cost(lambda: block.without(erasures, erasures.next_offset - 1))
    print(f"first request of a cycle: {first:.3f} s; each further one: {further:.4f} s")


if __name__ == "__main__":
    main()
