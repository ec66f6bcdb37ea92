"""What the monitor has counted does not depend on who died when."""

from __future__ import annotations

from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.monitor.leader import Leader
from tests.fakes import FakeKafka
from tests.unit.monitor.shop import five_blocks, monitor, numbers, shop_topics

ABORTED = KafkaError(KafkaError._PURGE_QUEUE, "aborted", txn_requires_abort=True)


def polled(_: FakeKafka, leader: Leader) -> Leader:
    leader.poll(0)
    return leader


def committed(_: FakeKafka, leader: Leader) -> Leader:
    leader.commit()
    return leader


def aborted(kafka: FakeKafka, leader: Leader) -> Leader:
    """The next commit is aborted; the leader goes on."""
    producer = kafka.producers[-1]
    producer.failures[producer._commits] = ABORTED
    leader.commit()
    return leader


def killed(kafka: FakeKafka, _: Leader) -> Leader:
    """It dies between two commits, and a standby takes over."""
    return monitor(kafka)


def killed_in_commit(kafka: FakeKafka, leader: Leader) -> Leader:
    """The broker has committed, and the leader dies before it knows."""
    leader._writer.write(leader.state.changes())
    return monitor(kafka)


ACTIONS = st.sampled_from([polled, committed, aborted, killed, killed_in_commit])


def uninterrupted() -> dict[str, object]:
    kafka = shop_topics()
    for _ in five_blocks(kafka):
        pass
    leader = monitor(kafka)
    leader.poll(0)
    return numbers(leader)


EXPECTED = uninterrupted()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(ACTIONS, max_size=3), min_size=20, max_size=20))
def test_numbers_are_those_of_an_uninterrupted_run(actions: list[list[object]]) -> None:
    kafka = shop_topics()
    leader = monitor(kafka)
    for _, next_actions in zip(five_blocks(kafka), actions, strict=True):
        for act in next_actions:
            leader = act(kafka, leader)
    leader.poll(0)
    assert numbers(leader) == EXPECTED
    for _ in range(2):  # the first one may be aborted
        leader.commit()
    assert numbers(monitor(kafka)) == EXPECTED
