"""Load all settings, and describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ader_stream.settings.description import rows_of
from ader_stream.settings.environment import librdkafka_variables, refuse_unknown_variables
from ader_stream.settings.whole import Settings


def load_settings(**overrides: Mapping[str, Any]) -> Settings:
    """Read file and environment; `overrides` (group → name → value) take precedence over both.

    Raises
    ------
    SettingsError
        Names the setting, its value, and the expectation.
    """
    refuse_unknown_variables([variable for _, variable, _, _ in describe_settings()])
    kafka = dict(overrides.pop("kafka", {}))
    if properties := librdkafka_variables():
        kafka["librdkafka"] = properties | dict(kafka.get("librdkafka", {}))
    groups: dict[str, Any] = {"kafka": kafka, **overrides} if kafka else overrides
    return Settings(**groups)


def describe_settings() -> list[tuple[str, str, str, str]]:
    """Return every setting as (TOML name, variable, default, meaning)."""
    return rows_of(Settings)
