from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ader_stream.ader.artifact.state import untrained
from ader_stream.ader.data.packed_batch import PackedBatch
from ader_stream.ader.models.base import Architecture, DropoutShares
from ader_stream.ader.models.layers import Dropout
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.ader.recipes import PAPER, Recipe


def layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-8).sqrt()


def as_the_authors_write_it(model: SASRec, items: list[int]) -> Tensor:
    """One session, click by click, without padding, masks or batches."""
    hidden, length = model.architecture.hidden, len(items)
    x = model.items.weight[torch.tensor(items) - 1] * math.sqrt(hidden)
    x = x + model.positions[-length:]
    for block in model.blocks:
        attention, feed = block.attention, block.feed_forward
        queries = layer_norm(x)
        rows = []
        for t in range(length):
            keys, values = attention.key(x[: t + 1]), attention.value(x[: t + 1])
            scores = keys @ attention.query(queries[t]) / math.sqrt(hidden)
            rows.append(queries[t] + scores.softmax(0) @ values)
        x = layer_norm(torch.stack(rows))
        x = x + feed.outer(torch.relu(feed.inner(x)))
    return layer_norm(x)[-1]


def test_session_is_represented_as_in_the_authors_code(model: SASRec) -> None:
    with torch.no_grad():
        ours = model(torch.tensor([[3, 1, 9, 9]]))
        torch.testing.assert_close(ours[0], as_the_authors_write_it(model, [3, 1, 9, 9]))


def test_left_padding_changes_nothing(model: SASRec) -> None:
    alone = model(torch.tensor([[5, 2]]))
    padded = model(torch.tensor([[0, 0, 0, 5, 2], [1, 2, 3, 4, 5]]))
    torch.testing.assert_close(padded[:1], alone)


def test_padding_gets_no_gradient(model: SASRec) -> None:
    model(torch.tensor([[0, 0, 5]]))[0, 0].backward()
    assert model.items.weight.grad is not None
    touched = model.items.weight.grad.abs().sum(1).nonzero().flatten()
    assert touched.tolist() == [4]


def test_order_of_clicks_matters(model: SASRec) -> None:
    one, other = model(torch.tensor([[1, 2, 3], [2, 1, 3]]))
    assert not torch.allclose(one, other)


def test_growing_keeps_the_old_rows_and_draws_the_new_ones_within_the_bound(model: SASRec) -> None:
    old = model.items.weight.detach().clone()
    model.grow(12, torch.Generator().manual_seed(1), item_bound=0.01)
    assert model.n_items == 12
    torch.testing.assert_close(model.items.weight[:9], old, rtol=0, atol=0)
    new = model.items.weight[9:].detach()
    assert 0 < new.abs().min() <= new.abs().max() <= 0.01


def test_new_rows_depend_on_the_generator_alone(tiny: Recipe) -> None:
    def grown(seed: int) -> Tensor:
        model = untrained(tiny.architecture).model()
        model.grow(3, torch.Generator().manual_seed(seed), item_bound=0.1)
        return model.items.weight

    assert torch.equal(grown(1), grown(1))
    assert not torch.equal(grown(1), grown(2))


def test_weights_start_within_the_glorot_bound(tiny: Recipe) -> None:
    model = untrained(tiny.architecture).model()
    model.initialise(torch.Generator().manual_seed(0))
    query = model.blocks[0].attention.query  # type: ignore[union-attr]
    assert 0 < query.weight.abs().max() <= math.sqrt(6 / (16 + 16))  # type: ignore[union-attr,operator]
    assert model.positions.abs().max() <= math.sqrt(6 / (6 + 16))


def test_paper_model_has_its_published_size() -> None:
    with torch.device("meta"):
        model = SASRec(PAPER.architecture, n_items=43_136)
    layers = 2 * (5 * (150 * 150 + 150) + 2 * 2 * 150) + 2 * 150
    assert sum(p.numel() for p in model.parameters()) == 43_136 * 150 + 50 * 150 + layers


def test_dropout_leaves_evaluation_alone() -> None:
    x = torch.randn(4, 5)
    assert Dropout(0.5).eval()(x) is x


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(share).train()(torch.ones(1000, 401))
    assert (dropped == 0).float().mean() == pytest.approx(share, abs=0.003)
    assert dropped.mean() == pytest.approx(1.0, abs=0.006)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - share)])


def test_dropout_changes_training_only(tiny: Recipe) -> None:
    model = SASRec(Architecture(16, 2, 6), n_items=9, dropped=DropoutShares(0.5))
    model.initialise(torch.Generator().manual_seed(0))
    inputs = torch.tensor([[1, 2, 3]])
    assert torch.equal(model.eval()(inputs), model(inputs))
    assert not torch.equal(model.train()(inputs), model(inputs))


def test_training_reads_and_teaches_the_item_table_as_embedding_and_output_do(
    model: SASRec,
) -> None:
    inputs, other = torch.tensor([[0, 3, 1], [2, 9, 9]]), torch.tensor([[5, 5]])
    (model(inputs) @ model.item_table().T).sum().backward()
    model(other).sum().backward()
    assert model.items.weight.grad is not None
    expected = model.items.weight.grad.clone()
    model.zero_grad()

    batches = [PackedBatch([inputs]), PackedBatch([other])]
    table, embedded = model.look_up(batches)
    sessions, others = map(model.represent, embedded, batches)
    ((sessions @ table.T).sum() + others.sum()).backward()
    torch.testing.assert_close(model.items.weight.grad, expected)


def test_some_items_are_looked_up_with_what_is_read(model: SASRec) -> None:
    inputs, columns = torch.tensor([[0, 3, 1], [2, 9, 9]]), torch.tensor([8, 2, 8])
    batches = [PackedBatch([inputs])]
    layer, [embedded] = model.look_up(batches, columns)
    whole, [expected] = model.look_up(batches)
    torch.testing.assert_close((layer, embedded), (whole[columns], expected))


def test_pieces_are_represented_as_if_each_session_stood_alone(model: SASRec) -> None:
    pieces = PackedBatch([torch.tensor([[5], [2]]), torch.tensor([[0, 3, 1], [4, 9, 9]])])
    together = model.represent(model.items.weight[pieces.rows], pieces)
    alone = [model(torch.tensor([session])) for session in ([5], [2], [3, 1], [4, 9, 9])]
    torch.testing.assert_close(together, torch.cat(alone))
