"""The client: configurations in memory, kept up to date over any number of connections (clients, section 6)."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, overload

import msgspec

from hivewire_client import values
from hivewire_client.cache import Cache
from hivewire_client.connection import SECONDS, Frame, log
from hivewire_client.contents import Contents
from hivewire_client.devices import Devices
from hivewire_client.errors import HivewireError, NotReady, Stopped, TooLarge
from hivewire_client.events import Changes, Event, Reset, StateChanged, Watch
from hivewire_client.fleet import Fleet
from hivewire_client.link import Link, Subscription
from hivewire_client.reading import Reading
from hivewire_client.replica import Replica
from hivewire_client.resources import TEXT, Change, Entry, Patterns
from hivewire_client.route import Backoff, Route
from hivewire_client.tokens import Tokens, TokenSource
from hivewire_client.transaction import Transaction, written

T = TypeVar("T")
D = TypeVar("D")

State = Literal["connecting", "stale", "catching_up", "live", "closed"]

ANY: Final = None
"""As `expect`: overwrite any version."""

ABSENT: Final = 0
"""As `expect`: there must be no such configuration."""

PAGE = 1_000


class Hivewire(Reading, Contents, Devices, Fleet):
    """A client of one or several gateways of one ledger; an asynchronous context manager.

    `url` is the address of a gateway, or a list of them. `token` is an access token, a function that gets one,
    `Password` or `ClientCredentials`. `names` are the configurations that are held in memory: names, or prefixes that
    end in `*`; all that the token reaches when absent, and none for an empty list. `cache` is a file in which they are
    kept, so that the program can start without a gateway; what it has is used for `cache_max_age` seconds, by default
    however old it is. A request waits `timeout` seconds for a connection and its answer.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: TokenSource,
        names: Sequence[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_max_age: float | None = None,
        timeout: float = SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        addresses = [url] if isinstance(url, str) else list(url)
        self._names = Patterns(None if names is None else tuple(names))
        self._tokens = Tokens(token)
        route = Route(random.sample(addresses, len(addresses)), backoff or Backoff())
        self._link = Link(route, self._tokens, self._look, timeout)
        self._replica = Replica(self._tell)
        self._decoded = self._replica.decoded
        self._main = None if names is not None and not names else _Configurations(self, names)
        self._cache = Cache(Path(cache), addresses, names, cache_max_age) if cache is not None else None
        self._sought: str | None = None
        self._saving: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._moved, self._changed = asyncio.Event(), asyncio.Event()
        self._state: State = "connecting"
        self._stale_since: datetime | None = None
        self._state_changed = asyncio.Event()
        self._watches: set[Watch] = set()
        self._callbacks: dict[str, list[tuple[Callable[[Any], object], Any]]] = {}

    async def __aenter__(self) -> Self:
        """Connect, and begin with the cache, if there is one for this subject; `ready` waits."""
        self._load_cache()
        if self._main is not None:
            self._link.subscriptions.append(self._main)
        self._link.start()
        if self._cache is not None:
            self._saving = asyncio.create_task(self._save())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection and end all watches. The last known values can still be read."""
        await self._link.close()
        if self._saving is not None:
            self._saving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._saving
            self._saving = None
            if self._writing is not None:
                await self._writing
            if self._moved.is_set():
                await self._write_cache()

    async def logout(self) -> None:
        """Close, and delete the cache."""
        await self.close()
        if self._cache is not None:
            self._cache.delete()

    # The state.

    @property
    def state(self) -> State:
        """`connecting`, `stale`, `catching_up`, `live` or `closed`."""
        return self._state

    @property
    def stale_since(self) -> datetime | None:
        """Since when the values of `get` may be stale; None while the client is live, and before any are known."""
        return self._stale_since

    @property
    def reason(self) -> str | None:
        """Why the client is not live, as far as that is known."""
        return self._link.reason

    @property
    def position(self) -> str | None:
        """The position that the values in memory have reached; None before any are known."""
        return self._replica.position

    async def ready(self, timeout: float | None = None, *, stale: bool = True) -> None:  # noqa: ASYNC109 - users' word
        """Wait until values can be read: the current ones, or those of the cache. With `stale=False` the current ones.

        Raises NotReady when that takes longer than `timeout` seconds, and LoginRequired, Denied or what else has closed
        the client.
        """
        try:
            async with asyncio.timeout(timeout):
                while not (self._state == "live" or (stale and self._replica.position is not None)):
                    if self._state == "closed":
                        raise self._link.error or Stopped("the client is closed")
                    self._state_changed.clear()
                    await self._state_changed.wait()
        except TimeoutError:
            raise NotReady(f"{self._state} after {timeout} s: {self.reason or 'no answer yet'}") from None

    def _look(self) -> None:
        """Update the state."""
        self._load_cache()
        state: State
        if self._link.error is not None:
            state = "closed"
        elif self._link.connection is None or (self._main is not None and self._main.paused):
            state = "stale" if self._replica.position is not None else "connecting"
        elif self._main is None or self._main.live:
            state = "live"
        else:
            state = "catching_up"
        if state == self._state:
            return
        was_live, self._state = self._state == "live", state
        if state == "live":
            self._stale_since = None
        elif was_live:
            self._stale_since = datetime.now(UTC)
        log.info("%s%s", state, f": {self.reason}" if self.reason else "")
        self._state_changed.set()
        self._tell(StateChanged(state, self._stale_since, self.reason))
        if state == "closed":
            for watch in list(self._watches):
                watch.end()

    # Reading from memory.

    def _find(self, name: str, kind: Any) -> Entry[Any] | None:
        if name not in self._names:
            raise ValueError(f"{name!r} is not among the `names` that this client follows")
        return self._replica.find(name, kind)

    def names(self, pattern: str = "*") -> tuple[str, ...]:
        """The names in memory that match, in order."""
        wanted = Patterns((pattern,))
        return tuple(sorted(name for name in self._replica.entries if name in wanted))

    # Following.

    def watch(self, *names: str) -> Watch:
        """The events of these names, or prefixes that end in `*`; of all that the client follows when absent.

        It begins with a `Reset` whose changes are everything that is known, as soon as something is. Whoever applies
        all changes has what `get` serves. One who does not read for long gets only the last change of each name.
        """
        watch = Watch(Patterns(names or None), self._watches.discard)
        if self._state == "closed":
            watch.end()
        if self._replica.position is not None:
            known = (Change("put", entry) for entry in self._replica.entries.values())
            watch.push(Reset(tuple(known), self._replica.position))
        self._watches.add(watch)
        return watch

    @overload
    def on_change(self, name: str, callback: Callable[[str | None], object]) -> Callable[[], None]: ...
    @overload
    def on_change(self, name: str, callback: Callable[[T | None], object], kind: type[T]) -> Callable[[], None]: ...
    def on_change(self, name: str, callback: Callable[[Any], object], kind: Any = str) -> Callable[[], None]:
        """Call a function after each change of a configuration, with its new value; with None after a delete.

        It is called in the event loop, and not for a value that is not of the kind. Returns what ends it.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("the callback of on_change must not be a coroutine function: use watch")
        if name not in self._names:
            raise ValueError(f"{name!r} is not among the `names` that this client follows")
        row = (callback, kind)
        self._callbacks.setdefault(name, []).append(row)

        def stop() -> None:
            rows = self._callbacks.get(name, [])
            if row in rows:
                rows.remove(row)

        return stop

    def _tell(self, event: Event) -> None:
        """Give an event to all watches and callbacks."""
        for watch in list(self._watches):
            watch.push(event)
        if isinstance(event, Changes | Reset):
            if event.changes:
                self._changed.set()
            for change in event.changes if self._callbacks else ():
                for callback, kind in list(self._callbacks.get(change.name, ())):
                    self._call(callback, kind, change)

    def _call(self, callback: Callable[[Any], object], kind: Any, change: Change) -> None:
        entry = self.entry(change.name, kind) if change.operation == "put" else None
        if change.operation == "put" and not _is_value_of(entry, change):
            return  # it is not of the kind
        try:
            callback(None if entry is None else entry.value)
        except Exception:
            log.exception("a callback of %r failed", change.name)

    # Requests.

    async def call(self, action: str, /, **members: Any) -> dict[str, Any]:
        """The reply to any request of the gateway's API; members with the value None are left out.

        Raises Refused and its like, Unavailable when there is no connection in time, and Uncertain when the connection
        broke before the answer; what only reads is asked again then.
        """
        return await self._link.request(action, members)

    async def put(
        self,
        name: str,
        value: Any,
        *,
        expect: int | None = ANY,
        description: str | None = None,
        content_type: str | None = None,
        layer: str | None = None,
        ttl: int | None = None,
        expires: datetime | None = None,
    ) -> Entry[str]:
        """Write a configuration; what it is afterwards. It is durable then, and `get` has it if the client is live.

        Text is written as it is, everything else as JSON. `expect` is the version that it must have now, or ABSENT;
        `layer` the one that it is for, such as `device/ID` (fleet.md, 3), which `get` does not show.
        After `ttl` seconds, or at the time `expires`, it is deleted, unless it is written again before.
        Raises Conflict, Denied, NotFound, TooLarge, Busy, Unavailable, Refused for what else is wrong with it, and
        Uncertain when the connection broke before the answer; ValueError and TypeError for what is no text and no JSON.
        """
        text, content_type = values.encode(value, content_type)
        members = {"name": name, "value": text, "entityVersion": expect, "description": description, "layer": layer}
        members |= {"contentType": None if content_type == TEXT else content_type}
        members |= {"ttl": ttl, "expires": values.moment(expires)}
        return written(await self._link.request("configuration/put", members))

    async def delete(
        self, name: str, *, expect: int | None = ANY, description: str | None = None, layer: str | None = None
    ) -> int:
        """Delete a configuration; the revision of that. Raises as `put`, and NotFound."""
        members = {"name": name, "entityVersion": expect, "description": description, "layer": layer}
        return int((await self._link.request("configuration/delete", members))["revision"])

    def transaction(self, description: str | None = None, *, at: datetime | None = None) -> Transaction:
        """Several writes, all or nothing, at the end of the `async with` block. An exception in it writes nothing.

        With `at` the gateway judges them then, and writes them at this time.
        """
        return Transaction(self._link, description, at)

    async def rollback(
        self,
        name: str,
        to: int | None = None,
        *,
        to_revision: int | None = None,
        expect: int | None = ANY,
        description: str | None = None,
    ) -> Entry[str]:
        """Write the content of an earlier version as a new one, or that of a change, also before a delete; what it is
        afterwards. Raises as `put`, and NotFound."""
        members = {"name": name, "to": to, "toRevision": to_revision, "entityVersion": expect}
        return written(await self._link.request("configuration/rollback", {**members, "description": description}))

    @overload
    async def fetch(self, name: str, *, version: int | None = None, fresh: bool = False) -> Entry[str]: ...
    @overload
    async def fetch(self, name: str, kind: type[T], *, version: int | None = None, fresh: bool = False) -> Entry[T]: ...
    async def fetch(self, name: str, kind: Any = str, *, version: int | None = None, fresh: bool = False) -> Entry[Any]:
        """A configuration from the gateway, also one that is not in memory, or an earlier version.

        `fresh` shows all that any gateway has answered before. Raises NotFound, Denied, Unavailable, and ValueError
        when the value is not of the kind.
        """
        reply = await self.call("configuration/get", name=name, entityVersion=version, fresh=fresh or None)
        found = written(reply)
        if found.value is None or kind is str:
            return found
        return msgspec.structs.replace(found, value=values.decode(found.value, kind))

    async def list(self, *names: str, layer: str | None = None) -> tuple[Entry[str], ...]:
        """Configurations from the gateway, by name: those that match, or all that the token reaches; of this layer."""
        found: tuple[Entry[str], ...] = ()
        wanted, take = {"names": [*names] or None, "layer": layer}, PAGE
        while True:
            after = found[-1].name if found else None
            try:
                reply = await self.call("configuration/list", **wanted, take=take, after=after)
            except TooLarge:
                if take == 1:
                    raise
                take //= 2
                continue
            page = msgspec.convert(reply["configurations"], tuple[Entry[str], ...])
            found += page
            if len(page) < take:
                return found

    async def history(
        self, name: str, *, take: int = 20, before: int | None = None, layer: str | None = None
    ) -> tuple[Change, ...]:
        """The changes of a name, newest first; `before` is a revision. Raises NotFound, Denied, Unavailable."""
        reply = await self.call("configuration/history", name=name, take=take, before=before, layer=layer)
        return msgspec.convert(reply["changes"], tuple[Change, ...])

    # The cache.

    def _load_cache(self) -> None:
        """Begin with what the cache has, as soon as the subject is known; once for each subject."""
        subject = self._tokens.subject
        if self._cache is None or self._main is None or self._replica.position is not None:
            return
        if subject is None or subject == self._sought:
            return
        self._sought = subject
        cached = self._cache.load(subject)
        if cached is not None:
            self._stale_since = datetime.fromtimestamp(cached.time, UTC)
            self._main.position = cached.position
            self._replica.load(cached.entries, cached.position)
            self._look()

    async def _save(self) -> None:
        """Write the cache when something has changed, not too often."""
        while self._cache is not None:
            await self._moved.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._cache.due_in(changed=False)):
                    await self._changed.wait()
            await asyncio.sleep(self._cache.due_in(changed=True))
            self._writing = asyncio.create_task(self._write_cache())
            await asyncio.shield(self._writing)  # `close` lets it end

    async def _write_cache(self) -> None:
        self._moved.clear()
        self._changed.clear()
        subject, position = self._tokens.subject, self._replica.position
        if self._cache is not None and subject is not None and position is not None:
            when = self._stale_since or datetime.now(UTC)
            await self._cache.save(subject, position, (*self._replica.entries.values(),), when.timestamp())


class _Configurations(Subscription):
    """The subscription to the configurations in memory."""

    def __init__(self, client: Hivewire, names: Sequence[str] | None) -> None:
        super().__init__("configuration", {"names": names})
        self._client = client

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        """Change what is in memory."""
        self._client._replica.apply(frames, position, replaces=replaces)
        self._client._moved.set()

    def refused(self, error: HivewireError) -> None:
        """Without its configurations the client is closed."""
        self._client._link.stop(error)


def _is_value_of(entry: Entry[Any] | None, change: Change) -> bool:
    """Whether the value of a change was decoded."""
    return entry is not None and entry.value is not None and entry.version == change.entry.version
