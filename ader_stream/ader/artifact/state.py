"""The state of a version: everything that the next update cycle starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ader_stream.ader.data.arrays import Bools, Int32
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.device import CPU
from ader_stream.ader.exemplars.selection import Exemplars
from ader_stream.ader.models.base import NO_DROPOUT, Architecture, DropoutShares, SessionModel
from ader_stream.ader.models.encoders import build_model

STEPS = ("step",)
MOMENTS = (*STEPS, "exp_avg", "exp_avg_sq")
"""Adam's state of a parameter, by torch's names; only the steps where no cycle continues it."""


@dataclass(frozen=True, eq=False)
class State:
    """One version: everything that the next update cycle starts from, all of it on the CPU.

    Parameters
    ----------
    weights
        The model's parameters by name.
    optimizer
        Adam's state: ``PARAMETER.step`` and, where the recipe carries moments,
        ``PARAMETER.exp_avg`` and ``PARAMETER.exp_avg_sq``.
    exemplars
        Exemplars that the next cycle replays.
    vocabulary
        Items behind the item table's rows.
    architecture
        Needed to rebuild the model from the weights.
    idle
        Blocks along the chain of parents since each item was last clicked (I,).
    """

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    exemplars: Exemplars
    vocabulary: Vocabulary
    architecture: Architecture
    idle: Int32

    @property
    def steps(self) -> int:
        """Gradient steps along the whole chain of parents."""
        return int(self.optimizer.get("items.weight.step", 0))

    def model(
        self, dropped: DropoutShares = NO_DROPOUT, device: torch.device = CPU
    ) -> SessionModel:
        """Return a new model with these weights, in eval mode."""
        model = build_model(self.architecture, len(self.vocabulary), dropped)
        model.load_state_dict(self.weights)
        return model.eval().to(device)

    def keep(self, kept: Bools) -> State:
        """Return this version without the other items (I,).

        The score of an item that stays changes only where it or one of its co-clicked items loses
        co-clicks.
        """
        if kept.all():
            return self
        model, rows = self.model(), torch.from_numpy(kept)
        model.keep(kept)
        table = tuple(f"items.weight.{moment}" for moment in MOMENTS if moment not in STEPS)
        return State(
            copied_weights(model),
            {name: t[rows] if name in table else t for name, t in self.optimizer.items()},
            self.exemplars.keep(kept),
            self.vocabulary.keep(kept),
            self.architecture,
            self.idle[kept],
        )


def untrained(architecture: Architecture) -> State:
    """Return the start of a first cycle: no items, exemplars or steps; weights not drawn yet."""
    weights = copied_weights(build_model(architecture, n_items=0))
    idle = np.zeros(0, np.int32)
    return State(weights, {}, Exemplars.none(), Vocabulary(), architecture, idle)


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy the parameters and buffers to the CPU, by name."""
    return {name: _copied(weight) for name, weight in model.state_dict().items()}


def copied_moments(
    model: nn.Module, adam: torch.optim.Adam, moments: Sequence[str] = MOMENTS
) -> dict[str, Tensor]:
    """Copy the named `moments` of Adam's state to the CPU, by parameter name."""
    return {
        f"{name}.{moment}": _copied(adam.state[weight][moment])
        for name, weight in model.named_parameters()
        for moment in moments
    }


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors with an infinity or NaN, without a copy.

    >>> not_finite({"a": torch.zeros(2), "b": torch.tensor([0.0, torch.nan, 1.0])})
    ['b']
    """
    return [name for name, tensor in tensors.items() if not _is_finite(tensor)]


def resumed_adam(
    model: nn.Module, moments: Mapping[str, Tensor], learning_rate: float, epsilon: float = 1e-8
) -> torch.optim.Adam:
    """Return an Adam that continues from `moments`; new rows of the model start from zero.

    Parameters
    ----------
    model
        Its parameters are at least as long as the moments.
    moments
        As `copied_moments` returns them; steps alone, or nothing, to start from zero.
    learning_rate, epsilon
        Adam's.
    """
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate, eps=epsilon, fused=True)
    restore_moments(model, adam, moments)
    return adam


def restore_moments(
    model: nn.Module, adam: torch.optim.Adam, moments: Mapping[str, Tensor]
) -> None:
    """Set the state of an Adam of the model to `moments` (`resumed_adam`)."""
    for name, weight in model.named_parameters():
        if f"{name}.exp_avg" in moments:
            adam.state[weight] = {
                "step": moments[f"{name}.step"].to(weight.device, copy=True),
                "exp_avg": _grown(moments[f"{name}.exp_avg"], weight),
                "exp_avg_sq": _grown(moments[f"{name}.exp_avg_sq"], weight),
            }


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.numel() or all(bound.isfinite() for bound in tensor.aminmax())


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to(CPU, copy=True)


def _grown(moment: Tensor, weight: Tensor) -> Tensor:
    """Copy a moment to its weight, with zeros for the weight's additional rows."""
    grown = torch.zeros_like(weight)
    grown.view(-1)[: moment.numel()] = moment.flatten()  # rows that are new come last
    return grown
