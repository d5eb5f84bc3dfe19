"""The composition root: builds everything, and owns the order in which it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import resource
import shlex
import signal
import socket
import ssl
import stat
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import uvicorn
from msgspec import Struct

from hivewire import actions
from hivewire.access.passwords import Passwords, generate
from hivewire.access.tenants import Tenants
from hivewire.access.throttle import Throttle
from hivewire.access.tokens import Key, SecretError, Tokens, generate_secret
from hivewire.access.users import UserProfile, Users
from hivewire.dialects import DIALECTS
from hivewire.dispatch import Dispatcher
from hivewire.http.application import Application
from hivewire.http.peer import caller_of
from hivewire.http.routes import Context
from hivewire.hub.hub import Hub
from hivewire.ledger.engines.sqlite import SqliteJournal
from hivewire.ledger.journal import JournalError
from hivewire.ledger.ledger import DEFAULT_RETENTION, Ledger
from hivewire.ledger.records import NotDurable, Transaction, Write
from hivewire.ledger.retention import Retention
from hivewire.services import Services, elapsed, now
from hivewire.settings import Settings
from hivewire.telemetry import Telemetry, configure_logging, log
from hivewire.transport.admission import Admission
from hivewire.transport.connection import HttpProtocol
from hivewire.transport.events import EventStreams
from hivewire.transport.websocket import Gate
from hivewire_protocol.nouns.user import Role

SECRET, SIGNING_KEY = "secret", "jwt"
"""Kind and key of the record that keeps a generated signing secret. No action reads this kind."""

BEATS = 30
"""Each socket is looked after once in `ping_seconds`; the sockets are spread over so many moments within it, or over
more when those would be more than a second apart."""

SAVE_LOGINS_SECONDS = 60

PROBE_SECONDS = 2
"""While the disk is full, so often is looked whether it still is."""

COMPACT_REST = 9
"""A sweep of what is no longer needed rests nine times as long as it works."""

LARGE_FILE = 64 << 20
"""Loading a file of this size takes seconds, so it is said that it began."""


class StartError(Exception):
    """The gateway cannot start; the message is a sentence for the operator."""


class Foundation(Struct):
    """What a new ledger begins with, not written yet; `password` only when it was just generated."""

    writes: list[Write]
    signing_key: str | None
    password: str | None


class Started(Struct):
    """What there is to tell once the port is open; `password` only when it was just generated."""

    url: str
    data: str
    login: str
    password: str | None
    records: int


def run(settings: Settings, started: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT, then stop cleanly. Raises StartError."""
    import uvloop  # here, so that importing this module needs no event loop of a certain kind

    configure_logging(settings.log_format)
    _raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(settings, started))
        except asyncio.CancelledError:
            raise StartError("stopped before it was up") from None


async def serve(settings: Settings, started: Callable[[Started], None]) -> None:
    """The life of one gateway: everything that was opened is closed on every way out."""
    async with contextlib.AsyncExitStack() as stack:
        _stop_by_signal()
        check(settings)
        sock = _bind(settings)
        stack.callback(sock.close)
        services, foundation = await _build_services(settings, stack)
        stack.push_async_callback(services.workers.close)
        dispatcher = Dispatcher(services, actions.READS, actions.WRITES)
        server = _Server(settings, dispatcher)
        for work in (
            server.gate_ticks(),
            _save_logins(services),
            _probe(services.ledger),
            _compact(services.ledger, settings.compact_seconds),
            _bookmarks(services),
        ):
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
        gc.collect()
        gc.freeze()  # what was loaded stays; later collections need not walk it
        server.on_started = partial(_announce, settings, sock, services.ledger, foundation.password, started)
        # Last of all: a start that is interrupted after this leaves a password that nobody was shown.
        await _found(settings, services.ledger, foundation)
        _leave_signals_to_uvicorn()
        try:
            await server.serve(sockets=[sock])
        finally:
            log.info("stopped", revision=services.ledger.revision)


def _stop_by_signal() -> None:
    """Until the port is open, a signal cancels the start: whatever is open by then is closed."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - called from a coroutine
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _leave_signals_to_uvicorn() -> None:
    """uvicorn stops cleanly at a signal and then raises it once more, which must not make a failure of it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, lambda *_: None)


def _announce(
    settings: Settings, sock: socket.socket, ledger: Ledger, password: str | None, started: Callable[[Started], None]
) -> None:
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    news = Started(
        f"http{'s' if settings.tls_certificate else ''}://{shown}:{port}",
        os.path.abspath(settings.data),
        settings.admin_login,
        password,
        len(ledger.kind("configuration").live),
    )
    log.info("started", url=news.url, data=news.data, configurations=news.records, version=version("hivewire"))
    started(news)


