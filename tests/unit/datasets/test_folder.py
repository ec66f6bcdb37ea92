from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from ader_stream.datasets import read_folder_sessions, read_through
from ader_stream.datasets.folder import FolderDataset
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.types import BlockRule

RULE = BlockRule(origin=1_000, length=100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two periods; in the first, sessions are interleaved."""
    (tmp_path / "period_0.txt").write_text("a hat\nb shoe\na shoe\n")
    (tmp_path / "period_1.txt.gz").write_bytes(gzip.compress(b"a hat\n"))
    return tmp_path


def read(folder: Path, gap: int = 61) -> list[tuple[int, list[tuple[str, str, int]]]]:
    blocks = FolderDataset(folder, RULE, gap).blocks()
    return [(block, [(c.key, c.item, c.time) for c in clicks]) for block, clicks in blocks]


def test_period_k_is_block_k_and_its_clicks_are_spread(folder: Path) -> None:
    assert read(folder) == [
        (0, [("a", "hat", 1_000), ("b", "shoe", 1_030), ("a", "shoe", 1_060)]),
        (1, [("a", "hat", 1_100)]),
    ]


def test_periods_are_numbered_not_sorted_as_text(tmp_path: Path) -> None:
    for number in range(11):
        (tmp_path / f"period_{number}.txt").write_text(f"a item-{number}\n")
    items = [clicks[0][1] for _, clicks in read(tmp_path)]
    assert items == [f"item-{number}" for number in range(11)]


def test_later_periods_are_not_read_before_they_are_needed(folder: Path) -> None:
    (folder / "period_1.txt.gz").write_bytes(b"no gzip")
    blocks = FolderDataset(folder, RULE, gap=61).blocks()
    assert next(blocks).number == 0
    with pytest.raises(DatasetError, match=r"period_1\.txt\.gz"):
        next(blocks)


def test_counts_the_clicks_of_the_first_blocks(folder: Path) -> None:
    dataset = FolderDataset(folder, RULE, gap=61)
    assert read_through(dataset).clicks == 4
    assert read_through(dataset, blocks=1).clicks == 3


def test_fingerprint_is_of_the_uncompressed_first_period(folder: Path) -> None:
    plain = FolderDataset(folder, RULE, gap=61).fingerprint
    raw = (folder / "period_0.txt").read_bytes()
    (folder / "period_0.txt").unlink()
    (folder / "period_0.txt.gz").write_bytes(gzip.compress(raw))
    zipped = FolderDataset(folder, RULE, gap=61).fingerprint
    assert plain == zipped == hashlib.sha256(raw).hexdigest()


def test_is_called_like_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert FolderDataset(Path(), RULE, gap=61).name == folder.name


def test_a_gap_too_short_names_the_file_and_the_remedy(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"period_0\.txt: sessions\.gap = 2 ms.*least 3ms"):
        read(folder, gap=2)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("only-a-session", "only-a-session"),
        ("a hat 3", "a hat 3"),
        ("", "''"),
        ("a \xff", r"a \\xff"),
    ],
)
def test_a_malformed_line_is_named(folder: Path, line: str, shown: str) -> None:
    (folder / "period_0.txt").write_bytes(f"a hat\n{line}\nb hat\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=rf"period_0\.txt, line 2: .*{shown}.*SESSION ITEM"):
        read(folder)


def test_an_empty_period_is_refused(folder: Path) -> None:
    (folder / "period_0.txt").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"period_0\.txt: is empty"):
        read(folder)


def test_half_a_gzip_file_is_refused(folder: Path) -> None:
    whole = (folder / "period_1.txt.gz").read_bytes()
    (folder / "period_1.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"period_1\.txt\.gz: cannot be read"):
        read(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist; expected a folder"):
        FolderDataset(tmp_path / "nowhere", RULE, gap=61)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_hole_in_the_numbering_is_refused(tmp_path: Path, missing: int) -> None:
    for number in {0, 1, 2} - {missing}:
        (tmp_path / f"period_{number}.txt").write_text("a hat\n")
    with pytest.raises(DatasetError, match=rf"no period_{missing}\.txt"):
        FolderDataset(tmp_path, RULE, gap=61)


def test_a_folder_without_periods_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no period_0\.txt"):
        FolderDataset(tmp_path, RULE, gap=61)


def test_a_period_that_is_there_twice_is_refused(folder: Path) -> None:
    (folder / "period_1.txt").write_text("a hat\n")
    with pytest.raises(DatasetError, match=r"period_1\.txt and period_1\.txt\.gz"):
        FolderDataset(folder, RULE, gap=61)


def test_sessions_come_in_the_order_of_their_last_clicks(tmp_path: Path) -> None:
    (tmp_path / "period_0.txt").write_text("a 1\nb 2\nc 3\na 4\nb 5\n")
    assert read_folder_sessions(tmp_path, [0]) == [[("3",), ("1", "4"), ("2", "5")]]


def test_sessions_come_for_the_periods_that_were_asked_for(folder: Path) -> None:
    assert read_folder_sessions(folder, [1, 0]) == [[("hat",)], [("shoe",), ("hat", "shoe")]]


@pytest.mark.parametrize("period", [-1, 2])
def test_sessions_of_a_period_that_is_not_there_are_refused(folder: Path, period: int) -> None:
    with pytest.raises(DatasetError, match=f"no period {period}; it has 0 to 1"):
        read_folder_sessions(folder, [period])
