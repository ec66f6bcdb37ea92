"""``ader-stream reset``: delete derived data and start again with the clicks, consistently."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from ader_stream.cli.options import UNCHANGED, json_option, kafka_options, yes_option
from ader_stream.settings import Settings
from ader_stream.stream.operations.reset import ResetPlan, plan_reset, running_workers
from ader_stream.stream.operations.reset import reset as reset_as_planned


@click.command()
@click.option(
    "--models", is_flag=True, help="Also delete every version, and the commands about them."
)
@click.option("--dead-letters", is_flag=True, help="Also delete refused clicks.")
@yes_option
@json_option
@kafka_options
def reset(models: bool, dead_letters: bool, yes: bool, as_json: bool, settings: Settings) -> None:
    """Delete sessions, state, scores and offsets, so that the workers start again with the clicks.

    Your clicks stay, and so do versions: the trainer continues from the newest one and leaves out
    sessions that a kept version was trained on. Erasure requests and refused clicks stay, too;
    refused clicks that are read again are not sent back any more. Without --yes, nothing is
    changed. All workers must be stopped.
    """
    clients, topics = settings.clients, settings.topics
    clients.check_reachable()
    plan = plan_reset(clients, topics, models=models, dead_letters=dead_letters)
    if yes:
        begins_at_ends = settings.clicks.start == "latest"
        reset_as_planned(clients, topics, plan, would_skip=begins_at_ends)
    click.echo(_as_json(plan, is_done=yes) if as_json else _as_text(plan, is_done=yes))
    if not yes and (running := running_workers(clients.admin(), topics)):
        click.echo(f"stop these workers first: {running}", err=True)


def _as_json(plan: ResetPlan, *, is_done: bool) -> str:
    return json.dumps(
        {
            "done": is_done,
            "topics": plan.records,
            "groups": plan.groups,
            "commands": plan.commands,
            "kept": plan.kept,
            "letters": asdict(plan.letters) if plan.letters else None,
        }
    )


def _as_text(plan: ResetPlan, *, is_done: bool) -> str:
    verb = "deleted" if is_done else "would delete"
    topics = [
        f"{verb} topic {spec.name}: {plan.records[spec.name]} records in {spec.partitions} "
        "partitions; it is created again, empty"
        for spec in plan.specs
    ]
    groups = [f"{verb} group {group} and its offsets" for group in plan.groups]
    groups += [f"{verb} command {command}" for command in plan.commands]
    kept = f"unchanged: {', '.join(plan.kept)}"
    end = [] if is_done else [UNCHANGED]
    return "\n".join([*topics, *groups, kept, *_about_letters(plan), *end])


def _about_letters(plan: ResetPlan) -> Iterator[str]:
    if plan.letters and plan.letters.waiting:
        yield (
            f"{plan.letters.waiting} refused clicks are read again with the others: their letters "
            "stay, and `dead-letters replay` does not send them back any more"
        )
    if plan.letters and plan.letters.sent_back:
        yield (
            f"{plan.letters.sent_back} refused clicks were sent back: the topic holds them twice, "
            "and both count if the current settings accept the first and they have no event id"
        )
