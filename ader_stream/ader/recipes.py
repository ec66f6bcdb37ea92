"""Every hyper-parameter, by name of recipe.

`PAPER` is the published protocol (DIGINETICA) to the letter. Another recipe is another value
beside it in `RECIPES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ader_stream.ader.models.base import Architecture, DropoutShares
from ader_stream.ader.models.encoders import ENCODERS
from ader_stream.errors import SettingsError

OUTPUT_PRECISIONS = ("auto", "bfloat16", "float32")
"""Of the output layer's products in training; the device decides where it is ``auto``."""

ALLOCATIONS = ("drawn", "within")
"""How exemplars are shared out among items (`exemplars.selection`)."""

VALIDATION_UNITS = ("samples", "sessions")
"""Units that are held out at random: single sub-sequences, as in the paper, or whole sessions."""

WORDS = {
    "allocation": ALLOCATIONS,
    "output_precision": OUTPUT_PRECISIONS,
    "validation_unit": VALIDATION_UNITS,
}
"""Hyper-parameters that are no numbers, and their values."""

EXEMPLARS_A_SAMPLE = 4
"""Exemplars for each new sub-sequence of a full batch that may be in memory at once: with blocks of
thousands of sessions it is about one."""

TAUGHT_SCORES = 2**28
"""Scores of the teacher at a time, 1 GiB of float32."""

ABOVE_ZERO = {
    *("hidden", "maxlen", "temperature", "members", "learning_rate"),
    *("adam_epsilon", "adam_epsilon_new", "batch_size", "max_epochs", "min_item_count"),
}
SHARES = {"dropout", "item_dropout", "validation_share"}
"""From 0 to below 1."""

