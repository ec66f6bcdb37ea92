"""The runbook: a section for each alert, with queries that parse and name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ader_stream.observability.rule import Links, Recording
from ader_stream.observability.rules_file import ALERTS, GROUPS
from tests.unit.observability.queries import faults_of

RUNBOOK = Path(__file__).parents[3] / "docs/guides/runbook.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(RUNBOOK.read_text("utf-8")))
RECORDED = {rule.name for group in GROUPS for rule in group.rules if isinstance(rule, Recording)}

every_section = pytest.mark.parametrize("name", SECTIONS)


def queries(name: str) -> list[str]:
    return re.findall(r"^```promql\n(.*?)^```", SECTIONS[name], flags=re.MULTILINE | re.DOTALL)


def part(name: str, title: str) -> str:
    found = re.search(
        rf"^\*\*{title}\.\*\*\s(.*?)(?=^\*\*|\Z)", SECTIONS[name], re.MULTILINE | re.DOTALL
    )
    return found[1] if found else ""


def test_every_alert_has_a_section_in_the_order_of_the_rules() -> None:
    assert list(SECTIONS) == list(dict.fromkeys(alert.name for alert in ALERTS))


def test_the_link_of_an_alert_leads_to_its_section() -> None:
    """mkdocs makes an anchor of a heading's lower case."""
    anchors = {name.lower() for name in SECTIONS}

    assert {Links().runbook_of(alert).partition("#")[2] for alert in ALERTS} == anchors
    assert Links().runbook.endswith(f"guides/{RUNBOOK.stem}.html")


@every_section
def test_a_section_says_what_it_means_and_what_to_do(name: str) -> None:
    titles = re.findall(r"^\*\*(\w+)\.\*\*", SECTIONS[name], flags=re.MULTILINE)

    assert titles == ["Meaning", "Impact", "Diagnosis", "Mitigation"]


@every_section
def test_diagnosis_has_a_query_and_a_command(name: str) -> None:
    assert queries(name)
    assert re.search(r"`(ader-stream|curl|date|top) ?[^`]*`", part(name, "Diagnosis"))


@every_section
def test_mitigation_says_how_to_undo_it_or_leads_to_a_section_that_does(name: str) -> None:
    text = part(name, "Mitigation")

    assert re.search(r"undo|cannot be|stay closed|changed back|lasts until", text) or "](#" in text


@every_section
def test_queries_parse_and_name_metrics_and_labels_that_exist(name: str) -> None:
    assert not [fault for query in queries(name) for fault in faults_of(query, RECORDED)]
