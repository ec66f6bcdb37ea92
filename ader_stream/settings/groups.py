"""Every setting: its name, default and meaning, group by group."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ader_stream.settings.units import Duration, FieldName, Instant, Timeout

MONDAY = "1970-01-05T00:00:00Z"
"""Blocks of a week start on Mondays."""


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
    replication_factor: int = Field(
        0,
        ge=0,
        description="Replicas of each partition of our topics; 0: as many as the click topic has, "
        "and at least three where there are three brokers.",
    )
    min_insync_replicas: int = Field(
        0,
        ge=0,
        description="Replicas of our topics that must have a record before it counts; 0: two of "
        "three or more, else one.",
    )
    librdkafka: dict[str, str] = Field(
        {},
        description="Any librdkafka property but those by which nothing is lost and nothing comes "
        "twice, such as `acks`. In the environment one variable each: "
        "`ADER_LIBRDKAFKA_SASL_USERNAME` is `sasl.username`; with `_FILE` at its end the value is "
        "read from that file (unless librdkafka's own name ends so: it gets the file's name).",
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
    """What your click topic looks like."""

    topic: str = Field("", description="Your click topic; empty for PREFIX.clicks.")
    format: Literal["json", "avro", "avro-registry"] = Field(
        "json", description="`avro-registry` has the schema registry's five-byte header."
    )
    session_field: FieldName = Field(
        "session",
        description="Field of the session (or user) key: `user.id` for one inside another, `$key` "
        "for the record's key.",
    )
    item_field: FieldName = Field("item", description="Field of the item id, text or number.")
    time_field: FieldName = Field(
        "time", description="Field of the event time; `$timestamp` for the record's own."
    )
    time_format: Literal["ms", "s", "us", "iso8601"] = Field(
        "ms", description="Event time since 1970 in this unit, or as ISO 8601 text."
    )
    check_times: bool = Field(
        True,
        description="Refuse to start on event times that cannot be right: in another unit, before "
        "2000, in the future, or all alike.",
    )
    extra_fields: tuple[FieldName, ...] = Field(
        (), description="Fields that pass through, a JSON list."
    )
    event_id_field: Literal[""] | FieldName = Field(
        "", description="Field of an event id, to remove duplicates by; empty for none."
    )
    event_ids: int = Field(
        100_000,
        ge=1,
        description="Ids that are remembered, in each partition, to tell a duplicate by.",
    )
    max_bytes: int = Field(
        64 * 1024,
        ge=256,
        description="What is kept of a click (key, item, event id, extra fields) may have so many "
        "bytes, and an eighth of what our topics take in a record; else it is a dead letter.",
    )
    max_ahead: Duration = Field(
        _as_written("5m"),
        description="A click further ahead of its record's own timestamp, or of the clock where "
        "that is ahead too, is a dead letter; a heartbeat is believed up to there. At most the "
        "gap counts: then a wrong clock closes nobody's session; `0ms` for no limit.",
    )
    max_behind: Duration = Field(
        _as_written("7d"),
        description="A click further behind its partition's event time is a dead letter, whatever "
        "`sessions.late` says: it is of another unit or another time. At least gap and lateness "
        "together; `0ms` for no limit.",
    )
    max_jump: Duration = Field(
        _as_written("30m"),
        description="A click that is further ahead of its partition is quarantined until others "
        "confirm it, but where its record was written near its event time, and not at just that "
        "time, which says nothing. At most the gap counts; `0ms` for no limit.",
    )
    jump_confirmations: int = Field(
        3, ge=1, description="Other keys that must come near a quarantined click to confirm it."
    )
    avro_schema: Path | None = Field(
        None, description="Writer's schema (.avsc) of Avro clicks; our own Click without it."
    )
    registry_url: str = Field(
        "", description="Schema registry, for `avro-registry`; several parted by commas."
    )
    registry_user: str = Field("", description="User at the schema registry.")
    registry_password_file: Path | None = Field(None, description="File of the user's password.")
    registry_token_file: Path | None = Field(
        None, description="File of a bearer token, in place of a user; read for each request."
    )
    registry_ca_file: Path | None = Field(
        None, description="Certificates to trust the schema registry by, a PEM file."
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
        _as_written("30m"), description="Neighbours in a session are at most this far apart."
    )
    lateness: Duration = Field(
        _as_written("0ms"), description="How far the watermark stays behind."
    )
    late: Literal["carry", "dead-letter"] = Field(
        "carry", description="Late clicks move to the watermark, or are refused."
    )

    max_clicks: int = Field(1_000, ge=1, description="A session closes when it has so many clicks.")
    max_age: Duration = Field(
        _as_written("1d"), description="A session closes when it spans so much time."
    )
    max_open: int = Field(
        1_000_000,
        ge=1,
        description="Open sessions in each partition; above it, the oldest closes.",
    )
    max_bytes: int = Field(
        512 * 1024,
        ge=1_024,
        description="A key's open sessions may have so many bytes together, 32 for each click "
        "beside item and extra fields, and what our topics take in a record; the earliest closes.",
    )

    @model_validator(mode="after")
    def _gap_is_positive(self) -> SessionsSettings:
        if self.gap == 0:
            raise ValueError("sessions.gap = 0: expected more than 0; 30m is usual for shops")
        return self


class BlocksSettings(_Group):
    """How the stream is cut into blocks, one update cycle each."""

    origin: Instant = Field(
        _as_written(MONDAY), description="Event time at which block 0 starts; ISO 8601 or ms."
    )
    length: Duration = Field(_as_written("7d"), description="Event time in a block.")
    min_sessions: int = Field(
        1,
        ge=1,
        description="Short blocks are joined until one has this many sessions. Small ones do no "
        "harm, and the gate joins those that it cannot judge (`trainer.when_undecided`), but each "
        "costs an update cycle over all exemplars: minutes of a core.",
    )


class SessionizerSettings(_Group):
    """The sessionizer."""

    commit_interval: Duration = Field(
        _as_written("200ms"), description="Longest time between two transactions."
    )
    idle: Timeout = Field(
        _as_written("1m"),
        description="A partition that is silent for so long follows the others; `off`: only "
        "heartbeats move it.",
    )
    dead_letter_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The worker stops when more of a partition's last 1000 clicks were refused.",
    )
    dead_letter_run: int = Field(
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
    seed: int = Field(0, description="Of everything random in a cycle.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="What computes: `auto` is a GPU where torch sees one, else the CPU."
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads; 0 for every core that affinity and the container's CPU quota "
        "leave, `OMP_NUM_THREADS` at most.",
    )
    bootstrap_dataset: Path | None = Field(
        None,
        description="Data set of which version 1 is made, as one block, where there is no version.",
    )
    bootstrap_folder: Path | None = Field(
        None,
        description="Exported version (`models export`) that becomes version 1, where there is no "
        "version.",
    )
    join_waiting: bool = Field(
        False, description="Train all blocks that wait as one, where training is too slow for each."
    )
    item_retention: int = Field(
        0,
        ge=0,
        description="An item leaves the model when it was not clicked in so many blocks that the "
        "model was trained on, the new ones included, and no exemplar holds it; one that comes "
        "back is new. 0: every item stays.",
    )
    rebuild_blocks: int = Field(
        4,
        ge=0,
        description="Where the recipe's architecture is not the parent's, the new model is trained "
        "on so many of the parents' last blocks again, as far as sessions has them, beside the new "
        "block and the exemplars.",
    )
    checkpoints: Path | None = Field(
        None,
        description="Folder in which the running update cycle is left after each epoch: a trainer "
        "that is started again on the same disk goes on from there. None: it begins again.",
    )
    max_recall_drop: float = Field(
        5.0,
        ge=0,
        le=100,
        description="A version whose validation Recall@20 surely lies more percentage points below "
        "its parent's (on items that no parent knows, below that of the most clicked ones) is "
        "rejected; one that may lie there, by all that is known, is undecided. Of what others "
        "clicked next it may rank as many percent of new items behind a quarter of all.",
    )
    max_forgetting: float = Field(
        10.0,
        ge=0,
        le=100,
        description="A version whose Recall@20 on its parent's exemplars surely lies more "
        "percentage points below the parent's is rejected.",
    )
    max_mislaid: float = Field(
        1.0,
        ge=0,
        le=100,
        description="A version that surely ranks more percent of the exemplars that its parent "
        "lists behind a quarter of all items is rejected.",
    )
    max_displaced: float = Field(
        0.5,
        ge=0,
        le=100,
        description="A version is rejected if, of the items that its parent has exemplars of, "
        "surely more percent have a row in the item table that is nothing like the parent's.",
    )
    min_item_coverage: float = Field(
        0.001,
        ge=0,
        le=1,
        description="A version whose lists of 20 hold a smaller share of the items that so many "
        "lists could hold is rejected.",
    )
    when_undecided: Literal["accept", "join", "reject"] = Field(
        "join",
        description="What is done with a version of which too little is known, as of a first one "
        "from some 50 sessions or fewer: `join` trains its sessions again with the next block, "
        "`accept` serves it, `reject` leaves them out.",
    )
    chunk_size: int = Field(
        900_000, ge=1_000, le=1_000_000, description="Bytes of a record in model-chunks."
    )
    chunk_compression: Literal["none", "lz4", "zstd", "snappy", "gzip"] = Field(
        "none",
        description="Of model-chunks. Weights hardly shrink: zstd takes a tenth off their bytes, "
        "and a third off what a CPU second publishes.",
    )

    @model_validator(mode="after")
    def _begins_with_one_thing(self) -> TrainerSettings:
        if self.bootstrap_dataset and self.bootstrap_folder:
            raise ValueError(
                f"trainer.bootstrap_dataset = {self.bootstrap_dataset} and "
                f"trainer.bootstrap_folder = {self.bootstrap_folder}: version 1 is made of one of "
                "them; take the other out"
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
        description="Versions that stay, from the newest back along the parents: with each new "
        "one the trainer deletes the others, as `models prune --keep` does; 0: all of them stay.",
    )

    @field_validator("keep")
    @classmethod
    def _keeps_what_scores(cls, keep: int) -> int:
        if keep == 1:
            raise ValueError(
                "models.keep = 1: expected 0, or 2 and more; blocks that are open are scored by "
                "the version before the newest"
            )
        return keep


class InferenceSettings(_Group):
    """The inference worker."""

    k: int = Field(20, ge=1, le=1_000, description="Items in a recommendation.")
    recommendations: bool = Field(
        False, description="Also write the recommendations topic after each click."
    )
    threads: int = Field(1, ge=1, description="CPU threads.")
    jitter: Duration = Field(
        _as_written("0ms"),
        description="Before a new version is loaded, wait a random time up to this: many workers "
        "then do not load at once.",
    )
    commit_interval: Duration = Field(
        _as_written("500ms"), description="Longest time between two transactions."
    )
    fallback: bool = Field(
        False,
        description="End a canary by itself once it is certainly worse than the stable version on "
        "the same clicks, in Recall@20 or MRR@20; the registry says so with the reason.",
    )
    fallback_margin: float = Field(
        0.0, ge=0, le=100, description="Worse by more than so many percentage points, for that."
    )
    fallback_clicks: int = Field(
        1_000, ge=1, description="Clicks that must have been compared, for that."
    )


class HttpSettings(_Group):
    """Where a worker answers: /metrics, /healthz, /readyz, and /recommend for inference."""

    host: str = Field("0.0.0.0", description="Address to bind.")  # noqa: S104 - a server's default
    port: int = Field(8080, ge=0, le=65535, description="Port to bind; 0 for any free one.")
    advertised: str = Field(
        "", description="host:port that others reach it at; empty for host:port."
    )
    unhealthy_after: Duration = Field(
        _as_written("5m"),
        description="`/healthz` fails after nothing could be committed for so long, though "
        "something was to be.",
    )


class LogSettings(_Group):
    """Logs, on standard error."""

    format: Literal["text", "json"] = Field("text", description="key=value text, or JSON lines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level.")
