"""``ader-stream blocks``: show or change how event time is divided into blocks."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ader_stream.cli.options import UNCHANGED, connect, json_option, kafka_options, yes_option
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.settings import Settings
from ader_stream.stream.control.rules_log import describe_blocks, read_logged_rules
from ader_stream.stream.model_registry.registry import read_registry
from ader_stream.stream.operations.block_change import BlockChangePlan, change_blocks, plan_change
from ader_stream.stream.topics.topics import check_topics
from ader_stream.times import duration_text, instant_text


@click.group(cls=WholeHelpGroup)
def blocks() -> None:
    """Show or change how event time is divided into blocks."""


@blocks.command()
@json_option
@kafka_options
def show(as_json: bool, settings: Settings) -> None:
    """Print how event time is divided into blocks, one line for each change, as workers log it."""
    _partitions(settings, "blocks show")
    rule = read_logged_rules(settings.clients, settings.topics).blocks
    if as_json:
        click.echo(json.dumps(asdict(rule) if rule else None))
    else:
        click.echo("\n".join(describe_blocks(rule)) if rule else "there is no block yet")


@blocks.command()
@yes_option
@json_option
@kafka_options
def change(yes: bool, as_json: bool, settings: Settings) -> None:
    """Divide event time as the settings say, from the end of the last known block on.

    Blocks up to there stay as they are. The next one lasts until a block of the new settings would
    begin; the numbers continue. Sessionizers and inference workers must be stopped.
    """
    clients, topics = settings.clients, settings.topics
    partitions = _partitions(settings, "blocks change")
    registry = read_registry(clients, topics, settings.trust)
    plan = plan_change(clients, topics, partitions, registry, settings.block_rule)
    does = yes and plan.before not in (None, plan.after)
    if does:
        change_blocks(clients, topics, plan)
    click.echo(_as_json(plan, does=does) if as_json else _as_text(plan, does=does))


def _partitions(settings: Settings, command: str) -> int:
    connect(settings, command)
    return check_topics(settings.clients.admin(), settings.topics)


def _as_json(plan: BlockChangePlan, *, does: bool) -> str:
    return json.dumps(
        {
            "done": does,
            "before": asdict(plan.before) if plan.before else None,
            "after": asdict(plan.after),
            "last_block": plan.last.block if plan.last else None,
        }
    )


def _as_text(plan: BlockChangePlan, *, does: bool) -> str:
    if plan.before in (None, plan.after):
        return "\n".join([*describe_blocks(plan.after), "nothing to change"])
    end = "done" if does else UNCHANGED
    return "\n".join([*_first_lines(plan), *describe_blocks(plan.after), end])


def _first_lines(plan: BlockChangePlan) -> list[str]:
    if plan.last is None:
        return ["no block is known: all of them follow the settings"]
    rule, last = plan.after, plan.last.block
    begins, length = instant_text(rule.start(last + 1)), duration_text(rule.length_of(last + 1))
    return [
        f"block {last} ({plan.last.of}) is the last one of the old rule; it ends at {begins}",
        f"block {last + 1} starts there and lasts {length}",
    ]
