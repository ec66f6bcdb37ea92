"""The hook that writes the reference pages from the code."""

from __future__ import annotations

import json
import re

import pytest

import ader_stream
from ader_stream.cli.main import COMMANDS
from ader_stream.metrics import CATALOGUE
from ader_stream.settings import describe_settings
from docs.hooks import reference

DOCS = reference.ROOT / "docs"


def test_a_mark_is_replaced_by_what_its_generator_returns() -> None:
    page = reference.on_page_markdown("before\n\n<!-- generate: http-limits -->\n\nafter\n")

    assert page == f"before\n\n{reference.http_limits()}\n\nafter\n"


def test_every_generator_has_its_page() -> None:
    pages = "".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))

    assert sorted(reference.MARK.findall(pages)) == sorted(reference.GENERATORS)


def test_every_command_has_a_section_with_its_options() -> None:
    page = reference.commands()

    assert {f"ader-stream {name}" for name in COMMANDS} <= set(re.findall("## `(.*)`", page))
    assert "### `ader-stream models pin`" in page
    assert "| `--canary" in page


def test_every_setting_is_in_the_table_of_its_group() -> None:
    page = reference.settings()

    for name, variable, _, _ in describe_settings():
        assert f"| `{name}`<br>`{variable}` |" in page
    assert page.index("## `clicks`") < page.index("`clicks.topic`") < page.index("## `sessions`")


def test_settings_of_the_environment_do_not_change_the_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = reference.rights()
    monkeypatch.setenv("ADER_KAFKA_PREFIX", "shop")

    assert reference.rights() == before


def test_every_metric_is_listed_with_type_and_labels() -> None:
    page = reference.metrics()

    assert all(
        f"| `{metric.name}` | {metric.kind.__name__.lower()} |" in page for metric in CATALOGUE
    )
    assert "| `ader_dead_letters_total` | counter | clicks | `reason` |" in page


def test_every_schema_is_described_with_the_records_inside_it() -> None:
    page = reference.schemas()

    for file in reference.SCHEMAS.glob("*.avsc"):
        assert f"## `{json.loads(file.read_text('utf-8'))['name']}`\n" in page
    assert "### `Session`\n" in page


def test_every_route_is_described() -> None:
    page = reference.http_routes()

    for route in ("/healthz", "/readyz", "/metrics", "/recommend"):
        assert f"| `GET {route}` |" in page
    assert "| `POST /recommend` |" in page
    assert not re.search(r"\|  \|", page)


def test_every_package_is_described_by_its_docstring() -> None:
    page = reference.packages()

    for top in ("ader_stream/stream", "ader_stream/ader", "consumers"):
        assert re.search(rf"\| `{top}/` \| \S", page)
    assert not re.search(r"\|  \|", page)


def test_directions_of_imports_are_those_that_are_checked() -> None:
    page = reference.layers()

    assert "`ader_stream.ader` must not import `confluent_kafka`" in page
    assert page.index("ader_stream.cli") < page.index("ader_stream.types | ader_stream.errors")


def test_every_public_name_is_described_with_its_arguments() -> None:
    page = reference.library()

    for name in ader_stream.__all__:
        assert f"## `{name}`\n" in page
    assert "```text\ntrain_cycle(" in page
