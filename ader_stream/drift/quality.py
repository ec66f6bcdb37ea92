"""Prequential recall and MRR of a block, and why they fell: data, model or pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ader_stream.drift.measurements import Measurement, Measurements, share_of
from ader_stream.drift.signals import Range, Signal, State
from ader_stream.paired import GROUPS, PairedCounts
from ader_stream.types import RECIPROCAL_UNIT, Counts

QUALITY = ("recall20", "mrr20", "recall_of_validation")
"""Signals of which a fall has a cause."""

OF_PIPELINE = ("session_length", "click_interval", "repeat_clicks", "busiest_key")
"""Signals of how clicks are recorded, and cut into sessions."""

OF_DATA = (
    *("unknown_items", "popularity_psi", "top_items_psi"),
    *("popularity_js", "exemplar_coverage"),
)
"""Signals of which items people click."""

SHIFTED: tuple[State, ...] = ("watch", "act")


def measure_quality(
    counts: Counts, targets_per_session: float = 1.0, validation_recall20: float | None = None
) -> Measurements:
    """Measure recall and MRR of the clicks that a version scored; empty without any.

    Parameters
    ----------
    counts
        Of one version on one block.
    targets_per_session
        Mean number of scored clicks of a session: they are not independent.
    validation_recall20
        Recall@20 of the version's own validation, percent, as in its manifest.
    """
    if not counts.targets:
        return {}
    sessions = counts.targets / max(1.0, targets_per_session)
    on = f"{counts.targets:,} scored clicks"
    recall = share_of(counts.hits20 / counts.targets, sessions, on)
    mrr = share_of(counts.reciprocal20 / RECIPROCAL_UNIT / counts.targets, sessions, on)
    found = {"recall20": recall, "mrr20": mrr}
    if validation_recall20:
        share = validation_recall20 / 100
        found["recall_of_validation"] = Measurement(recall.value / share, recall.noise / share, on)
    return found


def judge_versions(paired: PairedCounts) -> Signal:
    """Judge a version beside the version before, on the clicks that both scored.

    The interval holds at every look (`ader_stream.paired`), so it needs no history.
    """
    found = paired.recall20
    bounds = Range(found.lower, found.upper)
    shown = f"{found.estimate:+.3f} [{found.lower:+.3f}, {found.upper:+.3f}]"
    reason = f"{shown} on {paired.clicks:,} clicks that both versions scored"
    state: State = "fine"
    if paired.clicks < GROUPS:
        state, reason = "insufficient data", f"{reason}; {GROUPS} are needed at least"
    elif found.upper < 0:
        state, reason = "act", f"{reason}: certainly worse than the version before"
    usual = Range(low=0.0)
    return Signal("version_difference", found.estimate, state, reason, usual, usual, bounds)


def with_causes(signals: Iterable[Signal]) -> tuple[Signal, ...]:
    """Name the cause of each fall of quality.

    - ``model``: the version before is certainly better on the same clicks, or nothing else has
      changed;
    - ``pipeline``: sessions have another shape, so clicks are recorded or cut in another way;
    - ``data``: people click other items than before.

    The first that applies is named.
    """
    all_ = tuple(signals)
    states = {signal.name: signal.state for signal in all_}
    cause, because = _cause(states)
    return tuple(
        replace(signal, cause=cause, reason=f"{signal.reason}; cause: {cause}, {because}")
        if signal.name in QUALITY and signal.state in SHIFTED
        else signal
        for signal in all_
    )


def _cause(states: Mapping[str, State]) -> tuple[str, str]:
    if states.get("version_difference") == "act":
        return "model", "the version before is better on the same clicks"
    for cause, names in (("pipeline", OF_PIPELINE), ("data", OF_DATA)):
        if shifted := [name for name in names if states.get(name) in SHIFTED]:
            return cause, f"{', '.join(shifted)} shifted too"
    return "model", "clicks and sessions are as before"