class Store(Struct):
    """What is kept, opened: enough to look after users and tenants without a running gateway."""

    ledger: Ledger
    users: Users
    tenants: Tenants
    passwords: Passwords


async def open_store(
    data: Path, stack: contextlib.AsyncExitStack, retention: Retention = DEFAULT_RETENTION, *, existing: bool = False
) -> Store:
    """Open the file and load it; the stack closes it. Raises StartError, with `existing` also for an empty one."""
    if existing and _size(data) == 0:
        raise StartError(f"{data} is empty, not a Hivewire ledger; it was left untouched")
    passwords = Passwords()
    stack.callback(passwords.close)
    ledger = Ledger(SqliteJournal(data), now, retention=retention)
    users, tenants = Users(ledger), Tenants(ledger)
    stack.push_async_callback(ledger.close)
    try:
        await ledger.open()
        await users.load()
        tenants.load()
    except (JournalError, NotDurable) as error:
        raise StartError(str(error)) from error
    return Store(ledger, users, tenants, passwords)


def _tell_of_loading(data: Path) -> None:
    if (size := _size(data) or 0) > LARGE_FILE:
        log.info("loading", data=str(data), bytes=size)


def _tell_of_readers(data: Path) -> None:
    """A file that was copied here may be open to others. It is left so, as that may be meant: a backup by a group."""
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod 600 {shlex.quote(os.path.abspath(data))}"
        log.warning("other users can open the data file, which holds secrets", mode=f"{mode:04o}", remedy=remedy)


def _size(data: Path) -> int | None:
    return data.stat().st_size if data.is_file() else None


