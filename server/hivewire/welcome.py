"""What the operator is told once the port is open."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from msgspec import Struct

from hivewire.telemetry import log


class Started(Struct):
    """The welcome for the operator once the port is open; `password` is set only when it was just generated."""

    url: str
    data: str
    login: str
    password: str | None
    records: int


Tell = Callable[[Started], None]
"""Shows it, in whatever way the command was asked to."""


def welcome(news: Started, tell: Tell) -> None:
    """Log that the gateway has started, and tell the operator."""
    log.info("started", url=news.url, data=news.data, configurations=news.records, version=version("hivewire"))
    tell(news)
