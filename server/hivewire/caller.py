"""Who is asking, on one connection or in one HTTP request."""

from __future__ import annotations

from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.hub.feed import Feed, Listener


class Caller(Struct):
    """A caller: its address, how it reached us, and the identity it has proved, if any.

    `host` is the Host header of its request and `context` the path before `/rest` or `/websocket`: what it must use to
    come back. `failures` counts failed authentications on this connection. `listener` is where pushes go, None where
    nothing can be pushed; `feed` holds the subscriptions, from the first one on.
    """

    address: str
    host: str
    context: str = "api"
    secure: bool = False
    http: bool = False
    identity: Identity | None = None
    failures: int = 0
    listener: Listener | None = None
    feed: Feed | None = None
