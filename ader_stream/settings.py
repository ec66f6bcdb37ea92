"""The only reader of the environment: every setting, its default and its meaning.

A setting is ``GROUP.NAME`` in a TOML file (table ``[GROUP]``) and ``ADER_GROUP_NAME`` in the
environment; the environment wins over the file, the command line over both. The file is named by
``ADER_SETTINGS``. Durations are numbers with a unit (``500ms``, ``30m``, ``7d``).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import (
    SettingsError as SourceError,
)

from ader_stream.errors import SettingsError
from ader_stream.stream.clicks import ClickFormat
from ader_stream.stream.clients import KafkaClients
from ader_stream.stream.topics import Topics
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, BlockRule, SessionRule

_UNITS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_MONDAY = "1970-01-05T00:00:00Z"


def parse_duration(value: object) -> int:
    """Read a duration as milliseconds.

    >>> parse_duration("1.5s"), parse_duration("7d")
    (1500, 604800000)

    Raises
    ------
    ValueError
        If it is negative or has no known unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", str(value).strip())
    if not match:
        expected = "a number and one of ms, s, m, h, d, w, not negative: 500ms, 30m, 7d"
        raise ValueError(f"expected {expected}")
    return round(float(match[1]) * _UNITS[match[2]])


def parse_instant(value: object) -> int:
    """Read a point in time, ISO 8601 or whole milliseconds since 1970, as milliseconds.

    >>> parse_instant("1970-01-02T00:00:00Z"), parse_instant(12)
    (86400000, 12)
    """
    if isinstance(value, int) or re.fullmatch(r"-?\d+", str(value)):
        return int(str(value))
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)


Duration = Annotated[int, BeforeValidator(parse_duration)]
Instant = Annotated[int, BeforeValidator(parse_instant)]


def _as_written(default: str) -> Any:
    """Give a default as a user would write it; it is parsed like one, and shown as it stands."""
    return default


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class KafkaSettings(_Group):
    """Where Kafka is, and what our topics are called there."""

    bootstrap_servers: str = Field("localhost:9092", description="Address of the cluster.")
    prefix: str = Field(
        "ader",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Start of the name of every topic and group.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic", description="Group protocol; `consumer` is KIP-848."
    )
    session_timeout: Duration = Field(
        _as_written("6s"),
        description="A silent worker's partitions move on after this (classic protocol).",
    )
    transaction_timeout: Duration = Field(
        _as_written("10s"), description="A transaction left open is aborted after this."
    )
    librdkafka: dict[str, str] = Field(
        {},
        description="Any librdkafka property. In the environment one variable each: "
        "`ADER_LIBRDKAFKA_SASL_USERNAME` is `sasl.username`; with `_FILE` at its end the value is "
        "read from that file.",
    )


class ClicksSettings(_Group):
    """What your click topic looks like."""

    topic: str = Field("", description="Your click topic; empty for PREFIX.clicks.")
    format: Literal["json", "avro", "avro-registry"] = Field(
        "json", description="`avro-registry` has the schema registry's five-byte header."
    )
    session_field: str = Field(
        "session", description="Field of the session (or user) key; `$key` for the record's key."
    )
    item_field: str = Field("item", description="Field of the item id.")
    time_field: str = Field("time", description="Field of the event time, ms since 1970.")
    event_id_field: str = Field("", description="Field of the event id, where there is one.")
    extra_fields: tuple[str, ...] = Field((), description="Fields that pass through, a JSON list.")
    avro_schema: Path | None = Field(
        None, description="Writer's schema (.avsc) of Avro clicks; our own Click without it."
    )
    registry_url: str = Field("", description="Schema registry, for `avro-registry`.")
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where reading starts if no offset was ever committed."
    )


