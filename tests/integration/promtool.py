"""Ask Prometheus' own tool what it thinks of what it is given."""

from __future__ import annotations

import subprocess


def objections(*arguments: object, text: bytes = b"") -> str:
    """Return what `promtool check` prints of what it does not like; empty if all is well."""
    command = ["promtool", "check", *map(str, arguments)]
    checked = subprocess.run(command, input=text, capture_output=True, check=False)
    printed = (checked.stdout + checked.stderr).decode()
    return printed if checked.returncode or "WARNING" in printed else ""
