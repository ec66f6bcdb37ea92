from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import fastavro
import pytest
from starlette.responses import Response

from ader_stream.errors import ClickError, NotYetError, SettingsError
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.clicks.formats import registered_schemas
from ader_stream.stream.schema_registry.client import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    MISSES_A_SECOND,
    MISSES_AT_ONCE,
    PATIENCE_SECONDS,
    UNKNOWN_SECONDS,
    RegistryAccess,
    SchemaRegistry,
)
from ader_stream.types import Click
from tests.fakes import Clock, FakeRecord
from tests.registry import Registry, error, running_registry

VISIT = {
    "type": "record",
    "name": "Visit",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "sku", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
ID = {"type": "fixed", "name": "Id", "size": 3}
VALUE = {"user": "u", "sku": 1, "at": 5}


@pytest.fixture
def server() -> Iterator[Registry]:
    with running_registry() as registry:
        yield registry


@pytest.fixture
def registry(server: Registry, clock: Clock) -> SchemaRegistry:
    return SchemaRegistry(RegistryAccess(server.url), clock)


def refusal(registry: SchemaRegistry, schema_id: int) -> ClickError:
    with pytest.raises(ClickError) as error:
        registry.schema(schema_id)
    assert error.value.reason == "unknown-schema"
    return error.value


def wait(registry: SchemaRegistry, schema_id: int = 1) -> float:
    with pytest.raises(NotYetError) as error:
        registry.schema(schema_id)
    return error.value.retry_after


def decoder_for(server: Registry) -> ClickDecoder:
    access = RegistryAccess(server.url)
    return ClickDecoder(ClickFormat("avro-registry", "user", "sku", "at", registry=access))


def record(schema: Any, schema_id: int, value: dict[str, Any], offset: int = 0) -> FakeRecord:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return FakeRecord(b"\0" + schema_id.to_bytes(4, "big") + buffer.getvalue(), offset=offset)


# --- what the registry knows


def test_each_writers_schema_is_asked_for_once_by_its_id(server: Registry) -> None:
    newer = VISIT | {"fields": [{"name": "shop", "type": "string"}, *VISIT["fields"]]}
    ids = [server.register("clicks-value", schema) for schema in (VISIT, newer)]
    decoder = decoder_for(server)
    for sku in range(3):
        old, new = (
            {"user": "u", "sku": sku, "at": 5},
            {"shop": "s", "user": "v", "sku": 7, "at": 6},
        )
        assert decoder.decode(record(VISIT, ids[0], old)) == Click("u", str(sku), 5)
        assert decoder.decode(record(newer, ids[1], new)) == Click("v", "7", 6)
    assert server.requests == ["/schemas/ids/1", "/schemas/ids/2"]


def test_a_schema_may_refer_to_others(server: Registry) -> None:
    user = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "Id"}]}
    id_ = {"type": "fixed", "name": "Id", "size": 3}
    fields = [{"name": "user", "type": "User"}, *VISIT["fields"][1:]]
    schemas = {"ids": id_, "users": user, "clicks": VISIT | {"fields": fields}}
    names = {"users": [("Id", "ids")], "clicks": [("User", "users")]}
    for subject, schema in schemas.items():
        references = [
            {"name": name, "subject": other, "version": 1} for name, other in names.get(subject, ())
        ]
        last = server.register(subject, schema, references=references)
    access = RegistryAccess(server.url)
    decoder = ClickDecoder(ClickFormat("avro-registry", "user.id", "sku", "at", registry=access))
    named: dict[str, Any] = {}
    whole = [fastavro.parse_schema(schema, named) for schema in schemas.values()][-1]
    value = {"user": {"id": b"abc"}, "sku": 7, "at": 5}
    assert decoder.decode(record(whole, last, value)) == Click("abc", "7", 5)


