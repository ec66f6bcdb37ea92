"""Every setting: its name, default and meaning, group by group."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ader_stream.errors import SettingsError
from ader_stream.settings.units import Duration, FieldName, FilterText, Instant, Timeout
from ader_stream.stream.clicks.elements import MOST_ELEMENTS
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.signing import Signer, read_signer, read_trusted
from ader_stream.types import MINUTE_MS

MONDAY = "1970-01-05T00:00:00Z"
"""Blocks of a week start on Mondays."""


def _as_written(default: str) -> Any:
    """Return a default as a user would write it; it is parsed like one, and shown unchanged."""
    return default


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _checked_url(name: str, url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(f"{name} = {url!r}: expected an address like http://HOST:PORT")
    return url


class KafkaSettings(_Group):
    """Kafka's address, and the names and durability of our topics."""

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
        description="A silent worker's partitions go to others after this (classic protocol).",
    )
    transaction_timeout: Duration = Field(
        _as_written("10s"), description="A transaction left open is aborted after this."
    )
    replication_factor: int = Field(
        0,
        ge=0,
        description="Replicas of each partition of our topics; 0: as many as the click topic has, "
        "and at least three if there are three brokers.",
    )
    min_insync_replicas: int = Field(
        0,
        ge=0,
        description="Replicas of our topics that must have a record before it counts; 0: two of "
        "three or more, else one.",
    )
    librdkafka: dict[str, str] = Field(
        {},
        description="Any librdkafka property except those that prevent lost and repeated records, "
        "such as `acks`. In the environment one variable each: "
        "`ADER_LIBRDKAFKA_SASL_USERNAME` is `sasl.username`; with `_FILE` at its end the value is "
        "read from that file (unless librdkafka's own name ends like it: it gets the file's name).",
    )

    @model_validator(mode="after")
    def _can_be_written(self) -> KafkaSettings:
        if 0 < self.replication_factor < self.min_insync_replicas:
            raise ValueError(
                f"kafka.min_insync_replicas = {self.min_insync_replicas}: expected at most "
                f"kafka.replication_factor, {self.replication_factor}, or nothing could be written"
            )
        return self


class ClicksSettings(_Group):
    """Name and format of your click topic."""

    topic: str = Field("", description="Your click topic; empty for PREFIX.clicks.")
    format: Literal["json", "avro", "avro-registry"] = Field(
        "json", description="`avro-registry` has the schema registry's five-byte header."
    )
    where: FilterText = Field(
        "",
        description='Filter of the records that are clicks, such as `event == "view"`; the others '
        "are ignored and counted. Empty: all are clicks. See "
        "[Your topic](../guides/your-topic.md#which-records-are-clicks).",
    )
    explode: Literal[""] | FieldName = Field(
        "",
        description="Path of a list of which each element is a click: the other paths begin at "
        "the element then, and `$record.user` is a field of the record around it. See "
        "[Your topic](../guides/your-topic.md#records-that-hold-many-clicks).",
    )
    max_elements: int = Field(
        1_000,
        ge=1,
        le=MOST_ELEMENTS,
        description="Most elements of that list; a record with more is a dead letter.",
    )
    ignore_keys: tuple[str, ...] = Field(
        (),
        description="Session keys whose records are ignored and counted, a JSON list: "
        "placeholders such as `null`; an empty text stands for an absent key.",
    )
    key_format: Literal["text", "json", "int", "long", "uuid", "binary", "avro-registry"] = Field(
        "text",
        description="How `$key` is written: `int` and `long` are big endian, `binary` is read as "
        "hexadecimal digits. A field inside a JSON key needs no format.",
    )
    session_field: FieldName = Field(
        "session",
        description="Path of the session (or user) key: `user.id` for a nested one, `$key` "
        "for the record's key, `%name` for a header; see [Your topic](../guides/your-topic.md).",
    )
    item_field: FieldName = Field("item", description="Path of the item id, text or number.")
    time_field: FieldName = Field(
        "time", description="Path of the event time; `$timestamp` for the record's own."
    )
    time_format: Literal["ms", "s", "us", "ns", "iso8601"] = Field(
        "ms", description="Event time since 1970 in this unit, or a text such as ISO 8601."
    )
    check_times: bool = Field(
        True,
        description="Refuse to start on implausible event times: in another unit, before "
        "2000, in the future, or all equal.",
    )
    extra_fields: tuple[FieldName, ...] = Field(
        (), description="Paths of fields that pass through, a JSON list."
    )
    event_id_field: Literal[""] | FieldName = Field(
        "", description="Path of an event id, to remove duplicates by; empty for none."
    )
    max_event_ids: int = Field(
        100_000,
        ge=1,
        description="Ids that are kept in each partition, to detect duplicates.",
    )
    max_bytes: int = Field(
        64 * 1024,
        ge=256,
        description="Most bytes of a click's stored fields (key, item, event id, extra fields), "
        "and at most an eighth of a record in our topics; a larger click is a dead letter.",
    )
    max_ahead: Duration = Field(
        _as_written("5m"),
        description="A click further ahead of its record's own timestamp, or of the clock if "
        "that is ahead too, is a dead letter; a heartbeat counts up to there. The gap is the "
        "largest limit, so that a wrong clock closes no other session; `0ms` for no limit.",
    )
    max_behind: Duration = Field(
        _as_written("7d"),
        description="A click further behind its partition's event time is a dead letter, whatever "
        "`sessions.late` is: it has another unit or a wrong time. At least gap and lateness "
        "together; `0ms` for no limit.",
    )
    max_jump: Duration = Field(
        _as_written("30m"),
        description="A click that is further ahead of its partition is quarantined until others "
        "confirm it, unless its record was written near its event time (exactly at that time "
        "is no evidence). The gap is the largest limit; `0ms` for no limit.",
    )
    jump_confirmations: int = Field(
        3, ge=1, description="Other keys with clicks near a quarantined click that confirm it."
    )
    avro_schema: Path | None = Field(
        None, description="Writer's schema (.avsc) of Avro clicks; by default our own Click."
    )
    registry_url: str = Field(
        "", description="Schema registry, for `avro-registry`; several separated by commas."
    )
    registry_user: str = Field("", description="User at the schema registry.")
    registry_password_file: Path | None = Field(None, description="File of the user's password.")
    registry_token_file: Path | None = Field(
        None, description="File of a bearer token, in place of a user; read for each request."
    )
    registry_ca_file: Path | None = Field(
        None, description="Certificates to verify the schema registry with, a PEM file."
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where reading starts if no offset was ever committed."
    )

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> ClicksSettings:
        if self.registry_token_file and (self.registry_user or self.registry_password_file):
            raise ValueError(
                "clicks.registry_token_file is in place of registry_user and registry_password_file"
            )
        return self


