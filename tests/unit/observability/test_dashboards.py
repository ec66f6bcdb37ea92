"""The dashboards: what is committed, what queries name, and what Grafana's own linter checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ader_stream.observability.dashboards.files import dashboards_json
from ader_stream.observability.rule import Component, Recording
from ader_stream.observability.rules_file import GROUPS
from tests.unit.observability.queries import faults_of

BOARDS = {name: json.loads(text) for name, text in dashboards_json().items()}
RECORDED = {rule.name for group in GROUPS for rule in group.rules if isinstance(rule, Recording)}

every_board = pytest.mark.parametrize("name", BOARDS)


def filled_in(query: str) -> str:
    """A query with values in place of Grafana's variables."""
    values = {"$__rate_interval": "5m", "$prefix": ".*", "$version": ".*"}
    for variable, value in values.items():
        query = query.replace(variable, value)
    return query


def targets(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in BOARDS[name]["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target


@every_board
def test_queries_parse_and_name_metrics_and_labels_that_exist(name: str) -> None:
    annotations = [each["expr"] for each in BOARDS[name]["annotations"]["list"]]
    queries = [*annotations, *(target["expr"] for _, target in targets(name))]

    assert not [fault for q in queries for fault in faults_of(filled_in(q), RECORDED)]


@every_board
def test_every_query_is_of_the_chosen_pipelines(name: str) -> None:
    assert not [title for title, target in targets(name) if "$prefix" not in target["expr"]]


@every_board
def test_panels_have_title_description_unit_and_the_data_source_of_the_variable(name: str) -> None:
    for panel in BOARDS[name]["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@every_board
def test_panels_have_numbers_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = BOARDS[name]["panels"]
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@every_board
def test_a_dashboard_has_variables_that_follow_the_time_range(name: str) -> None:
    variables = {each["name"]: each for each in BOARDS[name]["templating"]["list"]}

    assert list(variables)[:2] == ["datasource", "prefix"]
    assert ("version" in variables) is any(
        "$version" in target["expr"] for _, target in targets(name)
    )
    assert all(each["refresh"] == 2 for each in variables.values() if each["type"] == "query")


@every_board
def test_series_have_names(name: str) -> None:
    assert not [title for title, target in targets(name) if not target["legendFormat"]]


@every_board
def test_a_dashboard_marks_blocks_and_versions_and_is_not_edited_by_hand(name: str) -> None:
    marks = [each["name"] for each in BOARDS[name]["annotations"]["list"]]

    assert marks == ["Block ends", "Version served"]
    assert BOARDS[name]["editable"] is False


def test_every_component_of_an_alert_has_its_dashboard() -> None:
    assert {f"ader-{component.value}" for component in Component} | {"ader-overview"} == set(BOARDS)


def test_the_overview_is_one_screen() -> None:
    """A panel row is 30 px and a gap of 8 px: 11 rows are 418 px."""
    lowest = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in BOARDS["ader-overview"]["panels"])

    assert lowest <= 20
