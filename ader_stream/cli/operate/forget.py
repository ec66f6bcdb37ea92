"""``ader-stream forget``: remove what a session or user key contributed."""

from __future__ import annotations

import json

import click

from ader_stream.cli.options import connect, json_option, kafka_options
from ader_stream.errors import InputError
from ader_stream.settings import Settings
from ader_stream.stream.control.commands import ask
from ader_stream.stream.control.erasures import erasure_request, read_erasures
from ader_stream.stream.groups.groups import extents
from ader_stream.stream.kafka.producing import send_and_wait
from ader_stream.stream.model_registry.registry import read_registry
from ader_stream.stream.operations.erasure_report import look_for, report_of
from ader_stream.stream.topics.topics import check_topics, topic_id


@click.command()
@click.argument("key")
@json_option
@kafka_options
def forget(key: str, as_json: bool, settings: Settings) -> None:
    """Request that every worker erases a session or user KEY, and print what cannot be reached.

    All clicks that are in the topic now are erased, whatever their times are; later clicks belong
    to a new visitor.
    """
    if not key:
        raise InputError("KEY is empty; expected the session or user key as it is in your clicks")
    clients, topics = settings.clients, settings.topics
    connect(settings, "forget")
    partitions = check_topics(clients.admin(), topics)
    erasures = read_erasures(clients, topics)
    ends = extents(clients.admin(), topics.clicks, range(partitions))
    clicks_end = tuple(ends[partition].end for partition in range(partitions))
    clicks_id = topic_id(clients.admin(), topics.clicks)
    request = erasure_request(key, erasures, clicks_end, clicks_id)
    offset = ask(clients, topics, request)
    registry = read_registry(clients, topics, settings.trust)
    tombstones = [(partition, (key, None, None)) for partition in range(partitions)]
    send_and_wait(clients.producer(), topics.recommendations, tombstones, "a tombstone")
    held = look_for(clients, topics, partitions, registry, key)
    found = report_of(held, registry, topics, asked_offset=offset, keep=settings.models.keep)
    found = {
        "asked_at": request.at,
        "key_hash": request.key_hash and request.key_hash.hex(),
        "clicks_end": clicks_end,
    } | found
    click.echo(json.dumps(found, indent=None if as_json else 2))
