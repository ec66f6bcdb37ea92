"""The documentation's example that scores with an ONNX export, run as a reader runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ader_stream import top_k
from ader_stream.ader.cycle import CycleResult
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.versions.export import export_version
from tests.fakes import FakeKafka
from tests.unit.versions.conftest import ITEMS, TOPICS

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "score_with_onnx.py"


@pytest.fixture
def exported(kafka: FakeKafka, published: Manifest, tmp_path: Path) -> Path:
    export_version(ModelReader(kafka, TOPICS), published, tmp_path / "exported")
    return tmp_path / "exported"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("items", [[ITEMS[3]], [*ITEMS[3:6], "never seen", ITEMS[7]], [*ITEMS]])
def test_it_recommends_what_is_served(exported: Path, cycle: CycleResult, items: list[str]) -> None:
    state = cycle.state
    done = run(exported, *items, "-k", 5)
    [best], _ = top_k(state.model(), [state.vocabulary.encode(items)], 5)
    printed = [line.split()[1] for line in done.stdout.splitlines()]
    assert printed == [state.vocabulary.item(int(item)) for item in best], done.stderr


def test_it_says_that_it_knows_no_item_of_the_session(exported: Path) -> None:
    done = run(exported, "never seen")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the version knows none of these items" in done.stderr
