from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.dataset import Batch
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.packed_batch import PackedBatch
from ader_stream.ader.models import core as core_module
from ader_stream.ader.models.base import POPULARITY, Architecture, DropoutShares
from ader_stream.ader.models.co_clicks import CO_CLICK_DECAY
from ader_stream.ader.models.core import NEVER_CLICKED, RECENCY, TURN_RATE, Core
from ader_stream.ader.models.ranking import rank_targets, top_k
from ader_stream.ader.models.repeat_clicks import FIRST_GAINS, by_kind
from ader_stream.ader.recipes import PRODUCTION
from ader_stream.ader.training.ensemble_loss import EnsembleLoss
from ader_stream.ader.training.losses import Loss, PlainLoss
from ader_stream.ader.training.sampled_softmax import SampledLoss
from ader_stream.ader.training.targets import Labels

Block = list[tuple[str, ...]]

ARCHITECTURE = Architecture(16, 0, 6, encoder="core", temperature=0.1)


@pytest.fixture
def core() -> Core:
    generator = torch.Generator().manual_seed(7)
    core = Core(ARCHITECTURE, 0, DropoutShares(0.5, 0.5))
    core.initialise(generator)
    core.grow(9, generator, item_bound=0.5)
    core.pull.zero_()
    return core.eval()


def clicked(times: dict[int, int]) -> EncodedBlock:
    """A block of sessions of one click."""
    return EncodedBlock.of([[item] for item, count in times.items() for _ in range(count)], 6)


def calibrate(core: Core, batch: Batch, times: int = 100) -> None:
    """Let clicks stand for so many of their kind that they are enough to go by."""
    core.calibrate([batch], times * len(batch.targets))


def clicked_often(item: int, times: int) -> EncodedBlock:
    """A block of one session."""
    return EncodedBlock.of([[item] * times], 6)


def unit(core: Core, item: int) -> torch.Tensor:
    return functional.normalize(core.items.weight[item - 1], dim=-1)


def test_one_click_is_its_items_direction_over_the_temperature(core: Core) -> None:
    torch.testing.assert_close(core(torch.tensor([[4]]))[0], unit(core, 4) / 0.1)


def test_older_clicks_count_less_at_first(core: Core) -> None:
    direction = RECENCY**2 * unit(core, 1) + RECENCY * unit(core, 2) + unit(core, 3)
    expected = functional.normalize(direction, dim=-1) / 0.1
    torch.testing.assert_close(core(torch.tensor([[1, 2, 3]]))[0], expected)


def test_clicks_like_the_last_one_can_count_more(core: Core) -> None:
    with torch.no_grad():
        core.age.zero_()
        core.likeness.fill_(0.4)  # times LIKENESS_RATE
    likeness = unit(core, 1) @ unit(core, 2)
    direction = torch.exp(2 * likeness) * unit(core, 1) + math.exp(2) * unit(core, 2)
    expected = functional.normalize(direction, dim=-1) / 0.1
    torch.testing.assert_close(core(torch.tensor([[1, 2]]))[0], expected)


def test_a_session_is_turned_onward(core: Core) -> None:
    with torch.no_grad():
        core.turn.normal_(generator=torch.Generator().manual_seed(3))
    onward = unit(core, 4) + TURN_RATE * (unit(core, 4) @ core.turn)
    expected = functional.normalize(onward, dim=-1) / 0.1
    torch.testing.assert_close(core(torch.tensor([[4]]))[0], expected)


def test_training_learns_which_way_people_go(block: Callable[[int, int, int], Block]) -> None:
    """Without the turn, an item's two neighbours on the ring would score alike."""
    recipe = replace(PRODUCTION, hidden=16, maxlen=6, batch_size=32)
    state = train_cycle(block(1, 30, 800), None, recipe, 0, lambda _: None).state
    items = range(30)
    known = [state.vocabulary.encode([f"item-{i}", f"item-{(i + 1) % 30}"]) for i in items]
    ranks = rank_targets(state.model(), [[one] for one, _ in known], [next_ for _, next_ in known])
    assert (ranks == 0).mean() > 0.9


def test_scores_are_cosines_over_the_temperature(core: Core) -> None:
    scores = core.scores(torch.tensor([[2]]), core.ranked_table())
    cosines = functional.cosine_similarity(core.items.weight[1:2], core.items.weight)
    torch.testing.assert_close(scores[0], cosines / 0.1)  # the last click itself gains nothing


