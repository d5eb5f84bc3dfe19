"""Subscriptions: live changes over a socket, and the positions to resume from (configuration contract, sections 4-6).

A position is opaque to clients. Inside it is the name of the ledger's history and a revision of it, so that one from
another ledger, or from before a restored backup, is noticed.
"""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.messages import Integer, Reply, Request
from hivewire_protocol.permissions import Permission

_POSITION = re.compile(r"([0-9a-zA-Z]{1,64})-(\d{1,18})", re.ASCII)


def render_position(epoch: str, revision: int) -> str:
    """The position behind a revision of a history."""
    return f"{epoch}-{revision}"


def parse_position(text: str) -> tuple[str, int]:
    """The epoch and the revision of a position. Raises ValueError for what is none."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ValueError("not a position")
    return match[1], int(match[2])


class ConfigurationSubscribe(Request, tag="configuration/subscribe"):
    """Follow the names that match `names`, or the document of a `tenant`: state and changes, or changes after `since`.

    `tenant` takes the place of `names` and needs the privilege READ in that tenant, not the permission.
    """

    permission: ClassVar[Permission | None] = Permission.GET_CONFIGURATION
    or_tenant: ClassVar[bool] = True

    names: list[str] | None = None
    tenant: str | None = None
    since: str | None = None
    snapshot: bool | None = None
    conflate: bool | None = None


class ConfigurationUnsubscribe(Request, tag="configuration/unsubscribe"):
    """Stop following: nothing more is pushed after the reply."""

    permission: ClassVar[Permission | None] = Permission.GET_CONFIGURATION
    or_tenant: ClassVar[bool] = True

    subscriptionId: Integer | None = None


class SubscriptionList(Request, tag="subscription/list"):
    """The subscriptions of this socket; `type` narrows them to one type."""

    permission: ClassVar[Permission | None] = Permission.GET_CONFIGURATION
    or_tenant: ClassVar[bool] = True

    type: str | None = None


class SubscribeReply(Reply):
    """The new subscription's number; `mode` is `snapshot`, `live`, `resumed` or `reset` and says what follows.

    `position` is where `live` and `resumed` begin; `oldest` comes with `reset`: the first revision that the log has.
    """

    subscriptionId: int
    mode: str
    position: str | UnsetType = UNSET
    oldest: int | UnsetType = UNSET


class SubscriptionItem(Struct, gc=False, omit_defaults=True):
    """One subscription of this socket. `paused`: nothing of it is within the rights that the socket still has."""

    subscriptionId: int
    type: str
    names: list[str]
    paused: bool = False


class SubscriptionListReply(Reply):
    """All of them, in the order of their numbers."""

    subscriptions: list[SubscriptionItem]
