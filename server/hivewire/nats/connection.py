"""A connection to the servers of a NATS cluster, and the requests of JetStream that a log needs.

The library reconnects by itself, to whichever server answers. So no error here says that anything is lost for good:
`Silent` says that there was no answer in time, and that what was sent may still arrive.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hivewire.files import read_regular
from hivewire.settings import Settings
from hivewire.telemetry import log

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

PORT = 4222

REPLY_SECONDS = 1.0
"""Longest wait for an answer, unless the caller says otherwise."""

TELL_SECONDS = 1.0
"""Time without a connection after which the log says that it is waited for."""

RECONNECT_SECONDS = 0.2
"""Pause before the same server is tried again."""

PING_SECONDS = 1
PINGS = 3
"""A server that misses this number of pings in a row is left for another one: it may be stopped, not closed."""

READ_MESSAGES, READ_BYTES = 256, 8 << 20
"""The most that one `read` asks for."""

READ_SECONDS = 5.0
"""Longest wait for all of that."""

UNAVAILABLE = 10008
"""The error code of a cluster that has no leader at the moment; also used for a request that nobody takes."""

NOT_FOUND = 10037
"""The error code for a message that does not exist."""


class NatsError(Exception):
    """The base of what can go wrong here; the message is for the operator.

    ```text
    NatsError
        Silent      no answer in time; a request may still be carried out
        Refused     an error of JetStream, with its code
        NotStored   an entry was not stored, and never will be
        Unknown     nobody knows whether an entry was or will be stored
        Unusable    the cluster or its streams are not as they have to be
    ```
    """


class Silent(NatsError):
    """There was no answer in time. The request may be carried out nevertheless, now or later."""


class Refused(NatsError):
    """JetStream answered with an error; `code` is its `err_code`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class NotStored(NatsError):
    """The entry was not stored, and never will be."""


class Unknown(NatsError):
    """It is not known whether the entry was stored, or will be."""


class Unusable(NatsError):
    """The cluster or one of its streams is not as it has to be."""


class Message(Struct, gc=False):
    """A message of a stream. `place` is its sequence."""

    place: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def begins(self) -> bool:
        """Whether it is the first message of a batch, or stands alone."""
        return self.headers.get("Nats-Batch-Sequence", "1") == "1"

    @property
    def ends(self) -> bool:
        """Whether it is the last message of a batch, or stands alone."""
        return "Nats-Batch-Id" not in self.headers or "Nats-Batch-Commit" in self.headers


class Address(Struct, frozen=True):
    """Some servers, by URLs without secrets, and a site on them, unless it is empty."""

    servers: tuple[str, ...]
    site: str = ""
    replicas: int = 1
    user: str | None = None

    def __str__(self) -> str:
        scheme, _, first = self.servers[0].partition("://")
        others = (server.partition("://")[2] for server in self.servers[1:])
        return f"{scheme}://{','.join((first, *others))}{f'/{self.site}' if self.site else ''}"


