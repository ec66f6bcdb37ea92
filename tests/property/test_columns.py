from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.stream.blocks.columns import ColumnWriter, SessionColumns
from ader_stream.types import ROWS_AT_ONCE, Session

Row = tuple[str, tuple[str, ...], int, int]

texts = st.text(max_size=4)
rows = st.lists(
    st.builds(
        lambda key, items, first, length: Session(
            key, tuple(items), (first, *[first] * (len(items) - 1), first + length)[: len(items)]
        ),
        texts,
        st.lists(texts, min_size=1, max_size=4),
        st.integers(0, 3),
        st.integers(0, 3),
    )
)


def reported(columns: SessionColumns) -> list[Row]:
    first, last = columns.first.tolist(), columns.last.tolist()
    return list(zip(columns.keys(), columns.items, first, last, strict=True))


def reported_of(sessions: list[Session]) -> list[Row]:
    return [(s.key, s.items, s.times[0], s.times[-1]) for s in sessions]


@given(rows)
def test_what_was_written_comes_back(sessions: list[Session]) -> None:
    columns = SessionColumns.of(sessions)
    assert reported(columns) == reported_of(sessions)
    assert len(columns) == len(columns.items) == len(sessions)
    assert columns.items.clicks == sum(len(session.items) for session in sessions)


@given(rows)
def test_sessions_are_sorted_as_python_sorts_them(sessions: list[Session]) -> None:
    expected = sorted(sessions, key=lambda s: (s.times[-1], s.times[0], s.key))
    assert reported(SessionColumns.of(sessions).sorted()) == reported_of(expected)


@given(rows, st.data())
def test_sessions_are_taken_in_any_order(sessions: list[Session], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(sessions) - 1))) if sessions else []
    taken = SessionColumns.of(sessions).take(np.array(chosen, np.int64))
    assert reported(taken) == reported_of([sessions[row] for row in chosen])


def test_more_sessions_than_are_copied_at_a_time() -> None:
    count = 2 * ROWS_AT_ONCE + 1
    sessions = [
        Session(str(n), ("a",) * (n % 3 + 1), (count - n,) * (n % 3 + 1)) for n in range(count)
    ]
    writer = ColumnWriter()
    writer.extend(sessions[:100])
    writer.extend(sessions[100:])
    assert reported(writer.columns().sorted()) == reported_of(sessions[::-1])


def test_sessions_can_be_looked_for() -> None:
    items = SessionColumns.of([Session("a", ("x", "y"), (0, 1))]).items
    assert ("x", "y") in items
    assert ("x",) not in items
