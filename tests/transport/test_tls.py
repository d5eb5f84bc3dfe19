"""TLS handshakes of a real socket, in the process of the test."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from hivewire.settings import Settings
from hivewire.transport import tls
from hivewire.transport.admission import HANDSHAKE_BYTES, SHARES, TLS_BYTES, Admission
from hivewire.transport.connection import HttpProtocol
from tests.running import PATIENCE
from tests.transport.test_connection import answer

SMALL = Settings(anonymous_bytes=4 << 20)
MOST = SMALL.anonymous_bytes // SHARES // HANDSHAKE_BYTES
"""Handshakes of an address that may go on at a time."""


def client_hello() -> bytes:
    """How a handshake begins."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


class Counted(HttpProtocol):
    """Counts those that had to give way; `made` has all of them, the oldest first."""

    expelled = 0
    made: ClassVar[list[Counted]] = []

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        Counted.made.append(self)

    def give_way(self) -> None:
        super().give_way()
        Counted.expelled += 1


class TlsPort:
    """A port whose certificate is this one."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        Counted.expelled = 0
        Counted.made.clear()
        config = Config(answer, lifespan="off", log_config=None, proxy_headers=False, server_header=False)
        config.load()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.admission = Admission(SMALL)
        create = partial(Counted, self.admission, lambda path: {}, frozenset[bytes](), config, ServerState(), {})
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.listener = tls.TlsListener(self.socket, context, 100, create)

    async def close(self) -> None:
        """Close it."""
        self.listener.close()
        await self.listener.wait_closed()
        self.socket.close()

    def dial(self, stack: ExitStack) -> socket.socket:
        """Another connection to it."""
        return stack.enter_context(socket.create_connection(self.address))


async def until(holds: Callable[[], bool]) -> None:
    """Let the event loop work until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0)


async def test_the_handshakes_of_an_address_take_turns(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many go on at a time as its part of the budget has memory for, and count in it when they take long; others
    wait. Who sends nothing takes no turn and no memory."""
    monkeypatch.setattr(tls, "MOMENT_SECONDS", 0.0)
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", float(PATIENCE))
    port = TlsPort(certificate)
    admission = port.admission
    with ExitStack() as stack:
        silent = [port.dial(stack) for _ in range(2 * MOST)]
        await until(lambda: admission.inside == len(silent))
        waiting = [port.dial(stack) for _ in range(3 * MOST)]
        for client in waiting:
            client.send(client_hello())
        while waiting:
            await until(lambda: admission.anonymous.held == MOST * HANDSHAKE_BYTES)
            for client in waiting[:MOST]:
                client.close()
            del waiting[:MOST]
        await until(lambda: admission.inside == len(silent))
    await until(lambda: admission.inside == 0)
    assert admission.anonymous.held == 0
    assert Counted.expelled == 0
    await port.close()


async def test_a_connection_without_a_login_counts_what_tls_takes(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment after its handshake, until it logs in; of too many of one address the one that is idle for longest is
    closed."""
    monkeypatch.setattr(tls, "MOMENT_SECONDS", 0.0)
    port = TlsPort(certificate)
    trusting = ssl.create_default_context(cafile=certificate[0])
    most = SMALL.anonymous_bytes // SHARES // TLS_BYTES
    clients = []

    async def connect() -> None:
        clients.append(await asyncio.open_connection("localhost", port.address[1], family=socket.AF_INET, ssl=trusting))

    for number in range(most):
        await connect()
        await until(lambda number=number: port.admission.anonymous.held == (number + 1) * TLS_BYTES)  # type: ignore[misc]
    Counted.made[1].logged_in()
    assert port.admission.anonymous.held == (most - 1) * TLS_BYTES
    await connect()
    await connect()
    await until(lambda: Counted.expelled == 1)
    with suppress(ConnectionResetError):
        assert await clients[0][0].read() == b""
    await until(lambda: port.admission.anonymous.held == most * TLS_BYTES)
    for _, writer in clients[1:]:
        writer.transport.abort()
    await until(lambda: port.admission.inside == 0)
    assert port.admission.anonymous.held == 0
    await port.close()
