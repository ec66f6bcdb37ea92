from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from ader_stream.ader.artifact.parts import decode_serving, decode_state, encode_parts
from ader_stream.ader.artifact.safetensors import read_tensors
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.exemplars.selection import Exemplars
from ader_stream.ader.models.core import EVIDENCE
from ader_stream.ader.models.ranking import top_k
from ader_stream.ader.models.repeat_clicks import CANDIDATES
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.artifact import KINDS, content_digest
from ader_stream.errors import ArtifactError


@pytest.fixture(scope="module")
def state(tiny: Recipe, block: Callable[[int, int], list[tuple[str, ...]]]) -> State:
    sessions = [*block(0, 12), ("Schuhe für Köche 👟", "", "item-1")]
    return train_cycle(sessions, None, replace(tiny, max_epochs=1), 0, lambda _: None).state


@pytest.fixture
def parts(state: State) -> dict[str, bytes]:
    return encode_parts(state)


def changed(blob: bytes, **tensors: torch.Tensor) -> bytes:
    metadata = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")]).get("__metadata__")
    return save(load(blob) | tensors, metadata=metadata)


def test_state_survives_the_round_trip(state: State, parts: dict[str, bytes]) -> None:
    again = decode_state(parts)
    assert list(again.vocabulary.items) == list(state.vocabulary.items)
    assert again.architecture == state.architecture
    assert again.exemplars.items.tolist() == state.exemplars.items.tolist()
    assert again.exemplars.offsets.tolist() == state.exemplars.offsets.tolist()
    for one, other in ((again.weights, state.weights), (again.optimizer, state.optimizer)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_parts_are_byte_identical_after_a_round_trip(parts: dict[str, bytes]) -> None:
    assert encode_parts(decode_state(parts)) == parts


@pytest.mark.parametrize(
    "decode", [decode_state, lambda p: decode_serving(p["weights"], p["vocabulary"])]
)
def test_nothing_of_the_compiler_is_loaded_to_decode(
    decode: Callable[[dict[str, bytes]], object],
    parts: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("sympy", "torch._dynamo", "torch.fx.experimental.symbolic_shapes"):
        monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    assert decode(parts)


def test_parts_are_the_four_kinds(parts: dict[str, bytes]) -> None:
    assert set(parts) == set(KINDS)


def test_decoded_state_can_be_changed_in_place(parts: dict[str, bytes]) -> None:
    again = decode_state(parts)
    again.weights["items.weight"].zero_()
    again.exemplars.items[:] = 1
    assert encode_parts(decode_state(parts)) == parts


def test_serving_model_scores_as_the_trained_one(state: State, parts: dict[str, bytes]) -> None:
    model, vocabulary = decode_serving(parts["weights"], parts["vocabulary"])
    assert not model.training
    assert list(vocabulary.items) == list(state.vocabulary.items)
    ours, theirs = top_k(model, [[1, 2]], 5), top_k(state.model(), [[1, 2]], 5)
    assert ours[0].tolist() == theirs[0].tolist()
    assert ours[1].tolist() == theirs[1].tolist()


def test_version_without_exemplars_or_items_beyond_ascii_survives(state: State) -> None:
    again = decode_state(encode_parts(replace(state, exemplars=Exemplars.none())))
    assert len(again.exemplars) == 0
    assert "Schuhe für Köche 👟" in again.vocabulary.items


def test_digest_is_over_sorted_kinds_and_their_hashes() -> None:
    lines = "".join(
        f"{kind} {hashlib.sha256(blob).hexdigest()}\n" for kind, blob in [("a", b"1"), ("b", b"2")]
    )
    assert content_digest({"b": b"2", "a": b"1"}) == hashlib.sha256(lines.encode()).hexdigest()


def test_digest_changes_with_any_part(parts: dict[str, bytes]) -> None:
    digests = {content_digest(parts | {kind: parts[kind] + b" "}) for kind in KINDS}
    assert len(digests | {content_digest(parts)}) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_missing_part_is_named(parts: dict[str, bytes], kind: str) -> None:
    del parts[kind]
    with pytest.raises(ArtifactError, match=kind):
        decode_state(parts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [b"", b"\x00" * 9, b"not safetensors at all"])
def test_damaged_part_is_refused(parts: dict[str, bytes], kind: str, damage: bytes) -> None:
    with pytest.raises(ArtifactError, match=f"{kind} are no safetensors"):
        decode_state(parts | {kind: damage})


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_part_is_refused(parts: dict[str, bytes], kind: str) -> None:
    with pytest.raises(ArtifactError, match=kind):
        decode_state(parts | {kind: parts[kind][:-1]})


def test_vocabulary_of_another_version_is_refused(parts: dict[str, bytes], state: State) -> None:
    items = list(state.vocabulary.items)[:-1]
    shorter = replace(state, vocabulary=Vocabulary.of(items), idle=state.idle[:-1])
    other = encode_parts(shorter)["vocabulary"]
    with pytest.raises(
        ArtifactError, match=r"items.weight: \(14, 16\) of float32 instead of \(13, 16\)"
    ):
        decode_serving(parts["weights"], other)


@pytest.fixture(scope="module")
def with_companions(tiny: Recipe, block: Callable[[int, int], list[tuple[str, ...]]]) -> State:
    recipe = replace(
        PRODUCTION, hidden=tiny.hidden, maxlen=tiny.maxlen, exemplars=tiny.exemplars, max_epochs=1
    )
    return train_cycle(block(0, 12), None, recipe, 0, lambda _: None).state


def test_companions_survive(with_companions: State) -> None:
    weights = decode_state(encode_parts(with_companions)).weights
    assert weights["companions"].any()
    assert torch.equal(weights["companions"], with_companions.weights["companions"])


@pytest.mark.parametrize("index", [-1, 13])
def test_companions_that_are_no_items_are_refused(with_companions: State, index: int) -> None:
    parts = encode_parts(with_companions)
    companions = with_companions.weights["companions"].clone()
    companions[3, 0] = index
    wrong = changed(parts["weights"], companions=companions)
    with pytest.raises(ArtifactError, match=rf"indices .*{index}.* in companions; .* 1 … 12"):
        decode_serving(wrong, parts["vocabulary"])


def test_a_version_from_before_companions_has_none(with_companions: State) -> None:
    parts = encode_parts(with_companions)
    weights, metadata = read_tensors("weights", parts["weights"])
    for name in ("companions", "together", "blend"):
        del weights[name]
    again = decode_state(parts | {"weights": save(weights, metadata)})
    assert not again.weights["companions"].any()
    assert again.model().ranked_table().shape == with_companions.weights["items.weight"].shape


def test_a_version_from_before_evidence_was_carried_has_none(with_companions: State) -> None:
    parts = encode_parts(with_companions)
    weights, metadata = read_tensors("weights", parts["weights"])
    for name in EVIDENCE:
        del weights[name]
    again = decode_state(parts | {"weights": save(weights, metadata)})
    assert not any(again.weights[name].any() for name in EVIDENCE)
    assert torch.equal(again.weights["gains"], with_companions.weights["gains"])


def test_gains_by_age_alone_become_those_of_either_habit(with_companions: State) -> None:
    parts = encode_parts(with_companions)
    weights, metadata = read_tensors("weights", parts["weights"])
    weights["gains"] = torch.tensor([1.0, 4.0, 2.5])
    weights["gain_evidence"] = torch.arange(3.0)[:, None].repeat(1, len(CANDIDATES))
    again = decode_state(parts | {"weights": save(weights, metadata)})
    assert again.weights["gains"].tolist() == [1.0, 1.0, 4.0, 2.5, 1.0, 4.0, 2.5]
    assert again.weights["gain_evidence"][:, 0].tolist() == [0.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0]


def test_clicks_of_a_version_that_counted_none_are_zero(parts: dict[str, bytes]) -> None:
    weights, metadata = read_tensors("weights", parts["weights"])
    assert weights.pop("clicks").any()
    again = decode_state(parts | {"weights": save(weights, metadata)})
    assert not again.weights["clicks"].any()


def test_optimizer_of_another_shape_is_refused(parts: dict[str, bytes]) -> None:
    short = changed(parts["optimizer"], **{"items.weight.exp_avg": torch.zeros(3, 16)})
    with pytest.raises(ArtifactError, match=r"items.weight.exp_avg: \(3, 16\)"):
        decode_state(parts | {"optimizer": short})


def test_a_recipe_that_carries_no_moments_publishes_steps_alone(
    tiny: Recipe, block: Callable[[int, int], list[tuple[str, ...]]]
) -> None:
    recipe = replace(tiny, carry_moments=False, max_epochs=1)
    first = train_cycle(block(0, 12), None, recipe, 0, lambda _: None).state
    again = decode_state(encode_parts(first))
    assert {name.rpartition(".")[2] for name in again.optimizer} == {"step"}
    assert again.steps == first.steps > 0
    one, other = (
        train_cycle(block(1, 15), parent, recipe, 0, lambda _: None).state
        for parent in (first, again)
    )
    assert encode_parts(one) == encode_parts(other)


def test_moments_that_an_older_version_has_for_nothing_are_read(
    tiny: Recipe, state: State, block: Callable[[int, int], list[tuple[str, ...]]]
) -> None:
    older = decode_state(encode_parts(state))
    assert any(name.endswith("exp_avg") for name in older.optimizer)
    recipe = replace(tiny, carry_moments=False, max_epochs=1)
    child = train_cycle(block(1, 15), older, recipe, 0, lambda _: None).state
    assert len(encode_parts(child)["optimizer"]) < len(encode_parts(older)["optimizer"]) / 2


def test_a_moment_that_is_missing_is_refused(parts: dict[str, bytes]) -> None:
    tensors = load(parts["optimizer"])
    del tensors["items.weight.exp_avg"]
    with pytest.raises(ArtifactError, match=r"items.weight.exp_avg: missing"):
        decode_state(parts | {"optimizer": save(tensors)})


def test_surplus_tensor_is_refused(parts: dict[str, bytes]) -> None:
    more = changed(parts["weights"], extra=torch.zeros(1))
    with pytest.raises(ArtifactError, match=r"extra: .* instead of nothing"):
        decode_state(parts | {"weights": more})


def test_exemplars_beyond_the_vocabulary_are_refused(parts: dict[str, bytes]) -> None:
    items = load(parts["exemplars"])["items"]
    items[0] = 99
    with pytest.raises(ArtifactError, match="99; the vocabulary has 1 … 14"):
        decode_state(parts | {"exemplars": changed(parts["exemplars"], items=items)})


def test_exemplars_of_one_item_are_refused(parts: dict[str, bytes], state: State) -> None:
    one = Exemplars(np.array([1], dtype=np.int32), np.array([0, 1]))
    blob = encode_parts(replace(state, exemplars=one))["exemplars"]
    with pytest.raises(ArtifactError, match="fewer than 2 items"):
        decode_state(parts | {"exemplars": blob})


def test_offsets_that_fall_are_refused(parts: dict[str, bytes]) -> None:
    offsets = load(parts["vocabulary"])["offsets"].flip(0)
    with pytest.raises(ArtifactError, match="offsets"):
        decode_state(parts | {"vocabulary": changed(parts["vocabulary"], offsets=offsets)})


def test_offsets_whose_differences_overflow_are_refused(parts: dict[str, bytes]) -> None:
    offsets = load(parts["vocabulary"])["offsets"]
    offsets[1:3] = torch.tensor([2**63 - 1, -(2**63)])
    with pytest.raises(ArtifactError, match="offsets"):
        decode_state(parts | {"vocabulary": changed(parts["vocabulary"], offsets=offsets)})


def test_item_that_stands_twice_is_refused(parts: dict[str, bytes]) -> None:
    utf8 = load(parts["vocabulary"])["utf8"]
    ids = utf8.numpy().tobytes()  # item-0item-1…
    utf8[ids.index(b"item-2") + 5] = ord("1")
    with pytest.raises(ArtifactError, match="1 of 14 strings are duplicates"):
        decode_state(parts | {"vocabulary": changed(parts["vocabulary"], utf8=utf8)})


def test_item_that_is_not_utf8_is_refused(parts: dict[str, bytes]) -> None:
    utf8 = load(parts["vocabulary"])["utf8"]
    utf8[0] = 0xFF
    with pytest.raises(ArtifactError, match="not UTF-8"):
        decode_state(parts | {"vocabulary": changed(parts["vocabulary"], utf8=utf8)})


def test_weights_without_architecture_are_refused(parts: dict[str, bytes]) -> None:
    with pytest.raises(ArtifactError, match="architecture"):
        decode_state(parts | {"weights": save(load(parts["weights"]))})


def test_for_how_long_nobody_clicked_an_item_comes_back(state: State) -> None:
    aged = replace(state, idle=np.arange(len(state.idle), dtype=np.int32))
    assert np.array_equal(decode_state(encode_parts(aged)).idle, aged.idle)


def test_of_a_version_from_before_it_was_counted_all_items_were_just_clicked(
    parts: dict[str, bytes], state: State
) -> None:
    named = load(parts["vocabulary"])
    older = parts | {"vocabulary": save({name: named[name] for name in ("utf8", "offsets")})}
    assert np.array_equal(decode_state(older).idle, np.zeros_like(state.idle))
    _, vocabulary = decode_serving(older["weights"], older["vocabulary"])
    assert list(vocabulary.items) == list(state.vocabulary.items)


@pytest.mark.parametrize("idle", [torch.tensor([0, 1]), torch.full((14,), -1)])
def test_idle_blocks_that_fit_no_items_are_refused(
    parts: dict[str, bytes], idle: torch.Tensor
) -> None:
    wrong = changed(parts["vocabulary"], idle=idle.int())
    with pytest.raises(ArtifactError, match="expected 14, none below 0"):
        decode_state(parts | {"vocabulary": wrong})
