"""Write the results of a trial as one Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ader_stream.cli.trial.advice import (
    BlockFacts,
    block_length,
    duration,
    findings,
    least_sessions,
    recommended_recipe,
)
from ader_stream.cli.trial.survey import Survey
from ader_stream.cli.trial.trained import Trained
from ader_stream.plausible_times import describe_time


@dataclass
class Results:
    """Everything on the page.

    Parameters
    ----------
    dataset
        Its name.
    left_out
        What was not read; empty for nothing.
    found
        Survey of the clicks; None where there are no times.
    blocks
        What the blocks are by.
    facts
        Of the last blocks, all of their sessions.
    baselines
        Name → mean recall.
    whole
        Methods trained on all sessions of the last blocks, or `whole_share` of them.
    compared
        Methods trained on `sample_share` of them.
    """

    dataset: str
    left_out: str
    found: Survey | None
    blocks: str
    facts: list[BlockFacts]
    baselines: dict[str, float] = field(default_factory=dict)
    whole: list[Trained] = field(default_factory=list)
    whole_share: float = 1.0
    compared: list[Trained] = field(default_factory=list)
    sample_share: float = 1.0
    seconds: float = 0.0


Row = tuple[str, ...]


def page(results: Results) -> str:
    """Return the page."""
    parts = (_data(results), _quality(results), _cost(results), _settings(results))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _data(results: Results) -> Iterator[str]:
    yield f"# {results.dataset}: would continual training work?\n"
    for finding in findings(results.facts, results.whole, results.compared, results.baselines):
        yield f"- {finding}"
    yield "\n## The data\n"
    if found := results.found:
        kind = "sessions" if found.keys_are_sessions else "users, whose clicks the gap cuts"
        yield (
            f"{found.clicks:,} clicks of about {found.keys:,} keys ({kind}) on about "
            f"{found.items:,} items, from {describe_time(found.first_time)} to "
            f"{describe_time(found.last_time)}."
        )
    yield f"Left out: {results.left_out or 'nothing'}. Blocks: {results.blocks}. The last blocks:\n"
    yield from _table(
        ("block", "sessions", "clicks", "of two clicks or more", "repeat clicks", "new items"),
        [
            (
                _block_name(number, len(results.facts)),
                f"{one.sessions:,}",
                f"{one.clicks:,}",
                f"{one.trained:.0%}",
                f"{one.repeats:.0%}",
                "" if number == 0 else f"{one.new_items:.0%}",
            )
            for number, one in enumerate(results.facts)
        ],
    )


def _block_name(number: int, blocks: int) -> str:
    behind = blocks - 1 - number
    return "before" if number == 0 else f"last − {behind}" if behind else "last"


def _quality(results: Results) -> Iterator[str]:
    yield "## Recall\n"
    yield (
        "Each block is predicted by what was trained on the blocks before it. Recall@20 is the "
        "share of next clicks that are among the first 20 items; items that no block before has "
        "are not counted.\n"
    )
    whole = results.whole, results.whole_share
    compared = results.compared, results.sample_share
    rows: list[Row] = [
        (name, _percent(results.whole_share), f"{value:.1f}", "", "")
        for name, value in results.baselines.items()
    ]
    rows += [_scores(one, share) for methods, share in (whole, compared) for one in methods]
    yield from _table(("method", "of the sessions", "Recall@20", "MRR@20", "by block"), rows)
    if results.sample_share < 1:
        yield (
            f"\nRows with {_percent(results.sample_share)} of the sessions compare methods with "
            "each other only: a sample knows fewer items, so that other clicks are counted."
        )


def _scores(one: Trained, share: float) -> Row:
    if not one.recall:
        return one.name, _percent(share), "no time", "", ""
    by_block = " ".join(f"{value:.1f}" for value in one.recall)
    return one.name, _percent(share), f"{fmean(one.recall):.1f}", f"{fmean(one.mrr):.1f}", by_block


def _cost(results: Results) -> Iterator[str]:
    yield "## Cost of an update cycle\n"
    rows = [
        (one.name, f"{one.clicks[-1]:,}", f"{one.seconds[-1]:,.0f} s", _whole_block(one, results))
        for one in results.whole + results.compared
        if one.seconds
    ]
    yield from _table(("method", "clicks", "time, on this machine", "of a whole block"), rows)
    yield f"\nThis page took {results.seconds / 60:.1f} minutes."


def _whole_block(one: Trained, results: Results) -> str:
    seconds = one.seconds[-1] / max(one.clicks[-1], 1) * results.facts[-1].clicks
    return f"about {seconds:,.0f} s"


def _settings(results: Results) -> Iterator[str]:
    yield "## Suggested settings\n"
    yield "```toml"
    found = results.found
    sessions = results.facts[-1].sessions * results.facts[-1].trained
    if found:
        length = block_length(found)
        sessions = found.sessions.get(length, sessions)
        yield "[sessions]"
        yield f'gap = "{duration(found.gap)}"  # cuts {found.cut[found.gap]:.1%} of the keys'
        yield "\n[blocks]"
        yield f'length = "{duration(length)}"  # about {sessions:,.0f} sessions to learn from'
    else:
        yield "[blocks]"
    yield f"min_sessions = {least_sessions(sessions)}  # a tenth of the usual"
    yield "\n[trainer]"
    yield f'recipe = "{recommended_recipe(results.compared)}"'
    yield "```"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"
