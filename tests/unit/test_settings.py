from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ader_stream.errors import SettingsError
from ader_stream.settings import (
    Settings,
    describe_settings,
    kafka_image,
    load_settings,
    worker_environment,
)
from ader_stream.settings.groups import ModelsSettings
from ader_stream.stream.clicks.decoder import ClickFormat
from ader_stream.stream.topics.topics import Topics
from ader_stream.times import parse_duration, parse_instant
from ader_stream.types import BlockRule, IntakeRule, SessionRule


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file."""
    file = tmp_path / "ader.toml"
    monkeypatch.setenv("ADER_SETTINGS", str(file))
    return file


def refusal() -> str:
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert "\n" not in str(error.value)
    return str(error.value)


# --- where a value comes from


def test_a_variable_wins_over_the_file_and_the_command_line_over_both(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml.write_text(
        '[kafka]\nprefix = "file"\nbootstrap_servers = "file:1"\n[sessions]\ngap = "1m"'
    )
    monkeypatch.setenv("ADER_KAFKA_PREFIX", "variable")
    monkeypatch.setenv("ADER_KAFKA_BOOTSTRAP_SERVERS", "variable:1")
    settings = load_settings(kafka={"prefix": "command"})
    assert settings.kafka.prefix == "command"
    assert settings.kafka.bootstrap_servers == "variable:1"
    assert settings.sessions.gap == 60_000


OTHER = {
    "kafka.bootstrap_servers": "kafka:9092",
    "kafka.prefix": "shop",
    "kafka.group_protocol": "consumer",
    "kafka.session_timeout": "1m",
    "kafka.transaction_timeout": "1m",
    "kafka.replication_factor": "3",
    "kafka.min_insync_replicas": "2",
    "kafka.librdkafka": '{"client.id": "x"}',
    "clicks.topic": "shop.clicks",
    "clicks.format": "avro",
    "clicks.where": 'event == "view"',
    "clicks.explode": "items",
    "clicks.max_elements": "7",
    "clicks.ignore_keys": '["null"]',
    "clicks.key_format": "long",
    "clicks.session_field": "user",
    "clicks.item_field": "sku",
    "clicks.time_field": "at",
    "clicks.time_format": "iso8601",
    "clicks.check_times": "false",
    "clicks.extra_fields": '["price"]',
    "clicks.event_id_field": "id",
    "clicks.max_event_ids": "5",
    "clicks.max_bytes": "5000",
    "clicks.max_ahead": "1m",
    "clicks.max_behind": "3d",
    "clicks.max_jump": "2h",
    "clicks.jump_confirmations": "1",
    "clicks.avro_schema": "clicks.avsc",
    "clicks.registry_url": "http://registry",
    "clicks.registry_user": "me",
    "clicks.registry_password_file": "password",
    "clicks.registry_token_file": "token",
    "clicks.registry_ca_file": "ca.pem",
    "clicks.start": "latest",
    "sessions.gap": "5m",
    "sessions.lateness": "5m",
    "sessions.late": "dead-letter",
    "sessions.max_clicks": "50",
    "sessions.max_age": "2h",
    "sessions.max_open": "10",
    "sessions.max_bytes": "5000",
    "blocks.origin": "2024-01-01T00:00:00+01:00",
    "blocks.length": "1d",
    "blocks.min_sessions": "7",
    "sessionizer.commit_interval": "1s",
    "sessionizer.idle_timeout": "off",
    "sessionizer.dead_letter_ratio": "0.25",
    "sessionizer.consecutive_dead_letters": "7",
    "trainer.recipe": "paper",
    "trainer.overrides": '{"hidden": 10}',
    "trainer.seed": "3",
    "trainer.device": "cpu",
    "trainer.threads": "2",
    "trainer.bootstrap_dataset": "recorded",
    "trainer.bootstrap_folder": "exported",
    "trainer.join_waiting": "true",
    "trainer.item_retention": "8",
    "trainer.rebuild_blocks": "2",
    "trainer.checkpoints": "checkpoints",
    "trainer.max_recall_drop": "1.5",
    "trainer.max_forgetting": "2.5",
    "trainer.max_negative_flips": "0.5",
    "trainer.max_embedding_drift": "0.2",
    "trainer.min_item_coverage": "0.1",
    "trainer.when_undecided": "accept",
    "trainer.chunk_size": "5000",
    "trainer.chunk_compression": "zstd",
    "models.signing_key": "key.pem",
    "models.trusted_keys": '["public.pem"]',
    "models.signatures_required": "true",
    "models.max_bytes": "1000",
    "models.keep": "5",
    "inference.k": "5",
    "inference.recommendations": "true",
    "inference.recommendations_format": "json",
    "inference.threads": "2",
    "inference.max_requests": "16",
    "inference.jitter": "1s",
    "inference.commit_interval": "1s",
    "inference.fallback": "true",
    "inference.fallback_margin": "0.5",
    "inference.fallback_clicks": "5000",
    "monitor.commit_interval": "1s",
    "monitor.blocks": "8",
    "monitor.sliding": "10m",
    "monitor.prometheus": "http://prometheus:9090",
    "http.host": "127.0.0.1",
    "http.port": "9000",
    "http.advertised": "worker:80",
    "http.unhealthy_after": "1m",
    "log.format": "json",
    "log.level": "debug",
    "tracing.endpoint": "http://localhost:4318/v1/traces",
}
"""For every setting, what a user might write that is not its default."""


@pytest.mark.parametrize("name", OTHER)
def test_a_setting_is_set_by_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group, field = name.split(".")
    default = getattr(getattr(load_settings(), group), field)
    monkeypatch.setenv(f"ADER_{group}_{field}".upper(), OTHER[name])
    assert getattr(getattr(load_settings(), group), field) != default


def test_every_setting_is_described_and_tried_above() -> None:
    rows = describe_settings()
    assert [name for name, *_ in rows] == list(OTHER)
    for name, variable, _, meaning in rows:
        assert variable == f"ADER_{name.replace('.', '_')}".upper()
        assert meaning.endswith(".")


def test_an_empty_variable_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_SETTINGS", "")
    assert load_settings() == Settings()


# --- what is refused


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ADER_SERVICE_HOST", "10.0.0.11"),
        ("ADER_PORT", "tcp://10.0.0.11:8080"),
        ("ADER_HTTP_PORT", "tcp://10.0.0.11:8080"),
        ("ADER_INFERENCE_SERVICE_PORT_HTTP", "8080"),
        ("ADER_INFERENCE_PORT_8080_TCP_ADDR", "10.0.0.11"),
    ],
)
def test_what_kubernetes_says_of_a_service_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    load_settings()


def test_a_port_that_is_no_services_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_HTPT_PORT", "8080")
    assert refusal() == "ADER_HTPT_PORT: unknown setting; did you mean ADER_HTTP_PORT?"


def test_an_unknown_variable_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_SESSION_GAP", "5m")
    assert refusal() == "ADER_SESSION_GAP: unknown setting; did you mean ADER_SESSIONS_GAP?"


def test_a_variable_like_no_other_points_to_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_COFFEE", "black")
    assert refusal() == "ADER_COFFEE: unknown setting; `ader-stream settings` lists them all"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"trainer": {"seed": -1}}, "trainer.seed = -1: Input should be greater than or equal to"),
        ({"kafka": {"prefx": "a"}}, "kafka.prefx: unknown setting; did you mean kafka.prefix?"),
        ({"clicks": 5}, "clicks = 5: "),
        ({"sessions": {"gap": "30 parsecs"}}, "sessions.gap = '30 parsecs': "),
    ],
    ids=["out of range", "unknown", "no group", "no duration"],
)
def test_settings_made_in_the_library_are_refused_with_the_same_errors(
    groups: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings(**groups)
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[kafka]\nprefx = "a"', "kafka.prefx: unknown setting; did you mean kafka.prefix?"),
        (
            "[coffee]\nblack = true",
            "coffee: unknown setting; `ader-stream settings` lists them all",
        ),
        ("[kafak]\nprefix = 'a'", "kafak: unknown setting; did you mean kafka?"),
        ("kafka = 5", "kafka = 5:"),
        ("[http]\nport = 99999", "http.port = 99999:"),
        ("[http]\nport = 'x'", "http.port = 'x':"),
        ("[sessions]\ngap = 5", "sessions.gap = 5: expected a number and one of ms, s, m, h, d, w"),
        (
            "[sessions]\nmax_age = '30m'",
            "sessions.gap (1800000 ms) must be shorter than sessions.max_age (1800000 ms)",
        ),
        ("[clicks]\nformat = 'xml'", "clicks.format = 'xml':"),
        ("[kafka]\nprefix = 'a b'", "kafka.prefix = 'a b':"),
        ("[sessionizer]\ndead_letter_ratio = 0", "sessionizer.dead_letter_ratio = 0:"),
        ("[kafka\n", "settings: Expected ']'"),
        ("[kafka]\nprefix = 'a'\nprefix = 'b'", "settings: Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(toml: Path, text: str, expected: str) -> None:
    toml.write_text(text)
    assert refusal().startswith(expected)


def test_a_signature_that_nobody_could_give_is_not_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADER_MODELS_SIGNATURES_REQUIRED", "true")
    with pytest.raises(SettingsError, match=r"name at least one of models\.trusted_keys"):
        _ = load_settings().trust


def test_key_files_are_read_once(toml: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    toml.write_text(f"[models]\nsigning_key = '{private}'\ntrusted_keys = ['{public}']")
    settings = load_settings()
    trust, signer = settings.trust, settings.signer
    private.unlink()
    public.unlink()
    trainer = settings.of_worker("trainer")
    assert (trainer.trust, trainer.signer) == (trust, signer)
    assert signer and signer.key_id in trust.keys.keys


def test_settings_with_other_keys_read_them(toml: Path, tmp_path: Path) -> None:
    toml.write_text(f"[models]\ntrusted_keys = ['{key_files(tmp_path)[1]}']")
    settings = load_settings()
    assert settings.trust.keys.keys
    assert not settings.model_copy(update={"models": ModelsSettings()}).trust.keys.keys


def key_files(folder: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    private, public, key = folder / "key.pem", folder / "public.pem", Ed25519PrivateKey.generate()
    coding = Encoding.PEM
    private.write_bytes(key.private_bytes(coding, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(coding, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_the_first_version_is_made_of_one_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_TRAINER_BOOTSTRAP_DATASET", "recorded")
    monkeypatch.setenv("ADER_TRAINER_BOOTSTRAP_FOLDER", "exported")
    with pytest.raises(
        SettingsError, match="bootstrap_folder = exported: version 1 comes from one"
    ):
        load_settings()


def test_the_version_before_the_newest_is_always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_MODELS_KEEP", "1")
    with pytest.raises(SettingsError, match="keep = 1: expected 0, or 2 and more"):
        load_settings()


def test_a_manifest_records_how_clicks_are_cut() -> None:
    cut = load_settings(sessions={"gap": "5m"}, blocks={"length": "1d"}).session_parameters
    assert (cut["sessions.gap"], cut["blocks.length"]) == (300_000, 86_400_000)
    assert "blocks.min_sessions" in cut


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_SETTINGS", "nothing.toml")
    assert refusal().startswith("ADER_SETTINGS=nothing.toml does not exist")


def test_a_list_that_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_CLICKS_EXTRA_FIELDS", "price")
    refused = refusal()
    assert refused.startswith("ADER_CLICKS_EXTRA_FIELDS = 'price': ")
    assert refused.endswith("in the environment, lists and objects are written as JSON")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ADER_SESSIONS_GAP": "0s"}, "sessions.gap = 0: expected more than 0"),
        ({"ADER_SESSIONS_GAP": "7d"}, "sessions.gap (604800000 ms) must be shorter than"),
        ({"ADER_BLOCKS_LENGTH": "0s"}, "sessions.gap (1800000 ms) must be shorter than"),
    ],
)
def test_gap_and_block_length_must_fit(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert refusal().startswith(expected)


# --- the topic of the clicks


@pytest.mark.parametrize("topic", ["sessions", "sessionizer_state", "dead_letters", "control"])
def test_clicks_are_not_read_from_a_topic_that_is_written_here(
    monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    name = getattr(Topics("shop"), topic)
    monkeypatch.setenv("ADER_CLICKS_TOPIC", name)
    assert load_settings().topics.clicks == name, "a name of somebody else's, with another prefix"
    monkeypatch.setenv("ADER_KAFKA_PREFIX", "shop")
    assert refusal().startswith(f"clicks.topic = {name!r}: ader-stream writes a topic of this name")


def test_clicks_may_be_read_from_the_topic_that_they_are_read_from_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADER_KAFKA_PREFIX", "shop")
    monkeypatch.setenv("ADER_CLICKS_TOPIC", "shop.clicks")
    assert load_settings().topics.clicks == "shop.clicks"


# --- durations and instants


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0ms", 0),
        ("500ms", 500),
        ("1.5s", 1500),
        (" 2 m ", 120_000),
        ("1h", 3_600_000),
        ("0.5d", 43_200_000),
        ("1w", 604_800_000),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "-5m", "m", "5 minutes", "1e3s", "5M", None, 5, "9" * 400 + "d", "1.m"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a number and one of ms, s, m, h, d, w"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-02T00:00:00Z", 86_400_000),
        ("1970-01-02", 86_400_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.250", 250),
        ("-5", -5),
        (1_700_000_000_000, 1_700_000_000_000),
    ],
)
def test_an_instant_is_iso_8601_in_utc_or_ms(text: object, ms: int) -> None:
    assert parse_instant(text) == ms


@pytest.mark.parametrize("text", ["", "Monday", "2024-13-01", 1.5, True, None, "9" * 400])
def test_what_is_no_instant_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected ISO 8601 or ms since 1970"):
        parse_instant(text)


def test_a_date_of_toml_is_an_instant(toml: Path) -> None:
    toml.write_text("[blocks]\norigin = 1970-01-02")
    assert load_settings().blocks.origin == 86_400_000


# --- librdkafka's properties


def test_any_property_of_librdkafka_may_be_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADER_LIBRDKAFKA_SASL_USERNAME", "me")
    assert load_settings().kafka.librdkafka == {"sasl.username": "me"}


def test_a_secret_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    monkeypatch.setenv("ADER_LIBRDKAFKA_SASL_PASSWORD_FILE", str(secret))
    assert load_settings().kafka.librdkafka == {"sasl.password": "hush"}


@pytest.mark.parametrize("name", ["PRIVATE_KEY", "JWT_TEMPLATE"])
def test_a_property_whose_own_name_ends_like_a_secrets_gets_the_name_of_the_file(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"ADER_LIBRDKAFKA_SASL_OAUTHBEARER_ASSERTION_{name}_FILE", "/no/key.pem")
    property_ = name.lower().replace("_", ".")
    expected = {f"sasl.oauthbearer.assertion.{property_}.file": "/no/key.pem"}
    assert load_settings().kafka.librdkafka == expected


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_secret_that_cannot_be_read_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    secret = tmp_path / "password"
    if content:
        secret.write_bytes(content)
    monkeypatch.setenv("ADER_LIBRDKAFKA_SASL_PASSWORD_FILE", str(secret))
    assert refusal().startswith(f"ADER_LIBRDKAFKA_SASL_PASSWORD_FILE={secret}: ")


def test_properties_of_file_variables_and_command_line_add_up(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml.write_text('[kafka]\nlibrdkafka = {"client.id" = "file", "client.rack" = "file"}')
    monkeypatch.setenv("ADER_LIBRDKAFKA_CLIENT_RACK", "variable")
    settings = load_settings(kafka={"librdkafka": {"debug": "command"}})
    assert settings.kafka.librdkafka == {
        "client.id": "file",
        "client.rack": "variable",
        "debug": "command",
    }


# --- what the parts are handed


def test_rules_topics_and_format_are_those_of_the_settings(toml: Path) -> None:
    toml.write_text(
        '[kafka]\nprefix = "shop"\n[clicks]\ntopic = "visits"\nsession_field = "user"\n'
        'event_id_field = "id"\nmax_event_ids = 7\nmax_ahead = "1m"\n'
        'max_jump = "2h"\njump_confirmations = 1\n'
        '[sessions]\ngap = "1m"\nlateness = "5s"\nlate = "dead-letter"\n'
        'max_clicks = 9\nmax_age = "2m"\nmax_open = 8\n'
        '[blocks]\norigin = 7\nlength = "1d"'
    )
    settings = load_settings()
    assert settings.block_rule == BlockRule(7, 86_400_000)
    assert settings.session_rule == SessionRule(60_000, 5_000, "dead-letter", 9, 120_000, 8)
    assert settings.intake_rule == IntakeRule(60_000, 1, max_event_ids=7, max_ahead=60_000)
    assert settings.click_format == ClickFormat(session="user", event_id="id")
    assert (settings.topics.clicks, settings.topics.sessions) == ("visits", "shop.sessions")


def test_the_digest_of_settings_differs_with_each_but_not_with_what_is_secret_or_local(
    toml: Path,
) -> None:
    def described(text: str) -> dict[str, str]:
        toml.write_text(text)
        return load_settings().described

    usual = described("")
    assert usual.items() >= {"prefix": "ader", "recipe": "production"}.items()
    other = described("[sessions]\ngap = '20m'")
    assert other["digest"] != usual["digest"]
    with_password = "[kafka.librdkafka]\n'sasl.password' = '{}'"
    with_one = described(with_password.format("one"))
    assert with_one["digest"] != usual["digest"]
    assert with_one == described(with_password.format("two"))
    for local in ("[http]\nport = 1", "[log]\nlevel = 'debug'"):
        assert described(local) == usual


def test_clients_are_made_for_the_cluster_of_the_settings(toml: Path) -> None:
    toml.write_text(
        '[kafka]\nbootstrap_servers = "kafka:1"\ngroup_protocol = "consumer"\n'
        'session_timeout = "7s"\ntransaction_timeout = "8s"\nlibrdkafka = {"client.id" = "x"}'
    )
    clients = load_settings().clients
    assert (clients.bootstrap_servers, clients.group_protocol) == ("kafka:1", "consumer")
    assert (clients.session_timeout, clients.transaction_timeout) == (7_000, 8_000)
    assert clients.properties == {"client.id": "x"}


def test_a_workers_environment_is_ours_with_its_own_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADER_KAFKA_PREFIX", "ours")
    monkeypatch.setenv("HOME", "/home/us")
    environment = worker_environment(http={"port": "0"}, kafka={"prefix": "its"})
    assert environment["ADER_HTTP_PORT"] == "0"
    assert environment["ADER_KAFKA_PREFIX"] == "its"
    assert environment["HOME"] == "/home/us"


def test_the_image_of_the_local_kafka_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_IMAGE", raising=False)
    assert kafka_image() == "apache/kafka"
    monkeypatch.setenv("KAFKA_IMAGE", "mine")
    assert kafka_image() == "mine"
