"""The server: uvicorn with our connections, the port, the signals that stop it, and its TLS files."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import re
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import TypeAlias

import uvicorn

from hivewire.files import read_regular
from hivewire.settings import Settings, SettingsError, StartError
from hivewire.telemetry import Gauges, log
from hivewire.transport.admission import Admission
from hivewire.transport.asgi import ASGIApp
from hivewire.transport.connection import KEEP_ALIVE_SECONDS, HttpProtocol
from hivewire.transport.events import EventStreams
from hivewire.transport.sockets import Sockets
from hivewire.transport.tls import TlsListener

RECONNECTS = 100
"""Clients that may reconnect in a second after a stop, as long as `drain_spread` allows."""

VALIDITY = re.compile(rb"\x30[\x1e-\x22](?:\x17\x0d\d{12}|\x18\x0f\d{14})Z(?:\x17\x0d|\x18\x0f)(\d{12,14})Z")
"""In a certificate: a sequence of two times, each UTCTime or GeneralizedTime."""

TlsContext: TypeAlias = ssl.SSLContext
"""A certificate with its key, as they were when they were loaded."""


class Server(uvicorn.Server):
    """uvicorn with our HTTP connections and WebSockets. `headers_of` gives the headers of every answer under a path;
    paths in `always` are served when no slot is left.

    Its WebSockets and event streams start, stop and are measured with it.
    """

    def __init__(
        self,
        settings: Settings,
        application: ASGIApp,
        headers_of: Callable[[str], Mapping[str, str]],
        always: Set[bytes],
        admission: Admission,
        sockets: Sockets,
        streams: EventStreams,
    ) -> None:
        self._admission = admission
        self._sockets = sockets
        self._streams = streams
        self._loaded = tls_digest(settings)
        self._expires = _expiry_seconds(settings)
        self.on_listening: Callable[[], None] = lambda: None
        self.on_stopping: Callable[[], None] = lambda: None
        config = uvicorn.Config(
            application,
            http=partial(HttpProtocol, admission, headers_of, always),  # type: ignore[arg-type]
            ws=sockets.open,  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=4_096,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        super().__init__(config)

    def start(self) -> None:
        """Start the timer of the sockets. `serve` opens the port."""
        self._sockets.start()

    async def close(self) -> None:
        """Stop the timer of the sockets. `serve` has closed the port."""
        await self._sockets.close()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop as by a signal. A second SIGINT waits for nothing more."""
        self.handle_exit(number, None)

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator function there
        """Leave signals to `handle_signals`: uvicorn would miss those that the event loop has not handled yet."""
        return nullcontext()

    def reload(self, settings: Settings, context: TlsContext | None) -> bool:
        """Use other settings from now on, and for new connections a context of `check_tls`, unless it is None.

        Returns whether the TLS files have changed.
        """
        self._admission.settings = self._sockets.shared.settings = settings
        if context is None:
            return False
        before, self._loaded = self._loaded, tls_digest(settings)
        for listener in self.servers:
            if isinstance(listener, TlsListener):
                listener.context = context
        self._expires = _expiry_seconds(settings)
        return before != self._loaded

    def gauges(self) -> Gauges:
        """Metrics of connections of all kinds."""
        admission, streams = self._admission, self._streams
        certificate: Gauges = {}
        if self.config.ssl_certfile is not None:
            sentence = "End of the TLS certificate, in s since 1970."
            certificate["certificate_expiry_timestamp_seconds"] = sentence, lambda: self._expires
        return certificate | {
            "connections": ("Open connections, HTTP and WebSocket.", lambda: admission.inside),
            **self._sockets.gauges(),
            "closing_streams": ("Finished event streams whose last event is not read yet.", streams.closing),
            "streams": ("Open event streams.", lambda: len(streams.open)),
            "unfinished_bytes": (
                "Bytes of incomplete messages and bodies, beyond 4 KiB of each connection.",
                lambda: admission.unfinished,
            ),
            "unread_bytes": ("Bytes of unread answers.", lambda: admission.unread.held),
            "anonymous_bytes": (
                "Bytes that connections without a login hold.",
                lambda: admission.anonymous.held,
            ),
        }

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, then call `on_listening`."""
        context = self.config.ssl
        await super().startup(sockets if context is None else [])
        if context is not None:
            self.servers += [
                TlsListener(sock, context, self.config.backlog, self._connection)  # type: ignore[misc]
                for sock in sockets or []
            ]
        self.on_listening()

    def _connection(self) -> HttpProtocol:
        config, state = self.config, self.server_state
        return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[return-value, call-arg]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no new work, finish open requests, and close every socket with 1001."""
        self.on_stopping()
        log.info("stopping", sockets=len(self._sockets.open_sockets))
        spread = spread_of(self._sockets.shared.settings, len(self._sockets.open_sockets) + len(self._streams.open))
        self._sockets.drain(spread)
        self._streams.drain(spread)
        await super().shutdown(sockets)


def spread_of(settings: Settings, clients: int) -> float:
    """Seconds within which clients reconnect after a stop: as long as this number of clients needs, at most."""
    return min(settings.drain_spread, max(1.0, clients / RECONNECTS))


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that is bound and does not listen yet, so that a port in use is noticed before the data file is made.

    With `shared`, other processes of the same user may bind the port so too. Raises StartError.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = "no name of a host" if isinstance(error, UnicodeError) else error.strerror or error
        raise StartError(
            f"cannot listen on {host} port {port}: {reason}; choose others with --host and --port"
        ) from None
    sock.setblocking(False)
    return sock


