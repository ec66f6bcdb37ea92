"""The registry: all versions and the commands in force, read from the log and kept up to date."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog
from confluent_kafka import KafkaException, TopicPartition

from ader_stream.errors import ArtifactError, AuthorizationError, DecodeError
from ader_stream.runtime.tracing.spans import sampled_context
from ader_stream.stream.control.commands import FORGET, Command, decode_command, last_of_each
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.control.rules_log import BLOCKS, RULES, LoggedRules
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.follower import Handler, LogFollower
from ader_stream.stream.kafka.reading import offset_range, read_range
from ader_stream.stream.kafka.records import Record, headers_of
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.manifest_record import Trust, decode_manifest
from ader_stream.stream.model_registry.signing import signer_of
from ader_stream.stream.model_registry.version_roles import VersionRoles, version_roles
from ader_stream.stream.topics.topics import Topics

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
RECORDS_AT_ONCE = 1_000

Refusal = Callable[[ArtifactError], None]


def refuse_none(error: ArtifactError) -> None:
    """Raise the error: a writer of versions must know all of them."""
    raise error


class Registry:
    """Hold the versions and commands of `models` and `control`.

    Parameters
    ----------
    trust
        Decides which manifests are accepted.
    on_refused
        Called with the error of a manifest that is not accepted; what it raises passes through.

    Attributes
    ----------
    manifests
        By version, without those that were pruned.
    commands
        The last of each, in the order of the log, without `erasures`.
    erasures
        Requests to erase keys; there may be many.
    signers
        Version → id of the key that its manifest names as the signer; None if it is unsigned.
    contexts
        Version → context of the span that has published it; empty if it was not traced.
    rules
        Rules of blocks and sessions in force.
    control_offset
        Offset behind the last record of `control` that was read.
    """

    def __init__(self, trust: Trust, on_refused: Refusal = refuse_none) -> None:
        self.manifests: dict[int, Manifest] = {}
        self.commands: list[Command] = []
        self.erasures = Erasures()
        self.signers: dict[int, str | None] = {}
        self.contexts: dict[int, str] = {}
        self.rules = LoggedRules()
        self.control_offset = 0
        self._trust = trust
        self._on_refused = on_refused

    @property
    def newest(self) -> Manifest | None:
        """Return the manifest with the highest number, whatever its status."""
        return self.manifests[max(self.manifests)] if self.manifests else None

    @property
    def roles(self) -> VersionRoles:
        """Return which versions serve, and which is the next parent."""
        return version_roles(self.manifests, self.commands)

    def take_manifest(self, record: Record) -> None:
        """Process a record of the models topic."""
        key = (record.key() or b"").decode(errors="replace")
        if record.value() is None:
            self.remove(int(key) if key.isdecimal() else 0)
            return
        try:
            manifest = decode_manifest(record, self._trust)
            if key != str(manifest.version):
                raise ArtifactError(  # noqa: TRY301 - refused like any other
                    f"version {manifest.version} is under the key {key!r:.40}", "manifest"
                )
        except ArtifactError as error:
            self._on_refused(error)
        else:
            self.manifests[manifest.version] = manifest
            self.signers[manifest.version] = signer_of(dict(headers_of(record)))
            self.contexts[manifest.version] = sampled_context(headers_of(record))

    def remove(self, version: int) -> None:
        """Remove a version that was pruned."""
        self.manifests.pop(version, None)
        self.signers.pop(version, None)
        self.contexts.pop(version, None)

    def take_command(self, record: Record) -> None:
        """Process a record of the control topic; log and skip one that cannot be decoded."""
        self.control_offset = record.offset() + 1
        if record.value() is None:
            self._withdraw((record.key() or b"").decode(errors="replace"))
            return
        try:
            command = decode_command(record)
        except DecodeError as error:
            log.warning("command passed over", offset=record.offset(), reason=str(error))
            return
        if command.command == FORGET:
            self.erasures.take(command, record.offset())
        else:
            self.commands = last_of_each([*self.commands, command])
            if command.command in (BLOCKS, RULES):
                self.rules = LoggedRules.of(self.commands)

    def _withdraw(self, key: str) -> None:
        """Remove a command that `reset --models` has deleted."""
        self.commands = [command for command in self.commands if command.key != key]
        self.rules = LoggedRules.of(self.commands)


def follow_from_end(clients: KafkaClients, handlers: Mapping[str, Handler]) -> LogFollower:
    """Read topics of one partition to their ends; return a follower of what arrives after that.

    Parameters
    ----------
    handlers
        Topic → handler of its records.
    """
    ends = [_read_all(clients, topic, handlers[topic]) for topic in handlers]
    follower = LogFollower(clients, handlers, at_once=RECORDS_AT_ONCE)
    follower.follow(ends)
    return follower


def _read_all(clients: KafkaClients, topic: str, handler: Handler) -> TopicPartition:
    first, end = offset_range(clients, topic, 0)
    for record in read_range(clients, topic, 0, first, end):
        handler(record)
    return TopicPartition(topic, 0, end)


def registry_reader(clients: KafkaClients, topics: Topics, registry: Registry) -> LogFollower:
    """Fill a registry; return the follower that keeps it up to date."""
    take = {topics.models: registry.take_manifest, topics.control: registry.take_command}
    return follow_from_end(clients, take)


def commands_reader(clients: KafkaClients, topics: Topics, registry: Registry) -> LogFollower:
    """Fill a registry with commands alone; return the follower that keeps them up to date."""
    return follow_from_end(clients, {topics.control: registry.take_command})


def read_registry(clients: KafkaClients, topics: Topics, trust: Trust) -> Registry:
    """Return the registry as it is now; raise ArtifactError if a manifest is not accepted."""
    registry = Registry(trust)
    registry_reader(clients, topics, registry).close()
    return registry


class RegistryFollower:
    """Call back when the registry changes: once for its present state, then from a thread.

    Parameters
    ----------
    on_change
        Also called every `repeat` seconds without a change, to retry what has failed.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        registry: Registry,
        on_change: Callable[[], None],
        repeat: float = 30.0,
    ) -> None:
        self.registry = registry
        self.failure: Exception | None = None
        self._refusal: AuthorizationError | None = None
        self.stopping = threading.Event()
        self._clients = clients
        self._topics = topics
        self._on_change = on_change
        self._repeat = repeat
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)

    def start(self) -> None:
        """Read the registry and call back, then follow in the thread.

        A worker that joins its group after this scores no click without the present versions.
        """
        self._reader = registry_reader(self._clients, self._topics, self.registry)
        self._on_change()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self.stopping.set()
        self._thread.join()

    def check(self) -> None:
        """Raise the error that has ended the thread; or, once each, a refusal, which it retries."""
        if self.failure:
            raise self.failure
        refusal, self._refusal = self._refusal, None
        if refusal:
            raise refusal

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # any: the worker must not serve old versions forever
            self.failure = error
            log.exception("following models has ended")
        finally:
            self._reader.close()

    def _follow(self) -> None:
        repeat_at = time.monotonic() + self._repeat
        while not self.stopping.is_set():
            try:
                if self._reader.poll(POLL_SECONDS) or time.monotonic() >= repeat_at:
                    repeat_at = time.monotonic() + self._change()
            except AuthorizationError as error:
                self._refusal = error
                repeat_at = time.monotonic() + RETRY_SECONDS

    def _change(self) -> float:
        """Call back; return the seconds until the next call."""
        try:
            self._on_change()
        except KafkaException as exception:
            log.warning("models could not be read", error=exception.args[0].str())
            return RETRY_SECONDS
        return self._repeat
