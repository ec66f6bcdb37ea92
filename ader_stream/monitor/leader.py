"""The monitor that leads: it restores what was counted, counts on, and commits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ader_stream.errors import ArtifactError
from ader_stream.monitor.counts.changelog import StateWriter
from ader_stream.monitor.counts.counting import CountingRule
from ader_stream.monitor.counts.places import LETTERS, SESSIONS
from ader_stream.monitor.counts.state import MonitorState
from ader_stream.monitor.intake import Intake
from ader_stream.monitor.views import TopicViews
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.topics.topics import Topics, topic_id

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class MonitorSources:
    """Where the monitor reads, and what it keeps.

    Parameters
    ----------
    rule
        What is counted.
    trust
        Decides which manifests are accepted.
    on_refused
        Called with the error of a manifest that is not.
    """

    clients: KafkaClients
    topics: Topics
    rule: CountingRule
    trust: Trust
    on_refused: Callable[[ArtifactError], None]


class Leader:
    """Count the topics from where the last leader has committed.

    Parameters
    ----------
    commits
        Takes note of each commit.
    require_leader
        Raises FencedError if another monitor leads now.

    Raises
    ------
    FencedError
        As `StateWriter` does.
    NewerSchemaError
        If a newer monitor has written the state.
    """

    def __init__(
        self, sources: MonitorSources, commits: CommitHealth, require_leader: Callable[[], None]
    ) -> None:
        clients, topics = sources.clients, sources.topics
        self._writer = StateWriter(clients, topics, commits, require_leader)
        admin = clients.admin()
        ids = {
            SESSIONS: topic_id(admin, topics.sessions),
            LETTERS: topic_id(admin, topics.dead_letters),
        }
        self.state = MonitorState(sources.rule, ids, self._writer.room)
        self.state.restore(read_to_end(clients, topics.monitor_state), require_leader)
        self.views = TopicViews(topics, sources.trust, sources.rule.blocks, sources.on_refused)
        self.intake = Intake(clients, topics, self.state, self.views)
        log.info("leading", partitions=len(self.state.sessions))

    def poll(self, timeout: float) -> bool:
        """Count what has arrived; wait up to `timeout` seconds for the first record."""
        return self.intake.poll(timeout)

    def commit(self) -> None:
        """Commit what was counted; what is aborted is committed by the next call.

        Raises
        ------
        FencedError, KafkaException
            As `StateWriter.write` does.
        """
        records = self.state.changes()
        if records and self._writer.write(records):
            self.state.note_written()

    def close(self) -> None:
        """Stop reading and writing."""
        self._writer.close()
        self.intake.close()
