"""Changing a user, and trying again when another change came first."""

from __future__ import annotations

from collections.abc import Callable

from hivewire.access.identity import Identity
from hivewire.access.users import User, Users
from hivewire.ledger.pending import PendingWrite, changed, commit
from hivewire.ledger.records import Refused, Transaction
from hivewire_protocol.errors import InvalidParameters, NotFound, VersionConflict, WireError
from hivewire_protocol.messages import DONE, Reply, WriteReply


async def change_user(
    users: Users,
    by: Identity | None,
    user_id: int,
    change: Callable[[User], Transaction | None],
    dry_run: bool | None = None,
) -> Reply:
    """Write what `change`, for which `by` asks, makes of the user as it is now; None changes nothing.

    It is called again when the transaction was refused because of another change, so it looks at everything that its
    conditions are about. Raises NotFound without such a user, and what `change` raises.
    """

    async def attempt() -> Reply:
        transaction = change(existing(users, user_id))
        if transaction is None:
            return WriteReply(True) if dry_run else DONE
        pending: PendingWrite[Reply] = PendingWrite(transaction, lambda changes: DONE, conflict)
        return await commit(users.ledger, pending.tried(dry_run), by)

    return await changed(users.changing, user_id, attempt)


def existing(users: Users, user_id: int | None) -> User:
    """The user with this id. Raises NotFound, and InvalidParameters without an id."""
    if user_id is None:
        raise InvalidParameters("User id is wrong or empty")
    if (user := users.by_id(user_id)) is None:
        raise NotFound(f"User with id = {user_id} not found")
    return user


def conflict(refused: Refused) -> WireError:
    """The error when a record was changed concurrently."""
    return VersionConflict(f"{refused.write.kind} {refused.write.key} has changed")
