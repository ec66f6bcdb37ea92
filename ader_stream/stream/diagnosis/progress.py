"""Check where the workers continue, and whether their state matches the topics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry

from ader_stream.errors import AderError
from ader_stream.metrics import Metrics
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.control.rules import as_text, blocks_as_written, differences
from ader_stream.stream.diagnosis.finding import Finding
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.groups.groups import committed_by, extents, members_of
from ader_stream.stream.groups.lost import require_held
from ader_stream.stream.kafka.reading import partitions_with_records
from ader_stream.stream.operations.offsets import WorkerPlace
from ader_stream.stream.sessions.records.partition_state import PartitionState, read_states
from ader_stream.stream.sessions.task import Found, SessionizerTask
from ader_stream.stream.topics.topics import describe_topic

SHOWN = 3
"""Partitions that are named if many have the same problem."""

MOST_STATE = 2_000_000
"""Most records of changelogs that are read here; a worker reads all."""


def check_places(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check whether the log still has the records that the workers read next."""
    if not has_topics(subject):
        return
    places = subject.worker_places()
    losses = [loss for place in places if (loss := _why_lost(subject, place))]
    yield from _first_of(losses, "deleted before they were read")
    for worker in dict.fromkeys(place.worker for place in places):
        behind = sum(place.log.end - place.target for place in places if place.worker == worker)
        count = sum(place.worker == worker for place in places)
        yield Finding(
            "ok",
            f"{worker} has begun to read {count} partitions, {behind:,} records are left",
            details={"worker": worker, "partitions": count, "lag": behind},
        )
    if not places:
        yield Finding("ok", "no worker has begun to read")


def check_blocks(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check whether blocks are divided as the settings say; all workers use the logged rule."""
    if has_topics(subject):
        grid = blocks_as_written(subject.blocks())
        yield Finding("ok", f"blocks are cut with {as_text(grid)}, as the settings say")


def check_state(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check whether a sessionizer could continue with the existing state and the current rules."""
    if not has_topics(subject):
        return
    group = subject.topics.group("sessionizer")
    if members := members_of(subject.admin(), [group]).get(group):
        yield Finding("ok", f"a sessionizer is running ({members[0]}): its state is not checked")
        return
    found = _states(subject)
    if found is None:
        text = f"{subject.topics.sessionizer_state} is large: the state is not checked"
        yield Finding("ok", text)
        return
    begun = [state for state in found.values() if state.next_offset >= 0]
    opened = sum(len(state.sessions) for state in begun)
    changed = {str(d) for s in begun for d in differences(s.rules, subject.rules.named)}
    refusals = list(_refusals(subject, found))
    yield from _first_of(refusals, "whose state cannot be used")
    if begun and not refusals:
        yield _what_holds(opened, sorted(changed))


def _what_holds(opened: int, changed: Sequence[str]) -> Finding:
    text, details = (
        f"the state holds {opened:,} open sessions",
        {"open": opened, "changed": changed},
    )
    if not changed:
        return Finding("ok", f"{text}, made by the current rules", details=details)
    return Finding(
        "warning",
        f"{text}, made by other rules than the current ones: {'; '.join(changed)}",
        "set them back, unless the change is intended",
        details,
    )


def has_topics(subject: DiagnosisInput) -> bool:
    """Return whether the topics exist; other checks report which are missing."""
    counts, topics = subject.partition_counts(), subject.topics
    used = {topics.clicks, topics.sessions, topics.sessionizer_state, topics.scores, topics.control}
    return used <= counts.keys()


def _why_lost(subject: DiagnosisInput, place: WorkerPlace) -> str:
    try:
        require_held(subject.topics.clicks, place.partition, place.place, place.log)
    except AderError as error:
        return f"{place.worker}: {error}"
    return ""


def _states(subject: DiagnosisInput) -> dict[int, PartitionState] | None:
    """Return partition → state from its changelog; None if they are too large to read here."""
    topic, partitions = subject.topics.sessionizer_state, range(subject.partitions)
    logs = extents(subject.admin(), topic, partitions)
    if sum(log.end - log.first for log in logs.values()) > MOST_STATE:
        return None
    return read_states(subject.clients, topic, partitions)


def _refusals(subject: DiagnosisInput, states: Mapping[int, PartitionState]) -> Iterator[str]:
    """Yield the errors at which a sessionizer with these partitions would stop."""
    topics, metrics, rules = subject.topics, Metrics(CollectorRegistry()), subject.rules_in_force
    group, clicks = topics.group("sessionizer"), topics.clicks
    committed = committed_by(subject.clients, group, clicks, states.keys())
    logs = extents(subject.admin(), clicks, states.keys())
    facts = describe_topic(subject.admin(), clicks)
    empty = [partition for partition, state in states.items() if state.next_offset < 0]
    lost = partitions_with_records(subject.clients, topics.sessions, empty) if empty else set()
    for partition, state in states.items():
        found = Found(state, facts, Erasures(), has_sessions=partition in lost)
        task = SessionizerTask(partition, topics, found, subject.decoder(), rules, metrics)
        try:
            task.place(committed.get(partition), logs[partition])
        except AderError as error:
            yield str(error)


def _first_of(texts: Sequence[str], what: str) -> Iterator[Finding]:
    for text in texts[:SHOWN]:
        yield Finding("error", text)
    if len(texts) > SHOWN:
        yield Finding("error", f"and {len(texts) - SHOWN} more partitions with records {what}")
