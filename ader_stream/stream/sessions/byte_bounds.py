"""Limit the size of clicks, sessions and dead letters so that every record with them fits."""

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
"""A click has at most an eighth of a record, so that a session can have most of it."""

OTHER_BYTES = 8 * 1024
"""Most bytes of a record in addition to its clicks, sessions and letters."""


@dataclass(frozen=True)
class ByteBounds:
    """Most bytes of each kind of data.

    Parameters
    ----------
    click
        The stored fields of a click: key, item id, event id and extra fields.
    session
        All open sessions of a key, before the click that closes the earliest one.
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
        """Return the limits of the settings, or lower ones if the topics accept less.

        A session's record contains its key, its clicks up to the limit, and the click that closes
        it. The changelog contains a quarantined click together with the dead letter that it may
        become.
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
    """Clients and rules that fit to the topics' record sizes.

    Parameters
    ----------
    clients
        Their producers send no batch that is too large.
    clicks, sessions
        Those of the settings, with limits that may be lower.
    max_letter, max_session
        Most bytes of a dead letter, and of a session with its key.
    """

    clients: KafkaClients
    clicks: ClickFormat
    sessions: SessionRule
    max_letter: int
    max_session: int

    def rules(self, rules: SessionizerRules) -> SessionizerRules:
        """Return the rules with these limits."""
        return replace(
            rules,
            sessions=self.sessions,
            max_letter=self.max_letter,
            max_session=self.max_session,
        )


def fit_to_topics(
    clients: KafkaClients, topics: Topics, clicks: ClickFormat, sessions: SessionRule
) -> Fitted:
    """Ask for the record sizes of the topics, and limit clicks and sessions to them.

    Workers that follow the sessionizer's rules without writing sessions have the same limits.
    Raises the same errors as `record_limits`.
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
            "a limit is lower than its setting because of max.message.bytes of our topics",
            setting=setting,
            bytes=wanted,
            allowed=allowed,
        )