class SessionsSettings(_Group):
    """How clicks become sessions."""

    gap: Duration = Field(
        _as_written("30m"), description="Longest time between two clicks of a session."
    )
    lateness: Duration = Field(
        _as_written("0ms"), description="Time by which the watermark stays behind the stream time."
    )
    late: Literal["carry", "dead-letter"] = Field(
        "carry", description="Late clicks are moved to the watermark, or refused."
    )

    max_clicks: int = Field(
        1_000, ge=1, description="A session closes when it has this many clicks."
    )
    max_age: Duration = Field(
        _as_written("1d"), description="A session closes when it spans this much time."
    )
    max_open: int = Field(
        1_000_000,
        ge=1,
        description="Open sessions in each partition; above it, the oldest closes.",
    )
    max_bytes: int = Field(
        512 * 1024,
        ge=1_024,
        description="Most bytes of all open sessions of a key, with 32 for each click in addition "
        "to item and extra fields, and at most a record in our topics; the earliest closes.",
    )

    @model_validator(mode="after")
    def _gap_is_positive(self) -> SessionsSettings:
        if self.gap == 0:
            raise ValueError("sessions.gap = 0: expected more than 0; 30m is usual for shops")
        return self


class BlocksSettings(_Group):
    """How event time is divided into blocks, with one update cycle each."""

    origin: Instant = Field(
        _as_written(MONDAY), description="Event time at which block 0 starts; ISO 8601 or ms."
    )
    length: Duration = Field(_as_written("7d"), description="Event time in a block.")
    min_sessions: int = Field(
        1,
        ge=1,
        description="Short blocks are joined until they have this many sessions. Small ones do no "
        "harm: the gate joins those that it cannot judge (`trainer.when_undecided`). But each "
        "costs an update cycle over all exemplars: minutes of a core.",
    )


class SessionizerSettings(_Group):
    """The sessionizer."""

    commit_interval: Duration = Field(
        _as_written("200ms"), description="Longest time between two transactions."
    )
    idle_timeout: Timeout = Field(
        _as_written("1m"),
        description="A partition that is silent for this long follows the others; `off`: only "
        "heartbeats advance it.",
    )
    dead_letter_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The worker stops when more of a partition's last 1000 clicks were refused.",
    )
    consecutive_dead_letters: int = Field(
        500,
        ge=1,
        le=1_000,
        description="The worker stops when more clicks in a row were refused; 1000 for no limit.",
    )


