"""The REST API of a DeviceHive server, for a command that reads all of it: page by page, with retries, and bounded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click
import msgspec
from msgspec import Struct

from hivewire.cli.errors import RefusedByGateway, Unreachable
from hivewire.cli.output import shorten
from hivewire.cli.remote import endpoint
from hivewire_client.connection import not_reached

SECONDS = 60
"""Longest wait for a connection or for more of an answer. DeviceHive may need long for a list."""

PAUSES = (0, 1, 2, 4, 8)
"""Seconds before each further attempt of a request, after a connection that broke or a server that was overloaded."""

MAX_BODY = 256 << 20
"""Bytes of one answer."""

BASES = ("/api/rest", "/dh/rest", "/rest")
"""Where the REST API may be, if the address has no path: in DeviceHive's containers, by its defaults, and alone."""

OVERLOADED = (429, 500, 502, 503, 504)

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a body raises that is not the expected JSON, or nested without end."""

T = TypeVar("T")


class Info(Struct):
    """The server's information about itself."""

    apiVersion: str | None


class Tokens(Struct):
    """The answer to a login, or to a refresh, which has no refresh token."""

    accessToken: str
    refreshToken: str | None = None


class Count(Struct):
    """The answer to a request for a number."""

    count: int


class Refusal(Struct):
    """The body of an error."""

    message: str | None = None


