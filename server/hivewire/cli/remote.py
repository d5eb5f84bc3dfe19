"""A client of a running gateway, for the command line: one connection of `hivewire_client`, whose calls block.

It does not reconnect, because a command ends with its connection; what follows something has a link (`following.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hivewire.cli.errors import BadAddress, Closed, RemoteError, Unreachable, Unsendable
from hivewire_client import address, errors
from hivewire_client.connection import SECONDS, Connection, Cut
from hivewire_client.link import changes_something
from hivewire_client.thread import LoopThread
from hivewire_client.tokens import Credentials, Tokens

if TYPE_CHECKING:
    from hivewire.cli.gateway import Access

T = TypeVar("T")

UNSURE = "; it may or may not have been carried out"
"""What is said of a write without an answer."""


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


class _SavedLogin(Credentials):
    """The login of a profile: its access token first, then others by its refresh token."""

    def __init__(self, access: Access) -> None:
        self.subject = "the profile"
        self._access = access
        self._is_used = False

    async def __call__(self, connection: Connection) -> str:
        """A token, which is kept in the profile. Raises LoginRequired."""
        if self._is_used:
            members = {"refreshToken": self._access.refresh_token}
            self._access.keep(str((await connection.request("token/refresh", members))["accessToken"]))
        self._is_used = True
        return self._access.token


def tokens_of(access: Access) -> Tokens:
    """The given token, or those of the saved login."""
    return Tokens(access.token if access.profile is None else _SavedLogin(access))


class Remote:
    """One connection to a gateway, as a context manager; `token` is its access token. Raises Unreachable.

    `url` is the address as it was given, which errors show.
    `seconds` is the longest wait for the connection, and for each answer.
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        endpoint(url)
        self.url = url
        self.token: str | None = None
        self._login: Access | None = None
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

    def authenticate(self, access: Access) -> None:
        """Authenticate with the token of this access, or with a new one of the saved login, now and when it expires.

        Raises ClickException when there is no valid token; so do later requests.
        """
        self._login, self._tokens = access, tokens_of(access)
        self._do(self._authenticate(access))

    async def _authenticate(self, access: Access, why: errors.LoginRequired | None = None) -> None:
        """Authenticate; `why`: the refusal of the last token, if there was one."""
        try:
            if why is not None and not self._tokens.renewable:
                raise why
            async with asyncio.timeout(self._seconds):
                self.token = await self._tokens.get(self._connection, self.token)
                await self._connection.request("authenticate", {"token": self.token}, self._seconds)
        except errors.LoginRequired as error:
            if why is not None:
                raise access.refused(error) from None
            await self._authenticate(access, error)

    def request(self, action: str, **members: Any) -> dict[str, Any]:
        """The success reply to a request; members with value None are left out.

        Raises RemoteError when it is refused, Unsendable when it is not text, Unreachable when there is no answer: its
        text says of a write that it may have been carried out.
        """
        return self._do(self._ask(action, members))

    async def _ask(self, action: str, members: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._send(action, members)
        except errors.LoginRequired as error:  # a token may expire at any moment
            if self._login is None:
                raise
            await self._authenticate(self._login, error)
        return await self._send(action, members)

    async def _send(self, action: str, members: dict[str, Any]) -> dict[str, Any]:
        unsure = UNSURE if changes_something(action) else ""
        try:
            return await self._connection.request(action, members, self._seconds)
        except Cut as error:
            raise errors.Closed(f"{error}{unsure}", error.code, error.reason) from None
        except TimeoutError:
            raise errors.Unreachable(f"{self.url}: no answer in time{unsure}") from None

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            with translated():
                return self._thread.run(work)
        except TimeoutError:
            raise Unreachable(f"{self.url}: no answer in time") from None
