"""What may be deleted: versions that nothing needs, and the sessions that went into them."""

from __future__ import annotations

import structlog
from confluent_kafka import KafkaException, TopicPartition

from ader_stream.stream.kafka.changelog import offset_range
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.topics import ADMIN_TIMEOUT, Topics
from ader_stream.stream.models.registry import Registry
from ader_stream.stream.models.standing import standing

log = structlog.get_logger(__name__)

SCORING = 2
"""Versions of the line that stay whatever is asked: blocks that are open are scored by the one
before the newest."""


def prunable(registry: Registry, keep: int = SCORING) -> list[int]:
    """Return versions that may be deleted, oldest first.

    What stays: the newest one, be it rejected (numbers and offsets go on from it); the newest
    `keep` of the line; what serves, with and without the canary; and the version of a rollback, as
    long as without it another one would serve or be the next parent.
    """
    manifests, now = registry.manifests, registry.standing
    kept = {
        *now.line[: max(keep, SCORING)],
        now.served,
        now.candidate,
        max(manifests, default=None),
    }
    left = {version: manifest for version, manifest in manifests.items() if version in kept}
    then = standing(left, registry.commands)
    if (then.parent, then.served, then.candidate) != (now.parent, now.served, now.candidate):
        kept |= {c.version for c in registry.commands if c.command == "rollback"}
    return sorted(manifests.keys() - kept)


def trim_sessions(clients: KafkaClients, topics: Topics, registry: Registry) -> dict[int, int]:
    """Delete the sessions below the oldest offset that a version needs; return where they begin.

    A version needs the sessions that it was trained on. A partition of which one of them does not
    say where they begin is left alone.
    """
    needed = needed_offsets(registry)
    places = [
        TopicPartition(topics.sessions, partition, offset)
        for partition, offset in needed.items()
        if offset > offset_range(clients, topics.sessions, partition)[0]
    ]
    admin = clients.admin()  # held on to: with it, the answers would be gone
    for place, future in admin.delete_records(places).items() if places else ():
        try:
            future.result(ADMIN_TIMEOUT)
        except (KafkaException, TimeoutError) as error:  # tried again with the next prune
            log.warning("trim failed", partition=place.partition, error=str(error))
    return needed


def needed_offsets(registry: Registry) -> dict[int, int]:
    """Partition of the sessions topic → the oldest offset that a version was trained on."""
    needed: dict[int, int | None] = {}
    for manifest in registry.manifests.values():
        for place in manifest["run"]["offsets"]:
            partition, first = place["partition"], place["first_offset"]
            before = needed.get(partition, first)
            needed[partition] = None if None in (first, before) else min(first, before)
    return {partition: offset for partition, offset in needed.items() if offset is not None}
