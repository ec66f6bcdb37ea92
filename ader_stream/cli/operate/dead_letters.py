"""``ader-stream dead-letters``: list refused clicks, and send corrected ones back."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

import click

from ader_stream.cli.options import connect, json_option, kafka_options
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.errors import InputError
from ader_stream.settings import Settings
from ader_stream.stream.dead_letters.letters import (
    Letter,
    LetterFilter,
    LetterId,
    find_letter,
    read_letters,
)
from ader_stream.stream.dead_letters.letters_json import (
    letter_as_json,
    read_changed_letters,
    refused_at,
)
from ader_stream.stream.dead_letters.sending_back import DeadLetterReplay, ReplayReport
from ader_stream.stream.sessions.byte_bounds import fit_to_topics
from ader_stream.times import parse_instant
from ader_stream.types import DEAD_LETTER_REASONS


@click.group("dead-letters", cls=WholeHelpGroup)
def dead_letters() -> None:
    """List refused clicks, and send corrected ones back."""


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select letters; the command gets `wanted` instead."""

    @click.option(
        "--reason",
        "reasons",
        multiple=True,
        type=click.Choice(DEAD_LETTER_REASONS),
        help="Only these; may be repeated.",
    )
    @click.option("--partition", type=click.IntRange(0), help="Only this partition's.")
    @click.option("--since", metavar="TIME", help="Refused at or after; ISO 8601 or ms since 1970.")
    @click.option("--until", metavar="TIME", help="Refused before.")
    @functools.wraps(command)
    def with_filter(
        reasons: tuple[str, ...],
        partition: int | None,
        since: str | None,
        until: str | None,
        **arguments: object,
    ) -> object:
        wanted = LetterFilter(
            reasons, partition, _instant("--since", since), _instant("--until", until)
        )
        return command(wanted=wanted, **arguments)

    return with_filter


@dead_letters.command("list")
@filter_options
@click.option("--all", "replayed", is_flag=True, help="Also those that were sent back.")
@click.option("--limit", type=click.IntRange(1), help="At most this many.")
@json_option
@kafka_options
def list_letters(
    wanted: LetterFilter, replayed: bool, limit: int | None, as_json: bool, settings: Settings
) -> None:
    """Print refused records, one a line, partition by partition."""
    connect(settings, "dead-letters list")
    wanted = LetterFilter(**vars(wanted) | {"replayed": replayed})
    for letter in islice(read_letters(settings.clients, settings.topics, wanted), limit):
        click.echo(json.dumps(letter_as_json(letter)) if as_json else _as_line(letter))


@dead_letters.command()
@click.argument("place", metavar="PARTITION:OFFSET")
@json_option
@kafka_options
def show(place: str, as_json: bool, settings: Settings) -> None:
    """Print one whole letter; `list` prints its PARTITION:OFFSET."""
    at = LetterId.parse(place)
    connect(settings, "dead-letters show")
    letter = find_letter(settings.clients, settings.topics, at)
    if as_json:
        click.echo(json.dumps(letter_as_json(letter)))
        return
    for name, value in letter_as_json(letter).items():
        click.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")
    if letter.truncated:
        click.echo(
            f"The record is larger than a letter, which has only its first bytes. The original "
            f"is at {letter.origin}; `ader-stream dead-letters replay` reads it there, as long "
            "as that topic has it."
        )


@dead_letters.command()
@filter_options
@click.option(
    "--changed",
    type=click.File("r", encoding="utf-8"),
    help="Lines of `list --json` with a corrected value or key; only these are sent.",
)
@click.option("--dry-run", is_flag=True, help="Report what would be sent, and send nothing.")
@json_option
@kafka_options
def replay(
    wanted: LetterFilter, changed: Any, dry_run: bool, as_json: bool, settings: Settings
) -> None:
    """Send back what is a click now, each once, to its original partition.

    A letter is sent if it is a click with today's settings (or your --changed file). It is left if
    it would be refused again, or if `forget` has erased it. Letters with reasons that do not depend
    on the bytes, such as `late`, are sent only with --reason. Of a truncated letter, the original
    is read at its offset; if it is gone, the letter is left. If it is killed and started again, it
    continues.
    """
    letters = read_changed_letters(changed) if changed else None
    clients = settings.clients
    connect(settings, "dead-letters replay --dry-run" if dry_run else "dead-letters replay")
    fitted = fit_to_topics(clients, settings.topics, settings.click_format, settings.session_rule)
    replaying = DeadLetterReplay(clients, settings.topics, fitted.clicks, letters)
    if dry_run:
        report = replaying.check(wanted)
    else:
        report = replaying.send(wanted, lambda done: _say(as_json, done, "so far"))
    _say(as_json, report, "would be sent" if dry_run else "done")


def _instant(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_instant(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from None


def _as_line(letter: Letter) -> str:
    marks = " (truncated)" if letter.truncated else ""
    marks += " (sent back)" if letter.is_replayed else ""
    what = f"{letter.id} {refused_at(letter)} {letter.reason} {letter.origin}{marks}"
    return f"{what}: {letter.fields['error']}"


def _say(as_json: bool, report: ReplayReport, state: str) -> None:
    if as_json:
        click.echo(json.dumps({"state": state, **vars(report)}))
        return
    left = _counts(report.refused), _counts(report.skipped)
    gone = f" and {report.gone} (truncated, and the originals are gone)" if report.gone else ""
    if report.ignored:
        gone += f" and {_counts(report.ignored)} (ignored by clicks.where or ignore_keys)"
    gone += f" and {report.erased} (their keys were erased)" if report.erased else ""
    click.echo(
        f"{state}: sent {report.sent}, left {left[0]} (refused again) and {left[1]} (not asked for)"
        f"{gone}"
    )


def _counts(counts: Counter[str]) -> str:
    named = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return named or "0"