def servers_of(setting: str, url: str) -> Address:
    """The servers in a setting, as `nats://USER@h1,h2:4222` or `tls://`. Raises Unusable with what is wrong."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    if ":" in user:
        raise Unusable(
            f"the address in {setting} has a password, which others can see: set HIVEWIRE_{setting.upper()}_PASSWORD"
        )
    servers = tuple(f"{parts.scheme}://{host if ':' in host else f'{host}:{PORT}'}" for host in hosts.split(","))
    if not all(re.fullmatch(r"[\w.-]+:\d+", server.partition("://")[2]) for server in servers):
        raise Unusable(f"the address in {setting} names its servers as HOST or HOST:PORT, separated by commas")
    return Address(servers, user=user or None)


def address_of(store: str) -> Address:
    """The parts of `nats://h1,h2:4222,h3/site?replicas=3`, or `tls://`. Raises Unusable with what is wrong."""
    found, parts = servers_of("store", store), urlsplit(store)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    replicas = given.pop("replicas", "3")
    site = parts.path.removeprefix("/")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", site):
        raise Unusable(f"the address of the store ends in {parts.path!r}; write /SITE, of letters, digits, - and _")
    if given or replicas not in ("1", "3", "5"):
        raise Unusable("the address of the store may only have ?replicas= of 1, 3 or 5 after the site")
    return replace(found, site=site, replicas=int(replicas))


class Connection:
    """A connection of one gateway. `name` is what the servers show of it."""

    def __init__(self, address: Address, settings: Settings, name: str) -> None:
        self.address = address
        self._settings = settings
        self._name = name
        self._client: Client | None = None
        self._last_error = ""
        self._denied = asyncio.Event()

    async def open(self, seconds: float) -> None:
        """Connect to any of the servers. Raises Unusable when none accepts within this number of seconds."""
        client, settings = _new_client(), self._settings
        options: dict[str, Any] = {"reconnect_time_wait": RECONNECT_SECONDS}
        if settings.store_credentials is not None:
            options |= _credentials(settings.store_credentials)
        if self.address.user is not None:
            options |= {"user": self.address.user, "password": settings.store_password}
        if self.address.servers[0].startswith("tls://"):
            options["tls"] = _tls(settings)
        self._client = client
        connecting = asyncio.create_task(
            client.connect(
                [*self.address.servers],
                name=self._name,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                max_reconnect_attempts=-1,
                connect_timeout=2,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=PINGS,
                **options,
            )
        )
        refused = asyncio.create_task(self._denied.wait())
        first = partial(asyncio.wait, {connecting, refused}, return_when=asyncio.FIRST_COMPLETED)
        try:
            await first(timeout=min(seconds, TELL_SECONDS))
            if seconds > TELL_SECONDS and not connecting.done() and not self._denied.is_set():
                log.info("waiting for the store", store=str(self.address), reason=self._last_error or "no answer")
                await first(timeout=seconds - TELL_SECONDS)
            if self._denied.is_set() or not connecting.done():
                raise Unusable(f"cannot connect to {self.address}: {self._last_error or 'no answer'}")
            if (error := connecting.exception()) is not None:  # of any kind, for credentials that are none
                self._client = None  # there is nothing to close
                raise Unusable(f"cannot connect to {self.address}: {str(error) or type(error).__name__}") from error
        finally:
            refused.cancel()
            while not connecting.done():  # an attempt that fails at the same moment may swallow a cancellation
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=RECONNECT_SECONDS)
            await asyncio.gather(connecting, refused, return_exceptions=True)

    async def _on_error(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if self._denied.is_set():  # what comes after that says less
            return
        if text != self._last_error:
            log.debug("an error of the store", error=text)
        self._last_error = text
        if "authorization" in text.lower():
            self._denied.set()

    async def _on_disconnected(self) -> None:
        if self._client is not None and not self._client.is_closed:
            log.warning("the connection to the store is lost; connecting again")

    async def _on_reconnected(self) -> None:
        server = self._client.connected_url.netloc if self._client and self._client.connected_url else ""
        log.info("connected to the store again", server=server.rpartition("@")[2])

    @property
    def client(self) -> Client:
        """The client of the library, connected. Raises Silent while it is not."""
        if self._client is None or not self._client.is_connected:
            raise Silent("not connected to the store")
        return self._client

    async def close(self) -> None:
        """Disconnect. May be called twice, and without `open`."""
        if self._client is not None:
            with suppress(OSError):  # there is nobody to whom it could send what is left
                await self._client.close()

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a message without waiting for anything. Raises Silent."""
        with _silence():
            await self.client.publish(subject, data, headers=None if headers is None else dict(headers))

    async def request(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, *, seconds: float = REPLY_SECONDS
    ) -> dict[str, Any]:
        """The answer of JetStream to a request or a message, which is a JSON object. Raises Silent and Refused."""
        from nats import errors

        try:
            given = None if headers is None else dict(headers)
            reply = await self.client.request(subject, data, timeout=seconds, headers=given)
        except errors.NoRespondersError:
            raise Refused(UNAVAILABLE, "no server of the store answers for it") from None
        except errors.MaxPayloadError:
            raise Refused(0, "larger than the servers of the store take") from None
        except (errors.Error, OSError) as error:
            cause = f" ({self._last_error})" if self._last_error else ""
            raise Silent(f"no answer from the store within {seconds:g} s{cause}") from error
        answer: dict[str, Any] = msgspec.json.decode(reply.data)
        if (refused := answer.get("error")) is not None:
            raise Refused(refused.get("err_code", 0), refused.get("description", "refused"))
        return answer

    async def api(self, what: str, body: Any = None, *, seconds: float = REPLY_SECONDS) -> dict[str, Any]:
        """The answer to a request of the API, such as `STREAM.INFO.X`. Raises Silent and Refused."""
        data = b"" if body is None else msgspec.json.encode(body)
        return await self.request(f"$JS.API.{what}", data, seconds=seconds)

    async def subscribe(self, subject: str, hear: Callable[[Message], None]) -> None:
        """Have every message of a subject handed to `hear`, with the sequence that republishing gave it, until the end.

        Messages may be lost, while we are not connected, and come again.
        """

        async def heard(message: Msg) -> None:
            hear(_message_of(message))

        with _silence():
            await self.client.subscribe(subject, cb=heard)
            await self.client.flush()

    async def get(self, stream: str, wanted: Mapping[str, Any]) -> Message | None:
        """The message with a `seq`, or the last one `last_by_subj`, by the leader; None when there is none.

        Raises Silent and Refused.
        """
        try:
            found = (await self.api(f"STREAM.MSG.GET.{stream}", wanted))["message"]
        except Refused as refused:
            if refused.code == NOT_FOUND:
                return None
            raise
        return Message(found["seq"], {}, b64decode(found.get("data", "")))

    async def answer(self, subject: str, tell: Callable[[], bytes]) -> None:
        """Answer every request at a subject with what `tell` returns, until the end. Raises Silent."""

        async def asked(message: Msg) -> None:
            with suppress(Silent), _silence():  # the caller does not wait for long
                await message.respond(tell())

        with _silence():
            await self.client.subscribe(subject, cb=asked)

    async def ask_all(
        self, subject: str, seconds: float, enough: Callable[[list[bytes]], bool] = lambda found: False
    ) -> list[bytes]:
        """All answers to a request within this number of seconds, or until they are enough. Raises Silent."""
        found: list[bytes] = []
        done = asyncio.Event()

        async def heard(message: Msg) -> None:
            if "Status" not in (message.headers or {}):  # nobody is there
                found.append(message.data)
                if enough(found):
                    done.set()

        client = self.client
        with _silence():
            inbox = client.new_inbox()
            subscription = await client.subscribe(inbox, cb=heard)
            await client.publish(subject, b"", reply=inbox)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await done.wait()
            await subscription.unsubscribe()
        return found

    async def read(self, stream: str, place: int, subject: str | None = None) -> list[Message]:
        """Messages from a place on, of all subjects or one, in order, from any server that has a copy.

        It gives READ_MESSAGES and READ_BYTES at most; a server that is behind gives less than there is. Places that
        were purged are skipped. Raises Silent.
        """
        found: list[Message] = []
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def heard(message: Msg) -> None:
            status = (message.headers or {}).get("Status")
            if status is None:
                found.append(_message_of(message))
            elif not ended.done():
                ended.set_result(status)

        client = self.client
        inbox = client.new_inbox()
        with _silence():
            subscription = await client.subscribe(inbox, cb=heard)
        try:
            wanted = {"seq": place, "batch": READ_MESSAGES, "max_bytes": READ_BYTES}
            body = msgspec.json.encode(wanted if subject is None else wanted | {"next_by_subj": subject})
            with _silence():
                await client.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=inbox)
            async with asyncio.timeout(READ_SECONDS):
                status = await ended
        except TimeoutError:
            if not found:
                raise Silent(f"no answer from the store within {READ_SECONDS:g} s") from None
            return found
        finally:
            with suppress(Silent), _silence():  # not connected any more
                await subscription.unsubscribe()
        if status not in ("204", "404"):  # the end of the batch, and nothing there
            raise Silent(f"the store cannot be read now ({status})")
        return found


