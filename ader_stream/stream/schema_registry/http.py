"""Send requests to a schema registry, and classify its answers."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlsplit

from ader_stream.errors import SettingsError

if TYPE_CHECKING:
    import httpx

REQUEST_SECONDS = 10.0
"""Seconds that a request may take. Only the clicks that need its answer wait for it."""

MOST_BYTES = 16 * 2**20
"""Most bytes of an answer: registries accept schemas of up to a MiB."""

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
ACCEPTED = f"{CONTENT_TYPE}, application/json"

_UNKNOWN_USER, _FORBIDDEN = 401, 403
_NOT_FOUND = range(40400, 40500)


@dataclass(frozen=True)
class RegistryAccess:
    """Address and credentials of a schema registry.

    Parameters
    ----------
    url
        http or https; several separated by commas.
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

    @property
    def addresses(self) -> list[str]:
        """Return the addresses, in the order of requests."""
        return [address.strip().rstrip("/") for address in self.url.split(",") if address.strip()]

    @property
    def shown(self) -> str:
        """Return the addresses without the secrets that they may contain."""
        return ",".join(_without_secret(urlsplit(address)) for address in self.addresses)


class NotFoundError(Exception):
    """The registry does not have the requested schema."""


class ForbiddenError(Exception):
    """The registry accepts our credentials, but refuses this request; the message says why."""


class NoAnswerError(Exception):
    """There was no answer, or not one of a registry."""


class RegistryHttp:
    """Sends requests to a registry; for one thread, as a context manager.

    Raises
    ------
    SettingsError
        If the client is not installed, or cannot be made from these settings.
    """

    def __init__(self, access: RegistryAccess) -> None:
        self._access = access
        self._client = _make_client(access)

    def __enter__(self) -> RegistryHttp:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._client.close()

    def schema(self, schema_id: int) -> dict[str, Any]:
        """Return the registered schema of an id.

        Raises
        ------
        NotFoundError, ForbiddenError, NoAnswerError
            As `_get`.
        SettingsError
            If the registry refuses our credentials.
        """
        return self._get(f"/schemas/ids/{schema_id}")

    def version(self, subject: str, version: int) -> dict[str, Any]:
        """Return a version of a subject, even a deleted one: it may have written records."""
        return self._get(f"/subjects/{quote(subject, safe='')}/versions/{version}?deleted=true")

    def register(self, subject: str, schema: str) -> int:
        """Register an Avro schema under a subject, unless it is, and return its id.

        Raises
        ------
        NotFoundError, ForbiddenError, NoAnswerError, SettingsError
            As `schema`.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        found = self._request("POST", path, json.dumps({"schema": schema}).encode())
        if not isinstance(found.get("id"), int):
            raise NoAnswerError(f"no id in {found!s:.100}")
        return int(found["id"])

    def _get(self, path: str) -> dict[str, Any]:
        return self._request("GET", path)

    def _request(self, method: str, path: str, content: bytes | None = None) -> dict[str, Any]:
        """Send a request to each address until one answers like a registry."""
        reasons = []
        for address in self._access.addresses:
            try:
                return self._answer(*self._ask(method, address + path, content))
            except NoAnswerError as error:
                reasons.append(str(error))
        raise NoAnswerError("; ".join(dict.fromkeys(reasons)))

    def _ask(self, method: str, url: str, content: bytes | None) -> tuple[int, bytes]:
        """Return status and body."""
        import httpx  # noqa: PLC0415

        headers, until = {"Accept": ACCEPTED} | self._token(), time.monotonic() + REQUEST_SECONDS
        if content is not None:
            headers["Content-Type"] = CONTENT_TYPE
        body = bytearray()
        try:
            with self._client.stream(method, url, headers=headers, content=content) as response:
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES or time.monotonic() > until:
                        raise NoAnswerError(f"more than {len(body)} bytes, or too slow")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise NoAnswerError(repr(error)) from None
        return response.status_code, bytes(body)

    def _token(self) -> dict[str, str]:
        if not self._access.token_file:
            return {}
        file = self._access.token_file
        token = _secret("clicks.registry_token_file", file)
        if not (token.isascii() and token.isprintable()):  # the client's own error would contain it
            raise SettingsError(f"clicks.registry_token_file = {file}: expected one line of ASCII")
        return {"Authorization": f"Bearer {token}"}

    def _answer(self, status: int, body: bytes) -> dict[str, Any]:
        if status == _FORBIDDEN:
            raise ForbiddenError(f"HTTP {status}, {body[:200]!r}")
        if status == _UNKNOWN_USER:
            raise SettingsError(
                f"clicks.registry_url = {self._access.shown}: refused (HTTP {status}, "
                f"{body[:200]!r}); check clicks.registry_user and clicks.registry_password_file, "
                "or clicks.registry_token_file"
            )
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise NoAnswerError(f"HTTP {status}, {body[:100]!r}")
        if status == 404 and found.get("error_code") in _NOT_FOUND:
            raise NotFoundError(str(found.get("message"))[:200])
        if status != 200:
            raise NoAnswerError(f"HTTP {status}, {body[:100]!r}")
        return found


def _make_client(access: RegistryAccess) -> httpx.Client:
    try:
        import httpx  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            "clicks.registry_url needs an HTTP client: pip install 'ader-stream[registry]'"
        ) from None
    if access.token_file:
        _secret("clicks.registry_token_file", access.token_file)
    auth = None
    if access.user or access.password_file:
        file = access.password_file
        password = _secret("clicks.registry_password_file", file) if file else ""
        auth = httpx.BasicAuth(access.user, password)
    try:
        for address in access.addresses:
            _require_address(urlsplit(address))
        return httpx.Client(auth=auth, verify=_trusted(access), timeout=REQUEST_SECONDS)
    except (ValueError, OSError) as error:
        raise SettingsError(f"clicks.registry_url = {access.shown}: {error}") from None


def _trusted(access: RegistryAccess) -> ssl.SSLContext | bool:
    if access.ca_file:
        return ssl.create_default_context(cafile=str(access.ca_file))
    # Reading the usual certificates takes 30 ms.
    return any(urlsplit(address).scheme == "https" for address in access.addresses)


def _require_address(address: SplitResult) -> None:
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")


def _without_secret(address: SplitResult) -> str:
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _secret(setting: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{setting} = {file}: {error}; name a readable text file") from None