class TrainerSettings(_Group):
    """The trainer."""

    recipe: str = Field(
        "production", description="The recipe of the update cycle; `paper` is the published one."
    )
    overrides: dict[str, float | str] = Field(
        {}, description="Hyper-parameters that differ from the recipe's, a JSON object."
    )
    seed: int = Field(0, ge=0, description="Seed of all random numbers in a cycle.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Device: `auto` is a GPU if torch finds one, else the CPU."
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads; 0 for every core that affinity and the container's CPU quota "
        "allow, at most `OMP_NUM_THREADS`.",
    )
    bootstrap_dataset: Path | None = Field(
        None,
        description="Data set to train version 1 on, as one block, if there is no version.",
    )
    bootstrap_folder: Path | None = Field(
        None,
        description="Exported version (`models export`) that becomes version 1, if there is no "
        "version.",
    )
    join_waiting: bool = Field(
        False, description="Train on all waiting blocks as one, if training is too slow for each."
    )
    item_retention: int = Field(
        0,
        ge=0,
        description="An item is removed from the model after this many trained blocks without a "
        "click, the new ones included, if no exemplar contains it; if it is clicked again, "
        "it is new. 0: every item stays.",
    )
    rebuild_blocks: int = Field(
        4,
        ge=0,
        description="If the recipe's architecture is not the parent's, the new model is trained "
        "again on this many of the parents' last blocks, as far as `sessions` has them, with the "
        "new block and the exemplars.",
    )
    checkpoints: Path | None = Field(
        None,
        description="Folder to which the running update cycle is saved after each epoch: a trainer "
        "that restarts on the same disk continues from there. None: it starts the cycle again.",
    )
    max_recall_drop: float = Field(
        5.0,
        ge=0,
        le=100,
        description="A version is rejected if its validation Recall@20 is certainly more "
        "percentage points below its parent's (on items that no parent knows, below that of the "
        "most clicked items). It is undecided if that is possible but not certain. Of the items "
        "that other sessions clicked next, it may rank the same percentage of new ones behind "
        "a quarter of all.",
    )
    max_forgetting: float = Field(
        10.0,
        ge=0,
        le=100,
        description="A version is rejected if its Recall@20 on its parent's exemplars is certainly "
        "more percentage points below the parent's.",
    )
    max_negative_flips: float = Field(
        1.0,
        ge=0,
        le=100,
        description="A version is rejected if it certainly ranks more percent of the exemplars "
        "that its parent lists behind a quarter of all items (negative flips).",
    )
    max_embedding_drift: float = Field(
        0.5,
        ge=0,
        le=100,
        description="A version is rejected if, of the items that its parent has exemplars of, "
        "certainly more percent have a row in the item table that is unlike the parent's.",
    )
    min_item_coverage: float = Field(
        0.001,
        ge=0,
        le=1,
        description="A version is rejected if its lists of 20 contain a smaller share of the items "
        "that so many lists could contain.",
    )
    when_undecided: Literal["accept", "join", "reject"] = Field(
        "join",
        description="What happens to a version with too few data to judge it, such as a first one "
        "from 51 sessions or fewer: `join` trains on its sessions again with the next block, "
        "`accept` serves it, `reject` leaves them out.",
    )
    chunk_size: int = Field(
        900_000, ge=1_000, le=1_000_000, description="Bytes of a record in model-chunks."
    )
    chunk_compression: Literal["none", "lz4", "zstd", "snappy", "gzip"] = Field(
        "none",
        description="Compression of model-chunks. Weights hardly shrink: zstd saves a tenth of "
        "their bytes, and publishes a third less in a CPU second.",
    )

    @model_validator(mode="after")
    def _begins_with_one_thing(self) -> TrainerSettings:
        if self.bootstrap_dataset and self.bootstrap_folder:
            raise ValueError(
                f"trainer.bootstrap_dataset = {self.bootstrap_dataset} and "
                f"trainer.bootstrap_folder = {self.bootstrap_folder}: version 1 comes from one of "
                "them; remove the other"
            )
        return self


