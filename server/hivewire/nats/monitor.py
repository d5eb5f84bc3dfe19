"""Whether the servers sync before they acknowledge, asked at their system account or monitoring ports.

Without that an answered write is lost when the servers that have it lose their power together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from urllib.request import urlopen

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hivewire.nats.connection import Connection, NatsError, Unusable, servers_of
from hivewire.settings import Settings
from hivewire.telemetry import log

SECONDS = 5.0
"""Longest wait for a page, or for a connection."""

ANSWER_SECONDS = 2.0
"""How long the servers have to answer their system account."""

FORMS = (
    "http://HOST:8222,HOST:8222, the monitoring port of each server, or nats://USER@HOST, a user of the system account"
)


class _Config(Struct):
    sync_always: bool = False


class _JetStream(Struct):
    """A server without JetStream has no configuration of it at its port, and says so to the system account."""

    config: _Config | None = None
    disabled: bool = False

    @property
    def syncs(self) -> bool | None:
        """Whether it always does; None of a server that stores nothing."""
        return None if self.config is None or self.disabled else self.config.sync_always


class _Page(Struct):
    """Of a monitoring port: `/varz`."""

    server_name: str
    jetstream: _JetStream = msgspec.field(default_factory=_JetStream)


_pages = msgspec.json.Decoder(_Page)  # not made by the threads that read: msgspec crashes where several do so at once


class _Server(Struct):
    name: str


class _Answer(Struct):
    """To the system account."""

    server: _Server
    data: _JetStream = msgspec.field(default_factory=_JetStream)


class Unsynced(Unusable):
    """A server says that it does not sync each write."""


async def require_synced(settings: Settings, servers: Collection[str]) -> set[str]:
    """Raise Unusable unless most of these servers say that they always sync, and none says that it does not.

    `servers` are the names of those with a copy; a server alone has none, and then one answer is enough. Of those that
    are away, which are returned, it is unknown, as of all without `store_monitor`; the log warns of that.
    """
    if settings.store_monitor is None:
        log.warning(
            "it is not known whether the servers of the store sync each write (sync_interval: always);"
            " store_monitor lets the gateway look"
        )
        return set()
    synced = await _synced(settings, settings.store_monitor, servers)
    missing = set(servers) - synced
    names = sorted(missing)
    if not synced or 2 * len(missing) >= len(servers) > 0:
        raise Unusable(
            "too few servers of the store say at store_monitor whether they sync each write:"
            f" {', '.join(names) or 'none answers'}"
        )
    if missing:
        log.warning(
            "it is not known whether these servers of the store sync each write: they do not answer", servers=names
        )
    return missing


async def ask_later(settings: Settings, missing: Collection[str], pause: float) -> None:
    """Return when these servers, which were away, have come back and say that they always sync; they are asked again
    after each pause.

    Each time that one says that it does not, the log has an error. The gateway goes on, because all others serve too,
    and most of the servers sync: to stop would harm every client more.
    """
    waited = set(missing)
    while waited:
        await asyncio.sleep(pause)
        try:
            back = waited & await _synced(settings, settings.store_monitor or "", waited)
        except Unsynced as error:
            log.error("a server of the store may lose writes in a power cut", reason=str(error))
            continue
        except NatsError:
            continue  # nobody can be asked now
        if back:
            log.info("these servers of the store sync each write", servers=sorted(back))
        waited -= back


def check_monitor(monitor: str) -> None:
    """Check what `store_monitor` says, without a connection. Raises Unusable."""
    scheme, _, hosts = monitor.partition("://")
    if scheme in ("nats", "tls"):
        servers_of("store_monitor", monitor)
    elif scheme not in ("http", "https") or not hosts or "@" in hosts:
        raise Unusable(f"store_monitor has the form {FORMS}")


async def _synced(settings: Settings, monitor: str, servers: Collection[str]) -> set[str]:
    """The servers that say that they always sync; at least these are waited for. Raises Unsynced when one does not, and
    Unusable."""
    check_monitor(monitor)
    scheme, _, hosts = monitor.partition("://")
    if scheme in ("nats", "tls"):
        synced = await _ask(settings, monitor, servers)
    else:
        synced = await _read([f"{scheme}://{host}/varz" for host in hosts.rstrip("/").split(",")])
    for name, always in synced.items():
        if always is False:
            raise Unsynced(
                f"the server {name} does not sync each write: set sync_interval: always in its jetstream block"
            )
    return {name for name, always in synced.items() if always}


async def _ask(settings: Settings, monitor: str, servers: Collection[str]) -> dict[str, bool | None]:
    """What the servers that are there tell a user of their system account."""
    own = replace(
        settings, store_password=settings.store_monitor_password, store_credentials=settings.store_monitor_credentials
    )
    connection = Connection(servers_of("store_monitor", monitor), own, "monitor")
    try:
        await connection.open(SECONDS)
        answers = await connection.ask_all(
            "$SYS.REQ.SERVER.PING.JSZ", ANSWER_SECONDS, lambda found: {*servers} <= _named(found).keys()
        )
    finally:
        await connection.close()
    return _named(answers)


def _named(answers: list[bytes]) -> dict[str, bool | None]:
    decoded = [msgspec.json.decode(answer, type=_Answer) for answer in answers]
    return {each.server.name: each.data.syncs for each in decoded}


async def _read(urls: list[str]) -> dict[str, bool | None]:
    """What the pages say that can be read."""
    pages = await asyncio.gather(*(asyncio.to_thread(_page, url) for url in urls), return_exceptions=True)
    found: dict[str, bool | None] = {}
    for url, page in zip(urls, pages, strict=True):
        if isinstance(page, _Page):
            found[page.server_name] = page.jetstream.syncs
        else:
            log.warning("a server of the store cannot be asked (store_monitor)", url=url, reason=str(page))
    return found


def _page(url: str) -> _Page:
    with urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the scheme was checked
        return _pages.decode(answer.read())
