"""Forked workers are started as others are: with their own process group, environment and log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ader_stream.local_kafka import Guard
from ader_stream.testing.processes import (
    Launch,
    WorkerProcess,
    fork_worker,
    run_command,
    start_as_user,
)

NOBODY = {"ADER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, **variables}


def frozen(launch: Launch, log: Path, guard: Guard) -> WorkerProcess:
    """Start a worker that will wait for a Kafka, and stop it when it has its process group."""
    process = launch("sessionizer", log, guard, environment(**NOBODY))
    while os.getpgid(process.pid) != process.pid:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    return process


@pytest.mark.parametrize("name", ["sessionizer", "trainer", "inference"])
def test_a_forked_worker_refuses_a_wrong_variable_in_one_line_of_its_log(
    name: str, tmp_path: Path, guard: Guard
) -> None:
    log = tmp_path / "log"
    process = fork_worker(name, log, guard, environment(ADER_BLOCKS_LENGTH="never"))
    assert process.wait(60) == 2
    [said] = log.read_text().splitlines()
    assert said.startswith("ader-stream: blocks.length = 'never'")


@pytest.mark.parametrize("launch", [fork_worker, start_as_user])
def test_a_killed_worker_ends_with_its_signal(launch: Launch, tmp_path: Path, guard: Guard) -> None:
    process = frozen(launch, tmp_path / "log", guard)
    assert process.poll() is None
    assert os.getpgid(process.pid) == process.pid == os.getsid(process.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def test_a_forked_worker_has_loaded_torch_when_it_begins(tmp_path: Path, guard: Guard) -> None:
    process = frozen(fork_worker, tmp_path / "log", guard)
    assert "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()
    process.send_signal(signal.SIGKILL)


def test_a_command_is_answered_on_its_own_streams() -> None:
    forked = run_command(["settings", "--bogus"], environment(), 60)
    command = [sys.executable, "-m", "ader_stream.cli.main", "settings", "--bogus"]
    own = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert (forked.returncode, forked.stdout) == (own.returncode, own.stdout) == (2, "")
    assert "No such option" in forked.stderr
    assert run_command(["metrics"], environment(), 60).stdout.count("ader_") > 10
