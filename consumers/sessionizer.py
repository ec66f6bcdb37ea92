"""Run the sessionizer: read clicks; write sessions, block ends and dead letters, exactly once.

One consumer group, one transaction for each input partition. Run it with ``python -m
consumers.sessionizer`` or ``ader-stream run sessionizer``. Start at most as many workers as there
are partitions: the group divides the partitions among them.
"""

from __future__ import annotations

import structlog

from ader_stream.runtime.memory.garbage import GarbageSchedule
from ader_stream.runtime.process import Process, run_worker
from ader_stream.settings import Settings
from ader_stream.stream.clicks.decoder import ClickDecoder
from ader_stream.stream.clicks.start_check import StartCheck
from ader_stream.stream.control.rules_log import RulesAnnouncement, blocks_in_force
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.exactly_once.permission import Permission
from ader_stream.stream.model_registry.registry import Registry, commands_reader
from ader_stream.stream.operations.needed_rights import connect
from ader_stream.stream.sessions.byte_bounds import Fitted, fit_to_topics
from ader_stream.stream.sessions.task import (
    Idling,
    SessionizerTasks,
)
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.stream.telemetry.client_statistics import ClientStatistics
from ader_stream.stream.topics.topics import check_topics, grow_topics

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Cut clicks into sessions until SIGTERM.

    Raises
    ------
    AderError
        If Kafka, the topics or the clicks are not as the settings say.
    """
    settings = settings.of_worker("sessionizer")
    clients, topics = settings.clients, settings.topics
    decoder = ClickDecoder(settings.click_format)  # a wrong schema is refused before Kafka is asked
    rights = connect(clients, "sessionizer", topics, settings.uses)
    _check_start(settings, decoder)
    fitted = fit_to_topics(clients, topics, settings.click_format, settings.session_rule)
    with Process("sessionizer", settings) as process:
        permission = Permission(fitted.clients, "sessionizer", rights, process.commits)
        _sessionize(settings, fitted, process, permission)


def _check_start(settings: Settings, decoder: ClickDecoder) -> None:
    """Check the topics, the block rule in force and the event times of the clicks to come."""
    clients, topics = settings.clients, settings.topics
    click_format, start = settings.click_format, settings.clicks.start
    grow_topics(clients.admin(), topics)
    partitions = check_topics(clients.admin(), topics)
    blocks_in_force(clients, topics, settings.block_rule)  # or it is refused here
    if settings.clicks.check_times:
        group = topics.group("sessionizer")
        check = StartCheck(clients, topics.clicks, group, start, decoder, click_format)
        check.require_plausible_times(partitions)


def _sessionize(
    settings: Settings, fitted: Fitted, process: Process, permission: Permission
) -> None:
    """Process the assigned partitions until SIGTERM."""
    topics, metrics = settings.topics, process.metrics
    clients = fitted.clients.observed(ClientStatistics(metrics))
    decoder, rules = ClickDecoder(fitted.clicks), fitted.rules(settings.sessionizer_rules)
    idle = settings.sessionizer.idle_timeout
    hints = None if idle is None else WatermarkHints(clients, topics, age=idle / 1000)
    idling = Idling(idle, hints) if hints and idle is not None else None
    registry = Registry(settings.trust)
    commands = commands_reader(clients, topics, registry)
    open_tasks = SessionizerTasks(
        clients, topics, decoder, rules, metrics, registry.erasures, idling
    )
    open_tasks.tracing = process.tracing
    config = LoopConfig(
        topics.clicks,
        topics.group("sessionizer"),
        settings.clicks.start,
        settings.sessionizer.commit_interval,
        topics.sessionizer_state,
    )
    loop = ExactlyOnceLoop(clients, config, open_tasks, metrics, decoder.check_readable, permission)
    cycles = GarbageSchedule()
    announcement = RulesAnnouncement(clients, topics, settings.block_rule, settings.rules)

    def after_round() -> None:
        cycles.collect_if_due()
        commands.poll()
        if any(task.window.open_block is not None for task in loop.tasks.values()):
            announcement.announce(registry.rules)  # once something was decided by them
        if hints:
            hints.follow()

    process.not_ready = loop.not_ready
    process.serve()
    loop.run(process.should_stop, after_round)
    announcement.close()
    commands.close()
    if hints:
        hints.close()


if __name__ == "__main__":
    run_worker(run)
