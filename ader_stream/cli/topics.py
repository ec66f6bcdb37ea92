"""``ader-stream topics``: create what is missing, check what is there."""

from __future__ import annotations

import click

from ader_stream.cli.options import connect, kafka_options
from ader_stream.settings import Settings
from ader_stream.stream.kafka.topics import (
    check_configs,
    check_topics,
    create_topics,
    grow_topics,
)


@click.group()
def topics() -> None:
    """Set up the topics."""


@topics.command()
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Partitions of the clicks topic; one that exists decides.",
)
@kafka_options
def create(partitions: int, settings: Settings) -> None:
    """Create every topic that is missing, and partitions that ours lack beside the clicks."""
    clients = settings.clients
    connect(settings, "topics create")
    created = create_topics(clients.admin(), settings.topics, partitions)
    grow_topics(clients.admin(), settings.topics)
    click.echo("\n".join(f"created {name}" for name in created) or "every topic is there")


@topics.command()
@kafka_options
def check(settings: Settings) -> None:
    """Say whether every topic is there with the partitions and the configuration it needs."""
    clients = settings.clients
    connect(settings, "topics check")
    partitions = check_topics(clients.admin(), settings.topics)
    check_configs(clients.admin(), settings.topics)
    click.echo(f"every topic is there; {settings.topics.clicks} has {partitions} partitions")
