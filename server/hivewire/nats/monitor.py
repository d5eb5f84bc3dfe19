"""Whether the servers sync what they store before they say so: only their monitoring pages tell.

Without that an answered write is lost when the servers that have it lose their power together.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from hivewire.nats.connection import Unusable
from hivewire.telemetry import log

SECONDS = 5.0
"""Longest wait for a page."""


async def require_synced(monitor: str | None, servers: Collection[str]) -> None:
    """Raise Unusable unless the pages at `monitor` say of each of these servers that it always syncs.

    `monitor` is `http://HOST:8222,HOST:8222`, or `https://`. Without it this is unknown, and the log warns of that.
    `servers` are the names of those with a copy; a server alone has none, and then one page is enough.
    """
    if monitor is None:
        log.warning(
            "it is not known whether the servers of the store sync each write (sync_interval: always);"
            " store_monitor lets the gateway look"
        )
        return
    parts = urlsplit(monitor)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Unusable("store_monitor has the form http://HOST:8222,HOST:8222, the monitoring port of each server")
    urls = [f"{parts.scheme}://{host}/varz" for host in parts.netloc.split(",")]
    synced = dict(await asyncio.gather(*(asyncio.to_thread(_read, url) for url in urls)))
    for name, always in synced.items():
        if not always:
            raise Unusable(
                f"the server {name} does not sync each write: set sync_interval: always in its jetstream block"
            )
    if missing := set(servers) - synced.keys():
        raise Unusable(f"store_monitor does not name all servers with a copy: {', '.join(sorted(missing))} is missing")


def _read(url: str) -> tuple[str, bool]:
    """The name of a server, and whether it always syncs."""
    try:
        with urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the scheme was checked
            found: dict[str, Any] = json.load(answer)
    except (URLError, OSError, ValueError) as error:
        raise Unusable(f"cannot read {url} (store_monitor): {error}") from error
    config = (found.get("jetstream") or {}).get("config") or {}
    return str(found.get("server_name")), bool(config.get("sync_always"))
