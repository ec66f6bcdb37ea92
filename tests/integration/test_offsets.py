"""Where workers continue: clicks that are lost, offsets that are forgotten, new partitions."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic

from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, encode_click
from ader_stream.stream.topics.topics import partition_counts
from ader_stream.types import SECOND_MS, Click
from tests.integration.remedies import commands_in, complaint_of, follow
from tests.integration.system import WAIT_SECONDS, Kafka, RawRecord, System, Worker

FAST = {"kafka": {"librdkafka": {"topic.metadata.refresh.interval.ms": "500"}}}
LATEST = {"clicks": {"start": "latest"}}
READERS = pytest.mark.parametrize("name", ["sessionizer", "inference"])


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path, FAST, partitions=2) as system:
        yield system


def send(system: System, partition: int, keys: Sequence[str]) -> None:
    """Send a click of each key, a second after the other, the later the higher its number."""
    day = system.settings.block_rule.start(10)
    clicks = [Click(key, "x", day + int(key[1:]) * SECOND_MS) for key in keys]
    values = [encode_click(click, system.settings.click_format) for click in clicks]
    send_raw(system, [RawRecord(None, value, partition=partition) for value in values])


def send_raw(system: System, records: Sequence[RawRecord]) -> None:
    """Send by a new producer: it knows what partitions there are now."""
    producer = system.clients.producer()
    for record in records:
        producer.produce(system.topics.clicks, **record._asdict())
    assert producer.flush(WAIT_SECONDS) == 0


def keys(letter: str, *numbers: int) -> list[str]:
    return [f"{letter}{number}" for number in range(*numbers)]


def end_block(system: System, partitions: int = 2) -> None:
    end = str(system.settings.block_rule.start(11)).encode()
    headers = [(WATERMARK_HEADER, end)]
    send_raw(system, [RawRecord(None, None, headers, p) for p in range(partitions)])


def closed(system: System) -> list[str]:
    """Keys of the closed sessions, one as often as it has come out."""
    return sorted(row.key for row in system.sessions())


def wait_until_at(system: System, name: str, partition: int, offset: int) -> None:
    system.wait_until(
        lambda: system.committed_offsets(name).get(partition) == offset, f"{name} is at {offset}"
    )


def stop(worker: Worker) -> None:
    worker.terminate()
    assert worker.wait() == 0, worker.tail()


def admin(system: System, request: str, *arguments: object) -> None:
    client = system.clients.admin()
    for answer in getattr(client, request)(*arguments).values():
        answer.result(30)


def forget_before(system: System, partition: int, offset: int) -> None:
    """Do what retention does."""
    admin(system, "delete_records", [TopicPartition(system.topics.clicks, partition, offset)])


def move_group(system: System, name: str, partition: int, offset: int) -> None:
    """Do what ``kafka-consumer-groups --reset-offsets`` does."""
    place = TopicPartition(system.topics.clicks, partition, offset)
    group = ConsumerGroupTopicPartitions(system.topics.group(name), [place])
    admin(system, "alter_consumer_group_offsets", [group])


def gaps(system: System) -> list[tuple[int, int, int]]:
    records = [r for r in system.records(system.topics.sessions) if type_of(r.headers()) == "Gap"]
    found = [decode(record.value(), record.headers())[1] for record in records]
    return [(gap["partition"], gap["from_offset"], gap["to_offset"]) for gap in found]


# --- clicks that were deleted before they were read


@READERS
def test_unread_clicks_that_are_lost_stop_a_worker_until_they_are_skipped(
    system: System, name: str
) -> None:
    worker = system.start(name)
    send(system, 1, keys("a", 10))
    wait_until_at(system, name, 1, 10)
    stop(worker)
    send(system, 1, keys("b", 10, 20))
    forget_before(system, 1, 15)

    complaint = complaint_of(system.start(name))
    assert "clicks/1: 5 records, offsets 10 to 14, were deleted before this worker" in complaint
    [[*remedy, yes]] = commands_in(complaint)
    shown = system.command(*remedy)
    assert (yes, shown.returncode, "nothing was changed" in shown.stdout) == ("--yes", 0, True)
    assert complaint_of(system.start(name)) == complaint
    assert f"/1 {name}: 5 records are lost, offsets 10 to 14" in follow(system, complaint)

    worker = system.start(name)
    end_block(system)
    wait_until_at(system, name, 1, 21)
    assert worker.metric("ader_skipped_records_total") == 5
    if name == "sessionizer":
        assert closed(system) == sorted([*keys("a", 10), *keys("b", 15, 20)])
        assert gaps(system) == [(1, 10, 15)]
    else:
        assert sum(score.clicks for score in system.scores().values()) == 15
    assert follow(system, complaint) == "nothing to change\n"


def test_clicks_that_are_lost_under_a_running_worker_stop_it_with_what_it_has_read(
    system: System,
) -> None:
    worker = system.start("sessionizer")
    send(system, 0, keys("a", 10))
    wait_until_at(system, "sessionizer", 0, 10)
    worker.signal(signal.SIGSTOP)
    send(system, 0, keys("b", 10, 12))  # for these it may have asked before
    send(system, 0, keys("b", 12, 20))
    forget_before(system, 0, 17)
    worker.signal(signal.SIGCONT)
    complaint = complaint_of(worker)
    assert "to 16, were deleted before this worker had read them" in complaint
    follow(system, complaint)
    system.start("sessionizer")
    end_block(system)
    wait_until_at(system, "sessionizer", 0, 21)
    [(_, lost_from, lost_to)] = gaps(system)
    assert (lost_from in range(10, 13), lost_to) == (True, 17)
    assert closed(system) == sorted([*keys("a", 10), *keys("b", 10, lost_from), *keys("b", 17, 20)])


def test_clicks_that_are_only_read_again_stop_nobody(system: System) -> None:
    worker = system.start("inference", clicks={"event_id_field": "session"})
    send(system, 0, keys("a", 10))
    wait_until_at(system, "inference", 0, 10)
    stop(worker)
    forget_before(system, 0, 10)
    worker = system.start("inference", clicks={"event_id_field": "session"})
    send(system, 0, keys("b", 10, 12))
    wait_until_at(system, "inference", 0, 12)
    assert worker.metric("ader_reread_lost_records_total") == 10


# --- offsets that the group has lost, or that were moved


@READERS
def test_a_group_whose_offsets_have_expired_counts_nothing_twice(system: System, name: str) -> None:
    worker = system.start(name)
    send(system, 0, keys("a", 10))
    wait_until_at(system, name, 0, 10)
    stop(worker)
    admin(system, "delete_consumer_groups", [system.topics.group(name)])
    worker = system.start(name)
    wait_until_at(system, name, 0, 10)  # the group knows it again, be there clicks or not
    wait_until_at(system, name, 1, 0)
    end_block(system)
    wait_until_at(system, name, 0, 11)
    if name == "sessionizer":
        assert closed(system) == sorted(keys("a", 10))
    else:
        assert sum(score.clicks for score in system.scores().values()) == 10


@pytest.mark.parametrize("moved_to", [0, 4, 10])
def test_an_offset_that_somebody_has_moved_is_set_back(system: System, moved_to: int) -> None:
    worker = system.start("sessionizer")
    send(system, 0, keys("a", 7))
    wait_until_at(system, "sessionizer", 0, 7)
    stop(worker)
    send(system, 0, keys("a", 7, 10))
    move_group(system, "sessionizer", 0, moved_to)
    complaint = complaint_of(system.start("sessionizer"))
    assert f"continues at offset {moved_to}, the open sessions at 7" in complaint
    assert "nothing was changed" in system.command(*commands_in(complaint)[0][:-1]).stdout
    follow(system, complaint)
    system.start("sessionizer")
    end_block(system)
    wait_until_at(system, "sessionizer", 0, 11)
    assert closed(system) == sorted(keys("a", 10))


@pytest.mark.parametrize("moved_to", [0, 4])
def test_scores_count_nothing_twice_whatever_somebody_has_moved(
    system: System, moved_to: int
) -> None:
    worker = system.start("inference")
    send(system, 0, keys("a", 7))
    wait_until_at(system, "inference", 0, 7)
    stop(worker)
    move_group(system, "inference", 0, moved_to)
    system.start("inference")
    send(system, 0, keys("a", 7, 10))
    wait_until_at(system, "inference", 0, 10)
    assert sum(score.clicks for score in system.scores().values()) == 10


# --- where a partition begins that nobody has read


def test_latest_is_one_moment_for_all_workers_and_partitions_that_come_later_begin_at_their_first(
    system: System,
) -> None:
    for partition in (0, 1):
        send(system, partition, keys("o", 5))
    workers = [system.start("sessionizer", **LATEST) for _ in range(2)]
    for partition in (0, 1):
        wait_until_at(system, "sessionizer", partition, 5)
    send(system, 0, keys("n", 5, 10))
    for worker in workers:
        stop(worker)
    send(system, 1, keys("m", 5, 10))  # nothing was ever read of it
    admin(system, "create_partitions", [NewPartitions(system.topics.clicks, 3)])
    clients = system.clients.admin()
    system.wait_until(lambda: partition_counts(clients)[system.topics.clicks] == 3, "a third one")
    send(system, 2, keys("p", 5, 10))
    system.partitions = 3
    system.start("sessionizer", **LATEST)
    end_block(system, 3)
    for partition, offset in enumerate((11, 11, 6)):
        wait_until_at(system, "sessionizer", partition, offset)
    assert closed(system) == sorted([*keys("m", 5, 10), *keys("n", 5, 10), *keys("p", 5, 10)])


# --- a topic that is another one


@pytest.mark.parametrize("clicks", [3, 30], ids=["fewer clicks", "more clicks"])
def test_a_topic_that_is_made_again_under_a_worker_is_distinguished_from_the_old_one(
    system: System, clicks: int
) -> None:
    worker = system.start("sessionizer")
    send(system, 0, keys("a", 10))
    wait_until_at(system, "sessionizer", 0, 10)
    admin(system, "delete_topics", [system.topics.clicks])
    admin(system, "create_topics", [NewTopic(system.topics.clicks, 2)])
    seen = system.clients.admin()
    system.wait_until(lambda: system.topics.clicks in partition_counts(seen), "the topic is back")
    send(system, 0, keys("b", clicks))
    first = complaint_of(worker)
    assert "was deleted and created again" in first or "no such topic" in first
    complaint = complaint_of(system.start("sessionizer"))
    assert "was deleted and created again: its id was" in complaint
    assert closed(system) == []
    follow(system, complaint)
    system.view_again()
    system.start("sessionizer")
    end_block(system)
    wait_until_at(system, "sessionizer", 0, clicks + 1)
    assert closed(system) == sorted(keys("b", clicks))
