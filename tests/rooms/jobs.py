"""Work for other processes. They load this module, so it loads nothing that it does not need."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

from hivewire_protocol.tenant.errors import Finding, Invalid, NotJson


def doubled(value: bytes) -> Generator[None, None, bytes]:
    yield
    return value * 2


def refused(findings: int) -> Generator[None, None, None]:
    yield
    if not findings:
        raise NotJson("no", "why")
    raise Invalid([Finding(304, "label", "configuration", f"is wrong {number}", "x") for number in range(findings)])


def broken() -> Generator[None, None, None]:
    yield
    raise ZeroDivisionError("unforeseen")


def endless() -> Generator[None, None, None]:
    while True:
        yield


def dying() -> Generator[None, None, None]:
    yield
    os.kill(os.getpid(), signal.SIGKILL)


def process() -> Generator[None, None, int]:
    yield
    return os.getpid()
