"""A whole gateway in memory: a ledger without a file, lists instead of sockets, a clock moved by hand.

No socket, no file, no sleeping: requests are answered while the test lets the event loop run. Each ring of tests adds
its own helpers in a subclass; only this file knows what a gateway is made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

from argon2 import PasswordHasher

from hivewire import actions
from hivewire.access.identity import Identity
from hivewire.access.keys import Key
from hivewire.access.passwords import Passwords
from hivewire.access.tenants import Tenants
from hivewire.access.tokens import ACCESS, Claims
from hivewire.access.users import UserContent, Users
from hivewire.broadcast import Broadcast
from hivewire.caller import Caller
from hivewire.clocks import elapsed, now
from hivewire.dispatch import Dispatcher
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.journal import Journal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Transaction, Write
from hivewire.services import wire
from hivewire.session import Session
from hivewire.settings import Settings
from hivewire.streams.contract import StreamEngine
from hivewire.streams.memory import MemoryEngine
from hivewire.streams.messages import messages_of
from hivewire_protocol.errors import WireError
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import TEXT
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.nouns.user import Role, Status
from hivewire_protocol.permissions import Permission
from tests.contract import hold_error, hold_reply

NOW = 1_772_357_400_123
"""2026-03-01T09:30:00.123, when the world begins."""

HOUR = 3_600_000
LIFETIMES = {"access_token_lifetime": 3_600, "refresh_token_lifetime": 36_000}
ALL = sum(1 << permission for permission in Permission)
ADMIN, JOHN, LOCKED, BOUND, HELPER = 1, 2, 3, 4, 5

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""As quick as argon2 can be."""

STAFF = {
    "admin": UserContent(HASHER.hash("admin's"), Role.ADMIN),
    "john": UserContent(HASHER.hash("john's")),
    "locked": UserContent("", status=Status.LOCKED_OUT),
    "bound": UserContent("", all_device_types_available=False),
    "helper": UserContent(""),
}
"""Who is there from the beginning, numbered from 1."""


class Clock:
    """The time of day in milliseconds; a test moves it by hand."""

    def __init__(self, time: int = NOW) -> None:
        self.time = time

    def __call__(self) -> int:
        return self.time


class HeldJournal(MemoryJournal):
    """A journal whose appends can be held back, like those of a slow disk."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        self.began.set()
        await self.go.wait()
        return await super().append(changes, behind=behind)


class World:
    """Everything that actions work with, over a journal in memory."""

    staff: ClassVar[Mapping[str, UserContent]] = STAFF

    def __init__(
        self,
        journal: Journal | None = None,
        clock: Clock | None = None,
        broadcast: Broadcast | None = None,
        messages: StreamEngine | None = None,
        **changed: Any,
    ) -> None:
        self.journal: Journal = journal or MemoryJournal()
        self.clock = clock or Clock()
        self.unexpected: list[BaseException] = []
        self.ledger = Ledger(self.journal, self.clock)
        self.users, self.tenants, self.passwords = Users(self.ledger), Tenants(self.ledger), Passwords(1, HASHER)
        settings = Settings(**LIFETIMES | changed)
        self.messages = messages_of(settings, self.clock, messages or MemoryEngine(), self.elapsed)
        self.services = wire(
            settings,
            self.ledger,
            self.users,
            self.tenants,
            self.passwords,
            Key("x" * 32, "utf8"),
            self.messages,
            broadcast=broadcast,
            clock=self.clock,
            unexpected=lambda where, error: self.unexpected.append(error),
        )
        self.tokens, self.hub = self.services.tokens, self.services.hub
        self.dispatcher = Dispatcher(self.services, actions.READS, actions.WRITES)
        self.admin = Caller("10.0.0.1", "h")

    def elapsed(self) -> int:
        """The clock by which messages expire, in milliseconds."""
        return elapsed()

    async def open(self) -> Self:
        """Load the ledger and write the staff; `admin` may do everything from then on."""
        await self.load()
        for login, content in self.staff.items():
            await self.ledger.commit(self.users.write(login, content, None))
        self.admin = self.caller()
        return self

    async def load(self) -> None:
        """Load what the ledger has."""
        await self.ledger.open()
        await self.users.load()
        self.tenants.load()
        await self.messages.open(self.ledger.epoch)
        self.services.registry.load()
        self.services.schemas.start()
        self.services.fleet.start()

    async def close(self) -> None:
        """Close all parts. Fails when the hub met an unexpected error."""
        await self.messages.close()
        await self.ledger.close()
        self.passwords.close()
        assert not self.unexpected, self.unexpected

    def caller(self, user: int = ADMIN, a: list[int] | None = None, **claims: Any) -> Caller:
        """A caller with a token of these claims; all rights and the current generation by default."""
        return Caller("10.0.0.1", "h", identity=self.tokens.verify(self.token(user, a, **claims), now()))

    def token(self, user: int = ADMIN, a: list[int] | None = None, **claims: Any) -> str:
        """The token of such a caller."""
        found = self.users.by_id(user)
        generation = found.content.generation if found is not None else 0
        given: dict[str, Any] = {"n": ["*"], "dt": ["*"], "g": generation} | claims
        return self.tokens.mint(Claims([0] if a is None else a, now() + HOUR, ACCESS, user, **given))

    async def ask(self, request: Request, caller: Caller | None = None) -> Any:
        """The reply, once it is durable; an error reply is raised."""
        try:
            reply = await self.dispatcher.carry_out(caller or self.admin, request)
        except WireError as error:
            hold_error(type(request), error)
            raise
        hold_reply(type(request), reply)
        return reply

    def connect(self, *permissions: Permission) -> tuple[Session, list[bytes]]:
        """A conversation of the administrator and its outbox; with all rights by default."""
        granted = sum(1 << permission for permission in permissions) or ALL
        tenants: dict[str, frozenset[Privilege]] | None = {} if permissions else None
        identity = Identity(ADMIN, "admin", now() + HOUR, granted, None, None, tenants=tenants)
        outbox: list[bytes] = []
        caller = Caller("10.0.0.1", "h", identity=identity)
        return Session(self.dispatcher, caller, outbox.append, self.settled), outbox

    def settled(self) -> None:
        """What a socket does when something that was waited for is answered: here nothing."""

    async def store(self, *names: str, value: str = "v") -> int:
        """Put configurations in one transaction that no handler sees; the ledger's revision."""
        return await self._commit(Write("configuration", name, value.encode(), TEXT) for name in names)

    async def remove(self, *names: str) -> int:
        """Delete configurations likewise."""
        return await self._commit(Write("configuration", name, None) for name in names)

    async def _commit(self, writes: Iterable[Write]) -> int:
        if found := [*writes]:
            await self.ledger.commit(Transaction(found, "admin"))
        return self.ledger.revision


@asynccontextmanager
async def opened(**changed: Any) -> AsyncIterator[World]:
    """A world with these settings, closed at the end."""
    world = await World(**changed).open()
    try:
        yield world
    finally:
        await world.close()
