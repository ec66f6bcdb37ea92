"""The local Kafka without a broker: the order of sources, the guard, ports, the download."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ader_stream.errors import BrokerError, InputError, UnreachableError
from ader_stream.local_kafka import (
    Guard,
    LocalKafka,
    find_kafka,
    guard_process,
    ports,
    ready,
    server,
    sources,
    start_kafka,
    start_process,
    stop_kafka,
)
from ader_stream.local_kafka.jars import fetch_jars
from ader_stream.local_kafka.record import StartOptions, read_record, write_record

# --- where a Kafka comes from


@dataclass
class FakeSource:
    """A source without a broker."""

    name: str
    reason: str = ""
    running: bool = False
    calls: list[str] = field(default_factory=list)

    def start(self, options: StartOptions, guard: Guard) -> LocalKafka:
        self.calls.append("start")
        if self.reason:
            raise BrokerError(self.reason)
        self.running = True
        address = f"{ports.HOST}:{options.port}"
        return LocalKafka(address, self.name, "4.1.0", options.data, temporary=options.temporary)

    def end_with(self, guard: Guard, kafka: LocalKafka) -> None:
        self.calls.append("end_with")

    def is_running(self, kafka: LocalKafka) -> bool:
        return self.running

    def stop(self, kafka: LocalKafka) -> None:
        self.running = False

    def delete_data(self, kafka: LocalKafka) -> None:
        self.calls.append("delete_data")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeSource]:
    both = {name: FakeSource(name) for name in ("docker", "java")}
    monkeypatch.setattr(sources, "SOURCES", both)
    return both


def start(data: Path, **arguments: object) -> LocalKafka:
    return start_kafka(data, image="apache/kafka", cache=data / "cache", **arguments)


def test_docker_comes_before_java(fakes: dict[str, FakeSource], tmp_path: Path):
    assert start(tmp_path).source == "docker"
    assert fakes["java"].calls == []


def test_java_follows_a_docker_that_fails(fakes: dict[str, FakeSource], tmp_path: Path):
    fakes["docker"].reason = "cannot pull"
    assert start(tmp_path).source == "java"


def test_a_folder_stays_with_the_source_that_has_its_topics(
    fakes: dict[str, FakeSource], tmp_path: Path
):
    stop_kafka(start(tmp_path, source="java"))
    assert start(tmp_path).source == "java"


def test_a_source_that_was_asked_for_has_no_substitute(
    fakes: dict[str, FakeSource], tmp_path: Path
):
    fakes["docker"].reason = "cannot pull"
    with pytest.raises(BrokerError, match="cannot pull"):
        start(tmp_path, source="docker")


def test_without_any_source_the_error_gives_each_reason_and_names_three_ways(
    fakes: dict[str, FakeSource], tmp_path: Path
):
    fakes["docker"].reason, fakes["java"].reason = "cannot pull", "too old"
    with pytest.raises(BrokerError) as failure:
        start(tmp_path)
    for part in ("cannot pull", "too old", "--bootstrap-servers", "Docker", "Java 17"):
        assert part in str(failure.value)


def test_a_second_start_finds_the_broker_that_runs(fakes: dict[str, FakeSource], tmp_path: Path):
    assert start(tmp_path) == start(tmp_path) == find_kafka(tmp_path)
    assert fakes["docker"].calls == ["start"]


def test_a_stopped_broker_is_not_found_again(fakes: dict[str, FakeSource], tmp_path: Path):
    stop_kafka(start(tmp_path))
    assert find_kafka(tmp_path) is None


def test_temporary_data_go_with_the_broker(fakes: dict[str, FakeSource], tmp_path: Path):
    stop_kafka(start(tmp_path / "data", temporary=True))
    assert "delete_data" in fakes["docker"].calls
    assert not (tmp_path / "data").exists()


def test_an_interrupted_start_leaves_no_folder(
    fakes: dict[str, FakeSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(options: StartOptions, guard: Guard) -> LocalKafka:
        (options.data / "log").mkdir()
        guard.on_death(["rm", "-rf", str(options.data / "log")])
        raise KeyboardInterrupt

    monkeypatch.setattr(fakes["docker"], "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "data", temporary=True)
    assert not (tmp_path / "data").exists()


def test_the_guard_removes_the_folder_of_temporary_data(
    fakes: dict[str, FakeSource], tmp_path: Path
):
    with Guard() as guard:
        start(tmp_path / "data", temporary=True, guard=guard)
        assert (tmp_path / "data").exists()
    assert not (tmp_path / "data").exists()


def test_data_stay_by_default(fakes: dict[str, FakeSource], tmp_path: Path):
    stop_kafka(start(tmp_path))
    assert "delete_data" not in fakes["docker"].calls


def test_a_given_address_that_does_not_answer_is_wrong_input(
    fakes: dict[str, FakeSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sources, "GIVEN_TIMEOUT_S", 0.2)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 "):
        start(tmp_path, address="127.0.0.1:1")
    assert fakes["docker"].calls == fakes["java"].calls == []


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that has only what the test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_machine_without_docker_and_java_is_shown_what_is_missing(programs: Path, tmp_path: Path):
    with pytest.raises(BrokerError) as failure:
        start(tmp_path / "data")
    assert "no `docker` on the PATH" in str(failure.value)
    assert "no `java` on the PATH" in str(failure.value)


def test_an_engine_that_does_not_answer_gives_its_own_reason(programs: Path, tmp_path: Path):
    write_program(programs / "docker", "echo 'Cannot connect to the daemon' >&2; exit 1")
    with pytest.raises(BrokerError, match="Cannot connect to the daemon"):
        start(tmp_path / "data", source="docker")


def test_an_image_that_cannot_be_pulled_gives_its_own_reason(programs: Path, tmp_path: Path):
    script = 'case "$1" in version) echo 20;; *) echo "no such host" >&2; exit 1;; esac'
    write_program(programs / "docker", script)
    with pytest.raises(BrokerError, match="`docker pull` failed: no such host"):
        start(tmp_path / "data", source="docker")


@pytest.mark.parametrize(("text", "version"), [("11.0.2", 11), ("1.8.0_392", 8)])
def test_an_old_java_is_refused_with_its_version(
    text: str, version: int, programs: Path, tmp_path: Path
):
    write_program(programs / "java", f"echo 'openjdk version \"{text}\"' >&2")
    with pytest.raises(BrokerError, match=f"Java {version} is too old"):
        start(tmp_path / "data", source="java")


def test_a_failed_start_leaves_no_record(fakes: dict[str, FakeSource], tmp_path: Path):
    fakes["docker"].reason = fakes["java"].reason = "no"
    with pytest.raises(BrokerError):
        start(tmp_path)
    assert read_record(tmp_path) is None


# --- the download


def test_jars_are_downloaded_once(programs: Path, tmp_path: Path):
    log = tmp_path / "log"
    script = f"""echo called >> {log}