class SessionsSettings(_Group):
    """How clicks become sessions."""

    gap: Duration = Field(
        _as_written("30m"), description="Neighbours in a session are at most this far apart."
    )
    lateness: Duration = Field(
        _as_written("0ms"), description="How far the watermark stays behind."
    )
    late: Literal["carry", "dead-letter"] = Field(
        "carry", description="Late clicks move to the watermark, or are refused."
    )

    @model_validator(mode="after")
    def _gap_is_positive(self) -> SessionsSettings:
        if self.gap == 0:
            raise ValueError("gap: expected more than 0; 30m is usual for shops")
        return self


class BlocksSettings(_Group):
    """How the stream is cut into blocks, one update cycle each."""

    origin: Instant = Field(
        _as_written(_MONDAY), description="Event time at which block 0 starts; ISO 8601 or ms."
    )
    length: Duration = Field(_as_written("7d"), description="Event time in a block.")
    min_sessions: int = Field(
        1, ge=1, description="Short blocks are joined until one has this many sessions."
    )


class SessionizerSettings(_Group):
    """The sessionizer."""

    commit_interval: Duration = Field(
        _as_written("200ms"), description="Longest time between two transactions."
    )
    dead_letter_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The worker stops when more of the last 1000 clicks were refused.",
    )


class TrainerSettings(_Group):
    """The trainer."""

    recipe: str = Field("paper", description="The recipe of the update cycle.")
    overrides: dict[str, float] = Field(
        {}, description="Hyper-parameters that differ from the recipe's, a JSON object."
    )
    seed: int = Field(0, description="Of everything random in a cycle.")
    threads: int = Field(0, ge=0, description="CPU threads; 0 for every core.")
    chunk_size: int = Field(
        900_000, ge=1_000, le=1_000_000, description="Bytes of a record in model-chunks."
    )


class InferenceSettings(_Group):
    """The inference worker."""

    k: int = Field(20, ge=1, le=1_000, description="Items in a recommendation.")
    recommendations: bool = Field(
        False, description="Also write the recommendations topic after each click."
    )
    threads: int = Field(1, ge=1, description="CPU threads.")
    commit_interval: Duration = Field(
        _as_written("500ms"), description="Longest time between two transactions."
    )


class HttpSettings(_Group):
    """Where a worker answers: /metrics, /healthz, /readyz, and /recommend for inference."""

    host: str = Field("0.0.0.0", description="Address to bind.")  # noqa: S104 - a server's default
    port: int = Field(8080, ge=0, le=65535, description="Port to bind; 0 for any free one.")
    advertised: str = Field(
        "", description="host:port that others reach it at; empty for host:port."
    )


class LogSettings(_Group):
    """Logs, on standard error."""

    format: Literal["text", "json"] = Field("text", description="key=value text, or JSON lines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level.")


class Settings(BaseSettings):
    """All settings; each group handed to the part that needs it."""

    model_config = SettingsConfigDict(
        env_prefix="ADER_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    clicks: ClicksSettings = ClicksSettings()
    sessions: SessionsSettings = SessionsSettings()
    blocks: BlocksSettings = BlocksSettings()
    sessionizer: SessionizerSettings = SessionizerSettings()
    trainer: TrainerSettings = TrainerSettings()
    inference: InferenceSettings = InferenceSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _settings_file())

    @model_validator(mode="after")
    def _gap_fits_into_a_block(self) -> Settings:
        if self.sessions.gap >= self.blocks.length:
            raise ValueError(
                f"sessions.gap ({self.sessions.gap} ms) must be shorter than "
                f"blocks.length ({self.blocks.length} ms)"
            )
        return self

    @property
    def topics(self) -> Topics:
        """Names of the topics."""
        return Topics(self.kafka.prefix, self.clicks.topic)

    @property
    def clients(self) -> KafkaClients:
        """What makes this system's Kafka clients."""
        return KafkaClients(
            self.kafka.bootstrap_servers,
            self.kafka.librdkafka,
            group_protocol=self.kafka.group_protocol,
            session_timeout=self.kafka.session_timeout,
            transaction_timeout=self.kafka.transaction_timeout,
        )

    @property
    def block_rule(self) -> BlockRule:
        """How the stream is cut into blocks."""
        return BlockRule(self.blocks.origin, self.blocks.length)

    @property
    def session_rule(self) -> SessionRule:
        """How clicks become sessions."""
        return SessionRule(self.sessions.gap, self.sessions.lateness, self.sessions.late)

    @property
    def click_format(self) -> ClickFormat:
        """How clicks are decoded."""
        clicks = self.clicks
        return ClickFormat(
            clicks.format,
            clicks.session_field,
            clicks.item_field,
            clicks.time_field,
            clicks.event_id_field,
            clicks.extra_fields,
            clicks.avro_schema,
            clicks.registry_url,
        )


