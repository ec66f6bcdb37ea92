"""Writers' schemas by their id, from a schema registry that may be away for a while."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import structlog

from ader_stream.errors import ClickError, NotYetError, SettingsError

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
    from confluent_kafka.schema_registry.error import SchemaRegistryError

log = structlog.get_logger(__name__)

REQUEST_SECONDS = 3.0
"""How long a request may take: nothing else is read or committed meanwhile."""

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
"""Between two requests to a registry that is away; doubled from the first to the longest."""

UNKNOWN_SECONDS = 30.0
"""For so long an id that is not registered is not asked for again."""

_MOST_UNKNOWN = 1_000
_SCHEMA_NOT_FOUND = 40403
_REFUSED = (401, 403)


@dataclass(frozen=True)
class RegistryAccess:
    """Where a schema registry is, and who we are there.

    Parameters
    ----------
    url
        http or https; several parted by commas.
    user, password_file
        For basic authentication.
    token_file
        For bearer authentication; read for each request, because tokens expire.
    ca_file
        Certificates to trust, in place of the usual ones.
    """

    url: str
    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None


class SchemaRegistry:
    """Asks once for each schema.

    Parameters
    ----------
    access
        Where to ask.
    clock
        Seconds, ever rising.

    Raises
    ------
    SettingsError
        If the client is not installed, or cannot be made from these settings.
    """

    def __init__(self, access: RegistryAccess, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._client: SchemaRegistryClient | None = _make_client(access)
        self._keeps_client = False
        self._close()
        self._unknown: dict[int, tuple[float, str]] = {}
        self._away_until = 0.0
        self._wait = FIRST_WAIT_SECONDS
        self._reason = ""

    def schema(self, schema_id: int) -> Any:
        """Return a schema; not kept here: the caller keeps what it makes of it.

        Raises
        ------
        ClickError
            If the registry says that there is none of this id, or that it is no Avro schema.
        NotYetError
            If it does not answer as a registry does; no request is sent before its time.
        SettingsError
            If it refuses us.
        """
        if schema_id in self._unknown:
            raise ClickError("unknown-schema", self._unknown[schema_id][1])
        if (wait := self._away_until - self._clock()) > 0:
            raise NotYetError(self._reason, wait)
        return self._parsed(schema_id, self._fetched(schema_id))

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Send all requests of a ``with`` block by one client.

        Elsewhere each has one of its own: schemas are few, and a client that is kept would be
        idle, with secrets that grow old. But to make one costs 30 ms.
        """
        self._keeps_client = True
        try:
            yield
        finally:
            self._keeps_client = False
            self._close()

    def forget_old_answers(self) -> None:
        """Ask again for schemas that were unknown a while ago; until then, they stay unknown."""
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.clear()
        now = self._clock()
        self._unknown = {id_: found for id_, found in self._unknown.items() if found[0] > now}

    def _fetched(self, schema_id: int) -> list[Schema]:
        """Fetch a schema, and before it the ones that it refers to."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

        try:
            client = self._client = self._client or _make_client(self._access)
            schema = client.get_schema(schema_id)
            schemas = [*_references(client, schema), schema]
        except SettingsError:
            raise
        except SchemaRegistryError as error:
            raise self._answer(schema_id, error) from None
        except Exception as error:
            # Whatever goes wrong on the way, the schema is still to be had: refused connections,
            # time-outs, a proxy's page in place of JSON.
            raise self._away(repr(error)) from None
        finally:
            if not self._keeps_client:
                self._close()
        self._wait = FIRST_WAIT_SECONDS
        return schemas

    def _close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def _parsed(self, schema_id: int, schemas: list[Schema]) -> Any:
        *referred, schema = schemas
        if schema.schema_type not in (None, "AVRO"):
            raise self._refusal(schema_id, f"is no Avro schema but {schema.schema_type}")
        named: dict[str, Any] = {}
        try:
            for other in referred:
                fastavro.parse_schema(json.loads(other.schema_str or ""), named)
            # Parsed, it would no longer tell which of its types are used by name.
            unparsed = json.loads(schema.schema_str or "")
            parsed = fastavro.parse_schema(unparsed, named)
        except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
            raise self._refusal(schema_id, f"is no Avro schema: {error}") from None
        return parsed if referred else unparsed

    def _answer(self, schema_id: int, error: SchemaRegistryError) -> Exception:
        if error.error_code == _SCHEMA_NOT_FOUND:
            return self._refusal(schema_id, "is not registered")
        if error.http_status_code in _REFUSED:
            return SettingsError(
                f"clicks.registry_url = {self._access.url}: {error}; check "
                "clicks.registry_user and clicks.registry_password_file, or "
                "clicks.registry_token_file"
            )
        return self._away(str(error))

    def _refusal(self, schema_id: int, what: str) -> ClickError:
        why = f"schema id {schema_id} at {self._access.url} {what}"
        self._unknown[schema_id] = (self._clock() + UNKNOWN_SECONDS, why)
        return ClickError("unknown-schema", why)

    def _away(self, why: str) -> NotYetError:
        # Workers that were cut off together do not all come back in the same moment.
        wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._away_until = self._clock() + wait
        self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
        self._reason = f"schema registry {self._access.url} does not answer: {why}"
        log.warning("schema registry away", url=self._access.url, error=why, wait_seconds=wait)
        return NotYetError(self._reason, wait)


def _references(client: SchemaRegistryClient, schema: Schema) -> list[Schema]:
    found: list[Schema] = []
    for reference in schema.references or ():
        subject, version = str(reference.subject), int(reference.version or 0)
        referred = client.get_version(subject, version).schema
        found += [*_references(client, referred), referred]
    return found


def _make_client(access: RegistryAccess) -> SchemaRegistryClient:
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            "clicks.registry_url needs the schema registry's client: "
            "pip install 'ader-stream[registry]'"
        ) from None
    properties: dict[str, Any] = {
        "url": access.url,
        "timeout": REQUEST_SECONDS,
        "max.retries": 0,  # when to ask again is for us to say
    }
    if access.ca_file:
        properties["ssl.ca.location"] = str(access.ca_file)
    if access.user or access.password_file:
        file = access.password_file
        password = _secret("clicks.registry_password_file", file) if file else ""
        properties["basic.auth.user.info"] = f"{access.user}:{password}"
    if access.token_file:
        properties |= _bearer(access.token_file)
    try:
        return SchemaRegistryClient(properties)
    except (ValueError, TypeError, OSError) as error:
        raise SettingsError(f"clicks.registry_url = {access.url}: {error}") from None


def _bearer(file: Path) -> dict[str, Any]:
    """Return properties that read the token for each request."""

    def fields(_: dict[str, Any]) -> dict[str, str]:
        token = _secret("clicks.registry_token_file", file)
        return {"bearer.auth.token": token, "bearer.auth.logical.cluster": ""}

    fields({})
    return {
        "bearer.auth.credentials.source": "CUSTOM",
        "bearer.auth.custom.provider.function": fields,
        "bearer.auth.custom.provider.config": {},
    }


def _secret(setting: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{setting} = {file}: {error}; name a readable text file") from None
