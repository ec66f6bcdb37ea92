from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from ader_stream.cli.main import COMMANDS
from ader_stream.cli.settings import settings

README = Path(__file__).parents[2] / "README.md"


def test_readme_shows_every_setting_as_it_is() -> None:
    table = CliRunner().invoke(settings, ["--markdown"]).output

    assert table in README.read_text(encoding="utf-8")


def test_readme_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"ader-stream ([a-z][a-z-]*)", README.read_text(encoding="utf-8")))

    assert named <= set(COMMANDS)
    assert {"demo", "run", "replay", "doctor"} <= named
