from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ader_stream.runtime.code_version import code_version, describe_build, source_hash


def test_the_code_is_named_by_version_and_source() -> None:
    version, _, source = code_version().partition("+")
    assert version.count(".") == 2
    assert len(bytes.fromhex(source)) == 6


def test_a_build_names_torch_only_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    build = describe_build()
    assert f"{build['version']}+{build['code']}" == code_version()
    assert [name for name, value in build.items() if not value] == ["torch"]
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2.9"))
    assert describe_build() == build | {"torch": "2.9"}


def test_the_hash_covers_every_file_in_every_folder(tmp_path: Path) -> None:
    hashes = []
    for place in ("model.py", "loss/kl.py", "loss/deep/er/ce.py", "loss/moved.py"):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        for text in ("one\n", "two\n"):
            file.write_text(text)
            hashes.append(source_hash(tmp_path))
    (tmp_path / "loss/moved.py").rename(tmp_path / "moved.py")
    hashes.append(source_hash(tmp_path))
    assert len(set(hashes)) == len(hashes)
    (tmp_path / "notes.txt").write_text("no code")
    assert source_hash(tmp_path) == hashes[-1]


def test_the_hash_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for checkout in ("one", "another/deeper"):
        file = tmp_path / checkout / "loss/kl.py"
        file.parent.mkdir(parents=True)
        file.write_text("the same\n")
    assert source_hash(tmp_path / "one") == source_hash(tmp_path / "another/deeper")
