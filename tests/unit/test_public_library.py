from __future__ import annotations

import subprocess
import sys

import pytest

import ader_stream

PUBLIC = {
    *("AderError", "Session", "Settings", "State"),
    *("CycleReport", "CycleResult", "Method", "Recipe", "method", "recipe", "train_cycle"),
    *("evaluate", "load_state", "save_state", "top_k"),
}


def test_the_public_names_are_these() -> None:
    assert set(ader_stream.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(ader_stream, name).__doc__


def test_the_public_names_are_listed_before_they_are_imported() -> None:
    code = "import sys, ader_stream; sys.exit(not set(ader_stream.__all__) <= {*dir(ader_stream)})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nobody'"):
        ader_stream.nobody  # noqa: B018


def test_the_package_and_its_settings_load_no_torch() -> None:
    code = "import sys, ader_stream; ader_stream.Settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_name_that_needs_torch_names_the_extra() -> None:
    code = "import sys, ader_stream; sys.modules['torch'] = None; ader_stream.train_cycle"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = "train_cycle needs torch; pip install 'ader-stream[model]'"
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {expected}"
