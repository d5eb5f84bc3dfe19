"""Users: records of kind `user` in the ledger, read into an index by login and id (core protocol, section 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from hivewire.component import end
from hivewire.keyed_lock import KeyedLock
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Expected, NotDurable, Precondition, Transaction, Write
from hivewire.telemetry import Gauges, log
from hivewire.unexpected import every
from hivewire_protocol.nouns.user import Role, Status

KIND = "user"

SAVE_LOGINS_SECONDS = 60
"""Interval of saving last logins. They are notes, not changes, so that a login is not a durable write."""

MOST_TOLD = 10
"""Networks, and device types, that a description of a change names."""


class UserContent(Struct, omit_defaults=True):
    """The content of a user's record. The key of the record is the login."""

    password_hash: str
    role: int = Role.CLIENT
    status: int = Status.ACTIVE
    data: dict[str, Any] | None = None
    intro_reviewed: bool = False
    all_device_types_available: bool = True
    generation: int = 0
    """Only tokens of this generation are accepted. It grows when all tokens of the user are revoked, and is random at
    first, but for the first administrator and users of another server."""
    networks: list[int] = []
    """The networks that the user belongs to. One that was deleted counts for nothing, as ids are not used again."""
    device_types: list[int] = []
    """The device types that the user is assigned; they matter while it does not have all of them."""

    def with_role(self, role: int) -> UserContent:
        """The content in another role. All tokens end with the former role, because they may carry its rights."""
        if role == self.role:
            return self
        return structs.replace(self, role=role, generation=self.generation + 1)

    def __repr__(self) -> str:
        return f"UserContent(role={self.role}, status={self.status})"


class User(Struct):
    """A user as it is now."""

    id: int
    login: str
    content: UserContent
    active: bool
    """Whether the user may log in and its tokens are accepted."""
    revision: int
    """The revision of its last change."""
    members: frozenset[int] | None = None
    """The networks that it belongs to; None for an administrator, who needs no membership. Every request about a device
    asks, so they are worked out once."""

    def __post_init__(self) -> None:
        self.members = None if self.content.role == Role.ADMIN else frozenset(self.content.networks)

    @property
    def unchanged(self) -> Expected:
        """The condition that it has not changed since."""
        return Expected(revision=self.revision)

    @property
    def administers(self) -> bool:
        """Whether it is an active administrator."""
        return self.active and self.content.role == Role.ADMIN


