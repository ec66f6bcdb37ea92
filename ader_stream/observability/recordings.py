"""Recording rules: what several alerts and panels show."""

from __future__ import annotations

from ader_stream.observability.rule import Recording

LAG_SECONDS = "prefix_worker:ader_lag_seconds:max"
CLICK_RATE = "prefix:ader_clicks:rate10m"
BLOCK_SECONDS = "prefix:ader_block_seconds:max"
RECALL = "prefix:ader_recall20:ratio_rate1h"
UNKNOWN = "prefix:ader_unknown_items:ratio_rate1h"

RECORDINGS = (
    Recording(CLICK_RATE, "sum by (prefix) (rate(ader_clicks_total[10m]))"),
    Recording(LAG_SECONDS, "max by (prefix, worker) (ader_lag_seconds)"),
    Recording(BLOCK_SECONDS, "max by (prefix) (ader_block_seconds)"),
    Recording(
        RECALL,
        """\
sum by (prefix) (rate(ader_prequential_hits_total{k="20"}[1h]))
/
sum by (prefix) (rate(ader_prequential_targets_total[1h]))""",
    ),
    Recording(
        UNKNOWN,
        """\
sum by (prefix) (rate(ader_prequential_unknown_items_total[1h]))
/
(
  sum by (prefix) (rate(ader_prequential_unknown_items_total[1h]))
  +
  sum by (prefix) (rate(ader_prequential_targets_total[1h]))
)""",
    ),
)
