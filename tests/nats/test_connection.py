"""The address of a store, who is let in, and the streams that are refused."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
from bench.nodes import PASSWORD, USER, Nodes
from msgspec.structs import replace
from nats.aio.client import Client
from structlog.testing import capture_logs

from hivewire.ledger.engines.nats.journal import NatsJournal
from hivewire.ledger.engines.sqlite.cache import SqliteCache
from hivewire.ledger.records import JournalError
from hivewire.nats import stream as streams
from hivewire.nats.connection import Connection, Silent, Unusable, address_of
from hivewire.nats.monitor import ask_later, require_synced
from hivewire.settings import Settings
from tests.running import PATIENCE


@pytest.mark.parametrize(
    ("store", "servers", "site", "replicas", "user"),
    [
        ("nats://h1/s", ("nats://h1:4222",), "s", 3, None),
        ("nats://h1,h2:5,h3/a-B_9?replicas=5", ("nats://h1:4222", "nats://h2:5", "nats://h3:4222"), "a-B_9", 5, None),
        ("tls://hive@10.0.0.1:4443/s?replicas=1", ("tls://10.0.0.1:4443",), "s", 1, "hive"),
    ],
)
def test_an_address_names_servers_and_a_site(
    store: str, servers: tuple[str, ...], site: str, replicas: int, user: str | None
) -> None:
    """Servers without a port have NATS's own, and there are three copies unless it says otherwise."""
    found = address_of(store)
    assert (found.servers, found.site, found.replicas, found.user) == (servers, site, replicas, user)
    assert "@" not in str(found)


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("nats://hive:secret@h1/s", "has a password, which others can see: set HIVEWIRE_STORE_PASSWORD"),
        ("nats://h1", "write /SITE"),
        ("nats://h1/", "write /SITE"),
        ("nats://h1/a.b", "write /SITE"),
        ("nats://h1/a/b", "write /SITE"),
        ("nats://h1/s?replicas=2", "replicas= of 1, 3 or 5"),
        ("nats://h1/s?copies=3", "replicas= of 1, 3 or 5"),
        ("nats:///s", "HOST or HOST:PORT"),
        ("nats://h1,,h2/s", "HOST or HOST:PORT"),
        ("nats://h1:x/s", "HOST or HOST:PORT"),
    ],
)
def test_a_wrong_address_is_explained(store: str, words: str) -> None:
    """The error says what to write; a password is not repeated in it."""
    with pytest.raises(Unusable, match=words) as refused:
        address_of(store)
    assert "secret" not in str(refused.value)


@pytest.fixture
async def connection(clusters: Callable[[int], str]) -> AsyncIterator[Connection]:
    settings = Settings(store=clusters(1).format(site=secrets.token_hex(8)), store_password=PASSWORD)
    found = Connection(address_of(settings.store or ""), settings, "test")
    await found.open(30)
    yield found
    await found.close()


async def test_a_wrong_password_is_refused_at_once(connection: Connection) -> None:
    """The error says so; nobody waits until it gets right by itself."""
    wrong = Settings(store_password="wrong")
    refused = Connection(connection.address, wrong, "test")
    with pytest.raises(Unusable, match="Authorization Violation"):
        await refused.open(600)
    await refused.close()


