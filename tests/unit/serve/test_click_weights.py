from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.ader.artifact.state import untrained
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.models.base import Architecture
from ader_stream.serve.click_weights import click_weights
from ader_stream.serve.loaded_versions import Version
from ader_stream.serve.recommending import recommend

AXES = 8
BETWEEN_0_AND_1 = "item-8"


@pytest.fixture(scope="module")
def shop() -> Version:
    """Version whose items 0 to 7 have nothing in common, and item 8 as much of 0 as of 1."""
    model = untrained(Architecture(hidden=AXES, blocks=0, maxlen=5, encoder="core")).model()
    generator = torch.Generator().manual_seed(0)
    model.initialise(generator)
    model.grow(AXES + 1, generator, item_bound=0.5)
    with torch.no_grad():
        model.items.weight[:AXES] = torch.eye(AXES)
        model.items.weight[AXES] = model.items.weight[0] + model.items.weight[1]
    items = [f"item-{number}" for number in range(AXES + 1)]
    return Version(1, 1, 0, model, Vocabulary.of(items), ("item-3",))


def test_what_has_nothing_to_do_with_an_item_weighs_nothing(shop: Version) -> None:
    [found] = click_weights(shop, ["item-0", "item-5", "item-1"], [BETWEEN_0_AND_1])
    assert {click.item for click in found} == {"item-0", "item-1"}
    assert sum(click.weight for click in found) == pytest.approx(1)


def test_the_newer_of_two_clicks_that_are_alike_weighs_more(shop: Version) -> None:
    [found] = click_weights(shop, ["item-0", "item-5", "item-1"], [BETWEEN_0_AND_1])
    assert [click.item for click in found] == ["item-1", "item-0"]
    assert found[0].weight > found[1].weight


def test_an_only_click_has_the_whole_weight(shop: Version) -> None:
    assert click_weights(shop, ["new", "item-0"], ["item-8", "item-2"]) == [[("item-0", 1.0)]] * 2


def test_clicks_that_the_model_does_not_read_weigh_nothing(shop: Version) -> None:
    last = ["item-1", "item-2", "item-3", "item-4", "item-5"]
    assert click_weights(shop, ["item-0", *last], [BETWEEN_0_AND_1]) == click_weights(
        shop, last, [BETWEEN_0_AND_1]
    )


@pytest.mark.parametrize("session", [(), ("new",)])
def test_without_a_known_click_there_is_no_reason(shop: Version, session: tuple[str, ...]) -> None:
    assert click_weights(shop, session, ["item-1", "item-2"]) == [[], []]


@given(st.lists(st.integers(0, 34), max_size=9))
def test_the_weights_of_every_session_are_shares_in_order(
    version: Version, numbers: list[int]
) -> None:
    session = [f"item-{number}" for number in numbers]
    recommended = [item for item, _ in recommend(version, [session], 7)[0].items]
    for found in click_weights(version, session, recommended):
        weights = [click.weight for click in found]
        assert weights == sorted(weights, reverse=True)
        assert not found or sum(weights) == pytest.approx(1)
        assert {click.item for click in found} <= {*session[-5:], *session}
