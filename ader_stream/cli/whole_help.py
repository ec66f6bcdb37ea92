"""A group of commands whose help shows each command's whole summary."""

from __future__ import annotations

import click

SUMMARY = 200
"""Characters of a summary at most: more than any has. click's own limit cuts them to one line."""


class WholeHelpGroup(click.Group):
    """Group whose help wraps the summaries of its commands instead of cutting them off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the name and the whole summary of each command."""
        rows = [
            (name, command.get_short_help_str(SUMMARY))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name))
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
