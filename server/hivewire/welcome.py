"""What the operator is told once the port is open."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from msgspec import Struct

from hivewire.access.users import Users
from hivewire.telemetry import log


class Started(Struct):
    """The welcome for the operator once the port is open.

    `login` is that of an active administrator, None when there is none; `password` is set only when it was just
    generated.
    """

    url: str
    data: str
    login: str | None
    password: str | None
    records: int


def administrator(users: Users, preferred: str) -> str | None:
    """The login of an active administrator: the preferred one, else the first."""
    logins = [user.login for user in users.administrators()]
    return preferred if preferred in logins else next(iter(logins), None)


Tell = Callable[[Started], None]
"""Shows it, in whatever way the command was asked to."""


def welcome(news: Started, tell: Tell) -> None:
    """Log that the gateway has started, and tell the operator."""
    log.info("started", url=news.url, data=news.data, configurations=news.records, version=version("hivewire"))
    tell(news)
