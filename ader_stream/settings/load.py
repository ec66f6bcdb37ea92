"""Load all settings, and describe them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as SourceError

from ader_stream.errors import SettingsError
from ader_stream.settings.environment import (
    librdkafka_variables,
    refuse_unknown_variables,
    variables_with,
)
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
    try:
        return Settings(**groups)
    except ValidationError as error:
        raise SettingsError(_describe(error)) from None
    except SourceError as error:
        expected = "in the environment, lists and objects are written as JSON"
        raise SettingsError(f"{_not_json(error)}: {error.__cause__}; {expected}") from None
    except ValueError as error:
        raise SettingsError(f"settings: {error}: in the file that ADER_SETTINGS names") from None


def describe_settings() -> list[tuple[str, str, str, str]]:
    """Return every setting as (TOML name, variable, default, meaning)."""
    return [
        (
            f"{group}.{name}",
            f"ADER_{group}_{name}".upper(),
            _show(field.default),
            field.description or "",
        )
        for group, model in _groups().items()
        for name, field in model.model_fields.items()
    ]


def _show(default: object) -> str:
    if default is None or default in ("", {}, ()):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _groups() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _not_json(error: SourceError) -> str:
    """Name the variable whose text is no JSON, with its value: pydantic names only its group."""
    text = getattr(error.__cause__, "doc", "")
    names = variables_with(text, [variable for _, variable, _, _ in describe_settings()])
    return f"{' or '.join(names)} = {text!r}" if names else f"settings: {error}"


def _describe(error: ValidationError) -> str:
    """Return one line for the first error."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:2])
    expected = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = [*_groups(), *(row[0] for row in describe_settings())]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`ader-stream settings` lists them all"
        return f"{name}: unknown setting; {hint}"
    value = first["input"]
    return f"{name} = {value!r}: {expected}" if name and not isinstance(value, dict) else expected
