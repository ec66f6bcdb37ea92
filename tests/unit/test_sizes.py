"""Folders and functions stay small enough to be read."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [file for name in ("ader_stream", "consumers") for file in (ROOT / name).rglob("*.py")]

MODULES = 12
"""In a folder, at most, besides `__init__`."""

LINES = 45
"""Of code in a function, at most, without its signature, docstring, comments and blank lines."""

HOT_PATH = {"observe_plain"}
"""Nearly every click goes through this one loop: calls in it were measured, and cost too much."""


def functions_of(file: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the lines of code of each function."""
    text = file.read_text("utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1 if ast.get_docstring(node) else 0 :]
            code = lines[body[0].lineno - 1 : node.end_lineno] if body else []
            yield node.name, sum(line.strip()[:1] not in ("", "#") for line in code)


def test_no_folder_has_more_modules_than_can_be_kept_in_mind() -> None:
    folders = Counter(file.parent for file in SOURCES if file.name != "__init__.py")
    assert not {str(folder): n for folder, n in folders.items() if n > MODULES}


def test_no_function_is_longer_than_a_page() -> None:
    long = {
        f"{file.relative_to(ROOT)}: {name}": lines
        for file in SOURCES
        for name, lines in functions_of(file)
        if lines > LINES and name not in HOT_PATH
    }
    assert not long
