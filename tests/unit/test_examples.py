"""The examples of the documentation: what they need, and the library's."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

ALLOWED = {
    "train_and_recommend": {"ader_stream"},
    "clicks_to_recommendations": {"confluent_kafka", "fastavro"},
    "score_with_onnx": {"numpy", "onnxruntime"},
    "test_with_ader_stream": {"confluent_kafka"},
}
"""Example → what it may import beside the standard library."""


def imported_by(name: str) -> set[str]:
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found - sys.stdlib_module_names


def test_every_example_is_listed_and_explained() -> None:
    names = {file.stem for file in EXAMPLES.glob("*.py")}
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert names == ALLOWED.keys()
    assert set(re.findall(r"(?:python|pytest) docs/examples/(\w+)\.py", readme)) == names


@pytest.mark.parametrize("name", ALLOWED)
def test_an_example_needs_what_its_readme_says(name: str) -> None:
    assert imported_by(name) == ALLOWED[name]


def test_two_cycles_are_trained_and_items_recommended() -> None:
    command = [sys.executable, EXAMPLES / "train_and_recommend.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    first, second, after, *ranked = done.stdout.splitlines()
    recalls = [float(re.search(r"recall@20 (\d+\.\d) %", line)[1]) for line in (first, second)]  # type: ignore[index]
    assert (first[:8], second[:8]) == ("cycle 1:", "cycle 2:")
    assert "adaptive weight 0.00" in first
    assert "adaptive weight 0.00" not in second
    assert recalls[0] > 50  # of 20 out of 300 items, chance gives 7
    assert after.startswith("after ")
    scores = [float(line.split()[0]) for line in ranked]
    assert (len(scores), scores) == (5, sorted(scores, reverse=True))
