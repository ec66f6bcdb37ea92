"""Describe settings: a row for each, and what is wrong with a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as SourceError

from ader_stream.errors import SettingsError
from ader_stream.settings.environment import variables_with


def rows_of(settings: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """Return every setting of the groups as (TOML name, variable, default, meaning)."""
    return [
        (
            f"{group}.{name}",
            f"ADER_{group}_{name}".upper(),
            _show(field.default),
            field.description or "",
        )
        for group, model in _groups_of(settings).items()
        for name, field in model.model_fields.items()
    ]


@contextmanager
def clear_errors(settings: type[BaseModel]) -> Iterator[None]:
    """Convert pydantic's errors.

    Raises
    ------
    SettingsError
        Names the setting, its value, and the expectation.
    """
    try:
        yield
    except ValidationError as error:
        raise SettingsError(_first_problem(error, settings)) from None
    except SourceError as error:
        expected = "in the environment, lists and objects are written as JSON"
        raise SettingsError(
            f"{_not_json(error, settings)}: {error.__cause__}; {expected}"
        ) from None
    except ValueError as error:
        raise SettingsError(f"settings: {error}: in the file that ADER_SETTINGS names") from None


def _show(default: object) -> str:
    if default is None or default in ("", {}, ()):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _groups_of(settings: type[BaseModel]) -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _not_json(error: SourceError, settings: type[BaseModel]) -> str:
    """Name the variable whose text is no JSON, with its value: pydantic names only its group."""
    text = getattr(error.__cause__, "doc", "")
    names = variables_with(text, [variable for _, variable, _, _ in rows_of(settings)])
    return f"{' or '.join(names)} = {text!r}" if names else f"settings: {error}"


def _first_problem(error: ValidationError, settings: type[BaseModel]) -> str:
    """Return one line for the first error."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:2])
    expected = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = [*_groups_of(settings), *(row[0] for row in rows_of(settings))]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`ader-stream settings` lists them all"
        return f"{name}: unknown setting; {hint}"
    value = first["input"]
    return f"{name} = {value!r}: {expected}" if name and not isinstance(value, dict) else expected
