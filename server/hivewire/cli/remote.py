"""A client of a running gateway, for the command line: action frames over one WebSocket.

Calls block. The connection belongs to an event loop in a separate thread, which answers pings while the command does
something else. (With one thread that reads and another that writes, a TLS connection hangs now and then.)
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.frames import CloseCode

from hivewire.cli.errors import BadAddress, Closed, RemoteError, Unreachable, Unsendable
from hivewire.cli.output import shorten

SECONDS = 30
"""The longest wait for a connection or an answer."""


LARGE = 1 << 20
"""More bytes than this are refused by a gateway with default settings (`message_bytes`)."""


_NO_SCHEME = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d+)?(/|$)")
"""Matches the start of an address without a scheme: a host, an optional port, an optional path."""

_PROOFS = ("authenticate", "token", "token/refresh")
"""Requests that authenticate the caller, so a new token does not help when they are refused."""

_DEFAULT_PORTS = {"ws": 80, "wss": 443}

_OTHER_SCHEME = {"http": "https", "https": "http", "ws": "wss", "wss": "ws", "": "https"}
"""For hints where one side uses TLS and the other does not. No scheme means http."""

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer that is not TLS, mostly plain HTTP."""


def endpoint(url: str) -> str:
    """The WebSocket endpoint of a gateway's address: `http://host:8080` is `ws://host:8080/api/websocket`.

    Without a scheme it is http, so `host:8080` is the same.
    Two spellings of one address give the same endpoint: the scheme's own port is left out, the host in small letters.
    Raises BadAddress for anything but http, https, ws and wss addresses with a host.
    """
    try:
        parts = urlsplit(f"http://{url}" if _NO_SCHEME.match(url) else url)
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}[parts.scheme]
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")  # as the socket module will; it raises UnicodeError, which is a ValueError
    except (KeyError, ValueError):
        host, port = "", None
    if "@" in url:  # checked before an error quotes the address, which may have a password in it
        raise BadAddress("the address must not contain a login or password: use hivewire login, or a token")
    if not host or port == 0 or any(character.isspace() for character in url):
        raise BadAddress(f"{url!r} is not the address of a gateway; write it like http://127.0.0.1:8080")
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        place += f":{port}"
    path = parts.path if parts.path not in ("", "/") else "/api/websocket"
    return f"{scheme}://{place}{path}"


