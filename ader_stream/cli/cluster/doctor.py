"""``ader-stream doctor``: find problems with connection, topics, settings and clicks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from ader_stream.cli.options import json_option, kafka_options
from ader_stream.runtime.exit_codes import FAILED
from ader_stream.settings import Settings
from ader_stream.stream.diagnosis import Check, DiagnosisInput, Finding, diagnose
from ader_stream.stream.operations.needed_rights import WORKERS, check_rights

MARKS = {"ok": "ok     ", "warning": "warning", "waiting": "waiting", "error": "ERROR  "}

WAITING = 3
"""Exit code: nothing is wrong, but the clicks in the topic would close no session now."""


@click.command()
@click.option(
    "--as",
    "worker",
    type=click.Choice([*WORKERS]),
    help="Also check whether the user has the rights of this worker.",
)
@json_option
@kafka_options
@click.pass_context
def doctor(context: click.Context, worker: str | None, as_json: bool, settings: Settings) -> None:
    """Report the outcome of your clicks, what is wrong, and how to fix it.

    The sessionizer's own code runs on a sample of the clicks; nothing is written. Exit code 0 if
    sessions would close, 1 if something must be fixed, 3 if nothing is wrong, but the topic has too
    few clicks for a session to close.
    """
    subject = DiagnosisInput(
        settings.clients,
        settings.topics,
        settings.click_format,
        settings.sessionizer_rules,
        settings.sessionizer.idle_timeout,
        checks_times=settings.clicks.check_times,
        start=settings.clicks.start,
    )
    levels = set()
    for finding in diagnose(subject, [_rights_of(worker, settings)] if worker else []):
        levels.add(finding.level)
        click.echo(json.dumps(asdict(finding)) if as_json else _as_text(finding))
    context.exit(FAILED if "error" in levels else WAITING if "waiting" in levels else 0)


def _rights_of(worker: str, settings: Settings) -> Check[DiagnosisInput]:
    def check(subject: DiagnosisInput) -> Iterator[Finding]:
        topics, uses = subject.topics, settings.uses
        for level, text, remedy in check_rights(subject.clients, worker, topics, uses):
            yield Finding(level, text, remedy)

    return Check("rights", check)


def _as_text(finding: Finding) -> str:
    remedy = f"\n         → {finding.remedy}" if finding.remedy else ""
    return f"{MARKS[finding.level]}  {finding.text}{remedy}"
