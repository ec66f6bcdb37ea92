"""A warm start: the first version from recorded clicks, cut as the sessionizer would cut them."""

from __future__ import annotations

from pathlib import Path

from ader_stream.datasets import layout_for, open_dataset
from ader_stream.stream.blocks.columns import ColumnWriter
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import BlockRule, Session, SessionRule


def dataset_block(
    path: Path, blocks: BlockRule, rule: SessionRule, *, any_time: bool = False
) -> TrainingBlock:
    """Return a data set's sessions as one block; nothing of the sessions topic is read for it.

    A ``dataset.toml`` beside tables says how they contain clicks. Times that no click can have are
    refused, unless `any_time`.

    Raises
    ------
    DatasetError
        Nothing readable is there, or its times cannot be right.
    """
    window = SessionWindow(blocks, rule)
    numbers: list[int] = []
    writer = ColumnWriter()
    offset = 0
    dataset = open_dataset(path, blocks, rule.gap, layout_for(path, any_time=any_time or None))
    for number, clicks in dataset.blocks():
        numbers.append(number)
        for click in clicks:
            window.observe(click, offset)
            offset += 1
        window.advance(blocks.start(number + 1) + rule.lateness)
        writer.extend(_closed(window))
    return TrainingBlock(tuple(numbers), writer.columns().sorted(), {}, {})


def _closed(window: SessionWindow) -> list[Session]:
    window.drop_changes()
    return [
        Session(closed.key, tuple(closed.items), tuple(closed.times))
        for closed in window.take_output()
        if isinstance(closed, OpenSession)
    ]
