"""Fuzzes whole streams until so many records have gone through: `make fuzz-streams`.

``python -m tests.property.stream_fuzz --events 1000000 --seed 7`` stops at the first
difference from the plain reference and shows the steps to it.
"""

from __future__ import annotations

import argparse
import sys
import time

import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.stream_machine import StreamMachine

RUNS_AT_ONCE = 50
STEPS = 60


class Counted(StreamMachine):
    """Counts the records that have gone through."""

    events = 0

    def teardown(self) -> None:
        super().teardown()
        Counted.events += sum(len(partition.records) for partition in self.partitions)


def main() -> None:
    """Run until the number of events is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    began, number = time.monotonic(), arguments.seed
    chosen = settings(
        max_examples=RUNS_AT_ONCE,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    while Counted.events < arguments.events:
        run_state_machine_as_test(seed(number)(Counted), settings=chosen)
        number += 1
        print(f"{Counted.events} events, {time.monotonic() - began:.0f} s, no difference")  # noqa: T201
        sys.stdout.flush()


if __name__ == "__main__":
    main()
