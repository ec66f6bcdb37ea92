from __future__ import annotations

import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from ader_stream.cli.main import COMMANDS
from ader_stream.metrics import CATALOGUE
from ader_stream.settings import Settings, describe_settings
from ader_stream.testing import plugin
from tests.benchmarks import drift, gate, publish_to_live, results_table, sessionizer
from tests.benchmarks.page_table import BENCHMARKS, README, ROOT

TOP = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *TOP, *DOCS]
NOT_PLAIN = re.compile(
    r"(?<![-\w])(?:amiss|anew|lest|learnt|mend(?:s|ed)?|midst|thereby|told to|whoever"
    r"|came to (?:nothing|rest)|come to grief|displaced|go(?:es)? on|mislaid|stands? still)\b",
    re.IGNORECASE,
)
"""Words that are old-fashioned, or that stood for a term of the field."""

FIXTURES = {name for name in vars(plugin) if name.startswith("ader_")}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """A page without code, in which brackets are no links and `#` begins no heading."""
    without_blocks = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].strip("`").replace("[", "("), without_blocks)


def links_of(page: Path) -> Iterator[tuple[str, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose_of(page), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def texts_of(file: Path) -> Iterator[str]:
    """Docstrings, messages and comments."""
    with tokenize.open(file) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT):
                yield token.string


def named(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


@pytest.mark.parametrize("page", named(PAGES))
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    for path, anchor in links_of(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        if anchor:
            assert anchor in anchors_of(target), f"{page.name} links to {path}#{anchor}"


def test_readme_is_short() -> None:
    assert len(README.read_bytes()) <= 7_000


@pytest.mark.parametrize("page", named(PAGES))
def test_pages_name_no_command_that_does_not_exist(page: Path) -> None:
    used = set(re.findall(r"ader-stream ([a-z][a-z-]*)(?= |`|$)", "\n".join(code_of(page))))

    assert used <= set(COMMANDS)


def code_of(page: Path) -> list[str]:
    return re.findall(r"^```.*?^```|`[^`\n]+`", text_of(page), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", named([page for page in PAGES if page.stem != "CHANGELOG"]))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    folders = "ader_stream|consumers|tests|schemas|deploy|docs"
    found = re.findall(rf"`((?:{folders})/[\w./-]+)`", text_of(page))

    assert not [path for path in found if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", named(DOCS))
def test_pages_load_nothing_from_another_host(page: Path) -> None:
    assert "```mermaid" not in text_of(page)  # its script would come from a content network
    assert not re.search(r"!\[[^]]*\]\(https?:", text_of(page))


@pytest.mark.parametrize("page", named([README, *DOCS]))
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    groups = "|".join(Settings.model_fields)
    used = set(re.findall(rf"`((?:{groups})\.[a-z_]+)[` ]", text_of(page)))

    assert used <= {name for name, *_ in describe_settings()}


@pytest.mark.parametrize("page", named([README, *DOCS]))
def test_every_metric_that_a_page_names_exists(page: Path) -> None:
    used = set(re.findall(r"`(ader_(?!stream)[a-z_]+[a-z])`", text_of(page)))

    assert used <= {metric.name for metric in CATALOGUE} | FIXTURES


def test_guides_use_the_commands_of_daily_work() -> None:
    pages = [page for page in PAGES if page.stem not in ("CHANGELOG", "cli")]
    code = "\n".join(line for page in pages for line in code_of(page))

    missing = {name for name in COMMANDS if f"ader-stream {name}" not in code}
    assert not missing


def test_benchmarks_and_readme_show_the_results_as_they_are() -> None:
    results = results_table.read_results(results_table.RESULTS)

    table = results_table.TABLE.marked(results_table.markdown_table(results))
    assert table in text_of(BENCHMARKS)
    short = results_table.SHORT_TABLE.marked(results_table.short_table(results))
    assert short in text_of(README)


def test_benchmarks_show_what_a_click_costs_as_it_was_measured() -> None:
    table = sessionizer.markdown_table(json.loads(text_of(sessionizer.RESULTS)))

    assert sessionizer.TABLE.marked(table) in text_of(BENCHMARKS)


def test_benchmarks_show_what_the_gate_says_as_it_was_measured() -> None:
    result = json.loads(text_of(gate.RESULTS / "production.json"))

    assert gate.TABLE.marked(gate.markdown_table(result)) in text_of(BENCHMARKS)


def test_benchmarks_show_from_publishing_to_live_as_it_was_measured() -> None:
    table = publish_to_live.markdown_table(publish_to_live.read_results())

    assert publish_to_live.TABLE.marked(table) in text_of(BENCHMARKS)


def test_benchmarks_show_what_drift_rules_say_as_it_was_measured() -> None:
    table = drift.table(drift.read_results())

    assert drift.TABLE.marked(table) in text_of(BENCHMARKS)


def test_changelog_has_the_usual_form() -> None:
    changelog = text_of(ROOT / "CHANGELOG.md")

    releases = re.findall(r"^## (.*)$", changelog, flags=re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", name) for name in releases[1:])
    kinds = re.findall(r"^### (.*)$", changelog, flags=re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_entries_of_the_changelog_are_short() -> None:
    entries = re.findall(
        r"^- (?:.+\n)(?:  .+\n)*", text_of(ROOT / "CHANGELOG.md"), flags=re.MULTILINE
    )

    assert entries
    assert not [entry for entry in entries if entry.count("\n") > 3]


@pytest.mark.parametrize("page", named(PAGES))
def test_pages_are_written_in_plain_words(page: Path) -> None:
    assert not NOT_PLAIN.findall(prose_of(page))
    assert "companions" not in prose_of(page), "co-clicks"


@pytest.mark.parametrize("name", ["ader_stream", "consumers"])
def test_code_is_described_and_reports_in_plain_words(name: str) -> None:
    found = {
        f"{file.relative_to(ROOT)}: {word}"
        for file in (ROOT / name).rglob("*.py")
        for text in texts_of(file)
        for word in NOT_PLAIN.findall(text)
    }

    assert not found
