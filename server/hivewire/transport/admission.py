"""Admission: how many connections may be open, and how much memory all of them may hold.

A connection is *anonymous* until somebody logs in on it. Anonymous connections share a separate budget and give way:
when no slot is left, the oldest of them is disconnected; when their budget runs out, the one that has held memory for
longest. So they take nothing from connections with a login, and cannot keep new connections out by staying.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from itertools import count
from time import monotonic
from typing import Protocol
from weakref import WeakValueDictionary

from hivewire.addresses import network_prefix
from hivewire.settings import Settings
from hivewire.telemetry import log
from hivewire_protocol.errors import Unavailable

FREE = 4 << 10
"""Bytes of an incomplete message that do not count for any connection, and bytes of answers that an anonymous one
may leave unread."""

SHARES = 16
"""The anonymous connections of one address may hold at most this fraction of their budget."""

HANDSHAKE_BYTES = 64 << 10
"""What an unfinished TLS handshake takes in memory, measured: 56 KiB."""

TLS_BYTES = 45 << 10
"""What a connection over TLS takes in memory as long as it is open, measured."""

TELL_SECONDS = 60.0
"""Shortest time between two lines of the log about refused connections."""

SPARE = 16
"""Further connections when no slot is left; they can only get health checks and metrics."""


FILES = 64
"""File descriptors, at least, that are kept free of connections: for the data file, workers, and those that end."""


def most_files() -> float:
    """Connections for which the process may open files; an eighth of all is kept free.

    When no file can be opened, the kernel resets every new connection, also those of clients with a token.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if files == resource.RLIM_INFINITY else max(1, files - max(FILES, files // 8))


class Connection(Protocol):
    """What the admission needs of a connection."""

    def abort(self) -> None:
        """Disconnect at once."""

    def give_way(self) -> None:
        """Disconnect at once. The admission does not count the connection any more."""


class Budget:
    """The bytes that connections hold together, and the order in which the connections last gave some back."""

    __slots__ = ("_holders", "held")

    def __init__(self) -> None:
        self.held = 0
        self._holders: dict[Connection, int] = {}  # longest without giving bytes back first

    def hold(self, connection: Connection, size: int) -> None:
        """Set what a connection holds."""
        before = self._holders.get(connection, 0)
        # Who gave bytes back makes progress, and moves to the end of the order. One that only adds stays where it is:
        # a peer that sends a byte now and then must not look younger than one that waits.
        if size < before:
            del self._holders[connection]
        if size:
            self._holders[connection] = size
        self.held += size - before

    def held_by(self, connection: Connection) -> int:
        """What a connection holds."""
        return self._holders.get(connection, 0)

    def beyond(self, limit: int) -> Connection | None:
        """The connection that has held bytes for longest, if all together exceed the limit."""
        return next(iter(self._holders)) if self.held > limit else None


def check_budget(settings: Settings) -> None:
    """Warn of settings with which the largest messages and bodies are always refused, to every caller."""
    sizes = {name: getattr(settings, name) for name in ("message_bytes", "property_bytes", "document_bytes")}
    beyond = {name: size for name, size in sizes.items() if size > settings.unfinished_bytes}
    if beyond:
        words = "messages and bodies beyond unfinished_bytes are always refused; it should be the largest of these"
        log.warning(words, unfinished_bytes=settings.unfinished_bytes, **beyond)


class Admission:
    """Counts open connections (`inside`) and their memory: bytes of incomplete messages and bodies beyond FREE
    (`unfinished`), bytes of unread answers (`unread`), and both of anonymous connections (`anonymous`), with what TLS
    takes for these."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inside = 0
        self.unfinished = 0
        self.unread = Budget()
        self.anonymous = Budget()
        self._anonymous_of: dict[str, Budget] = {}  # by network prefix
        self._anonymous_connections: dict[int, tuple[Connection, str]] = {}  # with network prefix, oldest first
        self._numbers: dict[Connection, int] = {}  # of the anonymous ones
        self._charged_for_tls: set[int | None] = set()  # numbers of anonymous ones
        self._count = count()
        self._spare: dict[Connection, None] = {}
        self._handshakes_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # by network prefix
        self._warned = False  # that the limit of open files is below `connections`
        self._told = float("-inf")  # when the log said that connections are refused
        self._by_network_prefix: Counter[str] = Counter()

    # Slots.

    def enter(self, connection: Connection, address: str) -> bool:
        """Admit a connection, which must `leave`. False: it has a spare slot, and can only get health and metrics.

        When no slot is left, or the address has reached its limit, the oldest anonymous connection is closed.
        """
        prefix = self._network_prefix(address)
        if not self._make_room(prefix):
            # The oldest, because a probe takes a moment: whoever stays in a spare slot is no probe.
            if len(self._spare) >= SPARE:
                first = next(iter(self._spare))
                del self._spare[first]
                first.give_way()
            self._spare[connection] = None
            return False
        self._by_network_prefix[prefix] += 1
        self.inside += 1
        self._add_anonymous(connection, prefix, next(self._count))
        return True

    def _make_room(self, prefix: str) -> bool:
        # An address at its limit pays with its own connections, so it cannot push out those of others.
        if prefix and self._by_network_prefix[prefix] >= self.settings.connections_per_address:
            first = next((each for each in self._anonymous_connections.values() if each[1] == prefix), None)
        elif self.inside >= min(self.settings.connections, files := most_files()):
            first = next(iter(self._anonymous_connections.values()), None)
            if files < self.settings.connections and not self._warned:
                self._warned = True
                log.warning(
                    "anonymous connections are closed: the open-file limit is reached",
                    connections=self.settings.connections,
                    possible=files,
                    remedy="raise LimitNOFILE of the unit, or ulimit -n",
                )
        else:
            return True
        if first is not None:
            self._expel(first[0])
        elif monotonic() - self._told >= TELL_SECONDS:
            self._told = monotonic()
            self._tell_full(prefix)
        return first is not None

    def _tell_full(self, prefix: str) -> None:
        if prefix and self._by_network_prefix[prefix] >= self.settings.connections_per_address:
            log.warning(
                "connections are refused: an address has as many as it may have",
                address=prefix,
                connections_per_address=self.settings.connections_per_address,
                remedy="if it is a proxy, name it in trusted_proxies",
            )
        else:
            log.warning(
                "connections are refused: there are as many as there may be, all with a login",
                connections=self.inside,
                remedy="raise connections, or start another gateway",
            )

    def leave(self, connection: Connection, address: str) -> None:
        """An admitted connection has ended."""
        if connection in self._spare:
            del self._spare[connection]
            return
        self.login(connection)
        self.resume(connection)
        self._free(self._network_prefix(address))

    def _free(self, prefix: str) -> None:
        self.inside -= 1
        self._by_network_prefix[prefix] -= 1
        if not self._by_network_prefix[prefix]:
            del self._by_network_prefix[prefix]

    def _expel(self, connection: Connection) -> None:
        _, prefix = self._anonymous_connections[self._numbers[connection]]
        self.login(connection)
        self._free(prefix)
        connection.give_way()

    # Anonymous connections.

    def login(self, connection: Connection) -> None:
        """The connection is not anonymous any more; its memory counts towards the common budgets from now on."""
        if (number := self._numbers.get(connection)) is not None:
            self._charged_for_tls.discard(number)
            self.hold(connection, 0)
            del self._numbers[connection], self._anonymous_connections[number]

    def hand_over(self, connection: Connection, socket: Connection, address: str) -> None:
        """A socket replaces the HTTP connection on which it was opened: anonymous, and as old as it.

        Otherwise connections that came later would be closed before it.
        """
        number = self._numbers.get(connection)
        over_tls = number in self._charged_for_tls
        self._charged_for_tls.discard(number)
        self.hold(connection, 0)
        self.resume(connection)
        self._numbers.pop(connection, None)
        number = next(self._count) if number is None else number
        self._add_anonymous(socket, self._network_prefix(address), number)
        if over_tls:
            self.charge_tls(number)

    def _add_anonymous(self, connection: Connection, prefix: str, number: int) -> None:
        self._numbers[connection] = number
        self._anonymous_connections[number] = connection, prefix  # a number that is known keeps its age

    def number_of(self, connection: Connection) -> int | None:
        """The number of a connection while it is anonymous; a socket that replaces it keeps it."""
        return self._numbers.get(connection)

    def charge_tls(self, number: int) -> None:
        """Count the memory that TLS takes for the anonymous connection of this number, if it is still there."""
        if number in self._anonymous_connections and number not in self._charged_for_tls:
            connection, _ = self._anonymous_connections[number]
            self._charged_for_tls.add(number)
            self.hold(connection, self.anonymous.held_by(connection))

    def hold(self, connection: Connection, size: int) -> None:
        """Set the bytes that an anonymous connection holds, unfinished and unread together; those of TLS are added.

        When all of them, or those of one address, exceed their budget, the longest holders are disconnected.
        """
        number = self._numbers.get(connection)
        if number is None:
            return
        if number in self._charged_for_tls:
            size += TLS_BYTES
        _, prefix = self._anonymous_connections[number]
        limit = self.settings.anonymous_bytes
        budgets = [(self.anonymous, limit)]
        if prefix:  # first, so that others are not disconnected for the memory of this address
            budgets.insert(0, (self._anonymous_of.setdefault(prefix, Budget()), limit // SHARES))
        for budget, _ in budgets:
            budget.hold(connection, size)
        for budget, most in budgets:
            while (longest := budget.beyond(most)) is not None:
                self._expel(longest)
        if prefix and not budgets[0][0].held:
            self._anonymous_of.pop(prefix, None)

    def handshakes_of(self, address: str) -> asyncio.Semaphore:
        """Semaphore that limits an address to the TLS handshakes its share of memory allows."""
        prefix = self._network_prefix(address)
        turns = self._handshakes_of.get(prefix)
        # Weakly referenced: it lasts as long as a handshake of the address holds or awaits it.
        if turns is None:
            part = self.settings.anonymous_bytes // (SHARES if prefix else 1)
            turns = self._handshakes_of[prefix] = asyncio.Semaphore(part // HANDSHAKE_BYTES)
        return turns

    # All other connections.

    def draw(self, drawn: int, held: int) -> int:
        """Change the bytes of a connection in the budget of unfinished messages, and return the new number.

        `drawn` is the number so far, `held` the bytes of its incomplete message. Raises Unavailable when the budget is
        exhausted.
        """
        wanted = max(0, held - FREE)
        # The message that would exceed the budget is refused, not the oldest one: those may be nearly complete.
        if wanted > drawn and self.unfinished + wanted - drawn > self.settings.unfinished_bytes:
            raise Unavailable("too many unfinished messages; try again later")
        self.unfinished += wanted - drawn
        return wanted

    def stall(self, connection: Connection, held: int) -> None:
        """Set the bytes that a connection holds because its peer does not read.

        When all of them exceed `unread_bytes`, the connections that have read nothing for longest are disconnected.
        """
        self.unread.hold(connection, held)
        while (longest := self.unread.beyond(self.settings.unread_bytes)) is not None:
            # Subtracted now: `abort` calls `connection_lost` later, and this loop would never end.
            self.resume(longest)
            longest.abort()

    def resume(self, connection: Connection) -> None:
        """The peer has read, or the connection has ended."""
        self.unread.hold(connection, 0)

    def _network_prefix(self, address: str) -> str:
        """Empty for trusted proxies: many clients share their address, so only the limit of the process applies."""
        return "" if self.settings.trusts(address) else network_prefix(address)
