"""What can go wrong, as exceptions.

```text
HivewireError
├── Refused              the gateway refused a request: `code`, the text, the whole `reply`
│   ├── LoginRequired    401  no token that the gateway accepts
│   ├── Denied           403  the token does not grant this
│   ├── NotFound         404
│   ├── Conflict         409  the expected version is not the current one: `change`, `current`
│   ├── TooLarge         413
│   ├── Busy             429  too many requests or wrong passwords; `retry_after`
│   └── Unavailable      503  the gateway cannot do it now, or there was no connection in time; nothing was written
├── Uncertain            a write may or may not have been carried out
├── NotReady             `ready` waited in vain
├── Unreachable          no connection came about, or it broke
│   └── Closed           the peer closed it: `code`, `reason`
├── Stopped              the client is closed
└── BadAddress           not the address of a gateway (a ValueError too)
```
"""

from __future__ import annotations

from typing import Any

import msgspec

from hivewire_client.resources import Change, Entry


class HivewireError(Exception):
    """The base of all errors of this package."""


class Refused(HivewireError):
    """The gateway refused a request: its code (a number as in HTTP), its text, and the whole reply."""

    code: int = 500

    def __init__(self, text: str, reply: dict[str, Any] | None = None, code: int | None = None) -> None:
        super().__init__(text)
        self.reply = reply or {}
        after = self.reply.get("retryAfter")
        self.retry_after = float(after) if isinstance(after, int | float) else None
        """Seconds to wait before it is tried again, when the gateway says so."""
        if code is not None:
            self.code = code


class LoginRequired(Refused):
    """There is no token that the gateway accepts. A token function raises it to give up."""

    code = 401


class Denied(Refused):
    """The token does not grant this; the text names the missing right or name."""

    code = 403


class NotFound(Refused):
    """What the request is about does not exist."""

    code = 404


class Conflict(Refused):
    """The expected version is not the current one, or something else is in the way, such as a rollout; nothing was
    written.

    `change` is the current change, None for a name that was never heard of and where no version was expected.
    `current` is its entry, None when there is no such configuration.
    """

    code = 409

    @property
    def change(self) -> Change | None:
        """Who wrote what is current, when and why."""
        found = self.reply.get("change")
        return msgspec.convert(found, Change) if found is not None else None

    @property
    def current(self) -> Entry[str] | None:
        """What is current."""
        change = self.change
        return change.entry if change is not None and change.operation == "put" else None


class TooLarge(Refused):
    """The request or its answer is larger than the gateway allows."""

    code = 413


class Busy(Refused):
    """Too many requests, or too many wrong passwords."""

    code = 429


class Unavailable(Refused):
    """It cannot be done now: the gateway says so, or there was no connection in time. Nothing was written."""

    code = 503


class Uncertain(HivewireError):
    """A write was sent and not answered: it may or may not have been carried out. It is not repeated."""


class NotReady(HivewireError):
    """The client is neither live nor has a cache; the text says what it is waiting for."""


class Unreachable(HivewireError):
    """No connection to a gateway could be opened, or it broke."""

    retry_after: float | None = None
    """Seconds to wait before the next attempt, when the peer says so (`Retry-After`)."""


class Closed(Unreachable):
    """The connection ended. `code` and `reason` are those of the close frame; None and empty without one."""

    def __init__(self, text: str, code: int | None = None, reason: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


class Stopped(HivewireError):
    """The client is closed, so it answers no requests. The text and `__cause__` say why, if not by `close`."""


class BadAddress(HivewireError, ValueError):
    """The text is not the address of a gateway."""


_CLASSES: dict[int, type[Refused]] = {each.code: each for each in Refused.__subclasses__()}

_UNKNOWN = "not known whether"
"""Of a 503: the text of the gateway when it does not know whether the request was carried out."""


def refusal(reply: dict[str, Any]) -> Refused | Uncertain:
    """The exception for an error reply."""
    code = reply.get("code")
    code = code if isinstance(code, int) else 500
    text = str(reply.get("error"))
    if code == 503 and text.startswith(_UNKNOWN):
        return Uncertain(text)
    return _CLASSES.get(code, Refused)(text, reply, code)
