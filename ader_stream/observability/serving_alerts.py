"""Alerts of serving: which version serves, whether it loads, and how requests are answered."""

from __future__ import annotations

from ader_stream.observability.promql import INSTANCE, events
from ader_stream.observability.recordings import BLOCK_SECONDS
from ader_stream.observability.rule import Alert, Component, Severity

PAGE, TICKET, SERVING = Severity.PAGE, Severity.TICKET, Component.SERVING
WORKER_NAME = "{{ $labels.instance }}"

ALERTS = (
    Alert(
        "AderNothingServed",
        PAGE,
        SERVING,
        "max by (prefix) (ader_version_chosen) unless on (prefix) ader_version_served",
        "10m",
        "There is a version, and no inference worker serves one",
        "Version {{ $value }} is to be served; every request is answered with 503.",
        covers=("AderSwapFailing", "AderArtifactsRefused", "AderServingErrors"),
    ),
    Alert(
        "AderSwapFailing",
        TICKET,
        SERVING,
        f"""\
max by ({INSTANCE}) (ader_version_chosen)
!= on ({INSTANCE})
(
  max by ({INSTANCE}) (ader_version_served)
  or on ({INSTANCE})
  0 * max by ({INSTANCE}) (ader_version_chosen)
)""",
        "15m",
        f"{WORKER_NAME} does not serve the version that it is to serve",
        "Version {{ $value }} is to be served, and is not loaded for 15 minutes.",
    ),
    Alert(
        "AderArtifactsRefused",
        TICKET,
        SERVING,
        events("ader_artifacts_refused_total", "1h", f"{INSTANCE}, reason"),
        "0m",
        f"{WORKER_NAME} refused a version: {{{{ $labels.reason }}}}",
        "{{ $value | humanize }} in the last hour; the version before continues to serve.",
    ),
    Alert(
        "AderVersionSkew",
        TICKET,
        SERVING,
        """\
max by (prefix) (ader_version_served)
>
min by (prefix) (ader_version_served)""",
        "15m",
        "Inference workers serve different versions",
        "The newest is {{ $value }}; at least one worker has served another for 15 minutes.",
    ),
    Alert(
        "AderModelOld",
        TICKET,
        SERVING,
        f"max by (prefix) (ader_served_model_age_seconds) > 2 * {BLOCK_SECONDS}",
        "15m",
        "The served version is {{ $value | humanizeDuration }} old",
        "That is more than two blocks: at least one block came without a new version.",
    ),
    Alert(
        "AderRollbackInForce",
        TICKET,
        SERVING,
        """\
max by (prefix) (ader_version_chosen) < max by (prefix) (ader_version_accepted)
unless on (prefix)
ader_version_canary > 0""",
        "1h",
        "A pin or a rollback holds version {{ $value }}",
        "The gate accepted a newer one. This stays until `ader-stream models unpin`, or until a "
        "version is trained after the rollback.",
    ),
    Alert(
        "AderCanaryEnded",
        TICKET,
        SERVING,
        events("ader_canary_fallbacks_total", "1h"),
        "0m",
        "A canary was worse and has ended",
        "The pinned version serves everybody; `ader-stream models show` gives the reason.",
    ),
)