class Users:
    """An index of the ledger's users that follows every change, and their last logins.

    Last logins are kept in memory and saved every minute as notes of the ledger; they are not changes.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._by_login: dict[str, User] = {}
        self._by_id: dict[int, User] = {}
        self.by_id: Callable[[int], User | None] = self._by_id.get
        """The user with this id."""
        self._last_logins: dict[int, int] = {}
        self._unsaved: set[int] = set()
        self.on_change: Callable[[], None] = lambda: None
        """Called when any user changes."""
        self.on_end: Callable[[int], None] = lambda user_id: None
        """Called with a user who may do less than before, or is gone."""
        self.changing: KeyedLock[int] = KeyedLock()
        """Held for a user that is read and changed: else all who do so at once try again after each of them."""
        self._task: asyncio.Task[None] | None = None
        ledger.observe(self._apply, KIND)
        ledger.on_notes.append(self._recall)

    async def load(self) -> None:
        """Read what the ledger holds; it must be open."""
        self._apply(list(self.ledger.kind(KIND).live.values()))
        self._recall(await self.ledger.notes())

    def _recall(self, notes: Mapping[str, str]) -> None:
        for name, value in notes.items():
            if name.startswith("lastLogin:"):
                user = int(name.removeprefix("lastLogin:"))
                self._last_logins[user] = max(int(value), self._last_logins.get(user, 0))

    def _apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind != KIND:
                continue
            self.on_change()  # first, so that cached rights are dropped even if the content cannot be decoded
            if (former := self._by_login.pop(change.key, None)) is not None:
                self._by_id.pop(former.id, None)
            if change.content is not None:
                content = msgspec.json.decode(change.content, type=UserContent)
                user = User(change.id, change.key, content, content.status == Status.ACTIVE, change.revision)
                if former is not None and _may_less(former.content, content):
                    self._end(former)
                self._by_login[user.login] = self._by_id[user.id] = user
            elif former is not None:
                self._end(former)

    def _end(self, user: User) -> None:
        """Drop what waits to be written of a user."""
        self.ledger.end_author(user.login, client=False)
        self.on_end(user.id)

    def by_login(self, login: str) -> User | None:
        """The user with exactly this login."""
        return self._by_login.get(login)

    def all(self) -> list[User]:
        """Every user, by id."""
        return [self._by_id[user_id] for user_id in sorted(self._by_id)]

    def administrators(self) -> list[User]:
        """Every active administrator, by id."""
        return [user for user in self.all() if user.administers]

    def write(
        self, login: str, content: UserContent, author: str | None, preconditions: tuple[Precondition, ...] = ()
    ) -> Transaction:
        """The transaction that stores a user. Its description says what is new, for the audit."""
        encoded, former = msgspec.json.encode(content), self._by_login.get(login)
        description = _describe(former.content if former is not None else None, content)
        return Transaction([Write(KIND, login, encoded, "application/json", description, preconditions)], author)

    def replace(self, user: User, content: UserContent, author: str | None) -> Transaction:
        """The transaction that gives a user another content, unless it has changed."""
        return self.write(user.login, content, author, (user.unchanged,))

    def rename(self, user: User, login: str, content: UserContent, author: str | None) -> Transaction:
        """The transaction that gives a user another login and content, unless it has changed or the login is taken.

        It keeps its id, and with that its tokens.
        """
        encoded, renamed = msgspec.json.encode(content), f"login {user.login} is now {login}"
        description = ", ".join(filter(None, (renamed, _describe(user.content, content))))
        former = Write(KIND, user.login, None, description=description, preconditions=(user.unchanged,))
        free = (Expected(version=0),)
        new = Write(KIND, login, encoded, "application/json", description, free, id=user.id)
        return Transaction([former, new], author)

    def delete(self, user: User, author: str | None) -> Transaction:
        """The transaction that deletes a user, unless it has changed. Its tokens, sockets and waiting writes end."""
        return Transaction([Write(KIND, user.login, None, preconditions=(user.unchanged,))], author)

    def logged_in(self, user: User) -> None:
        """Remember the time of a login."""
        self._last_logins[user.id] = self.ledger.now()
        self._unsaved.add(user.id)

    def last_login(self, user: User) -> int | None:
        """Milliseconds since 1970, or None when the user never logged in."""
        return self._last_logins.get(user.id)

    async def save_last_logins(self) -> None:
        """Save the last logins that are not saved yet. Raises NotDurable; the next call then tries again."""
        if not self._unsaved:
            return
        unsaved, self._unsaved = self._unsaved, set()  # a login meanwhile has to be saved once more
        try:
            await self.ledger.remember({f"lastLogin:{n}": str(self._last_logins[n]) for n in unsaved})
        except BaseException:
            self._unsaved |= unsaved
            raise

    # The life of the component.

    def start(self) -> None:
        """Begin to save last logins periodically."""
        self._task = asyncio.create_task(every(SAVE_LOGINS_SECONDS, self._try_to_save, "last logins were not saved"))

    async def close(self) -> None:
        """Save last logins once more and stop."""
        await end(self._task)  # what it was saving is saved once more
        await self._try_to_save()

    def gauges(self) -> Gauges:
        """No metrics."""
        return {}

    async def _try_to_save(self) -> None:
        try:
            await self.save_last_logins()
        except NotDurable as error:
            log.warning("last logins were not saved", reason=str(error))


def _may_less(old: UserContent, new: UserContent) -> bool:
    """Whether a user may do less than before the change, or must log in again."""
    return (
        new.status != Status.ACTIVE
        or old.generation != new.generation
        or not {*old.networks} <= {*new.networks}
        or not {*old.device_types} <= {*new.device_types}
        or (old.all_device_types_available and not new.all_device_types_available)
    )


def _describe(old: UserContent | None, new: UserContent) -> str | None:
    """Such as `role admin, password`; neither a password nor data are in it."""
    parts = []
    if old is None or old.role != new.role:
        parts.append(f"role {Role(new.role).name.lower()}")
    elif old.generation != new.generation:
        parts.append("tokens revoked")
    if old is None or old.status != new.status:
        parts.append(f"status {Status(new.status).name.lower().replace('_', ' ')}")
    if old is not None and old.password_hash != new.password_hash:
        parts.append("password")
    if old is not None and (old.data, old.intro_reviewed) != (new.data, new.intro_reviewed):
        parts.append("data")
    if old is not None:
        parts += _joined("network", old.networks, new.networks)
        parts += _joined("device type", old.device_types, new.device_types)
        if old.all_device_types_available != new.all_device_types_available:
            parts.append("all device types" if new.all_device_types_available else "not all device types")
    return ", ".join(parts) or None


def _joined(what: str, old: list[int], new: list[int]) -> Iterator[str]:
    """What the user was given and lost, such as `network 3 assigned`; of many, their number."""
    for word, ids in (("assigned", set(new) - set(old)), ("unassigned", set(old) - set(new))):
        if len(ids) > MOST_TOLD:
            yield f"{len(ids)} {what}s {word}"
        else:
            yield from (f"{what} {id} {word}" for id in sorted(ids))