@contextmanager
def _silence() -> Iterator[None]:
    """What the library or the socket raises within this becomes Silent."""
    from nats import errors

    try:
        yield
    except (errors.Error, OSError) as error:
        raise Silent(str(error)) from error


def _new_client() -> Client:
    """A client of the library that goes on connecting, whatever happens to its socket. Raises Unusable without it.

    uvloop raises RuntimeError where something is written to a socket that was closed. The library expects OSError: with
    another error it ends its attempts to connect again, and nobody is told.
    """
    try:
        from nats.aio.client import Client
        from nats.aio.transport import TcpTransport
    except ImportError:
        raise Unusable("the store needs the NATS client: pip install 'hivewire[nats]'") from None

    class Socket(TcpTransport):
        def write(self, payload: bytes) -> None:
            self.writelines([payload])

        def writelines(self, payload: list[bytes]) -> None:
            try:
                super().writelines(payload)  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                raise ConnectionResetError(str(error)) from error

        def __bool__(self) -> bool:
            return True  # else the client makes one of its own

    client = Client()
    client._transport = Socket()  # type: ignore[no-untyped-call]
    return client


def _message_of(message: Msg) -> Message:
    headers = message.headers or {}
    return Message(int(headers.get("Nats-Sequence", 0)), headers, message.data)


def _credentials(file: str) -> dict[str, str]:
    """The option of the library for a file with a token and its key, or with the seed of a key alone."""
    try:
        content = read_regular(file).decode()
    except (OSError, ValueError) as error:
        raise Unusable(f"cannot read the credentials of the store, {file}: {error}") from error
    return {"user_credentials" if "BEGIN" in content else "nkeys_seed": file}


def _tls(settings: Settings) -> ssl.SSLContext:
    given = [file for file in (settings.store_ca, settings.store_cert, settings.store_key) if file]
    try:
        for file in given:
            read_regular(file)  # what reads them would wait for a pipe
        context = ssl.create_default_context(cafile=settings.store_ca)
        if settings.store_cert is not None:
            context.load_cert_chain(settings.store_cert, settings.store_key)
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(Path(file).name for file in given)
        raise Unusable(f"cannot use the TLS files of the store ({named}): {error}") from error
    return context
