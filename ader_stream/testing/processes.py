"""Two ways to start a worker: as a user does, or forked from a process that has loaded torch.

A new Python process needs three to seven seconds of a core to load torch and the worker's modules.
The fork server of `multiprocessing` loads them once for each process of pytest. What it forks is a
process like any other: it has a number, a process group, an environment, a log and an exit code of
its own. It shares with the others only what its modules keep from their import, and the seed of
Python's hashes.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

from ader_stream.cli.main import main
from ader_stream.local_kafka import Guard, start_process
from ader_stream.runtime.process import run_worker
from ader_stream.runtime.resources import worker_command, worker_module

PRELOADED = "ader_stream.testing.preloaded"

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([PRELOADED])


class WorkerProcess(Protocol):
    """A worker's process, with the methods of `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Return its number, which is its group's, too."""

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code; raise `subprocess.TimeoutExpired`."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""


Launch = Callable[[str, Path, Guard, Mapping[str, str]], WorkerProcess]
"""Starts a worker by its name: with its log, with what ends it if the tests are killed, and with
its environment."""


def start_as_user(
    name: str, log: Path, guard: Guard, environment: Mapping[str, str]
) -> WorkerProcess:
    """Start the worker's module in a new Python process."""
    return start_process(worker_command(name), log, guard, environment)


def fork_worker(
    name: str, log: Path, guard: Guard, environment: Mapping[str, str]
) -> WorkerProcess:
    """Start a worker in a copy of the process that has loaded its modules."""
    log.touch()  # a test may read it before the worker begins
    process = _fork(_work, name, log, dict(environment))
    guard.end_on_death(process.pid)
    return process


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run ``ader-stream`` in a copy of the process that has loaded its modules."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = _fork(_command, arguments, output, errors, dict(environment))
        try:
            code = process.wait(timeout)
        finally:
            process.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


@dataclass(frozen=True)
class ForkedProcess:
    """A forked process, whose exit code the fork server passes on."""

    process: ForkServerProcess

    @property
    def pid(self) -> int:
        """Return its number."""
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.process.name, timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _fork(work: Callable[..., None], *arguments: object) -> ForkedProcess:
    process = CONTEXT.Process(target=work, args=arguments, daemon=True)
    process.start()
    return ForkedProcess(process)


def _work(name: str, log: Path, environment: Mapping[str, str]) -> None:
    _separate(log, log, environment)
    run_worker(importlib.import_module(worker_module(name)).run)


def _command(
    arguments: Sequence[str], output: Path, errors: Path, environment: Mapping[str, str]
) -> None:
    _separate(output, errors, environment)
    sys.argv = ["ader-stream", *arguments]
    main()


def _separate(output: Path, errors: Path, environment: Mapping[str, str]) -> None:
    """Begin a process group, append to files, read nothing, and have no other variables."""
    os.setsid()
    with Path(os.devnull).open("rb") as nothing, output.open("ab") as out, errors.open("ab") as err:
        for number, file in enumerate((nothing, out, err)):
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
