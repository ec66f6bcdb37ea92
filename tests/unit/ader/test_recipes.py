from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch

from ader_stream.ader import recipes
from ader_stream.ader.device import CPU
from ader_stream.ader.exemplars import selection
from ader_stream.ader.models.encoders import build_model
from ader_stream.ader.recipes import PAPER, PRODUCTION, RECIPES, Recipe, overridden, recipe
from ader_stream.ader.training import losses
from ader_stream.ader.training.losses import output_precision
from ader_stream.errors import SettingsError


def test_paper_has_the_published_hyper_parameters() -> None:
    assert recipe("paper") is PAPER
    assert (PAPER.hidden, PAPER.blocks, PAPER.maxlen, PAPER.dropout) == (150, 2, 50, 0.3)
    assert (PAPER.learning_rate, PAPER.batch_size, PAPER.patience) == (5e-4, 256, 5)
    assert (PAPER.exemplars, PAPER.lambda_base, PAPER.validation_share) == (30_000, 0.8, 0.1)


def test_every_allocation_of_a_recipe_exists() -> None:
    assert tuple(selection.ALLOCATIONS) == recipes.ALLOCATIONS
    assert ("auto", *losses.PRECISIONS) == recipes.OUTPUT_PRECISIONS


@pytest.mark.parametrize("name", list(RECIPES))
def test_model_is_built_as_the_recipe_says(name: str) -> None:
    built = asdict(recipe(name).architecture)
    assert built == {part: getattr(recipe(name), part) for part in built}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden", "a", "a whole number above 0"),
        ("hidden", 2.5, "a whole number above 0"),
        ("batch_size", 0, "a whole number above 0"),
        ("temperature", 0, "a number above 0"),
        ("learning_rate", 0, "a number above 0"),
        ("learning_rate", -1, "a number above 0"),
        ("last_learning_rate", 1.5, "a share above 0, to 1"),
        ("adam_epsilon_new", 0, "a number above 0"),
        ("item_bound", float("inf"), "a number from 0 on"),
        ("lambda_base", float("nan"), "a number from 0 on"),
        ("exemplars", -5, "a whole number from 0 on"),
        ("dropout", 1, "a share from 0 to below 1"),
        ("validation_share", -0.1, "a share from 0 to below 1"),
        ("validation_unit", "clicks", "samples, sessions"),
        ("output_precision", "float8", "auto, bfloat16, float32"),
        ("carry_moments", 2, "True or False"),
    ],
)
def test_a_value_out_of_its_range_is_refused(name: str, value: float | str, expected: str) -> None:
    with pytest.raises(SettingsError, match=rf"recipe: {name} = \S+: expected {expected}"):
        replace(PAPER, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=rf"recipe: {name} = \S+: expected {expected}"):
        overridden(PAPER, {name: value})


@pytest.mark.parametrize("name", list(recipes.RANGES))
@pytest.mark.parametrize("value", [None, (), -1, float("nan"), "nothing like it"], ids=str)
def test_every_hyper_parameter_refuses_what_it_cannot_be(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"recipe: {name} = .*: expected "):
        Recipe(**{name: value})  # type: ignore[arg-type]


def test_carried_moments_need_one_epsilon() -> None:
    with pytest.raises(SettingsError, match=r"adam_epsilon_new = 0\.001: expected adam_epsilon"):
        Recipe(adam_epsilon_new=1e-3)


def test_an_override_is_of_the_type_of_the_recipes_own() -> None:
    numbers = overridden(PRODUCTION, {"hidden": 8.0, "fused": 0.0, "temperature": 1})
    assert [numbers.hidden, numbers.fused, numbers.temperature] == [8, False, 1.0]
    assert [type(numbers.hidden), type(numbers.temperature)] == [int, float]


def test_self_attention_without_a_block_is_refused() -> None:
    with pytest.raises(SettingsError, match="'sasrec' has 0 blocks: expected at least one"):
        build_model(overridden(PAPER, {"blocks": 0}).architecture, n_items=3)


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'papyrus' is not known; use one of: paper"):
        recipe("papyrus")


@pytest.mark.parametrize(
    ("unit", "precision"),
    [
        ("amx_bf16", torch.bfloat16),
        ("avx512_bf16", torch.bfloat16),
        ("avx512_f", torch.float32),
    ],
)
def test_products_are_narrow_where_the_processor_multiplies_narrow_numbers(
    unit: str, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {unit: True, "amx_fp16": False})
    assert output_precision(PAPER, CPU) == precision
    assert output_precision(PRODUCTION, CPU) == torch.float32, "it scores few items"
    narrow = replace(PRODUCTION, output_precision="bfloat16")
    assert output_precision(narrow, CPU) == torch.bfloat16