async def test_nobody_there_is_an_error_after_a_while(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the servers. Meanwhile the log says what is waited for."""
    nowhere = Connection(replace(connection.address, servers=("nats://127.0.0.1:1",)), Settings(), "test")
    monkeypatch.setattr("hivewire.nats.connection.TELL_SECONDS", 0.1)
    with capture_logs() as lines, pytest.raises(Unusable, match=r"cannot connect to nats://127\.0\.0\.1:1/"):
        await nowhere.open(0.2)
    await nowhere.close()
    assert [(line["event"], line["store"]) for line in lines if line["log_level"] == "info"] == [
        ("waiting for the store", str(nowhere.address))
    ]


async def test_an_attempt_that_swallows_a_cancellation_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails at the moment at which the time is over, and the library would try again for ever."""

    async def connect(*_: object, **__: object) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    monkeypatch.setattr(Client, "connect", connect)
    with pytest.raises(Unusable, match="no answer"):
        await asyncio.wait_for(Connection(address_of("nats://h1/s"), Settings(), "test").open(0.01), PATIENCE)


def test_a_server_that_is_lost_while_it_is_greeted_is_tried_again(clusters: Callable[[int], str]) -> None:
    """It says what it is and resets the connection. On the event loop of the gateway that is an error of another kind,
    with which the library would give up for ever."""
    behind = address_of(clusters(1).format(site="greeted"))
    host, _, port = behind.servers[0].removeprefix("nats://").partition(":")
    lost, taken = 3, list[asyncio.StreamWriter]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while portion := await reader.read(65_536):
                writer.write(portion)
        writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        from_server, to_server = await asyncio.open_connection(host, int(port))
        if 1 < len(taken) <= 1 + lost:
            writer.write(await from_server.readline())
            _reset(writer)
            to_server.close()
        else:
            await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))

    async def lose() -> None:
        async with await asyncio.start_server(take, "127.0.0.1", 0) as proxy:
            address = replace(behind, servers=(f"nats://127.0.0.1:{proxy.sockets[0].getsockname()[1]}",))
            connection = Connection(address, Settings(store_password=PASSWORD), "test")
            await connection.open(30)
            _reset(taken[0])
            async with asyncio.timeout(PATIENCE):
                while len(taken) < 2 + lost or not await _answers(connection):
                    await asyncio.sleep(0)
            await connection.close()

    uvloop.run(lose())


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a machine does that knows nothing of it any more."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _answers(connection: Connection) -> bool:
    with suppress(Silent):
        await connection.api("INFO")
        return True
    return False


async def test_files_for_tls_that_cannot_be_used_are_named(connection: Connection, tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "ca.pem").write_text("nothing")
    address = replace(connection.address, servers=("tls://127.0.0.1:1",))
    with pytest.raises(Unusable, match=r"TLS files of the store \(ca\.pem\)"):
        await Connection(address, Settings(store_ca=str(tmp_path / "ca.pem")), "test").open(1)


@pytest.mark.parametrize("name", ["store_ca", "store_cert", "store_credentials"])
async def test_a_file_for_the_store_that_is_a_pipe_is_refused(tmp_path: Path, name: str) -> None:
    """Whoever opens it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    settings = Settings(**{"store_key": str(tmp_path / "pipe"), name: str(tmp_path / "pipe")})  # type: ignore[arg-type]
    with pytest.raises(Unusable, match="it is not a regular file"):
        await Connection(address_of("tls://h1/s"), settings, "test").open(1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"deny_delete": False}, "deny_delete is False, not True"),
        ({"discard": "old"}, "discard is 'old', not 'new'"),
        ({"max_age": 10**12}, "max_age is 1000000000000, not 0"),
        ({"max_msgs_per_subject": 1}, "max_msgs_per_subject is 1, not -1"),
        ({"storage": "memory"}, "storage is 'memory', not 'file'"),
        ({"republish": {"src": "hw.*.log", "dest": "elsewhere"}}, "republish is"),
        ({"allow_atomic": False}, "allow_atomic is False, not True"),
        ({"allow_direct": False}, "allow_direct is False, not True"),
        ({"subject_transform": {"src": ">", "dest": ">"}}, "subject_transform is set"),
        ({"allow_rollup_hdrs": True}, "allow_rollup_hdrs is set"),
        ({"deny_purge": True}, "deny_purge is set"),
        ({"metadata": {"hivewire.history": "7"}}, "hivewire.history is '7', not '100'"),
        ({"max_bytes": 1 << 20}, None),
    ],
    ids=str,
)
async def test_a_stream_that_is_configured_otherwise_is_refused(
    connection: Connection, changed: dict[str, Any], words: str | None
) -> None:
    """Whatever would lose, change or delay entries is named. Only the size may be another one: a full log has to
    grow."""
    site = connection.address.site
    wanted = streams.log_configuration(f"HW_{site}", f"hw.{site}.log", f"hw.{site}.feed", 1, 64 << 20)
    wanted["metadata"] = {"hivewire.history": "100"}
    if "republish" in changed:
        changed = {"republish": {"src": f"hw.{site}.log", "dest": "elsewhere"}}
    assert await streams.create(connection, wanted | changed, 30)
    try:
        assert not await streams.create(connection, wanted, 30), "it is there already" if changed else ""
        if words is None:
            assert (await streams.require_configuration(connection, wanted, 30)).last == 0
        else:
            with pytest.raises(Unusable, match=words.replace("(", r"\(")):
                await streams.require_configuration(connection, wanted, 30)
    finally:
        await connection.api(f"STREAM.DELETE.HW_{site}")


async def test_servers_that_are_too_old_are_refused(
    clusters: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a stream is made on them."""
    monkeypatch.setattr(streams, "LEVEL", 1_000)
    settings = Settings(store=clusters(1).format(site=secrets.token_hex(8)), store_password=PASSWORD)
    journal = NatsJournal(settings, SqliteCache(tmp_path / "a.db"))
    with pytest.raises(JournalError, match=r"are too old: NATS 2\.12 or newer is needed"):
        await journal.open()
    assert await streams.inspect(journal._connection, f"HW_{journal._address.site}", 30) is None
    await journal.close()