class Changed(click.ClickException):
    """A list changed between two of its pages."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: the server was changed meanwhile, or its pages overlap. Stop what writes to it and try again, or"
            " read each list with one request: --take 0"
        )


class DeviceHiveServer:
    """One server, as a context manager. `url` is its address as it was given, which errors show."""

    def __init__(self, url: str, auth_url: str | None = None) -> None:
        self.url = url
        address = urlsplit("http" + endpoint(url).removeprefix("ws"))
        self._scheme, self._place = address.scheme, address.netloc
        path = address.path.removesuffix("/api/websocket")
        self._bases = (path,) if path else BASES
        self._base = self._bases[0]
        self._auth = auth_url
        self._connection: HTTPConnection | None = None
        self.token: str | None = None
        self._refresh_token: str | None = None

    def __enter__(self) -> DeviceHiveServer:
        """Find the API. Raises Unreachable when there is none."""
        try:
            for base in self._bases:
                self._base = base
                if self._is_there():
                    return self
        except BaseException:
            self._hang_up()
            raise
        self._hang_up()
        places = " or ".join(self._bases)
        raise Unreachable(f"{self.url} is not the REST API of a DeviceHive server: {places}/info does not say so")

    def _is_there(self) -> bool:
        status, body = self._once("GET", f"{self._base}/info")
        with suppress(*NOT_JSON):
            return status == 200 and msgspec.json.decode(body, type=Info).apiVersion is not None
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()

    # Credentials.

    def log_in(self, login: str, password: str) -> None:
        """Get an access token, and a refresh token for when it expires. Raises RefusedByGateway."""
        found = self._ask_for_tokens("/token", {"login": login, "password": password})
        self.token, self._refresh_token = found.accessToken, found.refreshToken

    def _ask_for_tokens(self, path: str, body: dict[str, str]) -> Tokens:
        """Post to the service for tokens, which DeviceHive has at an address of its own."""
        if self._auth is not None:
            with DeviceHiveServer(self._auth) as other:
                return other._ask_for_tokens(path, body)
        status, answer = 404, b""
        for base in dict.fromkeys((self._base, self._base.replace("/api/", "/auth/"))):
            status, answer = self._once("POST", base + path, msgspec.json.encode(body))
            if status != 404:
                break
        if status == 404:
            raise RefusedByGateway(
                f"{self.url} has no {path}: give the address of its service for tokens with --auth-url", status
            )
        if status >= 400:
            raise RefusedByGateway(f"{self.url} refuses the login: {_message(status, answer)}", status)
        return self._decoded(answer, Tokens, path)

    # Reading.

    def find(self, path: str, kind: type[T], **query: Any) -> T | None:
        """The resource at a path; None when the server has none.

        Raises RefusedByGateway, and Unreachable when it does not answer in spite of several attempts.
        """
        target = path + ("?" + urlencode(query) if query else "")
        status, body = self._get(target)
        if status in (404, 405):
            return None
        if status != 200:
            hint = {401: "; give another --token, or log in with --login", 403: "; it needs an administrator's token"}
            told = f"{self.url} refuses {target}: {_message(status, body)}{hint.get(status, '')}"
            raise RefusedByGateway(told, status)
        return self._decoded(body, kind, target)

    def count(self, path: str) -> int | None:
        """The number of entries of a list; None when the server does not tell."""
        found = self.find(f"{path}/count", Count)
        return None if found is None else found.count

    def listed(self, path: str, kind: type[T], take: int, **query: Any) -> Iterator[T] | None:
        """The entries of a list, `take` with each request, or with 0 all with one. None when there is no such list."""
        asked = {"take": take} if take else {}
        first = self.find(path, list[kind], **query, **asked)  # type: ignore[valid-type]
        return None if first is None else self._pages(path, kind, take, query, first)

    def _pages(self, path: str, kind: type[T], take: int, query: dict[str, Any], page: list[T]) -> Iterator[T]:
        skip = 0
        while True:
            yield from page
            skip += len(page)
            if not take or len(page) < take:
                break
            page = self.find(path, list[kind], **query, take=take, skip=skip) or []  # type: ignore[valid-type]
        counted = self.count(path)
        if counted not in (None, skip):
            raise Changed(f"{path} has {counted:,} entries, but {skip:,} were read")

    def _decoded(self, body: bytes, kind: type[T], target: str) -> T:
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except NOT_JSON as error:
            raise Unreachable(f"{self.url}: {target} is no answer of a DeviceHive server: {error}") from None

    # Requests.

    def _get(self, target: str) -> tuple[int, bytes]:
        """Status and body, after as many attempts as it takes. A token that has expired is renewed, once."""
        renewed = False
        for pause in PAUSES:
            time.sleep(pause)
            try:
                status, body = self._exchange("GET", self._base + target)
                if status == 401 and self._refresh_token is not None and not renewed:
                    renewed = True
                    self.token = self._ask_for_tokens(
                        "/token/refresh", {"refreshToken": self._refresh_token}
                    ).accessToken
                    status, body = self._exchange("GET", self._base + target)
            except (OSError, HTTPException) as error:
                self._hang_up()
                lost: Exception = self._lost(error)
                continue
            if status not in OVERLOADED:
                return status, body
            hint = "; perhaps the list is too large for it: give a smaller --take" if "take=" in target else ""
            lost = Unreachable(f"{self.url}: {target}: {_message(status, body)}{hint}")
        raise lost

    def _once(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body. Raises Unreachable."""
        try:
            return self._exchange(method, path, body)
        except (OSError, HTTPException) as error:
            self._hang_up()
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> Unreachable:
        if isinstance(error, OSError):
            return Unreachable(str(not_reached(self.url, error, "a DeviceHive server")))
        return Unreachable(f"{self.url} gives no whole HTTP answer: {type(error).__name__}")

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        if self._connection is None:
            made = HTTPSConnection if self._scheme == "https" else HTTPConnection
            self._connection = made(self._place, timeout=SECONDS)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token is not None and body is None:
            headers["Authorization"] = _bearer(self.token)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = response.read(MAX_BODY + 1)
        if response.length and len(answer) <= MAX_BODY:  # which `read` with a number does not tell
            raise IncompleteRead(answer, response.length)
        if len(answer) > MAX_BODY:
            raise click.ClickException(f"{self.url}: {path} is larger than {MAX_BODY:,} bytes; give a smaller --take")
        if 300 <= response.status < 400:
            where = shorten(response.headers.get("Location") or "nowhere", 200)
            raise Unreachable(f"{self.url} answers with a redirect to {where}, which is not followed")
        return response.status, answer

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


def _bearer(token: str) -> str:
    """The header `Authorization`. Raises ClickException without showing the token, as HTTPConnection would."""
    if not token.isascii() or not token.isprintable():
        raise click.ClickException("the token is none: a header cannot have its characters")
    return f"Bearer {token}"


def _message(status: int, body: bytes) -> str:
    """What the server says of an error, on one line."""
    try:
        told = msgspec.json.decode(body, type=Refusal).message
    except NOT_JSON:
        told = None
    return f"{shorten(' '.join(told.split()), 300)} ({status})" if told else f"HTTP {status}"
