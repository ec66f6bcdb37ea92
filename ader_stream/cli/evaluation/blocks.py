"""Read the blocks of an evaluation: the periods of a folder, or tables cut into sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ader_stream.datasets import TableLayout, open_dataset
from ader_stream.datasets.block_sessions import block_sessions
from ader_stream.datasets.detect import is_period_folder
from ader_stream.datasets.folder import fingerprint_of, period_files, read_folder_sessions
from ader_stream.errors import DatasetError
from ader_stream.types import BlockRule, Session

Sessions = Sequence[Sequence[str]]


class EvaluationBlocks(NamedTuple):
    """Blocks, block 0 first, and the SHA-256 that identifies each."""

    sessions: list[Sessions]
    fingerprints: list[str]


def read_blocks(
    path: Path, rule: BlockRule, gap: int, table: TableLayout, cycles: int | None
) -> EvaluationBlocks:
    """Read as many blocks as the cycles need; by default all.

    Parameters
    ----------
    path
        A folder of periods, or tables.
    rule
        Blocks of tables, unless their layout asks for blocks of equally many clicks.
    gap
        Session gap of tables, ms.
    table
        Where session, item and time are.
    cycles
        Number of cycles; None for all.

    Raises
    ------
    DatasetError
        The data cannot be read, or have too few blocks.
    """
    if is_period_folder(path) or (path.is_file() and path.name.startswith("period_")):
        return _periods(path, cycles)
    blocks = _table_blocks(path, rule, gap, table)
    if cycles is not None and cycles >= len(blocks):
        raise DatasetError(
            f"{path}: {cycles} cycles need {cycles + 1} blocks; it has {len(blocks)}: name fewer "
            "cycles, or shorter blocks (--block-length, --equal-blocks)"
        )
    used = blocks if cycles is None else blocks[: cycles + 1]
    return EvaluationBlocks(used, [_fingerprint(sessions) for sessions in blocks])


def _periods(path: Path, cycles: int | None) -> EvaluationBlocks:
    files = period_files(path)
    last = len(files) - 1 if cycles is None else cycles
    blocks: list[Sessions] = [*read_folder_sessions(path, range(last + 1))]
    return EvaluationBlocks(blocks, [fingerprint_of(file) for file in files])


def _table_blocks(path: Path, rule: BlockRule, gap: int, table: TableLayout) -> list[Sessions]:
    blocks = [block.clicks for block in open_dataset(path, rule, gap, table).blocks()]
    if not table.equal_blocks or table.has_order_only:
        return [_items(block_sessions(clicks, gap)) for clicks in blocks]
    sessions = _items(block_sessions(chain.from_iterable(blocks), gap))
    return equal_parts(sessions, table.equal_blocks)


def _items(sessions: Iterable[Session]) -> Sessions:
    """Return sessions in the order in which the trainer gets them: by their last click."""
    ordered = sorted(sessions, key=lambda one: (one.times[-1], one.times[0], one.key))
    return [session.items for session in ordered]


def equal_parts(sessions: Sessions, count: int) -> list[Sessions]:
    """Cut sessions into parts with about equally many clicks each; none is empty.

    >>> equal_parts([["a", "b"], ["c"], ["d"], ["e", "f"]], 2)
    [[['a', 'b'], ['c']], [['d'], ['e', 'f']]]
    """
    clicks = sum(map(len, sessions))
    parts: list[list[Sequence[str]]] = [[] for _ in range(count)]
    before = 0
    for session in sessions:
        parts[before * count // clicks].append(session)
        before += len(session)
    return [part for part in parts if part]


def _fingerprint(sessions: Sessions) -> str:
    digest = hashlib.sha256()
    for session in sessions:
        digest.update(repr(tuple(session)).encode())
    return digest.hexdigest()
