"""``ader-stream``: finds commands without loading them, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys

import click

from ader_stream.exits import exit_code
from ader_stream.logs import configure_logs

COMMANDS = {
    "broker": "ader_stream.cli.broker:broker",
    "demo": "ader_stream.cli.demo:demo",
    "doctor": "ader_stream.cli.doctor:doctor",
    "evaluate": "ader_stream.cli.evaluate:evaluate",
    "metrics": "ader_stream.cli.metrics:metrics",
    "replay": "ader_stream.cli.replay:replay",
    "run": "ader_stream.cli.run:run",
    "sessions": "ader_stream.cli.sessions:sessions",
    "settings": "ader_stream.cli.settings:settings",
    "topics": "ader_stream.cli.topics:topics",
}
"""Command → module:attribute. A module is loaded when its command is used: torch costs seconds."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_LazyGroup)
@click.version_option(package_name="ader-stream")
def cli() -> None:
    """Continual session-based recommendation: Kafka clicks in, ADER-trained models out."""
    configure_logs(level="warning")


def main() -> None:
    """Run the command line."""
    sys.exit(exit_code(_invoke))


def _invoke() -> int:
    """Run the command that the arguments name, and return the code that it has exited with."""
    try:
        return int(cli(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None


if __name__ == "__main__":
    main()
