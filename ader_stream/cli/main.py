"""``ader-stream``: finds commands without loading them, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys

import click

from ader_stream.cli.extras import EXTRAS, missing
from ader_stream.runtime.exit_codes import exit_code
from ader_stream.runtime.logs import configure_logs
from ader_stream.runtime.openmp import wait_passively

COMMANDS = {
    "blocks": "How event time is cut into blocks, and from where on in another way.",
    "broker": "A local Kafka: start it, stop it, look at it.",
    "dead-letters": "What was refused, why, and a way back.",
    "demo": "The whole system on this machine, and a report.",
    "doctor": "What is wrong with connection, topics, settings or clicks.",
    "evaluate": "The paper's protocol on a data set, without Kafka.",
    "forget": "Remove what a session or user key contributed; list what stays.",
    "metrics": "Every metric: name, type, unit, labels, meaning.",
    "models": "Versions: look at them, pin, roll back, export, import, prune.",
    "offsets": "Where workers stand in the clicks; how they go on past what is lost.",
    "replay": "Feed a data set into the clicks topic.",
    "reset": "Begin again with the clicks: delete what was made of them.",
    "rights": "What each worker and command must be allowed on the cluster.",
    "run": "One worker: sessionizer, trainer or inference.",
    "schemas": "Whether what stands in the topics fits to the schemas here.",
    "sessions": "What the sessionizer has closed.",
    "settings": "Every setting: variable, default, meaning.",
    "topics": "Create and check the topics.",
    "watermark": "How far event time has come, and how to correct it.",
}
"""Command → what it does."""

ROOMS = {
    "cluster": ("broker", "doctor", "rights", "schemas", "topics"),
    "evaluation": ("evaluate",),
    "operate": (
        *("blocks", "dead-letters", "forget", "offsets"),
        *("replay", "reset", "sessions", "watermark"),
    ),
}
"""Package below ``ader_stream.cli`` → the commands in it; the others lie beside this file."""


class _LazyGroup(click.Group):
    """Loads a command when it is used, not for help: torch alone costs seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
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
    """Continual session-based recommendation: Kafka clicks in, ADER-trained models out."""
    configure_logs(level="warning")


def main() -> None:
    """Run the command line."""
    wait_passively()
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
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise missing(error.name) from None


if __name__ == "__main__":
    main()