async def test_a_stream_that_was_made_a_moment_ago_is_waited_for(connection: Connection) -> None:
    """The server that answers may not have heard of it yet."""
    wanted = streams.log_configuration("HW_late", "hw.late.log", "hw.late.feed", 1, 64 << 20)
    asking = asyncio.create_task(streams.require_configuration(connection, wanted, 30))
    assert await streams.inspect(connection, "HW_late") is None  # so it was asked for before it was there
    assert await streams.create(connection, wanted, 10)
    try:
        assert (await asking).last == 0
    finally:
        await connection.api("STREAM.DELETE.HW_late")


async def test_servers_that_are_not_all_there_are_waited_for(clusters: Callable[[int], str]) -> None:
    """A gateway that starts together with them says what it waits for, and why it gives up."""
    address = address_of(clusters(3).format(site="scarce"))
    connection = Connection(address, Settings(store_password=PASSWORD), "test")
    await connection.open(30)
    wanted = streams.log_configuration("HW_scarce", "hw.scarce.log", "hw.scarce.feed", 5, 64 << 20)
    asked: list[str] = []
    ask = connection.api

    async def api(what: str, *rest: Any, **more: Any) -> dict[str, Any]:
        asked.append(what)
        return await ask(what, *rest, **more)

    connection.api = api  # type: ignore[method-assign]
    with capture_logs() as logged, pytest.raises(Unusable, match=r"is not ready: .*no suitable peers"):
        await streams.create(connection, wanted, 0.3)
    assert len(asked) > 1
    assert [entry["event"] for entry in logged] == ["waiting for the store"]
    await connection.close()


@pytest.mark.parametrize("count", [1, 3])
async def test_servers_without_room_for_a_stream_say_what_to_set(clusters: Callable[[int], str], count: int) -> None:
    """NATS reserves the size of a stream when it is made, and only says that its storage is insufficient."""
    connection = Connection(address_of(clusters(count).format(site="large")), Settings(store_password=PASSWORD), "test")
    await connection.open(30)
    wanted = streams.log_configuration("HW_large", "hw.large.log", "hw.large.feed", count, 1 << 50)
    words = r"insufficient storage.*; it reserves 1,125,899,906,842,624 bytes: set store_bytes"
    with pytest.raises(Unusable, match=words):
        await streams.create(connection, wanted, 0.3)
    await connection.close()


async def synced(monitor: str | None, *servers: str, **changed: Any) -> list[str]:
    """The warnings when servers with these names are wanted."""
    with capture_logs() as logged:
        await require_synced(Settings(store_monitor=monitor, **changed), servers)
    return [entry["event"] for entry in logged if entry["log_level"] == "warning"]


