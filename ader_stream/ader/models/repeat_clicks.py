"""Repeat clicks: gains for the scores of items that a session has clicked before.

A softmax over clicks learns repeat clicks badly: it ranks a session's own items too low where
people often return to them, too high where they never do. A gain on their scores corrects that, one
for each kind of repeat click. The gains are fitted to the clicks of a block before the model is
trained on it, so nothing has to be held out.

B sessions, S samples, T length, I items, K kinds, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ader_stream.ader.data.evidence import EvidenceWeights, best_candidate
from ader_stream.ader.data.vocabulary import PADDING
from ader_stream.ader.models.ranking import UNRANKED

AGES = 3
"""Ages of the repeated click: the last one, the one before it, an older one."""

KINDS = 1 + 2 * AGES
"""Kinds of repeat clicks: of a session's only click; by age, in a session without a repeat click;
by age, in a session with one: some sessions repeat clicks often, and the others hardly ever."""

CANDIDATES = torch.tensor([-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0])
"""Gains that are tried; the lowest removes an item from every list."""

FIRST_GAINS = torch.tensor([0.0, 4.0, 2.5])
"""By age, before any ranking; they are fitted once there are enough targets."""

RARE = 0.005
"""Share of the first block's clicks below which an age is removed from the lists."""

EXPECTED, EXPECTED_OF = 5, 200
"""Prior: so many repeat clicks of each age among so many clicks. Without any, an age is rare after
800 clicks."""

SWEEPS = 2
"""Passes of coordinate descent over the kinds."""

LIST = 20
"""Gains are fitted to MRR@20."""


def add_gains(scores: Tensor, inputs: Tensor, gains: Tensor) -> Tensor:
    """Add the gains of a session's own items to its scores, in place.

    Parameters
    ----------
    scores
        (B, I).
    inputs
        Left-padded item indices (B, T).
    gains
        By kind (K,). An item that was clicked more than once has the kind of its last click, and
        one gain.

    >>> inputs = torch.tensor([[0, 4, 3, 4, 1], [0, 0, 2, 3, 1]])
    >>> gains = torch.tensor([9.0, 0.1, 0.2, 0.3, 1.0, 2.0, 3.0])
    >>> add_gains(torch.zeros(2, 4), inputs, gains)
    tensor([[1.0000, 0.0000, 3.0000, 2.0000],
            [0.1000, 0.3000, 0.2000, 0.0000]])
    """
    padded = torch.cat([gains, gains.new_zeros(1)]).to(scores)
    return scores.scatter_add_(1, _columns(inputs), padded[_session_kinds(inputs)])


@dataclass(frozen=True, eq=False)
class RepeatClicks:
    """The ranks of S targets as a function of the gains.

    Parameters
    ----------
    kinds
        Of the targets (S,): 0 … K − 1, or K where a target is no repeat click.
    own
        Scores of the targets (S,).
    others
        Number of items that are not the session's own and rank before the target, with each
        candidate gain (S, C).
    session_scores, session_kinds
        Of the session's own items (S, T); −inf and K where there is none.
    """

    kinds: Tensor
    own: Tensor
    others: Tensor
    session_scores: Tensor
    session_kinds: Tensor

    def ranks(self, gains: Tensor) -> Tensor:
        """Zero-based ranks of the targets (S,) with gains (K,), each of them a candidate."""
        gain = torch.cat([gains, gains.new_zeros(1)])  # no repeat click: no gain
        own = self.own + gain[self.kinds]
        choice = torch.searchsorted(CANDIDATES.to(gain), gain)[self.kinds, None]  # (S, 1)
        beaten_by = (self.session_scores + gain[self.session_kinds] > own[:, None]).sum(1)
        ranks = self.others.gather(1, choice)[:, 0] + beaten_by
        return ranks.masked_fill_(own.isnan(), UNRANKED)


def observe_repeat_clicks(scores: Tensor, inputs: Tensor, targets: Tensor) -> RepeatClicks:
    """Return the repeat clicks of a batch of rankings.

    Parameters
    ----------
    scores
        (B, I), without gains.
    inputs, targets
        Item indices (B, T) and (B,).
    """
    session_kinds = _session_kinds(inputs)  # (B, T)
    session_scores = scores.gather(1, _columns(inputs)).masked_fill(
        session_kinds == KINDS, -torch.inf
    )
    own = scores.gather(1, (targets - 1)[:, None])  # (B, 1)
    own_kind = session_kinds.masked_fill(inputs != targets[:, None], KINDS).amin(1)
    back = (own_kind != KINDS).nonzero()[:, 0]  # only these have a gain
    others = _foreign_above(scores, session_scores, own).repeat(1, len(CANDIDATES))  # (B, C)
    raised = own[back] + CANDIDATES.to(scores)  # (b, C)
    others[back] = _foreign_above(scores[back], session_scores[back], raised)
    return RepeatClicks(own_kind, own[:, 0], others, session_scores, session_kinds)


