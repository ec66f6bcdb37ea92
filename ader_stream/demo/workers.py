"""The workers of the demo: processes that end with the demo, even if the demo is killed."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ader_stream.errors import DemoError
from ader_stream.local_kafka import Guard, start_process, stop_processes
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.runtime.resources import worker_command
from ader_stream.settings import worker_environment

NAMES = ("sessionizer", "trainer", "inference")
MONITOR = "monitor"
STOP_SECONDS = 15.0
LOOK_SECONDS = 1.0
"""Seconds between two checks that all workers run."""

LOG_LINES = 15
"""Lines of a log shown when its worker ends early."""


@dataclass(frozen=True)
class _Worker:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    port: int


class Workers:
    """Workers on this machine.

    Parameters
    ----------
    out
        Folder of their logs.
    settings
        Group → name → value, for all of them.
    names
        Which are started.
    """

    def __init__(
        self,
        out: Path,
        guard: Guard,
        settings: Mapping[str, Mapping[str, str]],
        names: Sequence[str] = NAMES,
    ) -> None:
        self._guard = guard
        self._workers = [_start(name, out / f"{name}.log", guard, settings) for name in names]

    def check(self) -> None:
        """Raise `DemoError` with the end of its log if a worker has ended."""
        for worker in self._workers:
            code = worker.process.poll()
            if code is not None:
                lines = worker.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                tail = "\n".join(lines)
                raise DemoError(f"{worker.name} ended with exit code {code}; {worker.log}:\n{tail}")

    @property
    def addresses(self) -> dict[str, str]:
        """Return worker name → host:port at which it answers HTTP."""
        return {worker.name: f"{HOST}:{worker.port}" for worker in self._workers}

    def wait(self) -> None:
        """Check the workers for ever, until this process is interrupted.

        Raises
        ------
        DemoError
            A worker has ended.
        KeyboardInterrupt
            Ctrl-C, or SIGTERM where that is handled like it.
        """
        while True:
            self.check()
            time.sleep(LOOK_SECONDS)

    def metrics(self, name: str) -> dict[str, float]:
        """Return the current metrics of a worker, without labels; empty if it does not answer."""
        url = f"http://{self.addresses[name]}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                text = response.read().decode()
        except OSError:
            return {}
        return {
            sample.name: float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.labels
        }

    def stop(self) -> None:
        """Ask all workers to stop, wait, and kill those that do not."""
        processes = [worker.process for worker in self._workers]
        stop_processes(processes, self._guard, STOP_SECONDS)


def _start(
    name: str, log: Path, guard: Guard, settings: Mapping[str, Mapping[str, str]]
) -> _Worker:
    port = free_port()
    http = {"host": HOST, "port": str(port)}
    replayed = {
        "sessionizer": {
            **settings.get("sessionizer", {}),
            "idle_timeout": "off",
        },  # heartbeats say more
        "clicks": {**settings.get("clicks", {}), "check_times": "false"},  # the data set is checked
    }
    environment = worker_environment(**{**settings, **replayed}, http=http)
    log.unlink(missing_ok=True)
    process = start_process(worker_command(name), log, guard, environment)
    return _Worker(name, process, log, port)
