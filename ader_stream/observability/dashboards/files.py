"""All dashboards, as the JSON that Grafana imports or provisions."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ader_stream.observability.dashboards import overview, pipeline, quality, serving, training

DASHBOARDS = (overview, quality, pipeline, training, serving)


def dashboards_json() -> Mapping[str, str]:
    """Return each dashboard as JSON, by its name."""
    made = (module.dashboard().build() for module in DASHBOARDS)
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {str(board.uid): encoder.encode(board) + "\n" for board in made}