def _session_kinds(inputs: Tensor) -> Tensor:
    """Return the kind of a repeat of each click (B, T); K where there is none.

    An item that was clicked more than once has the kind of its last click.
    """
    clicks = inputs != PADDING
    same = inputs[:, :, None] == inputs[:, None, :]  # (B, T, T)
    gone = (same & torch.ones_like(same[0]).triu(1)).any(2)  # (B, T)
    has_returned = (gone & clicks).any(1, keepdim=True)  # (B, 1)
    ages = torch.arange(inputs.shape[1] - 1, -1, -1, device=inputs.device).clamp(max=AGES - 1)
    kinds = 1 + ages + AGES * has_returned  # (B, T)
    kinds = kinds.masked_fill(clicks.sum(1, keepdim=True) == 1, 0)
    return kinds.masked_fill(gone | ~clicks, KINDS)


def _foreign_above(scores: Tensor, session_scores: Tensor, bars: Tensor) -> Tensor:
    """Count the items above each threshold (B, C) that are not the session's own (B, C)."""
    counts = [
        (scores > bar[:, None]).sum(1) - (session_scores > bar[:, None]).sum(1)
        for bar in bars.unbind(1)
    ]
    return torch.stack(counts, 1)


def best_gains(
    observed: Iterable[RepeatClicks], gains: Tensor, evidence: Tensor, weights: EvidenceWeights
) -> tuple[Tensor, Tensor]:
    """Fit the gains to the best MRR, one kind after the other.

    Parameters
    ----------
    observed
        Rankings of a block.
    gains
        The gains now (K,).
    evidence
        Earlier evidence for each candidate of a kind (K, C).
    weights
        Weight of these rankings and of the earlier evidence.

    Returns
    -------
    gains, evidence
        The new gains, and the evidence for the candidates.
    """
    batches, gains, added = list(observed), gains.clone(), evidence.clone()
    for kind in list(range(KINDS)) * SWEEPS:
        tried = gains.repeat(len(CANDIDATES), 1)
        tried[:, kind] = CANDIDATES.to(tried)
        merits = torch.tensor(
            [sum(reciprocal_ranks(batch.ranks(g)) for batch in batches) for g in tried]
        )
        added[kind] = weights.add(evidence[kind], merits)
        gains[kind] = best_candidate(CANDIDATES, added[kind].cpu(), gains[kind].item())
    return gains, added


def first_gains(inputs_and_targets: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the first gains (K,): ages that are rare in the block are removed from lists."""
    returned, samples = torch.zeros(AGES), 0
    for inputs, targets in inputs_and_targets:
        hits = (inputs == targets[:, None]).flip(1)  # (B, T) from the last click on
        has, age = hits.max(1)
        returned += torch.bincount(age[has].clamp(max=AGES - 1), minlength=AGES).cpu()
        samples += len(targets)
    is_rare = returned + EXPECTED < RARE * (samples + EXPECTED_OF)
    return by_kind(torch.where(is_rare, CANDIDATES[0], FIRST_GAINS))


def by_kind(by_age: Tensor) -> Tensor:
    """Copy values by age (AGES, …) to each kind (K, …).

    >>> by_kind(torch.tensor([1.0, 2.0, 3.0]))
    tensor([1., 1., 2., 3., 1., 2., 3.])
    """
    return torch.cat([by_age[:1], by_age, by_age])


def hits(ranks: Tensor) -> int:
    """Count zero-based ranks within the list."""
    return int((ranks < LIST).sum())


def reciprocal_ranks(ranks: Tensor) -> float:
    """Return the sum of 1 / (rank + 1) of zero-based ranks within the list."""
    listed = ranks[ranks < LIST]
    return float((1 / (listed + 1)).sum())


def _columns(inputs: Tensor) -> Tensor:
    """Return the columns of the scores of these items (B, T); any column for padding."""
    return (inputs - 1).clamp(min=0)
