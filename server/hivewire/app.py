"""Wiring: builds the components, starts them in order, and closes them in the reverse order.

A component owns its background tasks, metrics and open resources: `start()`, `async close()` and `gauges()`. To
add one that handlers use, build it in `services.py` and put it into `Services.components`; others are built below.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hivewire import actions
from hivewire.access import bootstrap
from hivewire.component import Component
from hivewire.devices import seeds
from hivewire.dialects import DIALECTS
from hivewire.dispatch import Dispatcher
from hivewire.http.application import Application
from hivewire.http.peer import caller_of
from hivewire.http.routes import Context
from hivewire.openapi import DOCUMENTS
from hivewire.parent import parent_of
from hivewire.reload import Reloader
from hivewire.services import wire
from hivewire.session import Session
from hivewire.settings import Settings, StartError
from hivewire.store import check_addresses, open_messages, open_store
from hivewire.telemetry import Telemetry, log
from hivewire.timers import Timers
from hivewire.tracing import check_endpoint, tracing_of
from hivewire.transport import server as port
from hivewire.transport.admission import Admission, check_budget
from hivewire.transport.events import EventStreams
from hivewire.transport.server import Server
from hivewire.transport.sockets import Sockets
from hivewire.welcome import Started, administrator, welcome

if TYPE_CHECKING:
    from hivewire.tracing.spans import Tracing

Load = Callable[[], Settings]
"""Loads the settings again from the sources of the start."""


async def serve(settings: Settings, load: Load, show: Callable[[Started], None], *, accept_loss: bool = False) -> bool:
    """Serve until SIGTERM or SIGINT, then stop cleanly. SIGHUP loads the settings again. Raises StartError.

    All resources are closed, however it ends. `show` prints the welcome. `accept_loss` serves a data file even if its
    last changes are known to be missing. Returns True when it has to restart, because the log that it shares was
    recreated. A log that it cannot follow any more is a StartError.
    """
    parent = parent_of(settings)
    async with contextlib.AsyncExitStack() as stack:
        hung_up = port.stop_by_signal()
        check(settings)
        tracing = tracing_of(settings)
        sock = port.bind(settings.host, settings.port, shared=parent is not None)
        stack.callback(sock.close)
        port.warn_of_plain_http(settings, sock)
        store = await open_store(settings, stack, accept_loss=accept_loss)
        await bootstrap.write_secret(settings, store.ledger)
        key = bootstrap.signing_key(settings, store.ledger)
        messages, site = await open_messages(settings, store.ledger, stack)
        services = wire(
            settings, store.ledger, store.users, store.tenants, store.passwords, key, messages, broadcast=parent or site
        )
        services.tokens.previous = bootstrap.previous_key(settings, store.ledger)
        if parent is not None:
            await parent.join(services.telemetry)
        if tracing is not None:
            tracing.follow(services)
        dispatcher = Dispatcher(services, actions.READS, actions.WRITES)
        server = _server(dispatcher, tracing)
        for component in (
            *([tracing] if tracing is not None else ()),
            *services.components,
            Timers(dispatcher),
            server,
        ):
            _start(component, services.telemetry, stack)
        await services.notes.load()
        gc.collect()
        gc.freeze()  # later collections skip the loaded records
        # Waiting puts are not walked again and again; the second generation has about 60,000 objects, which take 15 ms.
        gc.set_threshold(10_000, 5, 200)
        await seeds.write(store.ledger, store.users)
        beside = seeds.writes(store.ledger)
        password = await bootstrap.write_administrator(settings, store.users, store.passwords, seeds.assigned, beside)
        port.handle_signals(server.stop, Reloader(services, server, load), hung_up)
        url = port.url_of(sock, settings.tls_certificate is not None)
        login = administrator(store.users, settings.admin_login)
        count = len(store.ledger.kind("configuration").live)
        started = Started(url, store.address, login, password, count, settings.dashboard)
        server.on_listening = partial(welcome, started, show) if parent is None else partial(parent.started, started)
        server.on_stopping = services.drain
        store.ledger.on_stopped = messages.on_stopped = server.stop
        try:
            await server.serve(sockets=[sock])
        finally:
            log.info("stopped", revision=store.ledger.revision)
        stopped = store.ledger.stopped or messages.stopped
        if stopped is not None and not stopped.again:
            raise StartError(stopped.reason)
        return stopped is not None


def check(settings: Settings) -> None:
    """Check secrets, addresses and files in the settings, before a data file is created. Raises SettingsError."""
    check_addresses(settings)
    check_endpoint(settings)
    bootstrap.check_secret(settings)
    port.check_tls(settings)
    check_budget(settings)


def _server(dispatcher: Dispatcher, tracing: Tracing | None) -> Server:
    services = dispatcher.services
    settings, ledger, messages = services.settings, services.ledger, services.messages
    admission = Admission(settings)
    session = Session if tracing is None else tracing.session
    sockets = Sockets(dispatcher, admission, partial(caller_of, services), session)
    streams = EventStreams(dispatcher)

    def not_ready(for_writes: bool) -> str | None:
        if sockets.draining:
            return "the gateway is stopping"
        if (reason := ledger.not_ready(for_writes)) is not None or not for_writes:
            return reason
        return messages.failing or services.neighbours.problem

    sentence = "Whether writes are accepted: 1 while `/health/ready?for=writes` answers 200, else 0."
    services.telemetry.gauges["writable"] = sentence, lambda: not_ready(True) is None
    make = Application if tracing is None else tracing.application
    application = make(DIALECTS, Context(dispatcher, admission, streams, not_ready, DOCUMENTS))
    return Server(settings, application, application.headers_of, application.always, admission, sockets, streams)


def _start(component: Component, telemetry: Telemetry, stack: contextlib.AsyncExitStack) -> None:
    telemetry.gauges |= component.gauges()
    stack.push_async_callback(component.close)
    component.start()
