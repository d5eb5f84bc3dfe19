"""The client for programs without asyncio: the same methods, which block. The connection is in a thread of its own.

```python
with Hivewire("http://127.0.0.1:8080", token=Password("admin", "…"), names=["limits.*"]) as hw:
    hw.ready(timeout=5)
    limits = hw.get("limits.api", Limits, default=Limits(max=100))
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Any, Generic, Self, TypeVar, overload

import hivewire_client
from hivewire_client.client import ANY, State
from hivewire_client.devices import Command, Notification, TenantChanged
from hivewire_client.errors import Stopped
from hivewire_client.events import Event
from hivewire_client.resources import Change, Entry
from hivewire_client.stream import Stream
from hivewire_client.thread import LoopThread
from hivewire_client.tokens import TokenSource
from hivewire_client.transaction import Transaction

T = TypeVar("T")
D = TypeVar("D")


class Items(Generic[T]):
    """An iterator over a stream; a context manager that ends it."""

    def __init__(self, stream: Stream[T], thread: LoopThread) -> None:
        self._stream = stream
        self._thread = thread

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """The next item; waits for it."""

        async def following() -> T | StopAsyncIteration:
            try:
                return await self._stream.__anext__()
            except StopAsyncIteration as end:
                return end

        try:
            found = self._thread.run(following())
        except (CancelledError, Stopped):  # another thread has closed the client
            raise StopIteration from None
        if isinstance(found, StopAsyncIteration):
            raise StopIteration
        return found

    def close(self) -> None:
        """End the iteration."""
        self._thread.run(self._stream.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Hivewire:
    """A client of one or several gateways, a context manager. The arguments and methods are those of
    `hivewire_client.Hivewire`; all may be used from any thread."""

    def __init__(self, url: str | Sequence[str], *, token: TokenSource, **options: Any) -> None:
        self._client = hivewire_client.Hivewire(url, token=token, **options)
        self._thread = LoopThread()
        self._closing = Lock()

    def __enter__(self) -> Self:
        self._thread.start()
        self._thread.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and end all iterations. What is known can still be read."""
        with self._closing:
            if self._thread.is_running:
                self._thread.run(self._client.close())
                self._thread.stop()

    def logout(self) -> None:
        """Close, and delete the cache."""
        self._thread.run(self._client.logout())
        self.close()

    @property
    def state(self) -> State:
        """`connecting`, `stale`, `catching_up`, `live` or `closed`."""
        return self._client.state

    @property
    def stale_since(self) -> datetime | None:
        """Since when what `get` serves may be old; None while it is live."""
        return self._client.stale_since

    @property
    def reason(self) -> str | None:
        """Why the client is not live."""
        return self._client.reason

    def ready(self, timeout: float | None = None, *, stale: bool = True) -> None:
        """Wait until there is something to read. Raises NotReady."""
        self._thread.run(self._client.ready(timeout, stale=stale))

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, *, default: D) -> str | D: ...
    @overload
    def get(self, name: str, kind: type[T]) -> T | None: ...
    @overload
    def get(self, name: str, kind: type[T], default: D) -> T | D: ...
    def get(self, name: str, kind: Any = str, default: Any = None) -> Any:
        """The value of a configuration, from memory."""
        try:
            value = self._client._decoded[kind][name].value
        except KeyError:
            entry = self.entry(name, kind)
            return default if entry is None else entry.value
        return default if value is None and kind is str else value

    @overload
    def entry(self, name: str) -> Entry[str] | None: ...
    @overload
    def entry(self, name: str, kind: type[T]) -> Entry[T] | None: ...
    def entry(self, name: str, kind: Any = str) -> Entry[Any] | None:
        """The same with its version."""
        return self._in_thread(lambda: self._client.entry(name, kind))

    def names(self, pattern: str = "*") -> tuple[str, ...]:
        """The names in memory that match."""
        return self._in_thread(lambda: self._client.names(pattern))

    def watch(self, *names: str) -> Items[Event]:
        """The events of these names."""
        return Items(self._in_thread(lambda: self._client.watch(*names)), self._thread)

    def on_change(self, name: str, callback: Callable[[Any], object], kind: Any = str) -> Callable[[], None]:
        """Call a function after each change, in the thread of the connection, which waits for it."""
        stop = self._in_thread(lambda: self._client.on_change(name, callback, kind))
        return lambda: self._in_thread(stop)

    def call(self, action: str, /, **members: Any) -> dict[str, Any]:
        """The reply to any request."""
        return self._thread.run(self._client.call(action, **members))

    def put(self, name: str, value: Any, *, expect: int | None = ANY, **options: Any) -> Entry[str]:
        """Write a configuration."""
        return self._thread.run(self._client.put(name, value, expect=expect, **options))

    def delete(self, name: str, *, expect: int | None = ANY, description: str | None = None) -> int:
        """Delete a configuration."""
        return self._thread.run(self._client.delete(name, expect=expect, description=description))

    @contextmanager
    def transaction(self, description: str | None = None) -> Iterator[Transaction]:
        """Several writes, all or nothing, at the end of the `with` block."""
        transaction = self._client.transaction(description)
        yield transaction
        self._thread.run(transaction.commit())

    def rollback(self, name: str, to: int | None = None, **options: Any) -> Entry[str]:
        """Write the content of an earlier version as a new one."""
        return self._thread.run(self._client.rollback(name, to, **options))

    @overload
    def fetch(self, name: str, *, version: int | None = None, fresh: bool = False) -> Entry[str]: ...
    @overload
    def fetch(self, name: str, kind: type[T], *, version: int | None = None, fresh: bool = False) -> Entry[T]: ...
    def fetch(self, name: str, kind: Any = str, **options: Any) -> Entry[Any]:
        """A configuration from the gateway."""
        return self._thread.run(self._client.fetch(name, kind, **options))

    def list(self, *names: str) -> tuple[Entry[str], ...]:
        """Configurations from the gateway."""
        return self._thread.run(self._client.list(*names))

    def history(self, name: str, *, take: int = 20, before: int | None = None) -> tuple[Change, ...]:
        """The changes of a name, newest first."""
        return self._thread.run(self._client.history(name, take=take, before=before))

    def commands(self, device: str | None = None, **options: Any) -> Items[Command]:
        """The commands for a device; `done` answers them."""
        return Items(self._in_thread(lambda: self._client.commands(device, **options)), self._thread)

    def done(self, command: Command, result: dict[str, Any] | None = None, status: str = "done") -> None:
        """Tell how a command went."""
        self._thread.run(command.done(result, status))

    def notifications(self, device: str | None = None, **options: Any) -> Items[Notification]:
        """The notifications of a device."""
        return Items(self._in_thread(lambda: self._client.notifications(device, **options)), self._thread)

    def watch_tenant(self, tenant: str, *, since: str | None = None) -> Items[TenantChanged]:
        """The changes of a tenant's document."""
        return Items(self._in_thread(lambda: self._client.watch_tenant(tenant, since=since)), self._thread)

    def insert_command(self, device: str, name: str, parameters: Any = None, *, expires_in: int | None = None) -> int:
        """Send a command to a device; its id."""
        return self._thread.run(self._client.insert_command(device, name, parameters, expires_in=expires_in))

    def send_command(self, device: str, name: str, parameters: Any = None, *, timeout: float = 30.0) -> Command:
        """Send a command and wait until the device has told how it went."""
        return self._thread.run(self._client.send_command(device, name, parameters, timeout=timeout))

    def insert_notification(self, device: str, name: str, parameters: Any = None) -> int:
        """Tell something as a device; the id of the notification."""
        return self._thread.run(self._client.insert_notification(device, name, parameters))

    def _in_thread(self, work: Callable[[], T]) -> T:
        """What a function returns that must run in the event loop; after `close`, here."""

        async def run() -> T:
            return work()

        return self._thread.run(run()) if self._thread.is_running else work()
