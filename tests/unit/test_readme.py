from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner

from ader_stream.cli.main import COMMANDS
from ader_stream.cli.rights import rights
from ader_stream.cli.settings import settings
from tests.benchmarks import gate, publish_to_live, results_table, sessionizer

README = Path(__file__).parents[2] / "README.md"


def test_readme_shows_every_setting_as_it_is() -> None:
    table = CliRunner().invoke(settings, ["--markdown"]).output

    assert table in README.read_text(encoding="utf-8")


def test_readme_shows_every_right_of_a_worker_as_it_is() -> None:
    table = CliRunner().invoke(rights, ["--markdown"]).output

    assert f"<!-- rights: ader-stream rights --markdown -->\n{table}" in README.read_text("utf-8")


def test_readme_shows_when_settings_may_change_as_it_is() -> None:
    table = CliRunner().invoke(settings, ["--changes"]).output

    assert f"{table}<!-- /changes -->" in README.read_text(encoding="utf-8")


def test_readme_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"ader-stream ([a-z][a-z-]*)", README.read_text(encoding="utf-8")))

    assert named <= set(COMMANDS)
    assert {"demo", "run", "replay", "doctor"} <= named


def test_readme_shows_the_results_as_they_are() -> None:
    table = results_table.markdown_table(results_table.read_results(results_table.RESULTS))

    assert results_table.TABLE.marked(table) in README.read_text(encoding="utf-8")


def test_readme_shows_what_a_click_costs_as_it_was_measured() -> None:
    table = sessionizer.markdown_table(json.loads(sessionizer.RESULTS.read_text("utf-8")))

    assert sessionizer.TABLE.marked(table) in README.read_text(encoding="utf-8")


def test_readme_shows_what_the_gate_says_as_it_was_measured() -> None:
    result = json.loads((gate.RESULTS / "production.json").read_text("utf-8"))

    assert gate.TABLE.marked(gate.markdown_table(result)) in README.read_text("utf-8")


def test_readme_shows_from_publishing_to_live_as_it_was_measured() -> None:
    table = publish_to_live.markdown_table(publish_to_live.read_results())

    assert publish_to_live.TABLE.marked(table) in README.read_text("utf-8")
