"""Alerts of the quality of recommendations, and of drift in what is clicked.

The monitor judges each signal by the spread between earlier blocks; here is only what is done with
the state `act`. The fall of recall in an hour needs no monitor.
"""

from __future__ import annotations

from collections.abc import Iterable

from ader_stream.drift.quality import OF_DATA, OF_PIPELINE, QUALITY
from ader_stream.observability.recordings import RECALL
from ader_stream.observability.rule import Alert, Component, Severity

TICKET = Severity.TICKET

ENOUGH = "sum by (prefix) (increase(ader_prequential_targets_total[1h])) > 1000"
"""With 1,000 clicks, the 95 % interval of a recall of 0.3 is ± 0.03."""

ON = "on (prefix, scope)"
WHERE = "{{ if eq $labels.scope `block` }}the last complete block{{ else }}the last hour{{ end }}"


def signals(names: Iterable[str], states: str) -> str:
    """Return the query for the scopes in which one of these signals has one of these states."""
    return f"""\
(
  max by (prefix, scope) (
    ader_drift_state{{scope=~"block|sliding", signal=~"{"|".join(names)}", state=~"{states}"}}
  ) > 0
)"""


FALL = signals(QUALITY, "act")
PIPELINE_SHIFTED = signals(OF_PIPELINE, "watch|act")
DATA_SHIFTED = signals(OF_DATA, "watch|act")
BETTER_BEFORE = signals(["version_difference"], "act")


def _fall(cause: str, query: str, because: str) -> Alert:
    return Alert(
        f"AderRecallFall{cause.title()}",
        TICKET,
        Component.QUALITY,
        query,
        "15m",
        f"Recall has fallen because of the {cause}",
        f"In {WHERE}: {because}. The monitor judges it by the spread between earlier blocks.",
        covers=("AderRecallFall",),
    )


FALLS = (
    _fall(
        "model",
        f"""\
(
  {FALL}
  and {ON}
  {BETTER_BEFORE}
)
or {ON}
(
  {FALL}
  unless {ON}
  {PIPELINE_SHIFTED}
  unless {ON}
  {DATA_SHIFTED}
)""",
        "the version before is better on the same clicks, or clicks and sessions are as before",
    ),
    _fall(
        "pipeline",
        f"""\
{FALL}
and {ON}
{PIPELINE_SHIFTED}
unless {ON}
{BETTER_BEFORE}""",
        "sessions have another shape, so that clicks are recorded or cut in another way",
    ),
    _fall(
        "data",
        f"""\
{FALL}
and {ON}
{DATA_SHIFTED}
unless {ON}
{PIPELINE_SHIFTED}
unless {ON}
{BETTER_BEFORE}""",
        "people click other items than before",
    ),
)
"""The causes as `ader_stream.drift.quality.with_causes` names them: the first that applies."""


def _shift(name: str, of: Iterable[str], summary: str) -> Alert:
    return Alert(
        name,
        TICKET,
        Component.QUALITY,
        f"""\
max by (prefix, scope, signal) (
  ader_drift_signal
  and on (prefix, scope, signal)
  ader_drift_state{{scope=~"block|sliding", signal=~"{"|".join(of)}", state="act"}} > 0
)""",
        "15m",
        summary,
        f"The signal {{{{ $labels.signal }}}} of {WHERE} is {{{{ $value | humanize }}}}, outside "
        "its usual values by the spread between earlier blocks.",
    )


SHIFTS = (
    _shift("AderNewItems", ["unknown_items"], "More clicks than usual are on unknown items"),
    _shift(
        "AderPopularityShift",
        ["popularity_psi", "top_items_psi", "popularity_js"],
        "Other items are popular than before",
    ),
    _shift(
        "AderSessionShapeShift",
        ["session_length", "click_interval", "repeat_clicks"],
        "Sessions have another shape than before",
    ),
    _shift("AderBusiestKey", ["busiest_key"], "A few visitors make more clicks than usual"),
    _shift(
        "AderRecommendedItemsShift",
        ["recommended_entropy", "recommended_coverage"],
        "Fewer different items are recommended than before",
    ),
)

ALERTS = (
    Alert(
        "AderRecallFall",
        TICKET,
        Component.QUALITY,
        f"""\
{RECALL} < 0.7 * avg_over_time({RECALL}[7d] offset 1h)
and on (prefix)
{ENOUGH}""",
        "1h",
        "Recall@20 has fallen to {{ $value | humanizePercentage }}",
        "Of the last hour's clicks; that is less than 70 % of the mean of the week before.",
    ),
    *FALLS,
    *SHIFTS,
    Alert(
        "AderMonitorBehind",
        TICKET,
        Component.QUALITY,
        "max by (prefix) (ader_monitor_caught_up) == 0",
        "30m",
        "The monitor has not read the topics to their ends",
        "For half an hour: what it shows of drift and quality is of earlier clicks.",
    ),
    Alert(
        "AderMonitorUnreadable",
        TICKET,
        Component.QUALITY,
        "max by (prefix) (ader_monitor_unreadable_partitions) > 0",
        "15m",
        "The monitor is older than what the topics hold",
        "On {{ $value }} partitions it has stopped at a record that only a newer release can read.",
    ),
)