async def _build_services(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[Services, Foundation]:
    """Everything below the gate, loaded; and what is still to be written if the ledger is new."""
    _tell_of_loading(Path(settings.data))
    retention = Retention(settings.history, settings.log_changes, settings.log_days)
    store = await open_store(Path(settings.data), stack, retention)
    _tell_of_readers(Path(settings.data))
    ledger, users, passwords = store.ledger, store.users, store.passwords
    telemetry = Telemetry()
    ledger.on_commit = telemetry.committed
    stack.push_async_callback(_last_words, users)
    foundation = await _foundation(settings, ledger, users, passwords)
    key = _key(settings, settings.jwt_secret or foundation.signing_key or _stored_secret(ledger))
    if key.weak:
        log.warning(
            "the JWT key is shorter than 32 bytes; tokens could be forged by trying keys",
            bytes=len(key.value),
        )
    tokens = Tokens(
        key,
        users,
        store.tenants,
        settings.access_token_lifetime * 1_000,
        settings.refresh_token_lifetime * 1_000,
    )
    telemetry.gauges |= {
        "ledger_revision": ("The ledger's revision.", lambda: ledger.revision),
        "ledger_oldest": ("The first revision from which the log is complete.", lambda: ledger.oldest),
        "ledger_log_changes": (
            "Changes in the log that clients can resume from; those of one transaction share a revision.",
            lambda: ledger.log_changes,
        ),
        "configurations": ("Configurations that exist.", lambda: len(ledger.kind("configuration").live)),
    }
    hub = Hub(ledger, tokens, settings.conflate_after, telemetry.unexpected)
    throttle = Throttle(elapsed)
    return Services(settings, ledger, users, tokens, passwords, throttle, telemetry, hub, store.tenants), foundation


async def _foundation(settings: Settings, ledger: Ledger, users: Users, passwords: Passwords) -> Foundation:
    """The first administrator and the signing secret, if there are none yet."""
    writes: list[Write] = []
    signing_key = password = None
    if not users.all():
        password = settings.admin_password or generate()
        profile = UserProfile(await passwords.hash(password), Role.ADMIN)
        writes += users.write(settings.admin_login, profile, None).writes
    if settings.jwt_secret is None and ledger.get(SECRET, SIGNING_KEY) is None:
        signing_key = generate_secret()
        writes.append(Write(SECRET, SIGNING_KEY, signing_key.encode(), "text/plain; charset=utf-8"))
    return Foundation(writes, signing_key, password if settings.admin_password is None else None)


async def _found(settings: Settings, ledger: Ledger, foundation: Foundation) -> None:
    """Write it, in one transaction."""
    if not foundation.writes:
        return
    try:
        await ledger.commit(Transaction(foundation.writes))
    except NotDurable as error:
        raise StartError(f"cannot write to {settings.data}: {error}") from error


def _stored_secret(ledger: Ledger) -> str:
    record = ledger.get(SECRET, SIGNING_KEY)
    if record is None or record.content is None:
        raise StartError("the ledger has no signing secret and none is set; set HIVEWIRE_JWT_SECRET")
    return record.content.decode()


def _key(settings: Settings, secret: str) -> Key:
    try:
        # The rule is for a secret that was set; a generated one is ours, and long enough.
        return Key(secret, settings.jwt_key_derivation if settings.jwt_secret is not None else "utf8")
    except SecretError as error:
        raise StartError(str(error)) from None


async def _save_logins(services: Services) -> None:
    while True:
        await asyncio.sleep(SAVE_LOGINS_SECONDS)
        try:
            await services.users.save_last_logins()
        except NotDurable as error:
            log.warning("last logins were not saved; trying again later", reason=str(error))


async def _probe(ledger: Ledger) -> None:
    while True:
        await asyncio.sleep(PROBE_SECONDS)
        await ledger.probe()


async def _bookmarks(services: Services) -> None:
    while True:
        await asyncio.sleep(services.settings.bookmark_seconds)
        await services.hub.bookmarks()


async def _compact(ledger: Ledger, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await ledger.compact(COMPACT_REST)
        except Exception as error:  # whatever it was, it harms nobody to try again
            log.warning("the log was not shortened; trying again later", reason=repr(error))


async def _last_words(users: Users) -> None:
    try:
        await users.save_last_logins()
    except NotDurable as error:
        log.warning("last logins were not saved", reason=str(error))


class _Server(uvicorn.Server):
    """uvicorn with our admission, our WebSocket protocol, and a word when it is up."""

    def __init__(self, settings: Settings, dispatcher: Dispatcher) -> None:
        self._settings = settings
        self._services = dispatcher.services
        admission = Admission(settings)
        self.gate = Gate(dispatcher, admission, partial(caller_of, dispatcher.services))
        self._streams = EventStreams(dispatcher)
        self.on_started: Callable[[], None] = lambda: None
        application = Application(DIALECTS, Context(dispatcher, admission, self._streams, self._not_ready))
        config = uvicorn.Config(
            application,
            http=partial(HttpProtocol, admission, application.headers_of),  # type: ignore[arg-type]
            ws=self.gate.open,  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=4_096,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        super().__init__(config)
        self._services.telemetry.gauges |= {
            "connections": ("Open connections, HTTP and WebSocket.", lambda: admission.inside),
            "sockets": ("Open WebSockets.", lambda: len(self.gate.sockets)),
            "subscriptions": ("Subscriptions of all connections.", self._services.hub.count),
            "pushes": ("Changes pushed to subscribers so far.", lambda: self._services.hub.pushes),
            "closing_streams": ("Streams that wait for their last words.", self._streams.closing),
            "streams": ("Open event streams.", lambda: len(self._streams.open)),
            "unfinished_bytes": ("Drawn by messages and bodies that are not whole yet.", lambda: admission.unfinished),
            "unread_bytes": ("Held by HTTP answers that their peers do not read.", lambda: admission.unread),
            "outbox_bytes": ("Bytes that WebSocket peers have not read yet.", self.gate.outbox_bytes),
        }

    def _not_ready(self) -> str | None:
        if self.gate.draining:
            return "the gateway is stopping"
        return self._services.ledger.failing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, then tell."""
        await super().startup(sockets)
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking work, finish what is under way, close every socket with 1001."""
        log.info("stopping", sockets=len(self.gate.sockets))
        self.gate.draining = True
        self._streams.drain()
        await super().shutdown(sockets)

    async def gate_ticks(self) -> None:
        """The heartbeat of the gate."""
        beats = max(BEATS, math.ceil(self._settings.ping_seconds))
        while True:
            await asyncio.sleep(self._settings.ping_seconds / beats)
            self.gate.tick(beats)


def check(settings: Settings) -> None:
    """Try what only a start would find out, before a file is made. Raises StartError."""
    if settings.jwt_secret is not None:
        _key(settings, settings.jwt_secret)
    if settings.tls_certificate is None:
        return
    for name in ("tls_certificate", "tls_key"):
        file = getattr(settings, name)
        try:
            if file is not None:
                open(file, "rb").close()  # ssl does not say which of them it cannot read
        except OSError as error:
            raise StartError(f"cannot read {name} {file}: {error.strerror}") from None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as error:
        raise StartError(
            f"cannot use tls_certificate {settings.tls_certificate} and tls_key {settings.tls_key}: they must be a"
            f" certificate and its key, in PEM ({error.reason})"
        ) from None


def _bind(settings: Settings) -> socket.socket:
    """The listening socket, bound but not open yet: a taken port is found out before a file is made."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        raise StartError(
            f"cannot listen on {settings.host} port {settings.port}: {reason}; choose others with --host and --port"
        ) from None
    sock.setblocking(False)
    return sock


def _raise_file_limit() -> None:
    """One file descriptor a connection: ask for as many as the system lets this user have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