POSITIVE_SHARES = {"last_learning_rate"}
"""Above 0, to 1. Numbers that are in none of these sets are 0 or more."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an update cycle trains.

    A value of another type than the default's, or out of its range, raises SettingsError.

    Parameters
    ----------
    hidden, blocks, maxlen, encoder, temperature, members
        See `Architecture`.
    dropout, item_dropout
        Shares of activations and of the output layer that training drops.
    item_bound
        New items start uniform in ±item_bound: the Glorot bound √(6 / (rows + D)) of the
        authors' table for DIGINETICA, whose final size they know and a stream does not.
    learning_rate
        Adam's.
    last_learning_rate
        Share of the learning rate in the last step; it decreases linearly. 1 keeps it constant,
        the only choice where the number of epochs is not known before.
    adam_epsilon
        Added to the root of Adam's second moment. With the usual small value, an item without a
        click in the block moves as fast as one with clicks, because Adam scales its small gradients
        up; with a larger value it stays in place.
    adam_epsilon_new
        The same for items that the parent does not know, which have no place to keep. With
        `carry_moments`, both must be equal: a new row's moments are of scaled gradients.
    allocation
        How exemplars are allocated to items: ``drawn`` at random, as in the paper, or ``within``
        the candidates of each item, so that small blocks lose no exemplars by chance.
    allocation_power
        Exemplars are allocated to items in proportion to their candidates to this power: below 1,
        rare items get more of them.
    carry_moments
        Whether Adam's moments continue from cycle to cycle; they are then a part of each version,
        two thirds of its bytes.
    batch_size
        New sub-sequences a step; exemplars join them.
    max_epochs, patience
        Training stops after `patience` epochs without a better validation Recall@20, and the best
        epoch counts. Where a recipe holds nothing out, or has no patience (0), it trains
        `max_epochs` and the last one counts, whatever the validation.
    validation_share, validation_unit
        Share of a block held out at random, and what of it: ``samples`` (sub-sequences) or whole
        ``sessions`` (`split`).
    exemplars
        N: exemplars allocated after each cycle; 0 turns replay and distillation off.
    lambda_base
        λ_base of the adaptive weight.
    min_item_count
        Clicks in a block from which an item is known.
    output_precision
        Of the output layer's products in training: ``bfloat16``, ``float32``, or ``auto``, which
        is bfloat16 where the device multiplies it and all items are scored, else float32.
    fused
        Loss and gradients in one pass; False computes the same with torch's functions, slower.
    negatives
        Items drawn in a step for a sampled softmax with logQ correction; 0 takes it over all.
    """

    hidden: int = 150
    blocks: int = 2
    maxlen: int = 50
    encoder: str = "sasrec"
    temperature: float = 1.0
    members: int = 1
    dropout: float = 0.3
    item_dropout: float = 0.0
    item_bound: float = 0.01177
    learning_rate: float = 5e-4
    last_learning_rate: float = 1.0
    adam_epsilon: float = 1e-8
    adam_epsilon_new: float = 1e-8
    allocation: str = "drawn"
    allocation_power: float = 1.0
    carry_moments: bool = True
    batch_size: int = 256
    max_epochs: int = 100
    patience: int = 5
    validation_share: float = 0.1
    validation_unit: str = "samples"
    exemplars: int = 30_000
    lambda_base: float = 0.8
    min_item_count: int = 1
    output_precision: str = "auto"
    fused: bool = True
    negatives: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            RANGES[name].require(name, value)
        if self.carry_moments and self.adam_epsilon != self.adam_epsilon_new:
            raise SettingsError(
                f"recipe: adam_epsilon_new = {self.adam_epsilon_new!r}: expected adam_epsilon, "
                f"{self.adam_epsilon!r}, or carry_moments = False"
            )

    @property
    def architecture(self) -> Architecture:
        """The model that this recipe trains."""
        return Architecture(
            self.hidden, self.blocks, self.maxlen, self.encoder, self.temperature, self.members
        )

    @property
    def dropped(self) -> DropoutShares:
        """Shares that training drops."""
        return DropoutShares(self.dropout, self.item_dropout)

    @property
    def epochs_unwatched(self) -> int:
        """Epochs of a cycle with nothing held out: by the recipe, or because of too few samples."""
        return self.patience if self.stops_early else self.max_epochs

    @property
    def stops_early(self) -> bool:
        """Whether validation decides when training ends, and which epoch counts."""
        return self.validation_share > 0 and self.patience > 0

    @property
    def held_out_samples(self) -> float:
        """Share of the sub-sequences held out."""
        return self.validation_share if self.validation_unit == "samples" else 0.0

    @property
    def held_out_sessions(self) -> float:
        """Share of the sessions held out whole."""
        return self.validation_share if self.validation_unit == "sessions" else 0.0

    def steps(self, samples: int) -> int:
        """Return the batches of an epoch over so many sub-sequences."""
        return math.ceil(samples / self.batch_size)

    def exemplars_at_once(self, n_items: int) -> int:
        """Return the exemplars of a step that are in memory together, for a teacher of n_items.

        A small block has more of them in a step; their gradients are then computed in several
        passes and added up.
        """
        scored = self.negatives or max(1, n_items)
        return max(1, min(EXEMPLARS_A_SAMPLE * self.batch_size, TAUGHT_SCORES // scored))


def overridable_values(recipe_: Recipe) -> dict[str, float | str]:
    """Return every hyper-parameter that is a number or one of `WORDS`, by name."""
    return {
        name: value
        for name, value in asdict(recipe_).items()
        if isinstance(value, int | float) or name in WORDS
    }


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a hyper-parameter may have.

    Parameters
    ----------
    expected
        Names them, for an error.
    contains
        Whether a value is one of them.
    """

    expected: str
    contains: Callable[[Any], bool]

    def require(self, name: str, value: object) -> None:
        """Refuse a value that is not in the range with SettingsError."""
        if not self.contains(value):
            raise SettingsError(f"recipe: {name} = {value!r}: expected {self.expected}")


def _range(name: str, default: object) -> Range:
    """Return the range of a hyper-parameter, from its default's type and the sets of names."""
    if name == "encoder":
        return _one_of(tuple(ENCODERS))
    if name in WORDS:
        return _one_of(WORDS[name])
    if isinstance(default, bool):
        return Range("True or False, in an override 1 or 0", lambda value: isinstance(value, bool))
    return _numbers(isinstance(default, int), *_bounds(name))


def _one_of(words: tuple[str, ...]) -> Range:
    return Range(", ".join(words), lambda value: isinstance(value, str) and value in words)


def _bounds(name: str) -> tuple[str, str, Callable[[float], bool]]:
    """Return what a number is called, its bounds, and the test of them."""
    if name in ABOVE_ZERO:
        return "number", "above 0", lambda value: value > 0
    if name in SHARES:
        return "share", "from 0 to below 1", lambda value: 0 <= value < 1
    if name in POSITIVE_SHARES:
        return "share", "above 0, to 1", lambda value: 0 < value <= 1
    return "number", "from 0 on", lambda value: value >= 0


def _numbers(whole: bool, noun: str, bounds: str, within: Callable[[float], bool]) -> Range:
    kind = int if whole else (int, float)

    def contains(value: object) -> bool:
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and within(value)  # type: ignore[arg-type]

    return Range(f"a {'whole ' if whole else ''}{noun} {bounds}", contains)


RANGES = {field.name: _range(field.name, field.default) for field in fields(Recipe)}
"""Range of every hyper-parameter, by name."""

PAPER = Recipe()

PRODUCTION = Recipe(
    hidden=256,
    encoder="core",
    blocks=0,
    maxlen=20,
    temperature=0.085,
    dropout=0.2,
    item_dropout=0.3,
    item_bound=0.04,
    learning_rate=2e-3,
    last_learning_rate=0.05,
    adam_epsilon=3e-4,
    adam_epsilon_new=3e-5,
    allocation="within",
    allocation_power=0.5,
    carry_moments=False,
    batch_size=512,
    max_epochs=8,
    patience=0,
    validation_share=0.0,
    validation_unit="sessions",
    lambda_base=4.0,
    negatives=2_000,
)

RECIPES = {"paper": PAPER, "production": PRODUCTION}


def recipe(name: str) -> Recipe:
    """Look a recipe up by name; raises SettingsError where there is none."""
    if name not in RECIPES:
        raise SettingsError(f"recipe {name!r} is not known; use one of: {', '.join(RECIPES)}")
    return RECIPES[name]


def overridden(base: Recipe, overrides: Mapping[str, float | str]) -> Recipe:
    """Return the recipe with other numbers or words.

    Raises
    ------
    SettingsError
        A name is nothing that can differ, or a value is not in its `RANGES`.
    """
    values = overridable_values(base)
    for name, value in overrides.items():
        if name not in values:
            raise SettingsError(f"recipe has no {name!r} to override; it has: {', '.join(values)}")
        values[name] = _in_type_of(values[name], value)
    return replace(base, **values)  # type: ignore[arg-type]


def _in_type_of(own: float | str, value: float | str) -> float | str:
    """Return a number in the type of the recipe's own if it is the same number there."""
    if isinstance(own, str) or isinstance(value, str) or not math.isfinite(value):
        return value
    converted = type(own)(value)
    return converted if converted == value else value
