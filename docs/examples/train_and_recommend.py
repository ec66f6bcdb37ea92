"""Train two update cycles on a simulated shop, and recommend: the library without Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from ader_stream import State, recipe, top_k, train_cycle
from ader_stream.datasets import ShopSize, SimulatedShop
from ader_stream.types import BlockRule, Click

MINUTE_MS = 60_000
WEEK_MS = 7 * 24 * 60 * MINUTE_MS

Sessions = Sequence[tuple[str, ...]]
"""Items of each session, in the order of clicks."""


def main() -> None:
    """Train a version on each of two weeks, and test both on the third."""
    size = ShopSize(sessions=1_000, items=300)
    shop = SimulatedShop(BlockRule(0, WEEK_MS), 30 * MINUTE_MS, size)
    first, second, third = (sessions_of(block.clicks) for block in islice(shop.blocks(), 3))
    # A small model, so that the example takes seconds.
    small = replace(recipe("production"), hidden=64, batch_size=128, max_epochs=4)

    state: State | None = None  # the first version has no parent
    for cycle, sessions in enumerate([first, second], start=1):
        result = train_cycle(sessions, state, small, seed=0, on_progress=lambda _: None)
        state, report = result.state, result.report
        print(
            f"cycle {cycle}: {report.items} items, {report.exemplars} exemplars, adaptive weight "
            f"{report.adaptive_weight:.2f}, recall@20 {recall(state, third, 20):.1f} % on week 3"
        )

    assert state
    session = third[0][:2]
    [best], [scores] = top_k(state.model(), [state.vocabulary.encode(session)], 5)
    print(f"after {', '.join(session)}:")
    for item, score in zip(best, scores, strict=True):
        print(f"{score:8.3f}  {state.vocabulary.item(int(item))}")


def sessions_of(clicks: Iterable[Click]) -> Sessions:
    """Gather the items of each session, in the order of clicks."""
    items: dict[str, list[str]] = {}
    for click in clicks:
        items.setdefault(click.key, []).append(click.item)
    return [tuple(clicked) for clicked in items.values()]


def recall(state: State, sessions: Sessions, k: int) -> float:
    """Return the percentage of sessions whose last item is among the k best after the others.

    Sessions without a known item before the last click are left out.
    """
    encoded = [(state.vocabulary.encode(items[:-1]), items[-1]) for items in sessions]
    tested = [(known, target) for known, target in encoded if known]
    lists, _ = top_k(state.model(), [known for known, _ in tested], k)
    hits = [
        target in {state.vocabulary.item(int(item)) for item in best}
        for best, (_, target) in zip(lists, tested, strict=True)
    ]
    return 100 * sum(hits) / len(hits)


if __name__ == "__main__":
    main()