def load_settings(**overrides: Mapping[str, Any]) -> Settings:
    """Read file and environment; `overrides` (group → name → value) win over both.

    Raises
    ------
    SettingsError
        Naming the setting, its value, and what was expected.
    """
    _refuse_unknown_variables()
    kafka = dict(overrides.pop("kafka", {}))
    if properties := _librdkafka_variables():
        kafka["librdkafka"] = properties | dict(kafka.get("librdkafka", {}))
    try:
        groups: dict[str, Any] = {"kafka": kafka, **overrides}
        return Settings(**groups)
    except ValidationError as error:
        raise SettingsError(_describe(error)) from None
    except (SourceError, ValueError) as error:
        raise SettingsError(f"settings: {error}: {error.__cause__ or 'in the file'}") from None


def kafka_image() -> str:
    """Name the container image of the local Kafka; ``KAFKA_IMAGE`` overrides the official one."""
    return os.environ.get("KAFKA_IMAGE", "apache/kafka")


def describe_settings() -> list[tuple[str, str, str, str]]:
    """List every setting as (TOML name, variable, default, meaning)."""
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


def _settings_file() -> Path | None:
    name = os.environ.get("ADER_SETTINGS")
    if name and not Path(name).is_file():
        raise SettingsError(f"ADER_SETTINGS={name}: no such file; name a TOML file or unset it")
    return Path(name) if name else None


def _librdkafka_variables() -> dict[str, str]:
    """``ADER_LIBRDKAFKA_SASL_USERNAME=x`` → ``{"sasl.username": "x"}``; ``…_FILE`` is read."""
    properties = {}
    for variable, value in os.environ.items():
        if not variable.startswith("ADER_LIBRDKAFKA_"):
            continue
        name = variable.removeprefix("ADER_LIBRDKAFKA_")
        is_file = name.endswith("_FILE")
        property_ = name.removesuffix("_FILE").lower().replace("_", ".")
        properties[property_] = _read_secret(variable, value) if is_file else value
    return properties


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable}={path}: {error.strerror}; name a readable file") from None


def _refuse_unknown_variables() -> None:
    known = {variable for _, variable, _, _ in describe_settings()} | {"ADER_SETTINGS"}
    for variable in os.environ:
        if not variable.startswith("ADER_") or variable.startswith("ADER_LIBRDKAFKA_"):
            continue
        if variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; the README lists them all"
            raise SettingsError(f"{variable}: unknown setting{hint}")


def _describe(error: ValidationError) -> str:
    """One line for the first thing wrong."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:2])
    expected = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, [row[0] for row in describe_settings()], n=1)
        return f"{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else "")
    value = first["input"]
    return f"{name} = {value!r}: {expected}" if name and not isinstance(value, dict) else expected


def worker_environment(**overrides: Mapping[str, str]) -> dict[str, str]:
    """Variables for a worker process: this one's own, and overrides (group → name → value)."""
    return dict(os.environ) | {
        f"ADER_{group}_{name}".upper(): value
        for group, values in overrides.items()
        for name, value in values.items()
    }
