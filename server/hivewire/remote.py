"""A client of a running gateway, for the command line: action frames over one synchronous WebSocket."""

from __future__ import annotations

import ssl
from itertools import count
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.sync.client import connect

SECONDS = 30
"""The longest wait for a connection or an answer."""


class RemoteError(Exception):
    """The gateway refused a request: its code, its words, and the whole reply."""

    def __init__(self, code: int, text: str, reply: dict[str, Any]) -> None:
        super().__init__(text)
        self.code = code
        self.reply = reply


class Unreachable(Exception):
    """There is no conversation: nothing listens, TLS fails, it is no gateway, or the connection broke."""


class BadAddress(ValueError):
    """The text is not the address of a gateway."""


def endpoint(url: str) -> str:
    """The WebSocket endpoint of a gateway's address: `http://host:8080` is `ws://host:8080/api/websocket`.

    Raises BadAddress for anything but http, https, ws and wss addresses with a host.
    """
    try:
        parts = urlsplit(url)
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}[parts.scheme]
        port = f":{parts.port}" if parts.port is not None else ""
        host = parts.hostname
    except (KeyError, ValueError):
        host = None
    if not host:
        raise BadAddress(f"{url!r} is no address of a gateway; write it like http://127.0.0.1:8080")
    host = f"[{host}]" if ":" in host else host
    path = parts.path if parts.path not in ("", "/") else "/api/websocket"
    return f"{scheme}://{host}{port}{path}"


class Remote:
    """One connection to a gateway, as a context manager. Raises Unreachable."""

    def __init__(self, url: str) -> None:
        self.url = endpoint(url)
        self._numbers = count(1)

    def __enter__(self) -> Remote:
        try:
            self._connector = connect(
                self.url, open_timeout=SECONDS, close_timeout=2, max_size=None, compression=None, proxy=None
            )
            self._connection = self._connector.__enter__()
        except InvalidStatus as error:
            raise Unreachable(f"{self.url} answers with HTTP {error.response.status_code}: is it a gateway?") from None
        except (InvalidURI, InvalidHandshake) as error:
            raise Unreachable(f"{self.url} does not speak WebSocket: {error}") from None
        except ssl.SSLError as error:
            raise Unreachable(f"no secure connection to {self.url}: {error.reason or error}") from None
        except (OSError, WebSocketException) as error:
            reason = "timed out" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or error
            raise Unreachable(f"cannot reach a gateway at {self.url}: {reason}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connector.__exit__(kind, error, trace)

    def request(self, action: str, **members: Any) -> dict[str, Any]:
        """The success reply to a request; members with value None are left out. Raises RemoteError."""
        number = next(self._numbers)
        frame = {"action": action, "requestId": number}
        frame |= {name: value for name, value in members.items() if value is not None}
        try:
            self._connection.send(msgspec.json.encode(frame), text=True)
            while True:
                reply: dict[str, Any] = msgspec.json.decode(self._connection.recv(timeout=SECONDS))
                if reply.get("requestId") == number:
                    break
        except ConnectionClosed as error:
            raise Unreachable(f"{self.url} closed the connection: {error.rcvd or 'without a word'}") from None
        except (OSError, msgspec.DecodeError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise Unreachable(f"{self.url}: {reason}") from None
        if reply.get("status") != "success":
            raise RemoteError(int(reply.get("code", 500)), str(reply.get("error")), reply)
        return reply
