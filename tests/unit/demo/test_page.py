from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from ader_stream.demo.page import render_page, write_report
from ader_stream.demo.report import DemoReport
from ader_stream.paper_results import DIGINETICA


class Page(HTMLParser):
    """Cells of every table row, and whatever a browser would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.loads: list[str] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loading = {"src", "srcset", "href", "data", "action"}
        self.loads += [value or "" for name, value in attrs if name in loading]
        if tag == "tr":
            self.rows.append([])
        self._in_cell = tag == "td"

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1].append(data)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<style>.*</style>|<[^>]+>", " ", html, flags=re.S).split())


def test_writes_json_html_and_plots(report: DemoReport, tmp_path: Path) -> None:
    write_report(report, DIGINETICA, tmp_path / "new" / "out")
    assert {file.name for file in (tmp_path / "new" / "out").iterdir()} == {
        "report.json",
        "report.html",
        "recall_at_20.png",
        "mrr_at_20.png",
        "new_item_share.png",
        "training_time.png",
        "publish_to_live.png",
    }
    written = (tmp_path / "new" / "out" / "report.json").read_text(encoding="utf-8")
    assert json.loads(written) == report.as_json()


def test_the_page_loads_nothing(report: DemoReport) -> None:
    html = render_page(report, DIGINETICA)
    loads = Page(html).loads
    assert len(loads) == 10  # five plots in two themes
    assert all(load.startswith("data:image/svg+xml;base64,") for load in loads)
    assert not re.search(r"@import|url\(|<script|<link", html)


def test_the_tables_tell_every_block(report: DemoReport) -> None:
    rows = [row for row in Page(render_page(report, None)).rows if row]
    assert rows == [
        ["0", "1,000", "300", *["–"] * 8],
        ["1", "900", "280", "18.2", "1", "25.00", "50.00", "10.00", "15.00", "200", "7"],
        ["2", "800", "250", "9.5", "2", "25.00", "60.00", "10.00", "15.00", "200", "7"],
        ["0", "1", "–", "9", "52.50", "0.000", "4,000", "12.5", "0.25"],
        ["1", "2", "1", "6", "–", "0.400", "4,000", "8.5", "–"],
    ]


def test_the_papers_scores_stand_beside_ours_and_are_cited(report: DemoReport) -> None:
    html = render_page(report, DIGINETICA)
    assert Page(html).rows[2][9:11] == ["49.45", "17.71"]
    assert DIGINETICA.source in text_of(html)
    assert "paper" not in text_of(render_page(report, None))


def test_simulated_clicks_are_called_so_and_recorded_ones_are_not(report: DemoReport) -> None:
    simulated = text_of(render_page(replace(report, simulated=True), None))
    assert "The clicks are simulated." in simulated
    assert "simulated" not in text_of(render_page(report, None))


def test_a_data_sets_name_cannot_become_markup(report: DemoReport) -> None:
    html = render_page(report, None)
    assert "Clicks &lt;of&gt; ours" in html
    assert "<of>" not in html


def test_key_figures_are_there_without_any_score(report: DemoReport) -> None:
    text = text_of(render_page(replace(report, blocks=()), None))
    assert "Recall@20 – %" in text
    assert "2,700 of 2,700 sent" in text
    assert "Apache Kafka 4.1.0, from an image." in text
