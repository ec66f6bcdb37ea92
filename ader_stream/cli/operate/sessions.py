"""``ader-stream sessions``: print closed sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from ader_stream.cli.options import connect, json_option, kafka_options
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.settings import Settings
from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.stream.topics.topics import check_topics
from ader_stream.types import Session


@click.group(cls=WholeHelpGroup)
def sessions() -> None:
    """Print closed sessions."""


@sessions.command()
@json_option
@kafka_options
def dump(as_json: bool, settings: Settings) -> None:
    """Print the closed sessions, read committed, one a line."""
    connect(settings, "sessions dump")
    for block, session in _read(settings):
        click.echo(_as_json(block, session) if as_json else _as_text(block, session))


def _read(settings: Settings) -> Iterator[tuple[int, Session]]:
    clients, topics = settings.clients, settings.topics
    for partition in range(check_topics(clients.admin(), topics)):
        for record in read_to_end(clients, topics.sessions, partition):
            if type_of(record.headers()) == "SessionBatch":
                _, value = decode(record.value(), record.headers())
                yield from ((value["block"], session) for session in decode_sessions(value))


def _as_json(block: int, session: Session) -> str:
    return json.dumps(
        {
            "key": session.key,
            "block": block,
            "items": session.items,
            "first_time": session.times[0],
            "last_time": session.times[-1],
        }
    )


def _as_text(block: int, session: Session) -> str:
    return (
        f"block={block} key={session.key} first={session.times[0]} items={','.join(session.items)}"
    )
