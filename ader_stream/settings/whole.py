"""All settings together, and the objects that they configure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import PrivateAttr, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ader_stream.paired import FallbackRule
from ader_stream.settings.description import clear_errors
from ader_stream.settings.environment import is_service_link, settings_file
from ader_stream.settings.groups import (
    BlocksSettings,
    ClicksSettings,
    HttpSettings,
    InferenceSettings,
    KafkaSettings,
    LogSettings,
    ModelsSettings,
    MonitorSettings,
    SessionizerSettings,
    SessionsSettings,
    TracingSettings,
    TrainerSettings,
)
from ader_stream.stream.clicks.decoder import ClickFormat
from ader_stream.stream.clicks.refusals import RefusalRule
from ader_stream.stream.control.rules import PARTITIONS, RULES
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.signing import Signer
from ader_stream.stream.operations.needed_rights import Uses
from ader_stream.stream.schema_registry.client import RegistryAccess
from ader_stream.stream.sessions.task import SessionizerRules
from ader_stream.stream.topics.durability import Durability
from ader_stream.stream.topics.topics import Topics
from ader_stream.times import duration_text, instant_text, parse_duration, parse_instant
from ader_stream.types import BlockRule, IntakeRule, SessionRule


class Settings(BaseSettings):
    """All settings; each group is passed to the part that needs it.

    A group is given as a mapping, ``Settings(clicks={"topic": "visits"})``; what is not given is
    read from the environment, then from the file.

    Raises
    ------
    SettingsError
        Names the setting, its value, and the expectation.
    """

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
    models: ModelsSettings = ModelsSettings()
    inference: InferenceSettings = InferenceSettings()
    monitor: MonitorSettings = MonitorSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    _reader: str = PrivateAttr("reader")

    def __init__(self, **groups: Any) -> None:
        with clear_errors(type(self)):
            super().__init__(**groups)

    def of_worker(self, name: str) -> Settings:
        """Return the same settings for a worker: their readers include its own group."""
        settings = self.model_copy()
        settings._reader = name  # noqa: SLF001 - its own copy
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order: command line, environment, file."""
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = {
                name: value
                for name, value in env_settings.env_vars.items()
                if not is_service_link(name.upper(), value)
            }
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())

    @model_validator(mode="after")
    def _gap_fits(self) -> Settings:
        if self.sessions.gap >= self.blocks.length:
            raise ValueError(
                f"sessions.gap ({self.sessions.gap} ms) must be shorter than "
                f"blocks.length ({self.blocks.length} ms)"
            )
        if self.sessions.gap >= self.sessions.max_age:
            raise ValueError(
                f"sessions.gap ({self.sessions.gap} ms) must be shorter than "
                f"sessions.max_age ({self.sessions.max_age} ms)"
            )
        return self

    @model_validator(mode="after")
    def _late_clicks_are_not_too_late(self) -> Settings:
        reach = self.sessions.gap + self.sessions.lateness
        if 0 < self.clicks.max_behind < reach:
            raise ValueError(
                f"clicks.max_behind ({self.clicks.max_behind} ms) must be at least sessions.gap "
                f"and sessions.lateness together ({reach} ms), or 0ms for no limit"
            )
        return self

    @model_validator(mode="after")
    def _clicks_are_not_ours(self) -> Settings:
        ours = Topics(self.kafka.prefix)
        own = {name for name, *_ in ours.specifications(1)} - {ours.clicks}
        if self.clicks.topic in own:
            raise ValueError(
                f"clicks.topic = {self.clicks.topic!r}: ader-stream writes a topic of this name "
                "itself; name the topic of your clicks, or give "
                f"ader-stream's own another kafka.prefix than {self.kafka.prefix!r}"
            )
        if self.clicks.topic.startswith("__"):
            raise ValueError(
                f"clicks.topic = {self.clicks.topic!r}: a topic of Kafka itself; name the topic "
                "of your clicks"
            )
        return self

    @property
    def topics(self) -> Topics:
        """Return the names of the topics."""
        kafka = self.kafka
        durability = Durability(kafka.replication_factor, kafka.min_insync_replicas)
        return Topics(kafka.prefix, self.clicks.topic, durability)

    @property
    def clients(self) -> KafkaClients:
        """Return the factory of this system's Kafka clients."""
        return KafkaClients(
            self.kafka.bootstrap_servers,
            self.kafka.librdkafka,
            group_protocol=self.kafka.group_protocol,
            session_timeout=self.kafka.session_timeout,
            transaction_timeout=self.kafka.transaction_timeout,
            reader_group=self.topics.group(self._reader),
        )

    @property
    def uses(self) -> Uses:
        """Return the enabled features, as far as they need rights."""
        inference = self.inference
        return Uses(
            self.sessionizer.idle_timeout is not None, inference.recommendations, inference.fallback
        )

    @property
    def fallback_rule(self) -> FallbackRule | None:
        """Return when a canary ends automatically; None: never."""
        rule = FallbackRule(self.inference.fallback_margin / 100, self.inference.fallback_clicks)
        return rule if self.inference.fallback else None

    @property
    def trust(self) -> Trust:
        """Return which versions are read; raise SettingsError if none could be."""
        return self.models.trust

    @property
    def signer(self) -> Signer | None:
        """Return the signer of published versions."""
        return self.models.signer

    @property
    def block_rule(self) -> BlockRule:
        """Return how event time is divided into blocks."""
        return BlockRule(self.blocks.origin, self.blocks.length)

    @property
    def session_rule(self) -> SessionRule:
        """Return how clicks become sessions."""
        return SessionRule(**self.sessions.model_dump())

    @property
    def session_parameters(self) -> dict[str, int]:
        """Return the numbers that decide how clicks become sessions and blocks, for a manifest."""
        groups = {"sessions": self.sessions, "blocks": self.blocks}
        return {
            f"{group}.{name}": value
            for group, settings in groups.items()
            for name, value in settings.model_dump().items()
            if isinstance(value, int)
        }

    @property
    def described(self) -> dict[str, str]:
        """Return what `ader_settings_info` says of the settings: nothing that is secret."""
        return {
            "digest": self._digest(),
            "prefix": self.kafka.prefix,
            "recipe": self.trainer.recipe,
        }

    def _digest(self) -> str:
        """Return a digest that is equal for workers that were started with the same settings.

        Addresses and logs may differ by worker. Values of librdkafka's properties and the
        registry's address may be passwords, or hold one: a digest would let them be guessed.
        """
        values = self.model_dump(
            mode="json",
            exclude={
                "http": True,
                "log": True,
                "clicks": {"registry_url": True},
                "kafka": {"librdkafka": True},
            },
        )
        named = [values, sorted(self.kafka.librdkafka)]
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def rules(self) -> dict[str, str]:
        """Return the settings that decide the sessions, as text for a partition's state.

        The number of partitions is added where it is known.
        """
        named = [name for name, rule in RULES.items() if rule.is_named and name != PARTITIONS]
        return {name: self._as_written(name) for name in named} | {
            "clicks.topic": self.topics.clicks
        }

    def _as_written(self, setting: str) -> str:
        group, name = setting.split(".")
        values = getattr(self, group)
        readers = {getattr(one, "func", None) for one in type(values).model_fields[name].metadata}
        value = getattr(values, name)
        if parse_duration in readers:
            return duration_text(value)
        if isinstance(value, tuple):
            return json.dumps(value, ensure_ascii=False)
        return instant_text(value) if parse_instant in readers else str(value)

    @property
    def intake_rule(self) -> IntakeRule:
        """Return which clicks are accepted.

        The limits are low enough that no wrong clock closes another visitor's session.
        """
        clicks, gap = self.clicks, self.sessions.gap
        return IntakeRule(
            min(clicks.max_jump, gap),
            clicks.jump_confirmations,
            max_event_ids=clicks.max_event_ids,
            max_ahead=min(clicks.max_ahead, gap),
            max_behind=clicks.max_behind,
        )

    @property
    def refusal_rule(self) -> RefusalRule:
        """Return how many dead letters stop the sessionizer."""
        sessionizer = self.sessionizer
        return RefusalRule(sessionizer.dead_letter_ratio, sessionizer.consecutive_dead_letters)

    @property
    def sessionizer_rules(self) -> SessionizerRules:
        """Return all rules that decide the sessions."""
        return SessionizerRules(
            self.block_rule, self.session_rule, self.intake_rule, self.refusal_rule, self.rules
        )

    @property
    def click_format(self) -> ClickFormat:
        """Return how clicks are decoded."""
        clicks = self.clicks
        registry = RegistryAccess(
            clicks.registry_url,
            clicks.registry_user,
            clicks.registry_password_file,
            clicks.registry_token_file,
            clicks.registry_ca_file,
        )
        return ClickFormat(
            clicks.format,
            clicks.session_field,
            clicks.item_field,
            clicks.time_field,
            clicks.event_id_field,
            extra=clicks.extra_fields,
            time_format=clicks.time_format,
            avro_schema=clicks.avro_schema,
            registry=registry if clicks.registry_url else None,
            max_bytes=clicks.max_bytes,
            where=clicks.where,
            ignore_keys=clicks.ignore_keys,
            key_format=clicks.key_format,
            explode=clicks.explode,
            max_elements=clicks.max_elements,
        )
