"""The client for programs without asyncio: the same methods, which block. The connection is in a thread of its own.

```python
with Hivewire("http://127.0.0.1:8080", token=Password("admin", "…"), names=["limits.*"]) as hw:
    hw.ready(timeout=5)
    limits = hw.get("limits.api", Limits, default=Limits(max=100))
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Any, Generic, Self, TypeVar, overload

import hivewire_client
from hivewire_client.client import ANY, State
from hivewire_client.device import DesiredChange, failure, left_out
from hivewire_client.devices import Command, Notification, TenantChanged
from hivewire_client.errors import Stopped
from hivewire_client.events import Event
from hivewire_client.fleet import Effective, FleetState
from hivewire_client.reading import Reading
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
        except Stopped:  # another thread has closed the client
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


class Device:
    """A device, a context manager; all may be used from any thread."""

    def __init__(self, device: hivewire_client.Device, thread: LoopThread) -> None:
        self._device = device
        self._thread = thread

    def __enter__(self) -> Self:
        self._thread.run(self._device.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_running:
            self._thread.run(self._device.close())

    def configuration(self) -> Iterator[DesiredChange]:
        """The changes to apply, each to be answered by `applied` or `refused`."""
        while True:
            try:
                yield self._thread.run(self._device.next())
            except Stopped:
                return

    def applied(self, change: DesiredChange) -> None:
        """The device has it, or has it no more if it is gone."""
        self._answer(change, None)

    def refused(self, change: DesiredChange, why: str) -> None:
        """The device does not take it."""
        self._answer(change, why)

    def _answer(self, change: DesiredChange, why: str | None) -> None:
        self._thread.call(lambda: change.answer(why))

    def run(self, apply: Callable[[str, str | None], str | None]) -> None:
        """Apply every change by a function until the device is closed."""
        for change in self.configuration():
            try:
                why = left_out(change) or apply(change.name, change.value)
            except Exception as error:
                why = failure(change, error)
            self._answer(change, why)

    def report(self, own: Mapping[str, Any] | None = None) -> None:
        """Wait until the gateway has counted all answers, with `own` also what the device has of its own."""
        self._thread.run(self._device.report(own))


class Hivewire(Reading):
    """A client of one or several gateways, a context manager. The arguments and methods are those of
    `hivewire_client.Hivewire`; all may be used from any thread."""

    def __init__(self, url: str | Sequence[str], *, token: TokenSource, **options: Any) -> None:
        self._client = hivewire_client.Hivewire(url, token=token, **options)
        self._decoded = self._client._decoded
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

    def _find(self, name: str, kind: Any) -> Entry[Any] | None:
        return self._thread.call(lambda: self._client.entry(name, kind))

    def names(self, pattern: str = "*") -> tuple[str, ...]:
        """The names in memory that match."""
        return self._thread.call(lambda: self._client.names(pattern))

    def watch(self, *names: str) -> Items[Event]:
        """The events of these names."""
        return Items(self._thread.call(lambda: self._client.watch(*names)), self._thread)

    def on_change(self, name: str, callback: Callable[[Any], object], kind: Any = str) -> Callable[[], None]:
        """Call a function after each change, in the thread of the connection, which waits for it."""
        stop = self._thread.call(lambda: self._client.on_change(name, callback, kind))
        return lambda: self._thread.call(stop)

    def call(self, action: str, /, **members: Any) -> dict[str, Any]:
        """The reply to any request."""
        return self._thread.run(self._client.call(action, **members))

    def put(self, name: str, value: Any, *, expect: int | None = ANY, **options: Any) -> Entry[str]:
        """Write a configuration."""
        return self._thread.run(self._client.put(name, value, expect=expect, **options))

    def delete(self, name: str, *, expect: int | None = ANY, **options: Any) -> int:
        """Delete a configuration."""
        return self._thread.run(self._client.delete(name, expect=expect, **options))

    @contextmanager
    def transaction(self, description: str | None = None, *, at: datetime | None = None) -> Iterator[Transaction]:
        """Several writes, all or nothing, at the end of the `with` block."""
        transaction = self._client.transaction(description, at=at)
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

    def content(self, name: str, *, version: int | None = None) -> bytes:
        """The content of a configuration, also where `get` leaves it out."""
        return self._thread.run(self._client.content(name, version=version))

    def put_content(self, name: str, content: bytes, **options: Any) -> Entry[str]:
        """Write a configuration with any content."""
        return self._thread.run(self._client.put_content(name, content, **options))

    def list(self, *names: str, layer: str | None = None) -> tuple[Entry[str], ...]:
        """Configurations from the gateway."""
        return self._thread.run(self._client.list(*names, layer=layer))

    def history(self, name: str, **options: Any) -> tuple[Change, ...]:
        """The changes of a name, newest first."""
        return self._thread.run(self._client.history(name, **options))

    def commands(self, device: str | None = None, **options: Any) -> Items[Command]:
        """The commands for a device; `done` answers them."""
        return Items(self._thread.call(lambda: self._client.commands(device, **options)), self._thread)

    def done(self, command: Command, result: dict[str, Any] | None = None, status: str = "done") -> None:
        """Tell how a command went."""
        self._thread.run(command.done(result, status))

    def notifications(self, device: str | None = None, **options: Any) -> Items[Notification]:
        """The notifications of a device."""
        return Items(self._thread.call(lambda: self._client.notifications(device, **options)), self._thread)

    def device(self, device: str, **options: Any) -> Device:
        """A device: what it should have, and what it says of it."""
        return Device(self._thread.call(lambda: self._client.device(device, **options)), self._thread)

    def effective(self, device: str, *names: str) -> Effective:
        """What a device should have, and what it says of it."""
        return self._thread.run(self._client.effective(device, *names))

    def watch_fleet(self, target: Mapping[str, Any] | None = None, **options: Any) -> Items[FleetState]:
        """The counts of devices, and with `rows` the devices."""
        return Items(self._thread.call(lambda: self._client.watch_fleet(target, **options)), self._thread)

    def watch_tenant(self, tenant: str, *, since: str | None = None) -> Items[TenantChanged]:
        """The changes of a tenant's document."""
        return Items(self._thread.call(lambda: self._client.watch_tenant(tenant, since=since)), self._thread)

    def insert_command(self, device: str, name: str, parameters: Any = None, *, expires_in: int | None = None) -> int:
        """Send a command to a device; its id."""
        return self._thread.run(self._client.insert_command(device, name, parameters, expires_in=expires_in))

    def send_command(self, device: str, name: str, parameters: Any = None, *, timeout: float = 30.0) -> Command:
        """Send a command and wait until the device has told how it went."""
        return self._thread.run(self._client.send_command(device, name, parameters, timeout=timeout))

    def insert_notification(self, device: str, name: str, parameters: Any = None) -> int:
        """Tell something as a device; the id of the notification."""
        return self._thread.run(self._client.insert_notification(device, name, parameters))
