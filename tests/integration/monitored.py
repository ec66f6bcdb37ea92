"""What a monitor has counted, and what an uninterrupted run counts on the same topics."""

from __future__ import annotations

from typing import Any

from ader_stream.monitor.counts.counting import CountingRule
from ader_stream.monitor.counts.places import LETTERS, SESSIONS, place_to_value
from ader_stream.monitor.counts.state import MonitorState
from ader_stream.monitor.intake import Intake
from ader_stream.monitor.views import TopicViews
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.topics.topics import topic_id
from tests.integration.system import System

Numbers = dict[str, Any]


def kept_numbers(system: System) -> Numbers:
    """What is in the changelog."""
    state = _state(system)
    state.restore(read_to_end(system.clients, system.topics.monitor_state), lambda: None)
    return _numbers(state)


def uninterrupted_numbers(system: System) -> Numbers:
    """What one process counts that is not killed."""
    state = _state(system)
    rule = state.rule
    views = TopicViews(system.topics, system.settings.trust, rule.blocks, lambda _: None)
    intake = Intake(system.clients, system.topics, state, views)
    intake.poll(0)
    while intake.poll(0.5) or not intake.has_caught_up:
        pass
    intake.close()
    return _numbers(state)


def _state(system: System) -> MonitorState:
    admin, topics, chosen = system.clients.admin(), system.topics, system.settings.monitor
    ids = {
        SESSIONS: topic_id(admin, topics.sessions),
        LETTERS: topic_id(admin, topics.dead_letters),
    }
    return MonitorState(CountingRule(chosen.blocks, chosen.sliding), ids, 1_000_000)


def _numbers(state: MonitorState) -> Numbers:
    found: Numbers = {
        f"{span}/{partition}": (counts.statistics.to_bytes(), counts.late)
        for partition, counted in state.sessions.items()
        for span, counts in counted.spans.items()
    }
    return found | {f"{at.topic}/{at.partition}": place_to_value(at) for at in state.places}
