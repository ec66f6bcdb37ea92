"""One worker process: its HTTP answers, its log and its end."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ader_stream.local_kafka.ports import HOST
from ader_stream.testing.processes import WorkerProcess

WAIT_SECONDS = 90.0
"""How long a condition may take on a machine that is busy with other things."""

LOG_LINES = 25
"""Lines of each log that a failure shows."""


@dataclass
class Worker:
    """A worker process.

    Parameters
    ----------
    name
        sessionizer, trainer, inference or monitor.
    process, log, port
        The process, the file of its output, and the port of its HTTP server.
    may_end
        A test has ended it, or asked it to end.
    """

    name: str
    process: WorkerProcess
    log: Path
    port: int
    may_end: bool = False

    @property
    def url(self) -> str:
        """Return the address of its HTTP server."""
        return f"http://{HOST}:{self.port}"

    def get(self, path: str, **params: str) -> httpx.Response:
        """GET a path of the worker."""
        return httpx.get(self.url + path, params=params, timeout=WAIT_SECONDS)

    def post(self, path: str, body: object) -> httpx.Response:
        """POST a value as JSON."""
        return httpx.post(self.url + path, json=body, timeout=WAIT_SECONDS)

    def samples(self, name: str) -> list[float]:
        """Return a metric's values, one for each of its labels; none while it does not answer."""
        try:
            text = self.get("/metrics").text
        except httpx.TransportError:  # it has not come so far, or is gone
            return []
        return [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        ]

    def metric(self, name: str) -> float:
        """Return the sum of a metric's values; 0 while there is none."""
        return sum(self.samples(name))

    def has_partitions(self) -> bool:
        """Return whether it works on partitions: it shows their lag, with clicks or without."""
        return bool(self.samples("ader_lag_records"))

    def readiness(self) -> str:
        """Return its answer at /readyz; empty while it does not answer yet."""
        with suppress(httpx.TransportError):
            return self.get("/readyz").text.strip()
        return ""

    def is_ready(self) -> bool:
        """Return whether it answers that it is ready."""
        return self.readiness() == "ready"

    def logged(self, text: str) -> int:
        """Count the lines of the log that hold a text."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, as a crash would end it."""
        self.may_end = True
        self.signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to stop."""
        self.may_end = True
        self.signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended and return its exit code; one that stays fails the test."""
        self.may_end = True
        return self.process.wait(WAIT_SECONDS)

    def has_died(self) -> bool:
        """Return whether it has ended although nobody asked."""
        return not self.may_end and self.process.poll() is not None

    def tail(self) -> str:
        """Return the end of its log, for a failure."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(
            [
                f"--- {self.log.name} (exit code {self.process.poll()})",
                *lines,
                *self.partition_metrics(),
            ]
        )

    def partition_metrics(self) -> list[str]:
        """Return its metrics by partition; nothing where it does not answer."""
        try:
            shown = self.get("/metrics").text.splitlines()
        except httpx.TransportError:
            return []
        return [line for line in shown if not line.startswith("#") and "partition=" in line]
