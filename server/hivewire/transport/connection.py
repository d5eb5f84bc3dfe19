"""HTTP connections: uvicorn's httptools protocol, with bounds on what a peer may send, hold and leave unread.

uvicorn limits neither the bytes of a request's head nor the time to send them. This subclass limits both, and admits a
connection before it reads anything: there is a limit for the process and one for each address.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping, Set
from functools import partial
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from hivewire.access.identity import Identity
from hivewire.caller import Caller
from hivewire.transport.admission import FREE, HANDSHAKE_BYTES, Admission
from hivewire.transport.back_pressure import ANONYMOUS_PIECE, PIECE, PORTION, Watch
from hivewire.transport.handshake import handshake, head_without_upgrade
from hivewire.transport.light import LightEvent, LightQueue
from hivewire.transport.refusal import Refusal

KEEP_ALIVE_SECONDS = 20
"""Time for which an idle connection is kept: longer than most clients use one again, 5 to 15 s. A request that is sent
while the connection is closed is lost, and only reads are tried again."""

PROXY_SECONDS = 620
"""The same for a trusted proxy: balancers of clouds use a connection again for up to 600 s."""

LINGER_SECONDS = 2.0
"""Seconds for which input is discarded after a refusal, before the connection is aborted."""

LINGER_BYTES = 256 << 10
"""Bytes that are discarded; then reading stops, and a peer that is still sending may lose the answer."""

GRACE_SECONDS = 3.0
"""Seconds beyond `slow_seconds` in which a slow event stream can read the event that says why it ends."""

PIPELINE = 64
"""Pipelined requests of one HTTP connection that may wait for their answers. Browsers and libraries send none."""

ANONYMOUS_PIPELINE = 8
"""The same for anonymous connections; their further requests are kept as bytes."""

REQUEST_BYTES = 4 << 10
"""What a pipelined request takes in memory beside its bytes, while it waits."""

HEADERS = 256
"""Headers of one request. A short one takes 26 times its bytes in memory; clients send some dozens at most."""

PARAMETERS = 1_024
"""Parameters in a query: tens of thousands fit into a head, and would block the event loop for 20 ms."""

_PATH = re.compile(rb"(?:https?://[^/]*)?(/[^?]*)", re.IGNORECASE)
"""The path in the target of a request (RFC 9112, section 3.2)."""

_HOST = re.compile(rb"[\w.~!$&'()*+,;=%:\[\]-]{0,300}", re.ASCII)
"""The characters of a host and port (RFC 3986, section 3.2.2). A connection keeps it, and a name has at most 253 (RFC
1035, section 3.1)."""

DELAY_SECONDS = 1.0
"""How long an anonymous connection is not served after a refusal because of `anonymous_rate`, on average."""


def delay_seconds() -> float:
    """A random time, so that many connections do not continue at the same moment."""
    return DELAY_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def peer_address(transport: asyncio.BaseTransport) -> str:
    """The address of the other end, without its port."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else "local"


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection within its limits. On an upgrade a WebSocket takes over the transport and the admission.

    A refusal and an upgrade end the HTTP connection. The requests before them are answered first, and nothing behind
    them is parsed. `headers_of` gives the headers that every answer under a path has; paths in `always` are served in
    a spare place too.
    """

    # Together with uvicorn's they are too many for a dictionary that shares its keys, which would take 1.2 KiB more.
    __slots__ = (
        "_admitted",
        "_always",
        "_cut_handshake",
        "_discarded",
        "_end",
        "_fed",
        "_head_bytes",
        "_head_complete",
        "_head_timer",
        "_headers_of",
        "_held",
        "_in_body",
        "_later",
        "_lost",
        "_spare",
        "_taken",
        "_unanswered",
        "_watch",
        "address",
        "admission",
        "anonymous",
        "delayed_until",
        "known",
        "streaming",
        "url",
    )

    def __init__(
        self,
        admission: Admission,
        headers_of: Callable[[str], Mapping[str, str]],
        always: Set[bytes],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.pipeline = LightQueue()  # type: ignore[assignment]
        self.admission = admission
        self._headers_of = headers_of
        self._always = always
        self.address = ""
        self.url = b""  # uvicorn sets it when the first request begins, and a refusal may come earlier
        self.anonymous = True
        """Whether this connection has no login yet."""
        self.known: tuple[Identity, Caller] | None = None
        """The identity of the last verified token, and its caller with the rights that were found."""
        self.streaming = False
        """Whether the current answer is an event stream."""
        self.delayed_until = 0.0
        """The time of the event loop before which no request is begun, because too many came without a token."""
        self._admitted = False
        self._spare = False
        self._cut_handshake: Callable[[], object] | None = None  # with TLS, until there is a transport
        self._taken = 0  # bytes of anonymous requests that are not answered yet
        self._unanswered: list[RequestResponseCycle] = []
        self._later = b""  # anonymous requests that are not parsed yet
        self._end: Callable[[], None] | None = None
        self._discarded = 0  # bytes behind the end
        self._fed = 0  # bytes of the piece that the parser works on
        self._head_bytes = 0
        self._head_complete = False
        self._in_body = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._watch: Watch | None = None  # while the peer has something to read
        self._held = 0
        self._lost: Callable[[], None] | None = None

    def accept(self, address: str, cut: Callable[[], object]) -> None:
        """With TLS: admit the connection before its handshake. `cut` ends it until the handshake begins."""
        self._cut_handshake = cut
        self._enter(address)

    def begin_handshake(self, cut: Callable[[], object]) -> None:
        """With TLS: the handshake begins, which `cut` ends."""
        self._cut_handshake = cut

    def charge_handshake(self) -> None:
        """With TLS: count the memory of the handshake, which takes long."""
        if self.transport is None:
            self.admission.hold(self, HANDSHAKE_BYTES)

    def end_handshake(self) -> None:
        """With TLS: forget the handshake, and leave the admission if it has failed."""
        self._cut_handshake = None
        if self.transport is None:
            self._forget()
            if self._admitted:
                self._admitted = False
                self.admission.leave(self, self.address)

    def _enter(self, address: str) -> None:
        self.address = address
        self._admitted = True
        self._spare = not self.admission.enter(self, address)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, if that was not done before. In a spare slot, all but health and metrics is refused
        with 503."""
        super().connection_made(transport)
        self.flow._is_writable_event = LightEvent(is_set=True)
        transport.set_write_buffer_limits(high=FREE)
        if self._admitted:
            self._account()  # instead of the handshake
        else:
            self._enter(peer_address(transport))
        if self.admission.settings.trusts(self.address):
            self.timeout_keep_alive = PROXY_SECONDS
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the admission, unless a WebSocket has taken it over."""
        super().connection_lost(exc)
        self._tell_it_is_lost()
        for cycle in self._unanswered:  # uvicorn notifies only the last one, which may still wait for others
            cycle.disconnected = True
            cycle.message_event.set()
        self._unanswered.clear()  # none of them is completed any more
        self.pipeline.clear()
        self._forget()
        self._stop_timer()
        self._stop_watch()
        self.admission.resume(self)
        if self._admitted:
            self._admitted = False
            self.admission.leave(self, self.address)

    def _forget(self) -> None:
        """Drop what refers to this object, so that it is freed without a garbage collection.

        After thousands of connections one collection would block the event loop for a noticeable time.
        """
        self.parser = self.scope = self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Feed the parser piece by piece and bound the head of each request."""
        if self._end is not None:
            self._discard(len(data))
            return
        if self.anonymous:
            # Counted after complete requests have had the chance to log in.
            self._taken += len(data)
            self.loop.call_soon(self._account)
        self._feed_all(data)

    def _discard(self, size: int) -> None:
        """Discard input after the end, up to a limit: a peer that sends more does not read the answer."""
        self._discarded += size
        if self._discarded > LINGER_BYTES and not self.transport.is_closing():
            self.transport.pause_reading()

    def _feed_all(self, data: bytes, most: int = ANONYMOUS_PIPELINE) -> None:
        """Feed the parser piece by piece. At most `most` anonymous requests wait as objects, the others as bytes:
        with hundreds of connections and dozens of requests each, garbage collection would block the event loop."""
        position = 0
        while position < len(data) and self._end is None and not self.transport.is_closing():
            if self._later or (self.anonymous and len(self.pipeline) >= most):
                self._later += data[position:]
                return
            size = ANONYMOUS_PIECE if self.anonymous else PIECE
            self._feed(data, position, size)
            position += size

    def _feed_later(self, most: int = ANONYMOUS_PIPELINE) -> None:
        """Continue with the remaining input."""
        if self._later:
            later, self._later = self._later, b""
            self._feed_all(later, most)
            if self._later and not self.transport.is_closing():
                self.flow.pause_reading()

    def _feed(self, data: bytes, start: int, size: int) -> None:
        piece = data[start : start + size]
        self._fed = len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            parsed: int = upgrade.args[0]
            if self._should_upgrade():
                self._end_with(partial(self._hand_over, data[start + parsed :]))
            else:
                self._head_bytes = 0
                self._feed_all(head_without_upgrade(self.scope, self.url, self.headers) + piece[parsed:])
        except httptools.HttpParserError as error:
            # An exception in a callback of the parser becomes the context of the parser's own error.
            cause = error.__context__
            self.refuse(cause if isinstance(cause, Refusal) else Refusal(400, "Invalid HTTP request received."))
        else:
            if not self._head_complete:
                self._head_bytes += len(piece)
                if self._head_bytes > self.admission.settings.head_bytes:
                    self.refuse(self._head_too_large())
                elif self._head_timer is None:
                    self._wait_for_head()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The peer half-closes: its complete requests are answered, then the connection is closed.

        A stream ends at once, and a request that waits is answered, because a half-close looks like a client that has
        gone. TLS has no half-close here.
        """
        if self.streaming or self.scheme == "https" or self.transport.is_closing():
            return False
        self._tell_it_is_lost()
        self._feed_later(PIPELINE + 1)
        if self._in_body and len(self._unanswered) > 1:
            self.refuse(Refusal(400, "the body is incomplete"))
        if self._in_body or not self._unanswered:
            return False
        self._end_with(self.transport.close)
        return True

    def when_lost(self, call: Callable[[], None] | None) -> None:
        """Set what is called once when the peer is gone, or sends no more; at once if it has gone before."""
        self._lost = call
        if self._end is not None or self.transport.is_closing():
            self._tell_it_is_lost()

    def _tell_it_is_lost(self) -> None:
        call, self._lost = self._lost, None
        if call is not None:
            call()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._cut_handshake is not None:
            self._cut_handshake()
        else:
            self.transport.abort()

    def give_way(self) -> None:
        """Cut the connection at once; admission no longer counts it."""
        self._admitted = False
        self.abort()

    def logged_in(self) -> None:
        """A request has logged in, so the connection is not anonymous any more."""
        if self.anonymous:
            self.anonymous = False
            self.admission.login(self)
            if not self.transport.is_closing():  # the client may have gone while its password was verified
                self.transport.set_write_buffer_limits(high=PORTION)  # under TLS there would be eight times as much
            if self.flow.write_paused:
                self._stall()

    def delay_next(self) -> None:
        """Delay the next request of this connection."""
        self.delayed_until = self.loop.time() + delay_seconds()

    async def wait_out_delay(self) -> None:
        """Return when the delay is over."""
        await asyncio.sleep(self.delayed_until - self.loop.time())
        self.delayed_until = 0.0

    def _account(self) -> None:
        """Count the memory of an anonymous connection: the bytes of its requests, and its unread answers."""
        if self.anonymous and self._admitted:
            waiting = self._taken + REQUEST_BYTES * len(self.pipeline)
            self.admission.hold(self, waiting + (self.unsent if self.flow.write_paused else 0))

    def shutdown(self) -> None:
        """The server stops. Under TLS, closing waits for the peer's close_notify, which an idle peer may never send."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # What the parser calls. A Refusal raised here stops it.

    def on_message_begin(self) -> None:
        """The first byte of a request, which ends the keep-alive timeout; line breaks before it do not."""
        self._unset_keepalive_if_required()
        super().on_message_begin()
        if self._head_complete:
            # Most heads arrive whole. `_feed` limits the time of the others.
            self._head_complete = False
            self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer of a chunked body. Trailers are limited as headers are."""
        if not self._head_complete:
            super().on_header(name, value)
            if len(self.headers) > HEADERS:
                self.headers.clear()
                raise Refusal(431, f"more than {HEADERS} headers")
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self.admission.settings.head_bytes:
            raise Refusal(431, f"trailers are over {self.admission.settings.head_bytes} bytes")

    def on_headers_complete(self) -> None:
        """Every header is there: check the limits, then let uvicorn begin to answer."""
        if self._head_bytes + self._fed > self.admission.settings.head_bytes:
            # Only now it may be too large: a head is never larger than what it came in.
            size = len(self.url) + sum([len(name) + len(value) + len(": \r\n") for name, value in self.headers])
            if size > self.admission.settings.head_bytes:
                raise self._head_too_large()
        self._check_host([value for name, value in self.headers if name == b"host"])
        if self.url.count(b"&") >= PARAMETERS:
            raise Refusal(400, f"more than {PARAMETERS} parameters in the query")
        if self._spare and self._path() not in self._always:
            raise Refusal(503, "too many connections; try again later")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Refusal(400, "this is not a proxy")
            self.scope["method"] = self.parser.get_method().decode()
            self.scope["http_version"] = self.parser.get_http_version()
            return  # `_feed` goes on
        if len(self.pipeline) >= PIPELINE:
            raise Refusal(503, "too many requests sent without waiting for answers")
        self._head_complete = True
        self._head_bytes = 0
        self._stop_timer()
        before = self.cycle
        self.scope["hivewire.connection"] = self  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.message_event = LightEvent(is_set=False)  # its task has not run yet
            self._unanswered.append(self.cycle)
            self._in_body = True

    def _check_host(self, hosts: list[bytes]) -> None:
        """Refuse what a proxy in front might read differently (RFC 9112, section 3.2). HTTP/1.0 needs no Host."""
        if len(hosts) > 1:
            raise Refusal(400, "more than one Host header")
        if not hosts and self.parser.get_http_version() == "1.1":
            raise Refusal(400, "the Host header is missing")
        if hosts and not _HOST.fullmatch(hosts[0]):
            raise Refusal(400, "the Host header is not a host name or address")

    def on_message_complete(self) -> None:
        """The body is complete."""
        if not self.parser.should_upgrade():
            self._in_body = False
            super().on_message_complete()

    # How it ends.

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error document and close. For a request whose body is incomplete this is its only answer."""
        if self._in_body and not self.cycle.response_started:
            self._in_body = False
            self._unanswered.pop()
            if self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self._end_with(partial(self._write_refusal, refusal))

    def _should_upgrade(self) -> bool:
        """Whether the upgrade that the parser found is one to WebSocket, and to nothing else."""
        return [value.lower() for name, value in self.headers if name == b"upgrade"] == [b"websocket"]

    def _end_with(self, end: Callable[[], None]) -> None:
        """Call `end` once all earlier requests are answered, and read nothing until then."""
        if self._end is not None or self.transport.is_closing():
            return
        self._stop_timer()
        self._end = end
        if self._unanswered:
            # Not through `flow`: uvicorn resumes it at the start of every request that waits.
            self.flow.resume_reading()
            self.transport.pause_reading()
        else:
            end()

    def on_response_complete(self) -> None:
        """Called by uvicorn when a request is answered."""
        self._unanswered.pop(0)
        super().on_response_complete()
        self._feed_later()
        if self.anonymous and not self._unanswered:
            self._taken = 0 if self._head_complete else self._head_bytes
            self._account()
        if self._end is not None and not self._unanswered and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.transport.resume_reading()
            self._end()
        elif self.transport.is_closing():
            self._watch_progress()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that sent no request for a while."""
        super().timeout_keep_alive_handler()
        self._watch_progress()

    def _write_refusal(self, refusal: Refusal) -> None:
        self.transport.write(refusal.answer(self._headers_of(self._path().decode("latin-1"))))
        self._drop_input()
        refusal.__traceback__ = None  # its frames hold the input, too
        if self.transport.can_write_eof():
            # Closing at once would reset the connection when data is still on its way, and the answer would be lost.
            self.transport.write_eof()
            self._head_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        else:
            self.transport.close()

    def _drop_input(self) -> None:
        """Free what was read, because the connection stays for a while: a head takes many times its bytes."""
        self._forget()
        self.url = self._later = b""
        self.headers = []
        self._taken = 0
        self._end = self.transport.close  # nothing more is parsed

    def _path(self) -> bytes:
        """The path of the request that is read, as far as it was read."""
        match = _PATH.match(self.url)
        return match[1] if match else b""

    def _hand_over(self, rest: bytes) -> None:
        """Let a WebSocket take over the transport; `rest` is what the client sent without waiting for the 101."""
        assert self.ws_protocol_class is not None  # noqa: S101 - asked in _should_upgrade
        upgrade: Any = self.ws_protocol_class
        try:
            socket = upgrade(self.transport, handshake(self.scope, self.url, self.headers), self.server_state)
        except Refusal as refusal:
            self._write_refusal(refusal)
            return
        self._stop_watch()
        self._end = self.transport.close  # nothing more is parsed
        self._forget()
        self.admission.hand_over(self, socket, self.address)
        if not socket.anonymous:
            self.admission.login(socket)
        self.connections.discard(self)
        self._admitted = False
        self.transport.set_protocol(socket)
        if self.flow.write_paused:
            socket.pause_writing()
        if rest:
            socket.data_received(rest)

    # Peers that do not read their answers.

    @property
    def unsent(self) -> int:
        """Written bytes that the peer has not read, beyond the kernel's buffers."""
        return self.transport.get_write_buffer_size()

    def hold(self, more: int) -> None:
        """Count bytes of an answer that wait to be written, or take them back."""
        self._held += more
        if self.flow.write_paused:
            self._stall()

    def _stall(self) -> None:
        if self.anonymous:
            self._account()
        elif self._admitted:  # an answer can end after a socket has taken over
            self.admission.stall(self, self._held + self.unsent)

    def pause_writing(self) -> None:
        """The peer does not read its answer: count the bytes, and abort when it makes no progress."""
        super().pause_writing()
        self._stall()
        self._watch_progress()

    def resume_writing(self) -> None:
        """The peer has read most of what was written."""
        super().resume_writing()
        self.admission.resume(self)
        self._account()
        if not self.transport.is_closing():
            self._stop_watch()

    def _watch_progress(self) -> None:
        """Abort the connection when the peer makes no progress. Closing waits until it has read everything, too."""
        if self._watch is None:
            self._watch = Watch(self.transport, self.admission.settings.slow_seconds + GRACE_SECONDS)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _wait_for_head(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(self.admission.settings.head_seconds, self._head_late)

    def _head_late(self) -> None:
        if self.flow.read_paused:
            self._wait_for_head()  # the peer is not late, because we do not read
        else:
            self.refuse(Refusal(408, f"request line and headers took over {self.admission.settings.head_seconds:g} s"))

    def _head_too_large(self) -> Refusal:
        return Refusal(431, f"request line and headers are over {self.admission.settings.head_bytes} bytes")

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
