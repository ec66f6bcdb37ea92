"""Queries that several rules share.

Every query keeps the label `prefix`, which the scrape configuration may give to targets: one
Prometheus can watch several pipelines. Without the label, all workers are one pipeline. The label
`worker` is the kind of the worker.
"""

from __future__ import annotations

OF_CLICKS = 'worker!~"trainer|monitor"'
"""The workers that follow the clicks: if they stand, visitors notice."""

BEHIND_CLICKS = 'worker=~"trainer|monitor"'
"""The others: what they do can wait until the morning."""

INSTANCE = "prefix, worker, instance"
"""The labels of one worker process."""


def workers(of: str = "") -> str:
    """Return the query for whether workers answer Prometheus: 1 or 0."""
    return f'up{{job=~"ader-.+"{", " if of else ""}{of}}}'


def events(counter: str, window: str, by: str = "prefix") -> str:
    """Return a query for the counters that rose within a window, also from "not exported yet".

    A worker exports a counter with labels from its first event on, with the value 1, and
    `increase` does not see that first step. A series is new if it did not exist at the start of
    the window although its worker was scraped then, or if the worker has started since. Prometheus
    itself may have started within the window: then an old series is not taken for a new one.
    """
    return f"""\
sum by ({by}) (
  increase({counter}[{window}]) > 0
  or
  (
    ({counter} unless {counter} offset {window})
    and on ({INSTANCE}) (
      up offset {window} or process_start_time_seconds > time() - {seconds(window)}
    )
  )
)"""


def seconds(duration: str) -> int:
    """Return a duration of Prometheus in seconds.

    >>> seconds("30m")
    1800
    """
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[duration[-1]]


def share(part: str, whole: str, window: str, by: str = "prefix") -> str:
    """Return a query for the share that one counter has in another, within a window."""
    return (
        f"sum by ({by}) (increase({part}[{window}]))\n/\n"
        f"sum by ({by}) (increase({whole}[{window}]))"
    )
