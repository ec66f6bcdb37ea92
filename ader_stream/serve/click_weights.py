"""Which clicks of a session have led to a recommended item, and by how much.

By leaving one out (occlusion; Zeiler, Fergus: Visualizing and Understanding Convolutional Networks,
ECCV 2014, arXiv 1311.2901): a click weighs what the item's score loses without it. It asks nothing
of the model but scores, so that it is right for every encoder, popularity and repeat clicks too.

C clicks, R recommended items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ader_stream.ader.data.dataset import pack_prefixes
from ader_stream.ader.models.ranking import chunk_rows
from ader_stream.serve.loaded_versions import Version


class ClickWeight(NamedTuple):
    """A click of the session, and its share in a recommended item's score.

    Parameters
    ----------
    item
        The clicked item.
    weight
        0 … 1: the loss of score without the click, as a share of all clicks' losses.
    """

    item: str
    weight: float


def click_weights(
    version: Version, session: Sequence[str], recommended: Sequence[str]
) -> list[list[ClickWeight]]:
    """Weigh the clicks of a session for each recommended item, the weightiest first.

    Parameters
    ----------
    session
        Items, oldest first. Unknown items and clicks before the last maxlen weigh nothing.
    recommended
        Items that the version knows.

    Returns
    -------
    list
        For each recommended item the clicks that raise its score; none where no click does, or no
        item of the session is known.
    """
    vocabulary = version.vocabulary
    prefix = vocabulary.encode(session)[-version.model.architecture.maxlen :]
    if not prefix or not recommended:
        return [[] for _ in recommended]
    columns = torch.tensor(vocabulary.encode(recommended)) - 1
    weights = _weights(version, prefix, columns).T.tolist()
    items = [vocabulary.item(index) for index in prefix]
    return [_weightiest(items, own) for own in weights]


def _weights(version: Version, prefix: Sequence[int], columns: Tensor) -> Tensor:
    """Return each click's share in each item's score (C, R); zeros where no click raises it."""
    if len(prefix) == 1:
        return torch.ones(1, len(columns))
    without = [[*prefix[:place], *prefix[place + 1 :]] for place in range(len(prefix))]
    scores = _scores(version, [prefix, *without], columns)
    lost = (scores[0] - scores[1:]).clamp_(min=0)  # (C, R)
    return lost / lost.sum(0).clamp_(min=torch.finfo(lost.dtype).tiny)


@torch.no_grad()
def _scores(version: Version, prefixes: Sequence[Sequence[int]], columns: Tensor) -> Tensor:
    """Score the items (R,) after each prefix (B, R), in a bounded memory."""
    model, size = version.model, chunk_rows(version.model)
    parts = []
    for first in range(0, len(prefixes), size):
        chunk = prefixes[first : first + size]
        inputs = pack_prefixes(chunk, model.architecture.maxlen, model.device)
        parts.append(model.scores(inputs, version.layer)[:, columns].cpu())
    return torch.cat(parts)


def _weightiest(items: Sequence[str], weights: Sequence[float]) -> list[ClickWeight]:
    found = [ClickWeight(*pair) for pair in zip(items, weights, strict=True) if pair[1] > 0]
    return sorted(found, key=lambda click: -click.weight)
