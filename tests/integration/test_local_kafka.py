"""Real brokers, started and stopped as a user does, from both sources."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ader_stream.errors import BrokerError
from ader_stream.local_kafka import Guard, LocalKafka, docker, find_kafka, start_kafka, stop_kafka
from ader_stream.local_kafka.guard_process import state_and_group
from ader_stream.local_kafka.ports import free_port
from ader_stream.settings import kafka_image


@pytest.fixture(params=["docker", "java"], scope="module")
def source(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "docker":
        try:
            docker.require_image(kafka_image())
        except BrokerError as reason:
            pytest.skip(f"which need a Docker engine with an image ({reason})")
    return name


@pytest.fixture(scope="module")
def started(
    source: str, kafka_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalKafka]:
    """A broker from each source."""
    with Guard() as guard:
        kafka = start_kafka(
            tmp_path_factory.mktemp(source),
            image=kafka_image(),
            cache=kafka_cache,
            port=free_port(),
            source=source,
            guard=guard,
            temporary=True,
        )
        yield kafka
        stop_kafka(kafka)


def create_topic(kafka: LocalKafka, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1)])[name].result()


def produce(kafka: LocalKafka, topic: str, value: bytes, *, commits: bool) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, value)
    producer.flush(20)
    if commits:
        producer.commit_transaction(20)
    else:
        producer.abort_transaction(20)


def read_committed(kafka: LocalKafka, topic: str) -> list[bytes | None]:
    """Read a topic to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "unused",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = []
    while not (record := consumer.poll(20)).error():
        values.append(record.value())
    consumer.close()
    return values


def test_transactions_are_seen_once_committed_and_never_if_aborted(started: LocalKafka):
    create_topic(started, "t")
    produce(started, "t", b"aborted", commits=False)
    produce(started, "t", b"committed", commits=True)
    assert read_committed(started, "t") == [b"committed"]


def test_a_mistyped_name_creates_no_topic(started: LocalKafka):
    client = AdminClient({"bootstrap.servers": started.bootstrap_servers})
    client.list_topics("mistyped", timeout=10)
    assert "mistyped" not in client.list_topics(timeout=10).topics


def test_the_version_is_kafkas_own(started: LocalKafka):
    major, *_ = started.version.split(".")
    assert int(major) >= 4


def is_left(kafka: LocalKafka) -> bool:
    """Tell whether the process or container of a broker is still there, running or not."""
    if kafka.source == "java":
        return state_and_group(str(kafka.pid))[0] not in {"", "Z"}
    names = ["--all", "--quiet", f"--filter=name={kafka.container}"]
    return bool(subprocess.check_output(["docker", "ps", *names]))


PARENT = """
import sys, time
from pathlib import Path
from ader_stream.local_kafka import Guard, start_kafka
data, image, cache, source = sys.argv[1:]
with Guard() as guard:
    start_kafka(
        Path(data), image=image, cache=Path(cache), source=source, guard=guard, temporary=True
    )
    print("started", flush=True)
    time.sleep(600)
"""


def test_a_broker_does_not_outlive_a_parent_killed_with_sigkill(
    source: str, tmp_path: Path, kafka_cache: Path
):
    arguments = [str(tmp_path / "data"), kafka_image(), str(kafka_cache), source]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        while parent.stdout.readline().strip() != "started":
            assert parent.poll() is None
        kafka = find_kafka(tmp_path / "data")
        assert kafka
        parent.kill()
    while is_left(kafka) or (kafka.data / "log").exists():
        time.sleep(0.1)


def test_a_start_that_is_killed_halfway_leaves_no_process(tmp_path: Path, kafka_cache: Path):
    arguments = [str(tmp_path / "data"), kafka_image(), str(kafka_cache), "java"]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *arguments])
    lock = tmp_path / "data" / "log" / ".lock"
    while not lock.exists():
        assert parent.poll() is None
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    while processes_with(str(tmp_path)):
        time.sleep(0.1)


def processes_with(text: str) -> list[str]:
    listed = subprocess.check_output(["ps", "-eo", "args"], text=True)
    return [line for line in listed.splitlines() if text in line and "ps -eo" not in line]