for argument; do case $argument in -DoutputDirectory=*) folder=${{argument#*=}};; esac; done
/bin/mkdir "$folder"; echo > "$folder/kafka-clients-4.1.0.jar" """
    write_program(programs / "mvn", script)
    first, second = fetch_jars(tmp_path / "cache"), fetch_jars(tmp_path / "cache")
    assert first == second
    assert [path.name for path in first.iterdir()] == ["kafka-clients-4.1.0.jar"]
    assert log.read_text().split() == ["called"]


def test_a_download_that_fails_leaves_nothing(programs: Path, tmp_path: Path):
    write_program(programs / "mvn", "echo 'Could not transfer artifact' >&2; exit 1")
    with pytest.raises(BrokerError, match="Could not transfer artifact"):
        fetch_jars(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_maven_is_needed_for_the_first_download_only(programs: Path, tmp_path: Path):
    with pytest.raises(BrokerError, match="no `mvn` on the PATH: Maven downloads Kafka"):
        fetch_jars(tmp_path / "cache")


# --- ports


@pytest.fixture
def taken_port():
    with ports.socket.create_server((ports.HOST, 0)) as server_socket:
        yield server_socket.getsockname()[1]


def test_a_port_that_was_asked_for_and_is_taken_is_wrong_input(taken_port: int):
    with pytest.raises(InputError, match=f"port {taken_port} is taken"):
        ports.choose_port(taken_port)


def test_the_usual_port_gives_way_where_it_is_taken(
    taken_port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ports, "USUAL_PORT", taken_port)
    assert ports.is_free(ports.choose_port(None))


def test_the_usual_port_is_the_first_choice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ports, "USUAL_PORT", ports.free_port())
    assert ports.choose_port(None) == ports.USUAL_PORT


# --- record, properties, readiness


def test_a_record_is_read_as_it_was_written(tmp_path: Path):
    kafka = LocalKafka("127.0.0.1:9092", "java", "4.1.0", tmp_path, port=9092, pid=1)
    write_record(kafka)
    assert read_record(tmp_path) == kafka


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data": "x", "unknown": 1}'])
def test_a_record_that_cannot_be_read_is_none(text: str, tmp_path: Path):
    (tmp_path / "broker.json").write_text(text)
    assert read_record(tmp_path) is None


def test_a_record_whose_broker_is_gone_is_not_found(tmp_path: Path):
    # The process number is alive, but another process has it: ours.
    write_record(LocalKafka("127.0.0.1:9092", "java", "4.1.0", tmp_path, pid=os.getpid()))
    assert find_kafka(tmp_path) is None


def test_a_container_reaches_itself_by_a_listener_of_its_own():
    properties = server.container_properties("127.0.0.1", 19092)
    own = properties["inter.broker.listener.name"]
    listeners = dict(item.split("://") for item in properties["listeners"].split(","))
    advertised = dict(item.split("://") for item in properties["advertised.listeners"].split(","))
    assert advertised["PLAINTEXT"] == "127.0.0.1:19092"
    assert advertised[own] == listeners[own] != advertised["PLAINTEXT"]


def test_a_broker_that_ends_while_starting_gives_its_last_words():
    with pytest.raises(BrokerError, match="disk full"):
        ready.wait_until_ready("127.0.0.1:1", lambda: "disk full")


# --- the guard


def test_duties_that_were_taken_back_are_not_done():
    lines = ['{"end": 1}', '{"end": 2}', '{"cancel": 1}', '{"run": ["a", "b"]}']
    assert guard_process.read_duties(lines) == ([2], [["a", "b"]])


def test_a_released_guard_has_no_duties():
    assert guard_process.read_duties(['{"end": 1}', '{"run": ["a"]}', '{"release": true}']) == (
        [],
        [],
    )


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what must come; the test's own time limit ends it if it never does."""
    while not condition():
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return subprocess.run(["ps", "-p", str(pid)], check=False).returncode != 0
    return state == "Z"


def test_leaving_the_guard_ends_what_was_started(tmp_path: Path):
    with Guard() as guard:
        process = start_process(["sleep", "600"], tmp_path / "log", guard)
    assert process.wait() == -signal.SIGTERM


def test_what_ignores_sigterm_is_killed(tmp_path: Path):
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    with Guard(grace=0.2) as guard:
        process = start_process(["sh", "-c", script], tmp_path / "log", guard)
        wait_until(lambda: "ready" in (tmp_path / "log").read_text())
    assert process.wait() == -signal.SIGKILL


def test_a_released_guard_lets_live(tmp_path: Path):
    with Guard() as guard:
        process = start_process(["sleep", "600"], tmp_path / "log", guard)
        guard.release()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_output_goes_to_the_log(tmp_path: Path):
    with Guard() as guard:
        command = ["sh", "-c", 'echo "$WORD"; echo err >&2']
        process = start_process(command, tmp_path / "log", guard, {"WORD": "out"})
        assert process.wait() == 0
        guard.cancel(process.pid)
    assert (tmp_path / "log").read_text() == "out\nerr\n"


PARENT = """
import signal, sys, time
from pathlib import Path
from ader_stream.local_kafka import Guard, start_process
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs behind a shell ignores it
folder = Path(sys.argv[1])
with Guard() as guard:
    process = start_process(["sh", "-c", "sleep 600 & sleep 600"], folder / "log", guard)
    guard.on_death(["touch", str(folder / "ran")])
    (folder / "pid.tmp").write_text(str(process.pid))
    (folder / "pid.tmp").rename(folder / "pid")
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_killed_parent(number: signal.Signals, tmp_path: Path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until((tmp_path / "pid").exists)
    os.killpg(parent.pid, number)  # as a terminal does at Ctrl-C
    parent.wait()
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: is_gone(pid))
    wait_until((tmp_path / "ran").exists)