def refer(server: Registry, *names: str) -> int:
    """Register Click with a field of each of these types, which stand under their own names."""
    fields = [{"name": name.lower(), "type": name} for name in names]
    references = [{"name": name, "subject": name, "version": 1} for name in names]
    schema = VISIT | {"fields": [*VISIT["fields"], *fields]}
    return server.register("clicks", schema, references=references)


def test_what_a_schema_refers_to_may_be_deleted(server: Registry, registry: SchemaRegistry) -> None:
    server.register("Id", ID)
    server.deleted.add("Id")
    [*_, field] = registry.schema(refer(server, "Id"))["fields"]
    assert field["type"] == ID
    assert server.requests == ["/schemas/ids/2", "/subjects/Id/versions/1"]


def test_what_several_refer_to_is_asked_for_once(
    server: Registry, registry: SchemaRegistry
) -> None:
    server.register("Id", ID)
    user = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "Id"}]}
    refers = [{"name": "Id", "subject": "Id", "version": 1}]
    server.register("User", user, references=refers)
    ids = [refer(server, "Id", "User"), refer(server, "User", "Id")]
    types = [[field["type"] for field in registry.schema(id_)["fields"][3:]] for id_ in ids]
    whole = user | {"fields": [{"name": "id", "type": ID}]}
    assert types == [[ID, user], [whole, "Id"]]
    assert len(server.requests) == 4


def test_what_a_schema_refers_to_and_is_not_there_makes_a_dead_letter(
    server: Registry, registry: SchemaRegistry
) -> None:
    assert "refers to version 1 of 'Gone', which is not" in str(
        refusal(registry, refer(server, "Gone"))
    )


def test_schemas_that_refer_to_one_another_in_a_circle_make_a_dead_letter(
    server: Registry, registry: SchemaRegistry
) -> None:
    for name, other in (("A", "B"), ("B", "A")):
        references = [{"name": other, "subject": other, "version": 1}]
        server.register(name, ID | {"name": name}, references=references)
    assert "in a circle" in str(refusal(registry, 1))


def test_a_schema_of_which_each_value_is_too_large_makes_a_dead_letter(server: Registry) -> None:
    fields = [{"name": f"f{n}", "type": "null"} for n in range(10)]
    schema: dict[str, Any] = {"type": "record", "name": "R0", "fields": fields}
    for depth in range(1, 10):
        others = [{"name": f"f{n}", "type": f"R{depth - 1}"} for n in range(9)]
        fields = [{"name": "first", "type": schema}, *others]
        schema = {"type": "record", "name": f"R{depth}", "fields": fields}
    decoder, click = decoder_for(server), FakeRecord(b"\0\0\0\0\1")
    server.register("clicks", schema)
    decoder.check_readable([click])
    with pytest.raises(ClickError, match=r"cannot read clicks.*holds \d+ values"):
        decoder.decode(click)


def test_an_id_that_is_not_registered_makes_a_dead_letter(
    server: Registry, registry: SchemaRegistry, clock: Clock
) -> None:
    assert "schema id 1 at " in str(refusal(registry, 1))
    refusal(registry, 1)
    assert len(server.requests) == 1  # poison must not become a flood of requests
    server.register("late", VISIT)
    clock.seconds += UNKNOWN_SECONDS
    registry.expire_old_answers()
    assert registry.schema(1) == VISIT


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ("syntax = 'proto3'", {"schemaType": "PROTOBUF"}),
        ("{", {}),
        ('{"type": "no such type"}', {}),
        ("", {}),
    ],
)
def test_a_schema_that_is_no_avro_makes_a_dead_letter(
    server: Registry, registry: SchemaRegistry, schema: str, answer: dict[str, str]
) -> None:
    id_ = server.register("clicks", schema, **answer)
    assert "is not an Avro schema" in str(refusal(registry, id_))


# --- a registry that is away


@pytest.mark.parametrize("status", [500, 503, 429, 404, 302, 204])
def test_what_is_no_answer_of_a_registry_is_waited_for(
    server: Registry, registry: SchemaRegistry, status: int
) -> None:
    server.register("clicks", VISIT)
    server.status = status
    assert 0 < wait(registry) <= FIRST_WAIT_SECONDS


