"""``ader-stream``: find commands without loading them, and convert errors to exit codes."""

from __future__ import annotations

import importlib
import sys
from keyword import iskeyword

import click

from ader_stream.cli.extras import EXTRAS, missing
from ader_stream.runtime.exit_codes import exit_code
from ader_stream.runtime.logs import configure_logs
from ader_stream.runtime.openmp import set_passive_openmp

COMMANDS = {
    "blocks": "Show or change how event time is divided into blocks.",
    "broker": "Start, stop and check a local Kafka.",
    "dead-letters": "List refused clicks, and send corrected ones back.",
    "demo": "Run the whole system on this machine, and write a report.",
    "doctor": "Find problems with connection, topics, settings and clicks.",
    "drift": "Report what has changed from block to block, and whether to act.",
    "evaluate": "Run the paper's protocol on a data set, without Kafka.",
    "forget": "Remove what a session or user key contributed; list what stays.",
    "guess": "Propose settings for a topic, with the evidence.",
    "metrics": "List every metric: name, type, unit, labels, meaning.",
    "models": "List, pin, roll back, export, import and prune versions.",
    "offsets": "Show the workers' offsets; move them past lost records.",
    "replay": "Feed a data set into the clicks topic.",
    "reset": "Delete all derived data, and start again with the clicks.",
    "rights": "List the rights that each worker and command needs.",
    "run": "Run one worker: sessionizer, trainer, inference or monitor.",
    "schemas": "Check whether records in the topics match the schemas here.",
    "sessions": "Print closed sessions.",
    "settings": "List every setting: variable, default, meaning.",
    "topics": "Create and check the topics.",
    "try": "Try on recorded clicks whether continual training would work.",
    "watermark": "Show each partition's watermark, and correct a wrong one.",
}
"""Command → its description."""

ROOMS = {
    "cluster": ("broker", "doctor", "guess", "rights", "schemas", "topics"),
    "drift": ("drift",),
    "evaluation": ("evaluate",),
    "operate": (
        *("blocks", "dead-letters", "forget", "offsets"),
        *("replay", "reset", "sessions", "watermark"),
    ),
    "trial": ("try",),
}
"""Package below ``ader_stream.cli`` → its commands; the others are in this folder."""


class _LazyGroup(click.Group):
    """Loads a command when it is used, not for help: torch alone takes seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_") + "_" * iskeyword(cmd_name)
        room = next((f"{room}." for room, names in ROOMS.items() if cmd_name in names), "")
        module = importlib.import_module(f"ader_stream.cli.{room}{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_LazyGroup)
@click.version_option(package_name="ader-stream")
def cli() -> None:
    """Recommend from sessions continually: Kafka clicks in, ADER-trained models out."""
    configure_logs(level="warning")


def main() -> None:
    """Run the command line."""
    set_passive_openmp()
    sys.exit(exit_code(_invoke))


def _invoke() -> int:
    """Run the command in the arguments, and return its exit code."""
    try:
        return int(cli(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise missing(error.name) from None


if __name__ == "__main__":
    main()
