"""The caller: the user or client behind a connection or an HTTP request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.hub.feed import Feed, Listener


def _never(call: Callable[[], None] | None) -> None:
    """Of a caller without a connection."""


class Caller(Struct):
    """A caller: its address, how it connected, and its proven identity; ANONYMOUS before that.

    `host` is the Host header of its request and `context` the path before `/rest` or `/websocket`: what it must use to
    come back. `failures` counts failed authentications on this connection. `listener` is where pushes go, None where
    nothing can be pushed; `feed` holds the subscriptions, from the first one on, and `plain` those to commands and
    notifications. `numbers` are the ids of subscriptions to come. `when_gone` sets what is called when its connection
    closes.

    `permitted` remembers what the dispatcher found that this caller may ask for, a bit for each kind of request. It
    counts for the identity `permitted_to` and the generation of users and clients `permitted_at` alone, and until the
    token expires, at `permitted_until` in nanoseconds.
    """

    address: str
    host: str
    context: str = "api"
    secure: bool = False
    http: bool = False
    identity: Identity = ANONYMOUS
    failures: int = 0
    listener: Listener | None = None
    feed: Feed | None = None
    plain: Feed | None = None
    numbers: Iterator[int] | None = None
    permitted: int = 0
    permitted_to: Identity = ANONYMOUS
    permitted_at: int = -1
    permitted_until: int = 0
    when_gone: Callable[[Callable[[], None] | None], None] = _never

    @property
    def feeds(self) -> list[Feed]:
        """The feeds that it has."""
        return [feed for feed in (self.feed, self.plain) if feed is not None]
