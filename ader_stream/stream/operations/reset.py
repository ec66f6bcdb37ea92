"""Start again: delete all data that workers have derived from the clicks, and their offsets.

The data that a worker would need to continue are deleted last. A reset that is killed therefore
leaves nothing by which a session could be written twice, and can be run again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import structlog
from confluent_kafka.admin import AdminClient

from ader_stream.errors import AderError, TopicError
from ader_stream.stream.control.commands import commands_in, withdraw
from ader_stream.stream.dead_letters.read_again import (
    LettersReadAgain,
    count_read_again,
    mark_read_again,
)
from ader_stream.stream.groups.groups import (
    commit_group_offsets,
    delete_groups,
    extents,
    members_of,
)
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.topics.specs import TopicSpec, delete_topics, make_topics, specs_of
from ader_stream.stream.topics.topics import Topics, create_topics, partition_counts
from ader_stream.stream.transactions.producer import TransactionalProducer, give_up_all
from ader_stream.stream.transactions.requests import side_by_side

log = structlog.get_logger(__name__)

READERS = ("sessionizer", "inference")
"""Workers whose groups have offsets in the clicks."""

FENCED_AT_ONCE = 20
"""Producers that are created at the same time."""


@dataclass(frozen=True)
class ResetPlan:
    """The data that a reset deletes.

    Parameters
    ----------
    specs
        Topics, as they are now.
    records
        Topic → number of its offsets.
    groups
        Consumer groups.
    commands
        Keys of commands. Erasure requests stay: the clicks that they cover are read again.
    kept
        Topics of ours, and the clicks, that stay.
    partitions
        Number of partitions of the clicks topic: our topics get as many.
    letters
        Refused clicks that are kept, and are read again; None if none are kept.
    """

    specs: tuple[TopicSpec, ...]
    records: dict[str, int]
    groups: tuple[str, ...]
    kept: tuple[str, ...]
    partitions: int
    commands: tuple[str, ...] = ()
    letters: LettersReadAgain | None = None


def plan_reset(
    clients: KafkaClients, topics: Topics, *, models: bool = False, dead_letters: bool = False
) -> ResetPlan:
    """Return what a reset would delete; nothing is changed.

    Parameters
    ----------
    models, dead_letters
        Also delete versions with their commands; refused clicks.

    Raises
    ------
    TopicError
        If the clicks topic does not exist: its partitions decide those of the others.
    """
    admin = clients.admin()
    existing = partition_counts(admin)
    if topics.clicks not in existing:
        raise TopicError(f"{topics.clicks}: no such topic; create it before the others are reset")
    specs = specs_of(admin, _doomed(topics, models=models, dead_letters=dead_letters))
    names = {spec.name for spec in specs}
    ours = [name for name, *_ in topics.specifications(1)]
    keeps_letters = topics.dead_letters in existing and topics.dead_letters not in names
    return ResetPlan(
        tuple(specs),
        {spec.name: _held_by(admin, spec) for spec in specs},
        tuple(topics.group(reader) for reader in READERS),
        tuple(name for name in ours if name in existing and name not in names),
        existing[topics.clicks],
        tuple(commands_in(clients, topics)) if models and topics.control in existing else (),
        count_read_again(clients, topics) if keeps_letters else None,
    )


def reset(
    clients: KafkaClients, topics: Topics, plan: ResetPlan, *, would_skip: bool = False
) -> None:
    """Delete the data of a plan, and create the topics again, unchanged.

    Parameters
    ----------
    would_skip
        Groups without offsets would start at the ends of the clicks: they get the first offsets.

    Raises
    ------
    AderError
        If a worker is a member of its group.
    TopicError
        If the broker refuses; run it again.
    """
    admin = clients.admin()
    if running := running_workers(admin, topics):
        raise AderError(
            f"workers are running ({running}); stop all of them first. One that was killed counts "
            "as running until kafka.session_timeout has passed"
        )
    fenced = _fence(clients, plan)
    if plan.letters and plan.letters.waiting:
        mark_read_again(clients, topics)
    withdraw(clients, topics, plan.commands)
    names = [spec.name for spec in plan.specs]
    delete_topics(admin, [name for name in names if name != topics.sessionizer_state])
    delete_groups(admin, plan.groups)
    delete_topics(admin, names)
    make_topics(admin, _fitting(topics, plan))
    create_topics(admin, topics, plan.partitions)
    if would_skip:
        logs = extents(admin, topics.clicks, range(plan.partitions))
        firsts = {partition: log.first for partition, log in logs.items()}
        commit_group_offsets(admin, plan.groups, topics.clicks, firsts)
    give_up_all(fenced)
    log.info("reset", topics=names, groups=plan.groups)


def running_workers(admin: AdminClient, topics: Topics) -> str:
    """Return groups with their members; empty where no worker is running."""
    groups = [topics.group(worker) for worker in (*READERS, "trainer", "monitor")]
    members = members_of(admin, groups).items()
    return "; ".join(f"{group}: {', '.join(who)}" for group, who in members)


def _doomed(topics: Topics, *, models: bool, dead_letters: bool) -> Iterator[str]:
    yield from (topics.sessions, topics.scores, topics.recommendations, topics.serving)
    yield from (topics.watermarks, topics.monitor_state)
    if models:
        yield from (topics.models, topics.model_chunks)
    if dead_letters:
        yield topics.dead_letters
    yield topics.sessionizer_state


def _held_by(admin: AdminClient, spec: TopicSpec) -> int:
    ranges = extents(admin, spec.name, range(spec.partitions)).values()
    return sum(extent.end - extent.first for extent in ranges)


def _fence(clients: KafkaClients, plan: ResetPlan) -> list[TransactionalProducer]:
    """Fence workers that were away for too long to be members: they can no longer commit."""
    ids = [f"{group}.{p}" for group in plan.groups for p in range(plan.partitions)]
    fenced = list[TransactionalProducer]()
    for begin in range(0, len(ids), FENCED_AT_ONCE):
        fenced += _fenced(clients, ids[begin : begin + FENCED_AT_ONCE])
    return fenced


def _fenced(
    clients: KafkaClients, transactional_ids: Collection[str]
) -> list[TransactionalProducer]:
    producers = [TransactionalProducer(clients.producer(name)) for name in transactional_ids]
    numbers = range(len(producers))
    failed = side_by_side(lambda number: producers[number].init(), numbers, REQUEST_TIMEOUT)
    for exception in failed.values():
        raise exception
    return producers


def _fitting(topics: Topics, plan: ResetPlan) -> list[TopicSpec]:
    """Return the specifications with as many partitions as the clicks topic has now."""
    counts = {name: count for name, count, _ in topics.specifications(plan.partitions)}
    return [replace(spec, partitions=counts[spec.name]) for spec in plan.specs]