@pytest.mark.parametrize("body", ["", "x", "5", "[]", "{}", '{"schema": 5}', "[" * 100_000])
def test_what_no_registry_would_say_is_waited_for(
    server: Registry, registry: SchemaRegistry, body: str
) -> None:
    server.body = body
    assert 0 < wait(registry) <= FIRST_WAIT_SECONDS


def test_references_that_are_none_are_waited_for(
    server: Registry, registry: SchemaRegistry
) -> None:
    server.register("clicks", VISIT, references=[5])
    assert 0 < wait(registry) <= FIRST_WAIT_SECONDS


def test_a_slow_registry_holds_up_nobody_but_the_clicks_that_need_its_answer(
    server: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered_schemas, "PATIENCE_SECONDS", 0.01)
    server.register("clicks", VISIT)
    server.register("clicks", VISIT | {"name": "Newer"})
    decoder = decoder_for(server)
    known, unknown = (record(VISIT, id_, VALUE, offset=40 + id_) for id_ in (1, 2))
    check_until_readable(decoder, [known])
    server.may_answer.clear()
    for _ in range(3):
        with pytest.raises(NotYetError, match="no answer yet") as error:
            decoder.check_readable([known, unknown])
        assert error.value.offset == 42
        decoder.check_readable([known])
    server.may_answer.set()
    check_until_readable(decoder, [known, unknown])
    assert decoder.decode(unknown).key == "u"
    assert len(server.requests) == 2


def check_until_readable(decoder: ClickDecoder, records: list[FakeRecord]) -> None:
    for _ in range(500):
        try:
            decoder.check_readable(records)
        except NotYetError:
            sleep(0.01)
        else:
            return
    raise AssertionError("not readable within 5 s")


# --- ids that nobody has


def test_very_many_ids_that_nobody_has_are_few_requests_and_no_clicks_wait_for_them(
    server: Registry,
) -> None:
    server.register("clicks", VISIT)
    decoder, ids = decoder_for(server), random.Random(1)
    noise = [record(VISIT, ids.randrange(2**20, 2**32), VALUE, n) for n in range(2_000)]
    noise[1_000] = record(VISIT, 1, VALUE, 1_000)
    check_until_readable(decoder, noise)
    assert decoder.decode(noise[1_000]).key == "u"
    for one in (noise[0], noise[999], noise[-1]):
        with pytest.raises(ClickError, match="registered"):
            decoder.decode(one)
    assert len(server.requests) <= MISSES_AT_ONCE + 10


def test_many_new_schemas_at_once_are_all_read(server: Registry) -> None:
    for number in range(5 * MISSES_AT_ONCE):
        server.register("clicks", VISIT | {"name": f"Visit{number}"})
    decoder = decoder_for(server)
    records = [record(VISIT, id_, VALUE, id_) for id_ in server.schemas]
    check_until_readable(decoder, records)
    assert {decoder.decode(one).key for one in records} == {"u"}


@pytest.fixture
def flooded(server: Registry, registry: SchemaRegistry) -> SchemaRegistry:
    """A registry of which so many ids were asked in vain that no request is left."""
    noise = {2**30 + n: (0, n) for n in range(MISSES_AT_ONCE)}
    registry.ask(noise)
    registry.wait(noise, 5)
    server.requests.clear()
    return registry


def test_an_id_like_others_is_asked_for_amid_ids_that_nobody_has(
    server: Registry, flooded: SchemaRegistry, clock: Clock
) -> None:
    server.register("clicks", VISIT)
    flooded.ask({1: (0, 900)})
    with pytest.raises(NotYetError, match="in its turn"):
        flooded.answer(1)
    clock.seconds += 1 / MISSES_A_SECOND
    assert flooded.schema(1) == VISIT


