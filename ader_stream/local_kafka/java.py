"""Run Apache Kafka as a Java process on this machine, with its data in a folder of its own.

The data folder has ``log/`` (Kafka's own), ``server.properties`` and ``kafka.log``.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ader_stream.errors import BrokerError
from ader_stream.local_kafka.commands import last_line, require_program, run
from ader_stream.local_kafka.guard import Guard
from ader_stream.local_kafka.guard_process import state_and_group
from ader_stream.local_kafka.jars import fetch_jars, kafka_version
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.local_kafka.ready import wait_until_ready
from ader_stream.local_kafka.record import LocalKafka, StartOptions
from ader_stream.local_kafka.server import HEAP_OPTIONS, as_text, process_properties
from ader_stream.runtime.resources import resource

OLDEST_JAVA = 17
STOP_TIMEOUT_S = 20.0
POLL_S = 0.05


def start(options: StartOptions, guard: Guard) -> LocalKafka:
    """Start the broker and return when it answers; otherwise `guard` ends it.

    Raises
    ------
    BrokerError
        If Java is missing, the download fails, or the broker does not start.
    """
    _require_java()
    jars = fetch_jars(options.cache)
    if options.temporary:
        _delete_with(guard, options.data)
    _write_properties(options)
    if not (_logs(options.data) / "meta.properties").exists():
        _format(jars, options.data, options.cluster_id or new_cluster_id())
    kafka = LocalKafka(
        bootstrap_servers=f"{HOST}:{options.port}",
        source="java",
        version=kafka_version(" ".join(path.name for path in jars.iterdir())),
        data=options.data,
        port=options.port,
        pid=_spawn_broker(jars, options.data),
        temporary=options.temporary,
    )
    end_with(guard, kafka)
    wait_until_ready(kafka.bootstrap_servers, lambda: _why_ended(kafka))
    return kafka


def end_with(guard: Guard, kafka: LocalKafka) -> None:
    """Make the guard end this broker, and delete its data if they are temporary."""
    with suppress(ProcessLookupError):
        guard.end_on_death(os.getpgid(kafka.pid))
    if kafka.temporary:
        _delete_with(guard, kafka.data)


def _delete_with(guard: Guard, data: Path) -> None:
    guard.on_death(["rm", "-rf", *(str(path) for path in _files(data))])


def is_running(kafka: LocalKafka) -> bool:
    """Return whether the broker holds the lock on its log folder, as it does from start to end.

    Its process number alone is not enough: another process may have it by now.
    """
    try:
        with (_logs(kafka.data) / ".lock").open("r+b") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def stop(kafka: LocalKafka) -> None:
    """Stop the broker cleanly; after `STOP_TIMEOUT_S` seconds with SIGKILL."""
    if not is_running(kafka):
        return
    _signal(kafka, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_running(kafka) or _exists(kafka):
        if time.monotonic() > deadline:
            _signal(kafka, signal.SIGKILL)
            return
        time.sleep(POLL_S)


def delete_data(kafka: LocalKafka) -> None:
    """Delete the broker's data from its data folder."""
    for path in _files(kafka.data):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _require_java() -> None:
    require_program("java")
    said = run(["java", "-version"], timeout=20)
    found = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    if not found:
        raise BrokerError(f"`java -version` names no version: {last_line(said)}")
    # Java 8 called itself 1.8.
    version = int(found[2]) if found[1] == "1" and found[2] else int(found[1])
    if version < OLDEST_JAVA:
        raise BrokerError(f"Java {version} is too old, Kafka needs {OLDEST_JAVA} or newer")


def _write_properties(options: StartOptions) -> None:
    properties = process_properties(HOST, options.port, free_port(), str(_logs(options.data)))
    text = as_text(properties | dict(options.properties))
    _properties(options.data).write_text(text, encoding="utf-8")


def new_cluster_id() -> str:
    """Return an id in Kafka's format."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _format(jars: Path, data: Path, cluster_id: str) -> None:
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
    # A program of one second ends before the optimising compiler pays off.
    options = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    run([*_java(jars, options), *tool, f"--config={_properties(data)}"], timeout=120)


def _spawn_broker(jars: Path, data: Path) -> int:
    command = [*_java(jars, HEAP_OPTIONS), "kafka.Kafka", str(_properties(data))]
    # The shell ends and leaves the broker without a parent, so no process has to wait for it:
    # neither `broker up`, which ends, nor a demo that continues.
    script = 'output="$1"; shift; "$@" </dev/null >>"$output" 2>&1 & echo $!'
    shell = subprocess.run(
        ["sh", "-c", script, "sh", str(_output(data)), *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        start_new_session=True,
    )
    return int(shell.stdout)


def _java(jars: Path, options: Sequence[str]) -> list[str]:
    logging = resource("deploy", "kafka", "log4j2.yaml")
    return ["java", *options, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]


def _why_ended(kafka: LocalKafka) -> str | None:
    if _exists(kafka):
        return None
    said = _output(kafka.data).read_text(encoding="utf-8", errors="replace")
    return f"{last_line(said)} (more in {_output(kafka.data)})"


def _exists(kafka: LocalKafka) -> bool:
    return _signal(kafka, 0) and state_and_group(str(kafka.pid))[0] != "Z"


def _signal(kafka: LocalKafka, number: int) -> bool:
    """Send a signal; return false if the process has ended."""
    try:
        os.kill(kafka.pid, number)
    except ProcessLookupError:
        return False
    return True


def _files(data: Path) -> list[Path]:
    return [_logs(data), _properties(data), _output(data)]


def _logs(data: Path) -> Path:
    return data / "log"


def _properties(data: Path) -> Path:
    return data / "server.properties"


def _output(data: Path) -> Path:
    return data / "kafka.log"
