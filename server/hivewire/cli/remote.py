"""A client of a running gateway, for the command line: one connection of `hivewire_client`, whose calls block.

It does not reconnect, because a command ends with its connection; what follows something has a link (`following.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hivewire.cli.errors import BadAddress, Closed, RemoteError, Unreachable, Unsendable
from hivewire_client import address, errors
from hivewire_client.connection import SECONDS, Connection
from hivewire_client.thread import LoopThread

_PROOFS = ("authenticate", "token", "token/refresh")
"""Requests that authenticate the caller, so a new token does not help when they are refused."""


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the client as those of the command line, which are known before the client is loaded."""
    try:
        yield
    except errors.Refused as error:
        raise RemoteError(error.code, str(error), error.reply) from error
    except errors.Uncertain as error:
        raise RemoteError(503, str(error), {}) from error
    except errors.Closed as error:
        raise Closed(str(error), error.code, error.reason) from error
    except errors.Unreachable as error:
        raise Unreachable(str(error)) from error
    except errors.BadAddress as error:
        raise BadAddress(str(error)) from error
    except UnicodeEncodeError as error:
        raise Unsendable("the arguments are not UTF-8 text") from error


def endpoint(url: str) -> str:
    """The WebSocket endpoint of a gateway's address, the same for all spellings of it. Raises BadAddress."""
    with translated():
        return address.endpoint(url)


class Remote:
    """One connection to a gateway, as a context manager; `token` is its access token. Raises Unreachable.

    `url` is the address as it was given, which errors show.
    `seconds` is the longest wait for the connection, and for each answer.
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        endpoint(url)
        self.url = url
        self.token: str | None = None
        self.renew: Callable[[RemoteError], None] | None = None
        """Gets and sends another token, or raises why there is none. A request that was refused with 401 is then sent
        again, because a token may expire at any moment."""
        self._seconds = seconds
        self._thread = LoopThread()

    def __enter__(self) -> Remote:
        self._thread.start()
        try:
            with translated():
                self._thread.run(self._open())
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._thread.run(self._close())
        finally:
            self._thread.stop()

    async def _open(self) -> None:
        self._connection = await Connection.open(self.url, lambda connection, frame: None, self._seconds)

    async def _close(self) -> None:
        await self._connection.close()

    async def _ask(self, action: str, members: dict[str, Any]) -> dict[str, Any]:
        return await self._connection.request(action, members, self._seconds)

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
        try:
            with translated():
                reply = self._thread.run(self._ask(action, members))
        except TimeoutError:
            raise Unreachable(f"{self.url}: no answer in time") from None
        if action == "authenticate":
            self.token = members["token"]
        return reply
