"""Delete versions that nothing needs, their sessions, and chunks without a version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import structlog
from confluent_kafka import KafkaException, TopicPartition

from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import offset_range, read_range
from ader_stream.stream.kafka.rights import Right, authorization_error_or
from ader_stream.stream.model_registry.lineage import UNKNOWN, offsets_in
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import AHEAD_KIB, CHUNKS_AT_ONCE
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.model_registry.version_roles import version_roles
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT, Topics, topic_id

log = structlog.get_logger(__name__)

SCORING = 2
"""Versions of the line that always stay: the one before the newest scores open blocks."""


class Pruner:
    """Deletes for the leading trainer, the only writer; never while it publishes.

    Parameters
    ----------
    registry
        Read after `publisher` was created, which fences every earlier publisher: it has every
        version that exists.
    keep
        Versions of the line that stay, the setting `models.keep`; 0: all of them.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        registry: Registry,
        publisher: ModelPublisher,
        keep: int = 0,
    ) -> None:
        self._clients = clients
        self._topics = topics
        self._registry = registry
        self._publisher = publisher
        self._keep = keep
        self._has_trimmed = False
        self._clean_to = 0

    def prune(self) -> None:
        """Delete requested versions and those above `keep`, and the sessions that only they need.

        Raises
        ------
        FencedError, TopicError
            As `ModelPublisher.publish` does.
        """
        registry = self._registry
        asked = {v for c in registry.commands if c.command == "prune" for v in c.versions}
        doomed = asked & set(prunable(registry))
        if self._keep:
            doomed |= set(prunable(registry, self._keep))
        if doomed:
            self._publisher.prune([registry.manifests[version] for version in sorted(doomed)])
            for version in doomed:
                registry.remove(version)
            log.info("versions pruned", versions=sorted(doomed))
        if doomed or not self._has_trimmed:  # a leader may have died between the two
            self._has_trimmed = True
            trim_sessions(self._clients, self._topics, registry)

    def delete_orphans(self, between: Callable[[], None] = lambda: None) -> None:
        """Delete chunks that no manifest names, left by publishers that died or started again.

        Offsets that were searched once are not read again.

        Parameters
        ----------
        between
            Called after each chunk that was read; an exception ends the search.

        Raises
        ------
        FencedError, TopicError
            As `ModelPublisher.publish` does; a former leader deletes nothing.
        """
        clients, topics = self._clients, self._topics
        first, end = offset_range(clients, topics.model_chunks, 0)
        manifests = self._registry.manifests.values()
        span = range(max(first, self._clean_to), end)
        if keys := orphans(clients, topics, manifests, span, between):
            self._publisher.delete_chunks(keys)
            log.info("orphaned chunks deleted", chunks=len(keys))
        self._clean_to = end


def orphans(
    clients: KafkaClients,
    topics: Topics,
    manifests: Collection[Manifest],
    span: range,
    between: Callable[[], None] = lambda: None,
) -> list[bytes]:
    """Return the keys of chunks that no manifest names, in order.

    Only offsets outside the places of versions are read. A single writer sends a version, so
    nothing else is between its first and its last chunk.

    Parameters
    ----------
    span
        Offsets of `model-chunks` to search.
    between
        Called after each chunk that was read.
    """
    named = {key.encode() for manifest in manifests for key in manifest.chunk_keys()}
    found: dict[bytes, None] = {}
    for gap in _gaps(span, map(_held, filter(lambda one: one.run.places, manifests))):
        for record in read_range(
            clients, topics.model_chunks, 0, gap.start, gap.stop, CHUNKS_AT_ONCE, AHEAD_KIB
        ):
            between()
            key = record.key() or b""
            if record.value() is None:
                found.pop(key, None)
            elif key not in named:
                found[key] = None
    return list(found)


def _gaps(span: range, held: Iterable[range]) -> Iterator[range]:
    """Yield the offsets of a span that lie between those of versions.

    A single one is left out: it is the marker of the transaction that ends a version.

    >>> list(_gaps(range(12), [range(3, 6), range(7, 9)]))
    [range(0, 3), range(9, 12)]
    """
    start = span.start
    for one in [*sorted(held, key=lambda one: one.start), range(span.stop, span.stop)]:
        end = min(one.start, span.stop)
        if end - start > 1:
            yield range(start, end)
        start = max(start, one.stop)


def _held(manifest: Manifest) -> range:
    """Return the offsets of model-chunks from a version's first chunk to its last."""
    places = manifest.run.places
    first = min(place.first_offset for place in places)
    return range(first, 1 + max(place.last_offset for place in places))


def prunable(registry: Registry, keep: int = SCORING) -> list[int]:
    """Return versions that may be deleted, oldest first.

    What stays: the newest one, even if rejected (numbers and offsets continue from it); the newest
    `keep` of the line; what serves, the canary included; and the version of a rollback, as long as
    another one would serve or be the next parent without it.
    """
    manifests, now = registry.manifests, registry.roles
    kept = {
        *now.line[: max(keep, SCORING)],
        now.served,
        now.candidate,
        max(manifests, default=None),
    }
    left = {version: manifest for version, manifest in manifests.items() if version in kept}
    then = version_roles(left, registry.commands)
    if (then.parent, then.served, then.candidate) != (now.parent, now.served, now.candidate):
        kept |= {c.version for c in registry.commands if c.command == "rollback"}
    return sorted(manifests.keys() - kept)


def trim_sessions(clients: KafkaClients, topics: Topics, registry: Registry) -> dict[int, int]:
    """Delete the sessions below the oldest offset that a version needs; return those offsets.

    A version needs the sessions that it was trained on, if they are in this topic. A partition is
    not trimmed if a version does not name its first offset there, or the topic.
    """
    admin = clients.admin()  # kept in a variable: the futures do not outlive it
    needed = needed_offsets(registry, topic_id(admin, topics.sessions))
    places = [
        TopicPartition(topics.sessions, partition, offset)
        for partition, offset in needed.items()
        if offset > offset_range(clients, topics.sessions, partition)[0]
    ]
    for place, future in admin.delete_records(places).items() if places else ():
        try:
            future.result(ADMIN_TIMEOUT)
        except (KafkaException, TimeoutError) as error:  # tried again with the next prune
            log.warning("trim failed", partition=place.partition, error=_reason(error, topics))
    return needed


def _reason(error: Exception, topics: Topics) -> str:
    if isinstance(error, KafkaException):
        error = authorization_error_or(error, Right("Topic", topics.sessions, ("Delete",)), error)
    return str(error)


def needed_offsets(registry: Registry, topic_id: str) -> dict[int, int]:
    """Return the oldest offset of each sessions partition that a version was trained on.

    Parameters
    ----------
    topic_id
        Kafka's id of the sessions topic: versions that were trained on another topic do not count.
    """
    needed: dict[int, int | None] = {}
    for manifest in registry.manifests.values():
        is_known = manifest.run.sessions_topic_id != UNKNOWN
        for place in offsets_in(manifest, topic_id, UNKNOWN):
            first = place.first_offset
            before = needed.get(place.partition, first)
            if not is_known or first is None or before is None:
                needed[place.partition] = None
            else:
                needed[place.partition] = min(first, before)
    return {partition: offset for partition, offset in needed.items() if offset is not None}
