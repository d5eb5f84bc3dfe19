"""One row of the tables in `rows`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from hivewire.caller import Caller
from hivewire.services import Services
from hivewire_protocol.messages import Request

Check: TypeAlias = Callable[[Services, Caller, Mapping[str, str]], None]


class Row(NamedTuple):
    """One method of one path: the request it stands for, the status of success, and what is shown.

    `shows` is the member of the reply that becomes the whole body; None for all members as one object. Of a list that
    has just the item that the path names, `single` shows the item. `body` is the
    member of the request that the body becomes; None when the body's members are the request's. `auth` rows are there
    under `/auth/rest` too, where DeviceHive has a server of its own for tokens. `stream` is what the row stands for
    when the caller accepts an event stream; a row whose `request` it is as well is there for nothing else. `check`
    refuses what the path names before the body is read: what does not exist, or the caller may not reach.
    `check_if_wrong` does so when a body is there and wrong. `empty` is the text for a missing body, None where it may
    be missing. The body of a `bodiless` row is thrown away, whatever it is.
    """

    method: str
    path: str
    request: type[Request]
    status: int = 200
    shows: str | None = None
    body: str | None = None
    auth: bool = False
    stream: type[Request] | None = None
    check: Check | None = None
    check_if_wrong: Check | None = None
    empty: str | None = "Error! Validation failed: Object is null"
    bodiless: bool = False
    single: bool = False
