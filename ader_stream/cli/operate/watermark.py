"""``ader-stream watermark``: show each partition's watermark, and correct a wrong one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from ader_stream.cli.options import UNCHANGED, connect, json_option, kafka_options, yes_option
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.errors import SettingsError
from ader_stream.settings import Settings
from ader_stream.stream.control.rules_log import blocks_in_force
from ader_stream.stream.operations.watermark_reset import EventTime, event_times, reset_watermark
from ader_stream.stream.topics.topics import check_topics
from ader_stream.times import parse_instant


@click.group(cls=WholeHelpGroup)
def watermark() -> None:
    """Show each partition's watermark, and correct a wrong one."""


@watermark.command()
@json_option
@kafka_options
def show(as_json: bool, settings: Settings) -> None:
    """Print each partition's watermark, open block and next offset, as committed."""
    for place in event_times(
        settings.clients, settings.topics, _partitions(settings, "watermark show")
    ):
        click.echo(json.dumps(place._asdict()) if as_json else _line(place))


@watermark.command()
@click.option("--to", "time", required=True, help="New event time: ISO 8601, or ms since 1970.")
@click.option(
    "--partition",
    "chosen",
    type=click.IntRange(0),
    multiple=True,
    help="Partition to correct; by default all that are after the time.",
)
@yes_option
@kafka_options
def reset(time: str, chosen: tuple[int, ...], yes: bool, settings: Settings) -> None:
    """Move watermarks back to the real event time.

    Open sessions stay; those that are ahead close when event time reaches them. Blocks that had
    ended too early are written again, with the sessions that belong to them.
    """
    watermark = _time(time)
    clients, topics = settings.clients, settings.topics
    command = "watermark reset" if yes else "watermark show"
    places = [*event_times(clients, topics, _partitions(settings, command))]
    blocks = blocks_in_force(clients, topics, settings.block_rule)
    if unknown := {*chosen} - {place.partition for place in places}:
        raise SettingsError(
            f"--partition {min(unknown)}: {topics.clicks} has partitions 0 to {len(places) - 1}"
        )
    meant = [place for place in places if _is_meant(place, chosen, watermark)]
    if not meant:
        lines = "\n".join(map(_line, places))
        raise SettingsError(f"--to {time}: no partition is after it, so none moves back\n{lines}")
    for place in meant:
        click.echo(f"{_line(place)} -> {_text(watermark)}")
        if yes:
            rule = blocks, settings.sessions.lateness
            reset_watermark(clients, topics, *rule, place.partition, watermark)
    if not yes:
        click.echo(UNCHANGED)


def _is_meant(place: EventTime, chosen: tuple[int, ...], watermark: int) -> bool:
    if chosen:
        return place.partition in chosen
    return place.watermark is not None and place.watermark > watermark


def _partitions(settings: Settings, command: str) -> int:
    connect(settings, command)
    return check_topics(settings.clients.admin(), settings.topics)


def _time(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise SettingsError(f"--to {text}: {error}") from None


def _line(place: EventTime) -> str:
    if place.watermark is None:
        return f"partition {place.partition}: no click yet"
    where = f"block {place.open_block}, next offset {place.next_offset}"
    return f"partition {place.partition}: {_text(place.watermark)}  ({where})"


def _text(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
