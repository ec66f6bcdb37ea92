"""Prometheus and Alertmanager beside the demo, with the project's own rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ader_stream.errors import DemoError
from ader_stream.local_kafka import Guard, start_process, stop_processes
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.observability.alertmanager import alertmanager_yaml
from ader_stream.observability.rule import Links
from ader_stream.observability.rules_file import rules_yaml

PROGRAMS = {
    "prometheus": ("prometheus",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
}
"""Names of each program; the second one is Debian's."""

SCRAPE_SECONDS = 5
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
LOG_LINES = 15


def find_programs() -> dict[str, str]:
    """Return the path of each program.

    Raises
    ------
    DemoError
        If one is not installed.
    """
    found = {name: _first_found(names) for name, names in PROGRAMS.items()}
    if missing := [name for name, path in found.items() if path is None]:
        raise DemoError(
            f"--with-monitoring: {' and '.join(missing)} not found on the PATH; install what is "
            "missing (Debian: apt-get install prometheus prometheus-alertmanager), or leave the "
            "option out"
        )
    return {name: path for name, path in found.items() if path}


def choose_addresses(programs: Iterable[str]) -> dict[str, str]:
    """Return an unused host:port for each program: the monitor is told of it before it starts."""
    return {name: f"{HOST}:{free_port()}" for name in programs}


@contextmanager
def running_monitoring(
    programs: Mapping[str, str],
    addresses: Mapping[str, str],
    out: Path,
    guard: Guard,
    workers: Mapping[str, str],
    prefix: str,
) -> Iterator[None]:
    """Run both programs until the context ends.

    Parameters
    ----------
    programs
        What `find_programs` returned.
    addresses
        What `choose_addresses` returned.
    out
        Folder of their configuration, data and logs.
    workers
        Worker → host:port at which it shows its metrics.
    prefix
        Of the topics: a label of every series.

    Raises
    ------
    DemoError
        If one does not answer.
    """
    folder = out / "monitoring"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ader-stream.rules.yml").write_text(rules_yaml(Links()), encoding="utf-8")
    (folder / "alertmanager.yml").write_text(alertmanager_yaml(), encoding="utf-8")
    configuration = prometheus_configuration(workers, prefix, addresses["alertmanager"])
    (folder / "prometheus.yml").write_text(json.dumps(configuration, indent=1), encoding="utf-8")
    commands = _commands(programs, folder, addresses)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            process = start_process(command, folder / f"{name}.log", guard)
            processes.append(process)
            _wait_until_ready(name, process, addresses[name], folder / f"{name}.log")
        yield
    finally:
        stop_processes(processes, guard, STOP_SECONDS)


def prometheus_configuration(
    workers: Mapping[str, str], prefix: str, alertmanager: str
) -> dict[str, object]:
    """Return the configuration of Prometheus, as JSON values: each JSON text is YAML, too."""
    targets = [
        {"targets": [address], "labels": {"worker": name, "prefix": prefix}}
        for name, address in workers.items()
    ]
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
        },
        "rule_files": ["ader-stream.rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [{"job_name": "ader-demo", "static_configs": targets}],
    }


def _first_found(names: Sequence[str]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


def _commands(
    programs: Mapping[str, str], folder: Path, addresses: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the command of each program, in the order in which they start."""
    return {
        "alertmanager": [
            programs["alertmanager"],
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={addresses['alertmanager']}",
            "--cluster.listen-address=",  # there is one
        ],
        "prometheus": [
            programs["prometheus"],
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={addresses['prometheus']}",
            "--enable-feature=exemplar-storage",
        ],
    }


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while not _is_ready(address):
        if process.poll() is not None or time.monotonic() > until:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise DemoError(f"{name} does not answer at {address}; {log}:\n{tail}")
        time.sleep(0.1)


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
