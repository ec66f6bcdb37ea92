from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner

from ader_stream.cli.main import COMMANDS
from ader_stream.cli.settings import settings
from tests.benchmarks import gate, sessionizer
from tests.benchmarks.results_table import BEGIN, END, RESULTS, markdown_table, read_results

README = Path(__file__).parents[2] / "README.md"


def test_readme_shows_every_setting_as_it_is() -> None:
    table = CliRunner().invoke(settings, ["--markdown"]).output

    assert table in README.read_text(encoding="utf-8")


def test_readme_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"ader-stream ([a-z][a-z-]*)", README.read_text(encoding="utf-8")))

    assert named <= set(COMMANDS)
    assert {"demo", "run", "replay", "doctor"} <= named


def test_readme_shows_the_results_as_they_are() -> None:
    table = markdown_table(read_results(RESULTS))

    assert BEGIN + table + END in README.read_text(encoding="utf-8")


def test_readme_shows_what_a_click_costs_as_it_was_measured() -> None:
    table = sessionizer.markdown_table(json.loads(sessionizer.RESULTS.read_text("utf-8")))

    shown = sessionizer.BEGIN + table + sessionizer.END
    assert shown in README.read_text(encoding="utf-8")


def test_readme_shows_what_the_gate_says_as_it_was_measured() -> None:
    result = json.loads((gate.RESULTS / "production.json").read_text("utf-8"))

    assert gate.BEGIN + gate.markdown_table(result) + gate.END in README.read_text("utf-8")
