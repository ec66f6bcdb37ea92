"""``ader-stream``: finds commands without loading them, and turns errors into exit codes.

Exit codes: 0 done, 1 failed, 2 wrong input or settings, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import click

from ader_stream.errors import AderError, InputError
from ader_stream.logs import configure_logs
from ader_stream.settings import Settings, load_settings

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
    sys.exit(_exit_code(lambda: cli(standalone_mode=False)))


def run_worker(run: Callable[[Settings], None]) -> None:
    """Run one worker as a process of its own, with the settings of file and environment."""
    sys.exit(_exit_code(lambda: run(load_settings())))


def _exit_code(work: Callable[[], object]) -> int:
    """Run `work`; an expected error is one line on standard error and its code."""
    try:
        result = work()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except InputError as error:
        return _fail(error, 2)
    except AderError as error:
        return _fail(error, 1)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", 130)
    return result if isinstance(result, int) else 0


def _fail(error: AderError | str, code: int) -> int:
    click.echo(f"ader-stream: {error}", err=True)
    return code


if __name__ == "__main__":
    main()
