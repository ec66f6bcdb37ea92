"""The monitor: sessions, scores, versions and refused clicks in; drift, quality and lag out.

One leads, others stand by. Run it with ``python -m consumers.monitor`` or ``ader-stream run
monitor``. It slows no other worker: it reads without their groups, and writes its own topic alone.
"""

from __future__ import annotations

import functools

import structlog

from ader_stream import metrics as m
from ader_stream.errors import ArtifactError
from ader_stream.metrics import Metrics
from ader_stream.monitor.counts.counting import CountingRule
from ader_stream.monitor.leader import Leader, MonitorSources
from ader_stream.monitor.leading import Shown, lead
from ader_stream.monitor.page.alerts import Prometheus
from ader_stream.monitor.page.routes import PageRoutes
from ader_stream.monitor.status.routes import StatusRoutes
from ader_stream.monitor.status.whole import StatusBoard, standby_status
from ader_stream.runtime.memory.garbage import GarbageSchedule
from ader_stream.runtime.process import Process, run_worker
from ader_stream.settings import Settings
from ader_stream.stream.exactly_once.election import Election
from ader_stream.stream.exactly_once.permission import Permission
from ader_stream.stream.groups.leadership import Leadership
from ader_stream.stream.operations.needed_rights import connect
from ader_stream.stream.telemetry.client_statistics import ClientStatistics
from ader_stream.stream.topics.topics import check_topics

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Count what the topics hold and show it until SIGTERM.

    Raises
    ------
    AderError
        If Kafka or the topics are not as the settings say, or a newer monitor has written the
        state.
    """
    settings = settings.of_worker("monitor")
    clients, topics = settings.clients, settings.topics
    rights = connect(clients, "monitor", topics, settings.uses)
    check_topics(clients.admin(), topics)
    with Process("monitor", settings) as process:
        permission = Permission(clients, "monitor", rights, process.commits)
        shown = Shown(StatusBoard(), process.metrics)
        election = Election(
            clients.observed(ClientStatistics(process.metrics)),
            topics.monitor_state,
            topics.group("monitor"),
            permission,
            process.should_stop,
            process.metrics[m.MONITOR_LEADER],
        )
        process.not_ready = functools.partial(_not_ready, election, shown.board)
        status = StatusRoutes(shown.board, process.should_stop)
        page = PageRoutes(lambda: shown.board.status.versions.addresses, _prometheus(settings))
        process.serve([*status.routes(), *page.routes()])
        shown.board.show(standby_status())
        sources = _sources(settings, shown)
        election.run(functools.partial(_lead, sources, settings, process, permission, shown))


def _not_ready(election: Election, board: StatusBoard) -> str:
    """Say why nothing is committed or shown; a standby is ready."""
    outdated = next(iter(board.status.reading.unreadable.values()), "")
    return election.not_ready() or outdated


def _prometheus(settings: Settings) -> Prometheus | None:
    url = settings.monitor.prometheus
    return Prometheus(url, settings.kafka.prefix) if url else None


def _sources(settings: Settings, shown: Shown) -> MonitorSources:
    rule = CountingRule(settings.monitor.blocks, settings.monitor.sliding)
    refuse = functools.partial(_count_refusal, shown.metrics)
    return MonitorSources(settings.clients, settings.topics, rule, settings.trust, refuse)


def _count_refusal(metrics: Metrics, error: ArtifactError) -> None:
    metrics[m.ARTIFACTS_REFUSED].labels(reason=error.reason).inc()
    log.warning("manifest refused", reason=str(error))


def _lead(
    sources: MonitorSources,
    settings: Settings,
    process: Process,
    permission: Permission,
    shown: Shown,
    leadership: Leadership,
) -> None:
    """Lead until another monitor does, or until SIGTERM."""
    cycles = GarbageSchedule()
    leader = Leader(sources, process.commits, leadership.require)
    permission.note_granted()
    process.commits.note_nothing_due()
    lead(
        leader,
        leadership,
        shown,
        settings.block_rule,
        settings.monitor.commit_interval / 1000,
        process.should_stop,
        cycles.collect_if_due,
    )


if __name__ == "__main__":
    run_worker(run)