def test_an_id_that_comes_again_is_asked_for_amid_ids_that_nobody_has(
    server: Registry, flooded: SchemaRegistry, clock: Clock
) -> None:
    server.schemas[2**31] = {"schema": json.dumps(VISIT)}
    for _ in range(2):  # the same record, when its partition is tried again
        flooded.ask({2**31: (0, 900)})
        assert "was not requested: one click names it" in str(refusal(flooded, 2**31))
    flooded.ask({2**31: (0, 901)})
    with pytest.raises(NotYetError, match="in its turn"):
        flooded.answer(2**31)
    assert not server.requests
    clock.seconds += 1 / MISSES_A_SECOND
    assert flooded.schema(2**31) == VISIT


# --- a registry that is down


def test_a_registry_that_is_down_is_asked_again_after_ever_longer_waits(
    server: Registry, registry: SchemaRegistry, clock: Clock
) -> None:
    server.register("clicks", VISIT)
    server.stop()
    waits = []
    for _ in range(9):
        waits.append(wait(registry))
        clock.seconds += waits[-1]
    longest = [min(FIRST_WAIT_SECONDS * 2**n, LONGEST_WAIT_SECONDS) for n in range(9)]
    assert all(most / 2 <= waited <= most for waited, most in zip(waits, longest, strict=True))
    server.start()
    assert registry.schema(1) == VISIT
    server.stop()
    assert wait(registry, 2) <= FIRST_WAIT_SECONDS


def test_no_request_is_sent_before_its_time(
    server: Registry, registry: SchemaRegistry, clock: Clock
) -> None:
    server.status = 503
    first = wait(registry, 1)
    clock.seconds += first / 2
    assert wait(registry, 2) == pytest.approx(first / 2)
    assert server.requests == ["/schemas/ids/1"]


def test_the_first_click_that_waits_is_reported_by_its_offset(server: Registry) -> None:
    server.register("clicks", VISIT)
    decoder = decoder_for(server)
    known, unknown = (record(VISIT, id_, VALUE, offset=40 + id_) for id_ in (1, 2))
    poison = [FakeRecord(None), FakeRecord(b"\0"), FakeRecord(b"{}")]
    decoder.check_readable([known, *poison])
    server.status = 503
    decoder.check_readable([known, *poison])
    with pytest.raises(NotYetError, match="does not answer") as error:
        decoder.check_readable([known, *poison, known, unknown, unknown])
    assert error.value.offset == 42


def test_what_was_found_readable_is_decoded_without_a_request(server: Registry) -> None:
    server.register("clicks", VISIT)
    decoder = decoder_for(server)
    known, unknown = (record(VISIT, id_, VALUE) for id_ in (1, 2))
    decoder.check_readable([known, unknown])
    server.stop()
    assert decoder.decode(known).key == "u"
    with pytest.raises(ClickError, match=r"schema id 2 .* is not registered"):
        decoder.decode(unknown)
    decoder.check_readable([known, unknown])


# --- who we are there


def test_a_user_signs_in_with_the_password_in_a_file(server: Registry, tmp_path: Path) -> None:
    server.require_basic("me", "hush")
    password = tmp_path / "password"
    password.write_text("hush\n")
    id_ = server.register("clicks", VISIT)
    access = RegistryAccess(server.url, "me", password)
    assert SchemaRegistry(access).schema(id_) == VISIT