def test_ranks_and_lists_know_the_gains(core: Core) -> None:
    with torch.no_grad():
        core.items.weight.copy_(torch.eye(9, 16))
        core.gains.copy_(by_kind(torch.tensor([-8.0, 4.0, 0.0])))
    indices, _ = top_k(core, [[5, 2]], 2)
    assert indices.tolist() == [[5, 2]]
    assert rank_targets(core, [[5, 2]], [5]).tolist() == [0]


def test_calibration_raises_what_people_return_to(core: Core) -> None:
    back = Batch(torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([2, 5]))
    calibrate(core, back)
    assert rank_targets(core, [[1, 2, 3], [4, 5, 6]], [2, 5]).tolist() == [0, 0]


def test_calibration_without_samples_keeps_the_gains(core: Core) -> None:
    held = by_kind(torch.tensor([-1.0, 3.0, 1.0]))
    core.gains.copy_(held)
    core.calibrate([], 0)
    assert torch.equal(core.gains, held)


def test_a_few_clicks_change_nothing_that_is_fitted(core: Core) -> None:
    held = by_kind(torch.tensor([1.0, 3.0, 1.0]))
    core.gains.copy_(held)
    calibrate(core, Batch(torch.tensor([[1, 2, 3]]), torch.tensor([4])), times=4)
    assert torch.equal(core.gains, held)
    assert (core.blend.item(), core.pull.item()) == (0.0, 0.0)


