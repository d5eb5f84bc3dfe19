"""The message for the operator when the port is open."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from hivewire import __version__
from hivewire.access.users import Users
from hivewire.telemetry import log
from hivewire.transport.server import tell_systemd


class Started(Struct):
    """What the welcome for the operator shows.

    `login` is that of an active administrator, None when there is none; `password` is set only when it was just
    generated.
    """

    url: str
    data: str
    login: str | None
    password: str | None
    records: int
    dashboard: bool = True


def administrator(users: Users, preferred: str) -> str | None:
    """The login of an active administrator: the preferred one, else the first."""
    logins = [user.login for user in users.administrators()]
    return preferred if preferred in logins else next(iter(logins), None)


def welcome(started: Started, show: Callable[[Started], None]) -> None:
    """Log that the gateway has started, tell systemd, and show it to the operator."""
    log.info(
        "started",
        url=started.url,
        data=started.data,
        configurations=started.records,
        administrator=started.login,
        version=__version__,
    )
    show(started)
    tell_systemd("READY=1")