def warn_of_plain_http(settings: Settings, sock: socket.socket) -> None:
    """Log that others can read the traffic, if it is neither encrypted nor kept on this machine."""
    if settings.tls_certificate is None and ip_address(sock.getsockname()[0]).is_unspecified:
        log.warning("plain HTTP on all interfaces: passwords and tokens can be read on the way", host=settings.host)


def reserve(host: str, port: int) -> socket.socket:
    """A socket that reserves a port for processes that bind it with `shared`. It never listens. Raises StartError."""
    with bind(host, port) as alone:  # fails if another process listens there, even one that shares its port
        port = alone.getsockname()[1]
    return bind(host, port, shared=True)


def url_of(sock: socket.socket, tls: bool) -> str:
    """The URL at which a bound socket is reached."""
    host, port = sock.getsockname()[:2]
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def check_tls(settings: Settings) -> TlsContext | None:
    """A context with the TLS files, which may be replaced at any moment; None without them. Warns of a certificate that
    has expired. Raises SettingsError."""
    if settings.tls_certificate is None:
        return None
    for name in ("tls_certificate", "tls_key"):
        file = getattr(settings, name)
        try:
            content = read_regular(file) if file is not None else b""
        except OSError as error:  # that of `load_cert_chain` does not name the file
            raise SettingsError(f"cannot read {name} {file}: {error.strerror}") from None
        if b"ENCRYPTED" in content:  # RFC 7468, section 11, and the older form of RFC 1421
            raise SettingsError(
                f"the private key in {name} {file} is encrypted, and the gateway cannot ask for its passphrase:"
                f" give it a decrypted copy, from openssl pkey -in {file}"
            )
    try:
        context = _context_of(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as error:
        raise SettingsError(
            f"cannot use tls_certificate {settings.tls_certificate} and tls_key {settings.tls_key}: they must be a"
            f" certificate and its key, in PEM" + (f" ({error.reason})" if error.reason else "")
        ) from None
    expires = expiry_of(settings.tls_certificate)
    if expires is not None and expires < datetime.now(UTC).isoformat():
        log.warning("the TLS certificate has expired", file=settings.tls_certificate, expires=expires)
    return context


def _context_of(certificate: str, key: str | None) -> TlsContext:
    """A context as uvicorn makes it for the start."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # With a password OpenSSL never asks for one on the terminal, which would stop the event loop.
    context.load_cert_chain(certificate, key, password="")
    context.set_ciphers("TLSv1")
    return context


def tls_digest(settings: Settings) -> bytes | None:
    """A digest of the TLS files, to see that they were replaced; None without TLS, or if they cannot be read."""
    digest = hashlib.sha256()
    try:
        for file in (settings.tls_certificate, settings.tls_key):
            digest.update(read_regular(file) if file is not None else b"")
    except OSError:
        return None
    return digest.digest()


def expiry_of(certificate: str) -> str | None:
    """When the first certificate of a PEM file ends, as a time in UTC; None when that cannot be read.

    Its `Validity` is two times in UTC, one after the other (RFC 5280, section 4.1.2.5).
    """
    with suppress(OSError, ValueError):
        text = read_regular(certificate).decode("latin-1")
        first = text[text.index(ssl.PEM_HEADER) : text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
        found = VALIDITY.search(ssl.PEM_cert_to_DER_cert(first))
        if found is not None:
            end = found[1].decode()
            century = "" if len(end) == 14 else "20" if end < "50" else "19"
            return datetime.strptime(century + end, "%Y%m%d%H%M%S").isoformat()
    return None


def _expiry_seconds(settings: Settings) -> float:
    """When the certificate ends, in s since 1970; NaN without one, or if that cannot be read."""
    expires = None if settings.tls_certificate is None else expiry_of(settings.tls_certificate)
    return math.nan if expires is None else datetime.fromisoformat(expires).replace(tzinfo=UTC).timestamp()


def raise_file_limit() -> None:
    """Raise the limit of file descriptors to the most this process may have: each connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tell_systemd(state: str) -> None:
    """Tell systemd a state, as sd_notify(3) does, if it has started this process with `Type=notify`."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(state.encode(), place.replace("@", "\0", 1) if place.startswith("@") else place)


# Signals.

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stop_by_signal() -> asyncio.Event:
    """Let the first signal cancel the start, so that everything opened so far is closed; a second one changes nothing.

    It would cancel the closing, and the thread of a file that is not closed keeps the process alive for ever.
    Returns an event that SIGHUP sets during the start, for whoever handles SIGHUP afterwards.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None  # noqa: S101 - called from a coroutine

    def stop() -> None:
        for number in _SIGNALS:
            loop.add_signal_handler(number, lambda: None)
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    hung_up = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, _hang_up, hung_up.set, os.isatty(2))
    return hung_up


def handle_signals(stop: Callable[[int], None], reload: Callable[[], None], hung_up: asyncio.Event) -> None:
    """From now on call `stop` with each signal that stops a gateway, and `reload` for SIGHUP.

    A signal that has arrived and waits for the event loop is handled so, too.
    """
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, _hang_up, reload, os.isatty(2))
    if hung_up.is_set():  # the start may have read the files before they were changed
        loop.call_soon(reload)


def _hang_up(reload: Callable[[], None], began_on_terminal: bool) -> None:
    """Reload; but if the terminal of the gateway was closed, end like any other program."""
    if began_on_terminal and not os.isatty(2):
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
    else:
        reload()
