"""Fill pages from the code, so that they cannot differ from it.

A page holds marks, ``<!-- generate: NAME -->``; when mkdocs builds it, each one is replaced by the
Markdown that the generator of that name returns. Most generators ask the command line itself, whose
output is a public contract. The imports from the package stand together, at the top of this file.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from starlette.routing import Route

import ader_stream
from ader_stream.cli.main import cli
from ader_stream.metrics import Metrics
from ader_stream.monitor.status.routes import StatusRoutes
from ader_stream.monitor.status.whole import StatusBoard
from ader_stream.runtime.http import make_app
from ader_stream.serve import requests, routes

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"
MARK = re.compile(r"^<!-- generate: ([a-z-]+) -->$", re.MULTILINE)

Json = Mapping[str, Any]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the marks of a page; mkdocs calls this for each one."""
    return MARK.sub(lambda mark: GENERATORS[mark[1]](), markdown)


# --- the command line


def commands() -> str:
    """Return a section for each command, groups before their members."""
    context = click.Context(cli, info_name="ader-stream")
    found = (_section(command, of) for command, of in _walk(cli, context))
    return "\n\n".join(found)


def _walk(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield command, inner
        if isinstance(command, click.Group):
            yield from _walk(command, inner)


def _section(command: click.Command, context: click.Context) -> str:
    depth = context.command_path.count(" ")
    usage = command.get_usage(context).removeprefix("Usage: ")
    usage = re.sub(r"\s+", " ", usage)
    parts = [
        f"{'#' * (depth + 1)} `{context.command_path}`",
        _paragraphs(inspect.cleandoc(command.help or "")),
        f"```\n{usage}\n```",
    ]
    if options := list(_options(command, context)):
        parts.append(_table(("option", "meaning"), options))
    return "\n\n".join(parts)


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and "--help" not in parameter.opts:
            yield f"`{record[0]}`", _cell(record[1])


def _paragraphs(text: str) -> str:
    """Return a help text as Markdown; a block that must not be wrapped is code."""
    return "\n\n".join(map(_paragraph, text.replace("\f", "").split("\n\n")))


def _paragraph(text: str) -> str:
    return "```\n" + text.strip("\b\n") + "\n```" if text.startswith("\b") else text


# --- catalogues that commands print


def settings() -> str:
    """Return a table of settings for each group."""
    groups: dict[str, list[Json]] = {}
    for row in _printed_json("settings", "--json"):
        groups.setdefault(row["name"].partition(".")[0], []).append(row)
    return "\n\n".join(f"## `{name}`\n\n{_settings(rows)}" for name, rows in groups.items())


def _settings(rows: Sequence[Json]) -> str:
    cells = (
        (
            f"`{row['name']}`<br>`{row['variable']}`",
            _code(row["default"]),
            _cell(row["meaning"]),
        )
        for row in rows
    )
    return _table(("setting, variable", "default", "meaning"), cells)


def settings_changes() -> str:
    """Return the table of what happens when a setting changes."""
    return _printed("settings", "--changes")


def metrics() -> str:
    """Return the catalogue of metrics."""
    cells = (
        (
            f"`{row['name']}`",
            row["type"],
            _cell(row["unit"]),
            ", ".join(f"`{label}`" for label in row["labels"]),
            _cell(row["meaning"]),
        )
        for row in _printed_json("metrics", "--json")
    )
    return _table(("metric", "type", "unit", "labels", "meaning"), cells)


def rights() -> str:
    """Return the least rights of each worker."""
    return _printed("rights", "--markdown")


def _printed(*arguments: str) -> str:
    """Return what a command prints, whatever the environment sets."""
    unset = {name: None for name in os.environ if name.startswith("ADER_")}
    return CliRunner(env=unset).invoke(cli, arguments, catch_exceptions=False).output


def _printed_json(*arguments: str) -> list[Json]:
    return cast("list[Json]", json.loads(_printed(*arguments)))


# --- HTTP


def http_routes() -> str:
    """Return what a worker answers: the routes of the application that it serves."""
    recommend = routes.RecommendRoutes(cast("Any", None), lambda _: None, 20, _metrics())
    monitor = StatusRoutes(StatusBoard(), lambda: False)
    app = make_app(_metrics(), str, [*recommend.routes(), *monitor.routes()])
    cells = (
        (f"`{method} {route.path}`", _cell((route.endpoint.__doc__ or "").partition("\n")[0]))
        for route in app.routes
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"})
    )
    return _table(("route", "meaning"), cells)


def http_limits() -> str:
    """Return the bounds on a request for recommendations."""
    cells = [
        ("`k`", f"1 to {requests.MAX_K:,}"),
        ("items of a request", f"{requests.MAX_ITEMS:,}"),
        ("sessions of a batch", f"{requests.MAX_SESSIONS:,}"),
        ("bytes of a body", f"{requests.MAX_BODY:,}"),
    ]
    return _table(("what", "at most"), cells)


def _metrics() -> Metrics:
    return Metrics(CollectorRegistry())


# --- schemas


def schemas() -> str:
    """Return a section for each record type."""
    files = sorted(SCHEMAS.glob("*.avsc"))
    return "\n\n".join(_record(json.loads(file.read_text("utf-8")), 2) for file in files)


def _record(schema: Json, depth: int) -> str:
    """Return a record's section, and below it those of the records inside it."""
    rows = (
        (f"`{f['name']}`", _type(f["type"]), _default(f), _cell(f["doc"])) for f in _fields(schema)
    )
    parts = [f"{'#' * depth} `{schema['name']}`", schema.get("doc", "")]
    parts.append(_table(("field", "type", "default", "meaning"), rows))
    inner = (record for field in _fields(schema) for record in _records(field["type"]))
    return "\n\n".join([*parts, *(_record(record, depth + 1) for record in inner)])


def _fields(schema: Json) -> Iterable[Json]:
    return ({"doc": "", **field} for field in schema["fields"])


def _records(kind: Any) -> Iterator[Json]:
    """Yield the records that a type defines, not those inside them."""
    if isinstance(kind, list):
        for branch in kind:
            yield from _records(branch)
    elif isinstance(kind, dict) and kind["type"] == "record":
        yield kind
    elif isinstance(kind, dict):
        yield from _records(kind.get("items", kind.get("values", "null")))


def _type(kind: Any) -> str:
    """Name a type in a few words.

    >>> _type(["null", {"type": "array", "items": "long"}])
    'null or array of long'
    """
    if isinstance(kind, str):
        return kind
    if isinstance(kind, list):
        return " or ".join(map(_type, kind))
    if kind["type"] in ("array", "map"):
        return f"{kind['type']} of {_type(kind.get('items', kind.get('values')))}"
    return _cell(str(kind.get("name", kind["type"])))


def _default(field: Json) -> str:
    return _code(json.dumps(field["default"])) if "default" in field else ""


# --- the library


def library() -> str:
    """Return a section for each public name: its arguments, and its docstring."""
    return "\n\n".join(map(_public_name, ader_stream.__all__))


def _public_name(name: str) -> str:
    value = getattr(ader_stream, name)
    summary, _, details = (inspect.getdoc(value) or "").partition("\n\n")
    parts = [f"## `{name}`", _cell(summary), f"```text\n{_call(name, value)}\n```"]
    return "\n\n".join([*parts, f"```text\n{details}\n```"] if details else parts)


def _call(name: str, value: Any) -> str:
    try:
        parameters = inspect.signature(value).parameters
        shown = (_parameter(p) for key, p in parameters.items() if not key.startswith("_"))
        return f"{name}({', '.join(shown)})"
    except ValueError:  # an error that takes what its base takes
        return name


def _parameter(parameter: inspect.Parameter) -> str:
    """Return a parameter with its type; its default is in the docstring."""
    kind = parameter.annotation
    typed = f"{parameter.name}: {kind}" if isinstance(kind, str) else parameter.name
    return typed if parameter.default is parameter.empty else f"{typed} = …"


# --- packages


def packages() -> str:
    """Return what each package is for, as its docstring says."""
    found = sorted(
        file.parent
        for top in ("ader_stream", "consumers")
        for file in (ROOT / top).rglob("__init__.py")
    )
    return _table(("package", "content"), ((f"`{_path(p)}/`", _purpose(p)) for p in found))


def _path(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix()


def _purpose(folder: Path) -> str:
    tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
    return _cell((ast.get_docstring(tree) or "").partition("\n\n")[0])


def layers() -> str:
    """Return the contracts that import-linter checks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return "\n\n".join(map(_contract, project["tool"]["importlinter"]["contracts"]))


def _contract(contract: Json) -> str:
    if contract["type"] == "layers":
        lines = contract["layers"]
        within = f" (in {_names(contract['containers'])})" if "containers" in contract else ""
        return (
            f"**{contract['name']}**{within}, top to bottom:\n\n```\n" + "\n".join(lines) + "\n```"
        )
    sources, forbidden = (_names(contract[f"{kind}_modules"]) for kind in ("source", "forbidden"))
    return f"**{contract['name']}**: {sources} must not import {forbidden}."


def _names(modules: Sequence[str]) -> str:
    return ", ".join(f"`{module}`" for module in modules)


# --- Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    """Return a text that breaks no table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


GENERATORS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "settings-changes": settings_changes,
    "metrics": metrics,
    "rights": rights,
    "http-routes": http_routes,
    "http-limits": http_limits,
    "schemas": schemas,
    "library": library,
    "packages": packages,
    "layers": layers,
}
"""Name in a mark → what takes its place."""