def test_a_broker_that_cannot_start_says_why_and_leaves_no_process(
    tmp_path: Path, kafka_cache: Path
):
    logs = tmp_path / "data" / "log"
    logs.mkdir(parents=True)
    (logs / "meta.properties").write_text("version=99\n")
    with pytest.raises(BrokerError, match=r"ended while starting: .*kafka\.log"):
        start_kafka(tmp_path / "data", image="", cache=kafka_cache, source="java")
    assert not processes_with(str(tmp_path))


# --- the command line


def broker(*arguments: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``ader-stream broker``; `path` stands in for PATH."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("ADER_")}
    return subprocess.run(
        [sys.executable, "-m", "ader_stream.cli.main", "broker", *map(str, arguments)],
        env=environment | ({"PATH": path} if path is not None else {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    broker("down", "--delete-data", "--data", tmp_path / "data")


def test_up_status_down_and_up_again_with_the_same_topics(source: str, data: Path):
    assert broker("status", "--data", data).returncode == 1

    first = json.loads(broker("up", "--data", data, "--source", source, "--json").stdout)
    kafka = LocalKafka(**first | {"data": Path(first["data"])})
    assert first["source"] == source
    create_topic(kafka, "kept")
    assert broker("up", "--data", data).stdout.split()[0] == kafka.bootstrap_servers
    assert json.loads(broker("status", "--data", data, "--json").stdout) == first

    down = broker("down", "--data", data)
    assert down.stdout == f"stopped {kafka.bootstrap_servers}\n"
    assert not is_left(kafka)
    assert broker("status", "--data", data).returncode == 1

    again = json.loads(broker("up", "--data", data, "--json").stdout)
    assert again["source"] == source
    client = AdminClient({"bootstrap.servers": again["bootstrap_servers"]})
    assert "kept" in client.list_topics(timeout=10).topics


def test_down_without_a_broker_is_done_already(data: Path):
    done = broker("down", "--data", data)
    assert (done.returncode, done.stdout) == (0, "no local Kafka runs\n")


def test_up_takes_a_free_port_where_the_usual_one_is_taken(data: Path):
    with socket.socket() as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            usual.bind(("127.0.0.1", 9092))
            usual.listen()
        except OSError:
            pass  # somebody else has it: taken just the same
        broker("up", "--data", data, "--source", "java")
        kafka = find_kafka(data)
        assert kafka
        assert kafka.port != 9092
        assert broker("status", "--data", data).returncode == 0


def test_a_taken_port_is_one_clear_line_and_exit_code_2(data: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = broker("up", "--data", data, "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"ader-stream: port {port} is taken")
    assert len(done.stderr.splitlines()) == 1


def test_a_given_cluster_is_asked_and_left_alone(kafka, data: Path):
    address = ["--bootstrap-servers", kafka.bootstrap_servers]
    up = json.loads(broker("up", "--data", data, "--json", *address).stdout)
    assert (up["source"], up["bootstrap_servers"]) == ("given", kafka.bootstrap_servers)
    assert broker("down", "--data", data).stdout == "no local Kafka runs\n"


def test_a_machine_without_docker_and_java_is_shown_all_three_ways(data: Path, tmp_path: Path):
    done = broker("up", "--data", data, path=str(tmp_path))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    for way in ("--bootstrap-servers", "Docker engine", "Java 17"):
        assert way in last
    assert "Traceback" not in done.stderr


def test_java_steps_in_for_a_docker_that_cannot_give_an_image(data: Path, tmp_path: Path):
    stand_in = tmp_path / "bin" / "docker"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    done = broker("up", "--data", data, "--json", path=path)
    assert json.loads(done.stdout)["source"] == "java"
    assert "Cannot connect to the Docker daemon" in done.stderr


# --- the broker that the other tests use


def test_the_shared_broker_comes_back_after_a_restart(kafka, prefix: str):
    client = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    client.create_topics([NewTopic(prefix, 1)])[prefix].result()
    kafka.restart()
    assert prefix in client.list_topics(timeout=20).topics