class Remote:
    """One connection to a gateway, as a context manager; `token` is its access token. Raises Unreachable.

    `url` is the address as it was given, which errors show; `endpoint` is what it leads to.
    `seconds` is the longest wait for the connection, and for each answer.
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        self.url = url
        self._endpoint = endpoint(url)
        self._seconds = seconds
        parts = urlsplit(self._endpoint)
        self._address = (parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme])
        self._numbers = count(1)
        self.token: str | None = None
        self.renew: Callable[[RemoteError], None] | None = None
        """Gets and sends another token, or raises why there is none. A request that was refused with 401 is then sent
        again, because a token may expire at any moment."""
        self._pushed: deque[dict[str, Any]] = deque()

    def __enter__(self) -> Remote:
        try:
            with ExitStack() as stack:
                self._portal: BlockingPortal = stack.enter_context(start_blocking_portal())
                # With a connected socket it follows no redirects to other hosts, because they would get the token.
                link = stack.enter_context(socket.create_connection(self._address, self._seconds))
                limits: dict[str, Any] = {"open_timeout": self._seconds, "close_timeout": 2, "max_size": None}
                connector = connect(self._endpoint, sock=link, compression=None, proxy=None, **limits)
                self._connection = stack.enter_context(self._portal.wrap_async_context_manager(connector))
                self._open = stack.pop_all()
        except ssl.SSLError as error:  # first: that of a certificate is a ValueError too
            raise not_reached(self.url, error, "a gateway") from None
        except (InvalidStatus, InvalidURI, ValueError) as error:  # the last two also for a redirect
            raise Unreachable(f"{self.url} {_without_socket(error)}") from None
        except InvalidMessage as error:
            hint = f"perhaps it expects TLS; try {_other(self.url)}" if self._endpoint.startswith("ws:") else error
            raise Unreachable(f"{self.url} gives no HTTP answer: {hint}") from None
        except InvalidHandshake as error:
            raise Unreachable(f"{self.url} does not support WebSocket: {error}") from None
        except (OSError, WebSocketException) as error:
            raise not_reached(self.url, error, "a gateway") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def request(self, action: str, **members: Any) -> dict[str, Any]:
        """The success reply to a request; members with value None are left out.

        Raises RemoteError when it is refused, Unsendable when it is not text, Unreachable when there is no answer.
        """
        try:
            return self._request(action, members)
        except RemoteError as error:
            if error.code != 401 or self.renew is None or action in _PROOFS:
                raise
            self.renew(error)
            return self._request(action, members)

    def _request(self, action: str, members: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        frame = {"action": action, "requestId": number}
        frame |= {name: value for name, value in members.items() if value is not None}
        try:
            data = msgspec.json.encode(frame)
        except UnicodeEncodeError:
            raise Unsendable("the arguments are not UTF-8 text") from None
        reply = self._exchange(data, number)
        if reply.get("status") != "success":
            code = reply.get("code")
            raise RemoteError(code if isinstance(code, int) else 500, str(reply.get("error")), reply)
        if action == "authenticate":
            self.token = members["token"]
        return reply

    def push(self, seconds: float) -> dict[str, Any] | None:
        """The next pushed message, in the order of arrival; None when none arrives in time.

        Raises Closed when the connection has ended.
        """
        if self._pushed:
            return self._pushed.popleft()
        try:
            return self._receive(seconds)
        except TimeoutError:
            return None

    def _exchange(self, data: bytes, number: int) -> dict[str, Any]:
        """Send a frame and wait for the reply with its requestId. Earlier pushes are kept for `push`."""
        try:
            self._portal.call(self._connection.send, data.decode())
            while True:
                reply = self._receive(self._seconds)
                # An error without a requestId says that the frame itself was not understood.
                if reply.get("requestId") == number or ("requestId" not in reply and reply.get("status") == "error"):
                    return reply
                if "subscriptionId" in reply and "requestId" not in reply:
                    self._pushed.append(reply)
        except Closed as error:
            raise self._told(error, data) from None
        except ConnectionClosed as error:
            raise self._told(self._closed(error), data) from None
        except OSError as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else error
            raise Unreachable(f"{self.url}: {reason}") from None

    def _receive(self, seconds: float) -> dict[str, Any]:
        """The next message. Raises TimeoutError, and Unreachable when it is not a message of a gateway."""
        try:
            return msgspec.json.decode(self._portal.call(_next, self._connection, seconds), type=dict[str, Any])
        except ConnectionClosed as error:
            raise self._closed(error) from None
        except msgspec.DecodeError as error:
            raise Unreachable(f"{self.url}: not an answer of a gateway: {error}") from None

    def _closed(self, error: ConnectionClosed) -> Closed:
        """The end of the connection as an exception."""
        text = f"{self.url} closed the connection: {error.rcvd or 'no close frame'}"
        if error.rcvd is None:
            return Closed(text, None, "")
        return Closed(text, error.rcvd.code, error.rcvd.reason)

    def _told(self, closed: Closed, data: bytes) -> Exception:
        """The exception for a request during which the connection ended; `data` is what was sent."""
        if closed.code == CloseCode.MESSAGE_TOO_BIG:
            # The gateway was reached and refused the request.
            return RemoteError(413, "this is larger than the gateway's limit for a message", {})
        if closed.code is None and len(data) > LARGE:
            # When the gateway closes in the middle of a large frame, a TCP reset can overtake its close frame.
            return Closed(f"{closed}, perhaps because a message of {len(data):,} bytes is too large", None, "")
        return closed


async def _next(connection: ClientConnection, seconds: float) -> bytes:
    """The next message. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        return await connection.recv(decode=False)


def _without_socket(error: Exception) -> str:
    """What a peer does instead of opening a socket: it answers with a status, perhaps a redirect, or with nonsense."""
    found = next((e for e in (error, error.__cause__, error.__context__) if isinstance(e, InvalidStatus)), None)
    if found is None:
        return f"is not a gateway: {error}"
    status, place = found.response.status_code, found.response.headers.get("Location")
    if place is None:
        return f"answers with HTTP {status}: is it a gateway?"
    return f"answers with HTTP {status} and a redirect to {shorten(place, 200)}, which is not followed"


def not_reached(url: str, error: Exception, what: str) -> Unreachable:
    """Why no connection to `what` at this address came about, or why it broke."""
    if isinstance(error, ssl.SSLError):
        if error.reason in _NOT_TLS:
            return Unreachable(f"{url} does not use TLS; try {_other(url)}")
        return Unreachable(f"no secure connection to {url}: {_why_tls_failed(error)}")
    reason = "timed out" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or error
    return Unreachable(f"cannot reach {what} at {url}: {reason}")


def _other(url: str) -> str:
    """The address with TLS if it has none, and without if it has it."""
    scheme, _, rest = url.rpartition("://")
    return f"{_OTHER_SCHEME[scheme.lower()]}://{rest}"


def _why_tls_failed(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message} (SSL_CERT_FILE names a file of certificates to trust)"
    return (error.reason or str(error)).replace("_", " ").lower()
