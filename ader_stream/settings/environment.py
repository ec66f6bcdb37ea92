"""Read environment variables; no other code does."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from ader_stream.errors import SettingsError
from ader_stream.paths import describe_path
from ader_stream.stream.kafka.clients import is_property

_SERVICE_LINK = re.compile(
    r"ADER_\w*?(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
)
"""Variables that Kubernetes sets in every container of a namespace with a service ``ader…``."""


def settings_file() -> Path | None:
    """Return the path of the TOML file in ``ADER_SETTINGS``."""
    name = os.environ.get("ADER_SETTINGS")
    if name and not Path(name).is_file():
        found = describe_path(Path(name))
        raise SettingsError(f"ADER_SETTINGS={name} {found}; name a TOML file or unset it")
    return Path(name) if name else None


def refuse_unknown_variables(known: Collection[str]) -> None:
    """Raise `SettingsError` for an ``ADER_`` variable that is neither a setting nor Kubernetes'."""
    for variable, value in os.environ.items():
        if not variable.startswith("ADER_") or variable.startswith("ADER_LIBRDKAFKA_"):
            continue
        if is_service_link(variable, value):
            continue
        if variable not in known and variable != "ADER_SETTINGS":
            near = difflib.get_close_matches(variable, known, n=1, cutoff=0.8)
            hint = (
                f"; did you mean {near[0]}?" if near else "; `ader-stream settings` lists them all"
            )
            raise SettingsError(f"{variable}: unknown setting{hint}")


def variables_with(text: str, known: Collection[str]) -> list[str]:
    """Return the variables among `known` that have this value."""
    return [variable for variable in known if os.environ.get(variable) == text]


def is_service_link(variable: str, value: str | None) -> bool:
    """Return whether a variable is one that Kubernetes sets for a service, not a setting.

    >>> is_service_link("ADER_HTTP_PORT", "tcp://10.0.0.11:8080")
    True
    """
    if variable.endswith("_PORT") and "://" in (value or ""):  # ADER_PORT=tcp://10.0.0.11:8080
        return True
    return _SERVICE_LINK.fullmatch(variable) is not None


def librdkafka_variables() -> dict[str, str]:
    """Return ``{"sasl.username": "x"}`` for ``ADER_LIBRDKAFKA_SASL_USERNAME=x``.

    A variable with ``_FILE`` at its end names a file with the value. Properties with such a name of
    their own, as ``…_PRIVATE_KEY_FILE``, are an exception: their value is the file's name.
    """
    prefix = "ADER_LIBRDKAFKA_"
    return dict(
        _librdkafka_property(variable, variable.removeprefix(prefix).lower(), value)
        for variable, value in os.environ.items()
        if variable.startswith(prefix)
    )


def _librdkafka_property(variable: str, name: str, value: str) -> tuple[str, str]:
    property_ = name.replace("_", ".")
    if property_.endswith(".file") and not is_property(property_):
        return property_.removesuffix(".file"), _read_secret(variable, value)
    return property_, value


def kafka_image() -> str:
    """Return the container image of the local Kafka; ``KAFKA_IMAGE`` replaces the official one."""
    return os.environ.get("KAFKA_IMAGE", "apache/kafka")


def worker_environment(**overrides: Mapping[str, str]) -> dict[str, str]:
    """Return variables for a worker process: this one's, and overrides (group → name → value)."""
    return dict(os.environ) | {
        f"ADER_{group}_{name}".upper(): value
        for group, values in overrides.items()
        for name, value in values.items()
    }


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{variable}={path}: {error}; name a readable text file") from None
