"""``ader-stream guess``: propose settings for a topic, from a sample of its records."""

from __future__ import annotations

import time

import click

from ader_stream.cli.options import connect, kafka_flags, settings_with
from ader_stream.stream.guessing import propose, read_contents, settings_text
from ader_stream.stream.kafka.clients import client_errors
from ader_stream.stream.kafka.sampling import sample_newest
from ader_stream.stream.topics.topics import partition_counts, require_clicks

IN_DOUBT = 3
"""Exit code: something of the proposal must be checked first."""


@click.command()
@click.option("--topic", metavar="NAME", help="The topic; otherwise that of the settings.")
@click.option(
    "--records",
    type=click.IntRange(min=1, max=50_000),
    default=2_000,
    show_default=True,
    help="Records of the sample, the newest ones.",
)
@kafka_flags
@click.pass_context
def guess(
    context: click.Context,
    topic: str | None,
    records: int,
    bootstrap_servers: str | None,
    prefix: str | None,
) -> None:
    """Propose settings for a topic, as a settings file with the evidence in comments.

    Fields, time unit, format, filter and gap are guessed from a sample; nothing is written. The
    sample is then decoded with the proposal. Exit code 0 if nothing is in doubt, 3 if lines that
    start with CHECK must be read first.
    """
    given = {"topic": topic} if topic else {}
    settings = settings_with(bootstrap_servers, prefix, clicks=given)
    with client_errors():
        connect(settings, "guess")
        clients, name = settings.clients, settings.topics.clicks
        counts = partition_counts(clients.admin())
        require_clicks(settings.topics, counts)
        sample = sample_newest(clients, name, counts[name], records)
    known = settings.click_format
    proposal = propose(read_contents(sample, known), known, time.time_ns() // 1_000_000)
    click.echo(settings_text(proposal, name), nl=False)
    context.exit(IN_DOUBT if proposal.doubts else 0)