@pytest.mark.parametrize("cuts", [1, 10, 100])
def test_clicks_speak_alike_in_one_block_or_many(core: Core, cuts: int) -> None:
    back = Batch(torch.tensor([[1, 2, 3]]), torch.tensor([2]))
    for _ in range(cuts):
        calibrate(core, back, times=100 // cuts)
    assert rank_targets(core, [[1, 2, 3]], [2]) == [0]
    assert core.gain_evidence[2].max().item() == pytest.approx(100, rel=0.01)


def test_clicks_that_others_stand_for_speak_as_well(core: Core) -> None:
    back = Batch(torch.tensor([[1, 2, 3]]), torch.tensor([2]))
    core.calibrate([back], 100)
    assert core.gain_evidence[2].max().item() == pytest.approx(100)


def test_what_was_fitted_gives_way_to_as_many_later_clicks(core: Core) -> None:
    with torch.no_grad():
        core.items.weight.copy_(torch.eye(9, 16))
    inputs, gains = torch.tensor([[1, 2, 3]]), []
    for target, times in ((2, 1000), (4, 100), (4, 10_000)):
        calibrate(core, Batch(inputs, torch.tensor([target])), times)
        gains.append(core.gains[2].item())
    assert gains[0] == gains[1] > gains[2]


def test_items_gain_by_their_clicks(core: Core) -> None:
    layer, inputs = core.ranked_table(), torch.tensor([[2]])
    before = core.scores(inputs, layer)
    core.update_statistics(clicked({4: 20, 9: 1}))
    core.pull.fill_(0.2)
    gained = core.scores(inputs, layer) - before
    expected = torch.full((1, 9), 0.2 * math.log(NEVER_CLICKED))
    expected[0, 3], expected[0, 8] = (0.2 * math.log(n + NEVER_CLICKED) for n in (20, 1))
    torch.testing.assert_close(gained, expected, rtol=1e-2, atol=1e-4)


def test_an_item_falls_behind_while_nobody_clicks_it(core: Core) -> None:
    half_life = round(POPULARITY.half_life)
    core.update_statistics(clicked({4: 20}))
    before = core.clicks[3].item()
    core.update_statistics(clicked_often(9, half_life))
    core.update_statistics(clicked_often(9, half_life))
    assert core.clicks[3].item() == pytest.approx(before / 4)
    assert core.clicks[8].item() == pytest.approx(0.75 * half_life / math.log(2), rel=0.01)
    assert core.clicks.count_nonzero() == 2


def test_a_block_of_one_click_leaves_what_was_popular(core: Core) -> None:
    core.update_statistics(clicked({4: 20}))
    core.update_statistics(clicked({9: 1}))
    assert core.clicks[[3, 8]].tolist() == pytest.approx([20, 1], rel=0.01)


def test_calibration_finds_out_whether_popularity_tells(core: Core) -> None:
    core.update_statistics(clicked({4: 50}))
    inputs = torch.tensor([[1], [2], [3], [5]])
    calibrate(core, Batch(inputs, torch.full((4,), 4)))
    popular = core.pull.item()
    calibrate(core, Batch(inputs, torch.tensor([9, 8, 7, 6])), times=1000)
    assert popular > core.pull.item()


def test_new_items_have_no_clicks(core: Core) -> None:
    core.update_statistics(clicked(dict.fromkeys(range(1, 10), 1)))
    core.grow(11, torch.Generator().manual_seed(0), item_bound=0.5)
    assert core.clicks.tolist() == pytest.approx([1.0] * 9 + [0.0, 0.0], rel=1e-3)


def test_items_answer_for_the_company_that_they_kept(core: Core) -> None:
    core.update_statistics(
        EncodedBlock.of([[1, 2], [2, 1, 2], [2, 3], [4]], 6)
    )  # 1–2 thrice, 2–3 once
    core.blend.fill_(0.5)
    layer = core.ranked_table()
    alone = functional.normalize(unit(core, 1) + 0.5 * 3 / math.sqrt(3 * 4) * unit(core, 2), dim=0)
    both = 3 / math.sqrt(4 * 3) * unit(core, 1) + 1 / math.sqrt(4 * 1) * unit(core, 3)
    between = functional.normalize(unit(core, 2) + 0.5 * both, dim=0)
    torch.testing.assert_close(layer[:2], torch.stack([alone, between]))
    torch.testing.assert_close(layer[3:], functional.normalize(core.items.weight[3:]))


def test_a_table_to_rank_with_keeps_nothing_for_a_gradient(core: Core) -> None:
    assert not core.ranked_table().requires_grad


def test_company_fades_with_every_click(core: Core) -> None:
    core.update_statistics(EncodedBlock.of([[1, 2]] * 3, 6))
    before = core.together[0, 0].item()
    core.update_statistics(clicked_often(4, round(CO_CLICK_DECAY.half_life)))
    core.update_statistics(EncodedBlock.of([[1, 3]], 6))
    assert core.companions[0, :3].tolist() == [2, 3, 0]
    assert core.together[0, :3].tolist() == pytest.approx([before / 2, 1, 0], rel=1e-4)


def test_calibration_finds_out_whether_company_tells(core: Core) -> None:
    """Item 9 is like none, and stood next to 1: all who see 1 go on to it, or nobody does."""
    with torch.no_grad():
        core.items.weight.copy_(torch.eye(9, 16))
    core.update_statistics(EncodedBlock.of([[1, 9]], 6))
    inputs = torch.tensor([[1], [1]])
    calibrate(core, Batch(inputs, torch.tensor([9, 9])))
    together = core.blend.item()
    core.pull.zero_()
    core.gains.zero_()
    calibrate(core, Batch(inputs, torch.tensor([2, 3])), times=1000)
    assert together > core.blend.item() == 0


def test_new_items_have_no_company(core: Core) -> None:
    core.update_statistics(EncodedBlock.of([[1, 2]], 6))
    core.grow(11, torch.Generator().manual_seed(0), item_bound=0.5)
    assert core.companions[0, 0] == 2
    assert not core.companions[9:].any() and not core.together[9:].any()


def test_what_the_first_block_never_returns_to_is_in_no_list(core: Core) -> None:
    core.init_calibration([Batch(torch.tensor([[1, 2, 3]]), torch.tensor([2]))] * 1000)
    assert torch.equal(core.gains, by_kind(torch.tensor([-8.0, 4.0, -8.0])))


def test_a_first_block_of_one_session_takes_nothing_out_of_the_lists(core: Core) -> None:
    core.init_calibration([Batch(torch.tensor([[1, 2, 3]]), torch.tensor([4]))])
    assert torch.equal(core.gains, by_kind(FIRST_GAINS))


def test_padding_and_company_change_nothing(core: Core) -> None:
    pieces = PackedBatch([torch.tensor([[5], [2]]), torch.tensor([[0, 3, 1], [4, 9, 9]])])
    together = core.represent(core.items.weight[pieces.rows], pieces)
    alone = [core(torch.tensor([session])) for session in ([5], [2], [3, 1], [4, 9, 9])]
    torch.testing.assert_close(together, torch.cat(alone))


def test_gradient_of_directions_agrees_with_torch(core: Core) -> None:
    upstream = torch.randn(9, 16, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(
        functional.normalize(core.items.weight, dim=1), core.items.weight, upstream
    )
    ours = torch.autograd.grad(core.item_table(), core.items.weight, upstream)
    torch.testing.assert_close(ours, expected)


def test_training_drops_coordinates_of_the_output_layer_before_it_scales_them(core: Core) -> None:
    torch.manual_seed(0)
    layer = core.train().item_table()
    torch.testing.assert_close(layer.norm(dim=1), torch.ones(9))
    kept = layer != 0
    assert 0.3 < kept.float().mean() < 0.7
    torch.testing.assert_close(layer, functional.normalize(core.items.weight * kept, dim=1))
    (gradient,) = torch.autograd.grad(layer.sum(), core.items.weight)
    assert not gradient[~kept].any()


def test_an_item_is_dropped_alike_wherever_a_step_scores_it(core: Core) -> None:
    columns = torch.tensor([3, 1, 3, 0, 1])
    layer, _ = core.train().look_up([PackedBatch([torch.tensor([[2]])])], columns)
    assert torch.equal(layer[0], layer[2]) and torch.equal(layer[1], layer[4])
    assert (layer == 0).any()


def test_evaluation_drops_nothing(core: Core) -> None:
    assert (core.item_table() != 0).all()


# --- several members


def halves(core: Core) -> list[Core]:
    """The members of a core of two, each as a model of its own."""
    architecture = replace(ARCHITECTURE, hidden=8)
    alone = []
    for member, table in enumerate(core.items.weight.detach().chunk(2, 1)):
        weights = {name: weight.clone() for name, weight in core.state_dict().items()}
        weights |= {name: weights[name][member] for name in ("age", "likeness", "turn")}
        one = Core(architecture, core.n_items)
        one.load_state_dict(weights | {"items.weight": table})
        alone.append(one.eval())
    return alone


@pytest.fixture
def pair() -> Core:
    generator = torch.Generator().manual_seed(8)
    pair = Core(replace(ARCHITECTURE, members=2), 0)
    pair.grow(9, generator, item_bound=0.5)
    pair.update_statistics(EncodedBlock.of([[1, 2], [2, 1, 2], [2, 3], [4]], 6))
    with torch.no_grad():
        for weight in (pair.age, pair.likeness, pair.turn):
            weight.normal_(generator=generator)
        pair.blend.fill_(0.4)
        pair.pull.fill_(0.2)
    return pair.eval()


def test_members_speak_with_the_mean_of_their_scores(pair: Core) -> None:
    inputs = torch.tensor([[0, 3, 2], [1, 4, 4]])
    alone = [one.scores(inputs, one.ranked_table()) for one in halves(pair)]
    together = pair.scores(inputs, pair.ranked_table())
    torch.testing.assert_close(together, torch.stack(alone).mean(0))


@pytest.mark.parametrize("loss", [PlainLoss(), SampledLoss(1_000, torch.ones(9))])
def test_members_learn_one_by_one(pair: Core, loss: Loss) -> None:
    pieces, targets = (
        PackedBatch([torch.tensor([[0, 3, 2], [1, 4, 4]])]),
        [Labels(torch.tensor([5, 1]))],
    )

    def of(model: Core, loss: Loss) -> torch.Tensor:
        columns = loss.columns(targets)
        layer, [embedded] = model.look_up([pieces], columns)
        return loss([model.represent(embedded, pieces)], layer, targets, columns)

    each = torch.stack([of(one, loss) for one in halves(pair)])
    torch.testing.assert_close(of(pair, EnsembleLoss(2, loss)), each.mean())


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_a_table_is_the_same_in_however_many_pieces_it_is_blended(
    pair: Core, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = pair.ranked_table()
    monkeypatch.setattr(core_module, "BLENDED_ROWS", rows)
    torch.testing.assert_close(pair.ranked_table(), at_once, rtol=0, atol=0)
    half = pair.ranked_table(torch.bfloat16)
    assert torch.equal(half, at_once.to(torch.bfloat16))