def test_a_token_is_read_from_its_file_for_each_request(server: Registry, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    registry = SchemaRegistry(RegistryAccess(server.url, token_file=token))
    for content in ("first", "second"):
        token.write_text(f"{content}\n")
        server.authorization = f"Bearer {content}"
        assert registry.schema(server.register("clicks", VISIT | {"name": content}))


def test_who_is_refused_is_shown_which_settings_to_look_at(
    server: Registry, registry: SchemaRegistry
) -> None:
    server.require_basic("me", "hush")
    with pytest.raises(SettingsError, match=r"Unauthorized.*check clicks\.registry_user"):
        registry.schema(1)


@pytest.mark.parametrize("name", ["password_file", "token_file"])
def test_a_secret_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    access = RegistryAccess("http://registry", **{name: tmp_path / "nothing"})
    with pytest.raises(SettingsError, match=rf"clicks\.registry_{name} = .*nothing"):
        SchemaRegistry(access)


@pytest.mark.parametrize(
    "access",
    [RegistryAccess("registry:8081"), RegistryAccess("http://x", ca_file=Path("nothing.pem"))],
)
def test_settings_that_make_no_client_are_wrong(access: RegistryAccess) -> None:
    with pytest.raises(SettingsError, match=r"clicks\.registry_url = "):
        SchemaRegistry(access)


def test_a_secret_in_the_address_is_not_shown(server: Registry, clock: Clock) -> None:
    server.require_basic("me", "hush")
    address = server.url.replace("http://", "http://me:hush@")
    registry = SchemaRegistry(RegistryAccess(f"{address}, {address}/"), clock)
    server.status = 503
    with pytest.raises(NotYetError) as error:
        registry.schema(1)
    assert "hush" not in str(error.value)
    assert server.url in str(error.value)
    assert len(server.requests) == 2, "each address is asked"


def test_a_token_that_is_no_line_is_not_shown(server: Registry, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hush\nhush")
    with pytest.raises(SettingsError, match=r"registry_token_file = .*one line") as error:
        SchemaRegistry(RegistryAccess(server.url, token_file=token)).schema(1)
    assert "hush" not in str(error.value)


def test_no_secret_is_shown(server: Registry, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("hush")
    server.require_basic("me", "other")
    with pytest.raises(SettingsError) as error:
        SchemaRegistry(RegistryAccess(server.url, "me", password)).schema(1)
    assert "hush" not in str(error.value)
    assert json.dumps(str(error.value)).isascii()


# --- one id that is unlike the others


def test_an_id_that_we_may_not_read_refuses_its_clicks_and_no_others(
    server: Registry, registry: SchemaRegistry
) -> None:
    server.broken[2] = 403
    server.register("visits", VISIT)
    assert "may not be read by this user" in str(refusal(registry, 2))
    assert registry.schema(1)["name"] == "Visit"


def test_a_schema_that_refers_to_one_that_we_may_not_read_is_refused(
    server: Registry, registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: object) -> Response:
        return error(403, 40301, "no")

    reference = {"name": "Visit", "subject": "visits", "version": 1}
    monkeypatch.setattr(Registry, "_version", forbidden)
    server.stop()
    server.may_answer.set()
    server.start()
    server.register("orders", {"type": "array", "items": "Visit"}, references=[reference])
    assert "which may not be read by this user" in str(refusal(registry, 1))


def test_an_id_that_alone_gets_no_answer_is_given_up_in_the_end(
    server: Registry, registry: SchemaRegistry, clock: Clock
) -> None:
    server.register("visits", VISIT)
    server.broken[2] = 500
    assert wait(registry, 2) > 0
    clock.seconds += LONGEST_WAIT_SECONDS
    assert registry.schema(1)["name"] == "Visit"
    clock.seconds += PATIENCE_SECONDS
    assert "while others do" in str(refusal(registry, 2))


def test_an_id_that_gets_no_answer_while_nobody_does_is_waited_for(
    server: Registry, registry: SchemaRegistry, clock: Clock
) -> None:
    server.register("visits", VISIT)
    registry.schema(1)
    server.status = 500
    for _ in range(5):
        wait(registry, 2)
        clock.seconds += PATIENCE_SECONDS
    server.register("visits", VISIT)
    server.status = 200
    assert registry.schema(2)["name"] == "Visit"


@pytest.mark.parametrize("id_", [2**31, 2**32 - 1])
def test_an_id_that_no_registry_can_have_is_not_asked_for(server: Registry, id_: int) -> None:
    with pytest.raises(ClickError, match=f"schema id {id_}") as error:
        decoder_for(server).decode(FakeRecord(b"\0" + id_.to_bytes(4, "big") + b"x"))
    assert error.value.reason == "unknown-schema"
    assert server.requests == []
