"""Properties in the ledger: how records are shown, and how they are written."""

from __future__ import annotations

from msgspec import Struct

from hivewire.dialects.properties.credentials import SiteCaller
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, EvaluatedState, PreconditionFailed, Refused, Transaction, Unfit, Write
from hivewire.resources import KIND
from hivewire.services import Services
from hivewire_protocol.errors import AccessDenied, NotFound, OutOfBounds, Unauthorized, VersionConflict, WireError
from hivewire_protocol.properties.aborts import AbortRule, reason, verdict
from hivewire_protocol.properties.elements import Author, Property
from hivewire_protocol.properties.etags import etag


class PropertyStore:
    """The properties of one gateway."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def found(self, name: str) -> Change:
        """The last change of a property. Raises NotFound."""
        found = self._services.ledger.get(KIND, name)
        if found is None:
            raise NotFound("There is no such property")
        return found

    def shown(self, change: Change) -> Property:
        """A change as a property; its content is left out if it is secret."""
        secret = self._services.schemas.is_secret(change.key)
        return Property(
            change.key,
            change.id,
            change.version,
            change.time,
            b"" if secret else change.content or b"",
            change.content_type,
            self.author(change.author),
            change.description,
            secret,
        )

    def author(self, login: str | None) -> Author:
        """The author of a change, as answers show it."""
        user = self._services.users.by_login(login) if login is not None else None
        return Author(user.id if user is not None else 0, login or "Anonymous")

    async def commit(self, write: Write, who: SiteCaller) -> Change:
        """The change, once it is durable. Raises WireError."""
        transaction = Transaction((write,), who.user.login if who.user is not None else None)
        await self._services.schemas.settle(transaction)
        self.check_still(who)
        return await commit(self._services.ledger, PendingWrite(transaction, _only, _refused), None)

    def check_still(self, who: SiteCaller) -> None:
        """Raise AccessDenied when the caller lost its right while the body arrived or a list was sent, and Unauthorized
        when the password with which it came has changed."""
        if who.everything or who.user is None:
            return
        current = self._services.users.by_id(who.user.id)
        if not (current and current.administers and current.content.generation == who.user.content.generation):
            raise AccessDenied.because("this needs an administrator")
        if who.by_password and current.content.password_hash != who.user.content.password_hash:
            raise Unauthorized


def _only(changes: list[Change]) -> Change:
    [change] = changes
    return change


def _refused(refused: Refused) -> WireError:
    if isinstance(refused, Unfit):
        return refused.error
    if isinstance(refused, PreconditionFailed):
        assert isinstance(refused.failed, EtagCondition)  # noqa: S101 - the only one that can fail
        return refused.failed.error(refused.last)
    return NotFound("There is no such property")


class EtagCondition(Struct):
    """The etag and the abort mode of a write. The ledger evaluates them when it writes, so the second of two writers
    with the same etag is compared with the change of the first."""

    rule: AbortRule
    given: str | None
    most: int
    """The limit on the number of properties; 0 for none."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether the record may be written in its current state."""
        current = _etag(last)
        if verdict(self.rule, self.given, current) != 200:
            return False
        return current is not None or not self.most or state.count(KIND) < self.most

    def error(self, last: Change | None) -> WireError:
        """The error when the condition does not hold."""
        current = _etag(last)
        status = verdict(self.rule, self.given, current)
        if status == 200:
            return OutOfBounds("The limit property_count is reached")
        kind = NotFound if status == NotFound.code else VersionConflict
        return kind(reason(self.rule, self.given, current))


class Seen(Struct):
    """A condition that always holds. It keeps the previous change, which the answer to a delete shows."""

    last: Change | None = None

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """True."""
        self.last = last
        return True


def _etag(last: Change | None) -> str | None:
    if last is None or last.content is None:
        return None
    return etag(last.id, last.version, last.time)