class ModelsSettings(_Group):
    """The model log."""

    signing_key: Path | None = Field(
        None, description="Private key (Ed25519, PEM) with which the trainer signs; none: unsigned."
    )
    trusted_keys: tuple[Path, ...] = Field(
        (), description="Public keys (Ed25519, PEM) whose signatures count, a JSON list."
    )
    signatures_required: bool = Field(
        False, description="Refuse versions that no trusted key has signed."
    )
    max_bytes: int = Field(
        4 * 2**30, ge=1, description="Largest version that is read, all parts together, bytes."
    )
    keep: int = Field(
        0,
        ge=0,
        description="Versions that are kept, from the newest back along the parents: with each new "
        "one the trainer deletes the others, as `models prune --keep` does; 0: all are kept.",
    )

    @field_validator("keep")
    @classmethod
    def _keeps_what_scores(cls, keep: int) -> int:
        if keep == 1:
            raise ValueError(
                "models.keep = 1: expected 0, or 2 and more; open blocks are scored by "
                "the version before the newest"
            )
        return keep

    @cached_property
    def trust(self) -> Trust:
        """Return which versions are read; the key files are read once.

        Raises
        ------
        SettingsError
            A key file cannot be read, or no version could be accepted.
        """
        if self.signatures_required and not self.trusted_keys:
            raise SettingsError(
                "models.signatures_required = true: name at least one of models.trusted_keys, or "
                "no version can be read"
            )
        keys = read_trusted(self.trusted_keys, required=self.signatures_required)
        return Trust(keys, self.max_bytes)

    @cached_property
    def signer(self) -> Signer | None:
        """Return the signer of published versions; the key file is read once."""
        return read_signer(self.signing_key) if self.signing_key else None


class InferenceSettings(_Group):
    """The inference worker."""

    k: int = Field(20, ge=1, le=1_000, description="Items in a recommendation.")
    recommendations: bool = Field(
        False, description="Also write the recommendations topic after each click."
    )
    recommendations_format: Literal["avro", "json", "avro-registry"] = Field(
        "avro",
        description="Format of the values in that topic; `avro-registry` registers the schema at "
        "`clicks.registry_url`.",
    )
    threads: int = Field(1, ge=1, description="CPU threads.")
    max_requests: int = Field(
        64,
        ge=1,
        description="HTTP requests that are answered or wait at a time; more are refused with 503.",
    )
    jitter: Duration = Field(
        _as_written("0ms"),
        description="Before a new version is loaded, wait a random time up to this, so that many "
        "workers do not load at once.",
    )
    commit_interval: Duration = Field(
        _as_written("500ms"), description="Longest time between two transactions."
    )
    fallback: bool = Field(
        False,
        description="End a canary automatically when it is certainly worse than the stable version "
        "on the same clicks, in Recall@20 or MRR@20; the control topic records the reason.",
    )
    fallback_margin: float = Field(
        0.0, ge=0, le=100, description="For that: worse by more than this many percentage points."
    )
    fallback_clicks: int = Field(
        1_000, ge=1, description="For that: clicks that must be compared first."
    )


class MonitorSettings(_Group):
    """The monitor."""

    commit_interval: Duration = Field(
        _as_written("5s"), description="Longest time between two transactions."
    )
    blocks: int = Field(
        32,
        ge=2,
        description="Blocks whose statistics are kept for each partition, the newest ones: what "
        "comes is compared with them. Each takes at most about 10 MB of memory.",
    )
    sliding: Duration = Field(
        _as_written("1h"),
        description="Event time of the statistics that are shown in addition to those of blocks.",
    )
    prometheus: str = Field(
        "",
        description="Address of the Prometheus that scrapes the workers, such as "
        "http://localhost:9090: the live page shows its alerts. Empty for none.",
    )

    @field_validator("sliding")
    @classmethod
    def _can_be_divided(cls, sliding: int) -> int:
        if sliding < MINUTE_MS:
            raise ValueError(f"monitor.sliding = {sliding} ms: expected at least 1m")
        return sliding

    @field_validator("prometheus")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return _checked_url("monitor.prometheus", url)


class HttpSettings(_Group):
    """HTTP of a worker: /metrics, /healthz, /readyz, and /recommend for inference."""

    host: str = Field("0.0.0.0", description="Address to bind.")  # noqa: S104 - a server's default
    port: int = Field(8080, ge=0, le=65535, description="Port to bind; 0 for any free one.")
    advertised: str = Field("", description="host:port for other processes; empty for host:port.")
    unhealthy_after: Duration = Field(
        _as_written("5m"),
        description="`/healthz` fails if nothing could be committed for this long, although "
        "there was something to commit.",
    )


class TracingSettings(_Group):
    """Traces of clicks, versions and requests, by OpenTelemetry."""

    endpoint: str = Field(
        "",
        description="Address that takes OTLP over HTTP, such as http://localhost:4318/v1/traces; "
        "empty for no traces.",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return _checked_url("tracing.endpoint", url)


class LogSettings(_Group):
    """Logs, on standard error."""

    format: Literal["text", "json"] = Field("text", description="key=value text, or JSON lines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level.")
