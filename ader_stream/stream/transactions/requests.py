"""Send transactional requests: repeat those that may succeed, give up those that never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait

import structlog
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import FencedError
from ader_stream.stream.kafka.producing import is_fatal
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT

log = structlog.get_logger(__name__)

HANG_SECONDS = 5.0
"""What a request may take beyond its time-out before it is given up."""

PAUSE_SECONDS = 0.1
"""Between two tries of a request: some errors come back at once."""


def retried(request: Callable[[], None], seconds: float = REQUEST_TIMEOUT) -> None:
    """Repeat a request while its error is retriable, for at most `seconds`.

    When a broker restarts, a producer can lose its coordinator for good. A retriable error that is
    raised after `seconds` therefore means that the producer is lost.

    Raises
    ------
    KafkaException
        If the error is not retriable, or the time is over.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            request()
        except KafkaException as exception:
            error = exception.args[0]
            if not error.retriable() or time.monotonic() >= until:
                raise
            log.warning("kafka request repeated", code=error.name(), error=error.str())
            time.sleep(PAUSE_SECONDS)
        else:
            return


def is_lost(error: KafkaError) -> bool:
    """Whether a producer whose request failed with this error is of no more use.

    A retriable error has been retried as long as that could help.
    """
    return is_fatal(error) or bool(error.retriable())


def side_by_side(
    request: Callable[[int], None], partitions: Collection[int], seconds: float
) -> dict[int, KafkaException]:
    """Send a request for each partition at the same time; return the errors of those that failed.

    Requests are repeated as by `retried`. Each has a thread of its own, and is given up when it
    takes longer than `seconds`, its own time-out: when a broker restarts, librdkafka's
    `send_offsets_to_transaction` may never return (its issue 5456). The thread is left behind and
    keeps the producer alive; the next owner's `init_transactions` aborts its transaction.

    Raises
    ------
    FencedError
        If a request has not returned in time: its producer is lost.
    """
    failed: dict[int, KafkaException] = {}
    pending: Collection[int] = partitions
    until = time.monotonic() + seconds
    while pending:
        tried = _attempt(request, pending, seconds + HANG_SECONDS)
        is_over = time.monotonic() >= until
        pending = [p for p, e in tried.items() if e.args[0].retriable() and not is_over]
        failed |= {p: exception for p, exception in tried.items() if p not in pending}
        for partition in pending:
            error = tried[partition].args[0].str()
            log.warning("kafka request repeated", partition=partition, error=error)
        if pending:
            time.sleep(PAUSE_SECONDS)
    return failed


def _attempt(
    request: Callable[[int], None], partitions: Collection[int], seconds: float
) -> dict[int, KafkaException]:
    outcomes = {partition: Future[None]() for partition in partitions}

    def run(partition: int) -> None:
        try:
            request(partition)
        except BaseException as error:
            outcomes[partition].set_exception(error)
        else:
            outcomes[partition].set_result(None)

    for partition in partitions:
        threading.Thread(target=run, args=(partition,), name="transaction", daemon=True).start()
    wait(outcomes.values(), seconds)
    failed = {}
    for partition, outcome in outcomes.items():
        try:
            outcome.result(0)
        except TimeoutError:
            raise FencedError(
                f"a transactional request of partition {partition} has not returned in "
                f"{seconds:g} s"
            ) from None
        except KafkaException as exception:
            failed[partition] = exception
    return failed


def back_off(aborts: int) -> float:
    """Return the seconds to wait after so many aborts in a row.

    >>> [back_off(aborts) for aborts in (1, 2, 5, 6, 10)]
    [0.1, 0.2, 1.6, 3.2, 5.0]
    """
    return float(min(0.1 * 2 ** (aborts - 1), 5.0))