@pytest.mark.parametrize("monitor", ["http://127.0.0.1:{ports}", "nats://sys@127.0.0.1:{ports}"])
async def test_most_servers_have_to_say_that_they_sync(
    tmp_path: Path, monitor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their monitoring ports, or their system account. One of three may be away; two may not."""
    with Nodes(tmp_path) as nodes:
        system = monitor.startswith("nats")
        ports = ",127.0.0.1:".join(str(node.port if system else node.monitor) for node in nodes)
        ask = partial(synced, monitor.format(ports=ports), store_monitor_password="sys")
        names = ("n1", "n2", "n3")
        assert await ask(*names) == []
        nodes[2].stop()
        monkeypatch.setattr("hivewire.nats.monitor.ANSWER_SECONDS", 1.0)
        assert "it is not known whether these servers of the store sync each write: they do not answer" in await ask(
            *names
        )
        assert await ask(*names[:2]) == [] if system else True
        with pytest.raises(Unusable, match=r"too few .*: n3, n4"):
            await ask("n1", "n3", "n4")
        if system:
            with pytest.raises(Unusable, match="Authorization Violation"):
                await synced(monitor.format(ports=ports), *names, store_monitor_password="wrong")
            with pytest.raises(Unusable, match=r"too few .*: n1, n2, n3"):  # it is a user of another account
                await synced(f"nats://{USER}@127.0.0.1:{nodes[0].port}", *names, store_monitor_password=PASSWORD)


@pytest.mark.parametrize("monitor", ["http://127.0.0.1:{0.monitor}", "nats://sys@127.0.0.1:{0.port}"])
async def test_servers_that_do_not_sync_are_refused(tmp_path: Path, monitor: str) -> None:
    """A server alone has no name in its streams."""
    with Nodes(tmp_path, 1, sync="10s") as lazy, pytest.raises(Unusable, match="n1 does not sync each write"):
        await synced(monitor.format(lazy[0]), store_monitor_password="sys")


@pytest.mark.parametrize("monitor", ["http://127.0.0.1:{0.monitor}", "nats://sys@127.0.0.1:{0.port}"])
async def test_a_server_without_streams_need_not_sync(tmp_path: Path, monitor: str) -> None:
    """Such as one of the same cluster that only takes connections: it answers too, and has no copy of anything."""
    [node] = Nodes(tmp_path, 1, more="jetstream: false")
    node.start()
    try:
        await asyncio.to_thread(node.wait_until_ready)
        with pytest.raises(Unusable, match=r"too few .*: n2"):
            await synced(monitor.format(node), "n2", store_monitor_password="sys")
    finally:
        node.stop()


@pytest.mark.parametrize("sync", ["always", "10s"])
async def test_a_server_that_was_away_is_asked_when_it_is_back(tmp_path: Path, sync: str) -> None:
    """Until then it is asked again and again. One that does not sync is an error in the log, and is asked further."""
    with Nodes(tmp_path, 1, sync=sync) as nodes:
        nodes[0].stop()
        monitored = Settings(store_monitor=f"http://127.0.0.1:{nodes[0].monitor}")
        with capture_logs() as logged:
            asking = asyncio.create_task(ask_later(monitored, ["n1"], 0.05))
            while not logged:  # it has been asked
                await asyncio.sleep(0.01)
            before = len(logged)
            await asyncio.to_thread(nodes[0].start)
            if sync == "always":
                await asking
                assert logged[-1]["event"] == "these servers of the store sync each write"
                return
            told: list[Any] = []
            while len(told) < 2:  # before that it may not answer, and is still starting
                assert not asking.done(), (logged, asking)
                await asyncio.sleep(0.01)
                told = [line for line in logged[before:] if "the server n1 does not sync each write" in str(line)]
            asking.cancel()
        assert all(line["log_level"] == "error" for line in told)


async def test_a_gateway_asks_the_server_that_was_away_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves with the other two meanwhile."""
    monkeypatch.setattr("hivewire.ledger.engines.nats.journal.ASK_SECONDS", 0.05)
    with Nodes(tmp_path) as nodes:
        ports = ",127.0.0.1:".join(str(node.monitor) for node in nodes)
        store = nodes.store("away")
        settings = Settings(store=store, store_password=PASSWORD, store_monitor=f"http://127.0.0.1:{ports}")
        first = NatsJournal(settings, SqliteCache(tmp_path / "first.db"))  # the log is made while all are there
        await first.open()
        await first.close()
        await asyncio.to_thread(nodes[2].stop)
        journal = NatsJournal(settings, SqliteCache(tmp_path / "second.db"))
        with capture_logs() as logged:
            await journal.open()
            await journal.follow(lambda _: None, lambda _: None)
            await asyncio.to_thread(nodes[2].start)
            while logged[-1]["event"] != "these servers of the store sync each write":
                await asyncio.sleep(0.01)
        await journal.close()
        assert logged[-1]["servers"] == ["n3"]


async def test_where_to_ask_whether_servers_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address it is only warned; a wrong one is explained."""
    monkeypatch.setattr("hivewire.nats.monitor.SECONDS", 0.1)
    (warning,) = await synced(None, "n1")
    assert "store_monitor lets the gateway look" in warning
    for monitor, words in (
        ("http://127.0.0.1:1", r"too few .*: n1"),
        ("nats://127.0.0.1:1", "cannot connect to nats://127.0.0.1:1: "),
        ("nats://sys:secret@127.0.0.1:1", "set HIVEWIRE_STORE_MONITOR_PASSWORD"),
        ("127.0.0.1:1", "has the form"),
        ("http://", "has the form"),
    ):
        with pytest.raises(Unusable, match=words):
            await synced(monitor, "n1")
    with pytest.raises(Unusable, match="none answers"):
        await synced("http://127.0.0.1:1")
