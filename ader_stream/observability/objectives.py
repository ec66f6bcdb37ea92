"""The objectives of serving, and alerts by the rate at which their error budgets are used.

Source: The Site Reliability Workbook (Google), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
The budget is the share of requests that may fail in 30 days. An alert fires when it is used several
times as fast as it may be: over a long window, so that it matters, and over a short one, so that
the alert ends soon after the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ader_stream.observability.rule import Alert, Component, Recording, Severity


@dataclass(frozen=True)
class Objective:
    """A share of the requests that must be good, over 30 days.

    Parameters
    ----------
    alert
        Name of its alerts.
    record
        Name of its recording rules, up to the window.
    share
        Share of good requests, 0 … 1.
    bad
        Query for the share of bad requests; `WINDOW` stands for the window.
    what
        What a bad request is.
    """

    alert: str
    record: str
    share: float
    bad: str
    what: str

    @property
    def budget(self) -> float:
        """Return the share of requests that may be bad."""
        return round(1 - self.share, 9)


@dataclass(frozen=True)
class BurnRate:
    """How fast a budget is used, over which windows, and how urgent that is."""

    factor: float
    long: str
    short: str
    hold: str
    severity: Severity


BURN_RATES = (
    BurnRate(14.4, "1h", "5m", "2m", Severity.PAGE),
    BurnRate(6, "6h", "30m", "5m", Severity.PAGE),
    BurnRate(1, "3d", "6h", "30m", Severity.TICKET),
)
"""2 % of the budget in 1 h, 5 % in 6 h, 10 % in 3 d."""

WINDOWS = ("5m", "30m", "1h", "6h", "3d")

SLOW_SECONDS = 0.1
"""An answer that takes longer counts as slow; a bound of the latency's buckets."""

_ALL = "sum by (prefix) (rate(ader_requests_total[WINDOW]))"

OBJECTIVES = (
    Objective(
        "AderServingErrors",
        "prefix:ader_request_errors:ratio_rate",
        0.999,
        f"""\
(
  sum by (prefix) (rate(ader_requests_total{{status=~"5.."}}[WINDOW]))
  or
  0 * {_ALL}
)
/
{_ALL}""",
        "failed (status 5xx)",
    ),
    Objective(
        "AderServingLatency",
        "prefix:ader_requests_slow:ratio_rate",
        0.99,
        f"""\
1 -
sum by (prefix) (rate(ader_request_seconds_bucket{{le="{SLOW_SECONDS}"}}[WINDOW]))
/
sum by (prefix) (rate(ader_request_seconds_count[WINDOW]))""",
        f"took more than {SLOW_SECONDS * 1000:.0f} ms",
    ),
)


def recordings() -> Iterator[Recording]:
    """Yield the share of bad requests in each window."""
    for objective in OBJECTIVES:
        for window in WINDOWS:
            query = objective.bad.replace("WINDOW", window)
            yield Recording(f"{objective.record}{window}", query)


def alerts() -> Iterator[Alert]:
    """Yield an alert for each objective and burn rate."""
    for objective in OBJECTIVES:
        for rate in BURN_RATES:
            yield _alert(objective, rate)


def _alert(objective: Objective, rate: BurnRate) -> Alert:
    limit = f"{rate.factor:g} * {objective.budget:g}"
    return Alert(
        objective.alert,
        rate.severity,
        Component.SERVING,
        f"""\
{objective.record}{rate.long} > {limit}
and
{objective.record}{rate.short} > {limit}""",
        rate.hold,
        f"Of the requests, {{{{ $value | humanizePercentage }}}} {objective.what} in {rate.long}",
        f"The error budget of the objective ({objective.share:.1%} of the requests in 30 days) is "
        f"used more than {rate.factor:g} times as fast as it may be, over {rate.long} and over "
        f"{rate.short}.",
        labels={"burn_rate": f"{rate.factor:g}"},
    )
