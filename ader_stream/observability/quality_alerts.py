"""Alerts of the quality of recommendations, and of drift in what is clicked."""

from __future__ import annotations

from ader_stream.observability.recordings import RECALL, UNKNOWN
from ader_stream.observability.rule import Alert, Component, Severity

TICKET, QUALITY = Severity.TICKET, Component.QUALITY

ENOUGH = "sum by (prefix) (increase(ader_prequential_targets_total[1h])) > 1000"
"""With 1,000 clicks, the 95 % interval of a recall of 0.3 is ± 0.03."""

ALERTS = (
    Alert(
        "AderRecallFall",
        TICKET,
        QUALITY,
        f"""\
{RECALL} < 0.7 * avg_over_time({RECALL}[7d] offset 1h)
and on (prefix)
{ENOUGH}""",
        "1h",
        "Recall@20 has fallen to {{ $value | humanizePercentage }}",
        "Of the last hour's clicks; that is less than 70 % of the mean of the week before.",
    ),
    Alert(
        "AderNewItems",
        TICKET,
        QUALITY,
        f"""\
{UNKNOWN} > 0.05 + 2 * avg_over_time({UNKNOWN}[7d] offset 1h)
and on (prefix)
{ENOUGH}""",
        "1h",
        "{{ $value | humanizePercentage }} of the clicks are on items that the model does not know",
        "In the last hour; that is over 5 percentage points more than twice the mean of the week "
        "before. Such an item is not recommended until the next version.",
    ),
)
