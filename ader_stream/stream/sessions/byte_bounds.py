"""How large clicks, sessions and dead letters may be, so that every record made of them fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from ader_stream.stream.clicks.decoder import ClickFormat
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.limits import RecordLimits, record_limits
from ader_stream.stream.sessions.task import SessionizerRules
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import SessionRule

log = structlog.get_logger(__name__)

CLICKS_IN_RECORD = 8
"""A click may have this part of a record at most, so that a session may have most of it."""

OTHER_BYTES = 8 * 1024
"""What a record has beside clicks, sessions and letters, at most."""


@dataclass(frozen=True)
class ByteBounds:
    """Bytes that the largest of each may have.

    Parameters
    ----------
    click
        What is kept of a click: key, item id, event id and extra fields.
    session
        Open sessions of a key, before the click that makes the earliest close.
    letter
        A dead letter, with its key.
    record
        A session with its key and all of its clicks.
    """

    click: int
    session: int
    letter: int
    record: int

    @classmethod
    def of(
        cls, limits: RecordLimits, topics: Topics, click_bytes: int, session_bytes: int
    ) -> ByteBounds:
        """Return what the settings allow, or less where the topics take less.

        A session's record has its key, what was there before the click that makes it close, and
        that click. In the changelog, a held click stands beside the letter that it may become.
        """
        room = limits.room(topics.sessions, topics.sessionizer_state) - OTHER_BYTES
        click = min(click_bytes, room // CLICKS_IN_RECORD)
        beside_click = room - 2 * click
        return cls(
            click,
            min(session_bytes, beside_click),
            min(limits.room(topics.dead_letters), beside_click),
            room,
        )


@dataclass(frozen=True)
class Fitted:
    """What the sessions are made with, as large as the topics take it.

    Parameters
    ----------
    clients
        Their producers send no batch that is too large.
    clicks, sessions
        The settings', with bounds that may be lower.
    max_letter, max_session
        Bytes that a dead letter, and a session with its key, may have.
    """

    clients: KafkaClients
    clicks: ClickFormat
    sessions: SessionRule
    max_letter: int
    max_session: int

    def rules(self, rules: SessionizerRules) -> SessionizerRules:
        """Return rules that keep to these bounds."""
        return replace(
            rules,
            sessions=self.sessions,
            max_letter=self.max_letter,
            max_session=self.max_session,
        )


def fit_to_topics(
    clients: KafkaClients, topics: Topics, clicks: ClickFormat, sessions: SessionRule
) -> Fitted:
    """Ask what the topics take, and bound by it what is made of clicks; raises as `record_limits`.

    Who follows the sessionizer's rules without writing sessions is bound by the same topics.
    """
    limits = record_limits(clients, topics.sessions, topics.sessionizer_state, topics.dead_letters)
    bounds = ByteBounds.of(limits, topics, clicks.max_bytes, sessions.max_bytes)
    _say_what_is_lower("clicks.max_bytes", clicks.max_bytes, bounds.click)
    _say_what_is_lower("sessions.max_bytes", sessions.max_bytes, bounds.session)
    return Fitted(
        limits.fitted(clients),
        replace(clicks, max_bytes=bounds.click),
        replace(sessions, max_bytes=bounds.session),
        bounds.letter,
        bounds.record,
    )


def _say_what_is_lower(setting: str, wanted: int, allowed: int) -> None:
    if allowed < wanted:
        log.warning(
            "a bound is lower than its setting: max.message.bytes of our topics allows no more",
            setting=setting,
            bytes=wanted,
            allowed=allowed,
        )
