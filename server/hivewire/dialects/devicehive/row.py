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

    `shows` is the member of the reply that becomes the whole body; None for all members as one object. `single` shows
    the only item of a list instead of the list. `body` is the member of the request that the body becomes; None when
    the members of the body are those of the request. `auth` rows also exist under `/auth/rest`, where DeviceHive has a
    separate server for tokens. `stream` is the request when the caller accepts an event stream; if it is the same as
    `request`, the row accepts nothing else.

    `check` refuses a path that names something that does not exist, or that the caller may not reach, before the body
    is read. `check_if_wrong` does so after the body was found to be wrong. `empty` is the error text for a missing
    body; None if it may be missing. The body of a `bodiless` row is ignored. A request of a `waits` row may wait long.
    Conditions in headers are refused in an `unconditional` row, whose action writes by itself.
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
    waits: bool = False
    unconditional: bool = False
