"""The last known state in a file, so that a program can start while no gateway is reachable (clients, section 6)."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from hivewire_client.connection import log
from hivewire_client.resources import Entry

T = TypeVar("T")

SECONDS, IDLE_SECONDS = 1.0, 60.0
"""Shortest intervals of writing the file: after a change of an entry, and after one of only the position."""


class Cached(msgspec.Struct):
    """The content of the file. It counts only for the same addresses, subject and names."""

    addresses: list[str]
    subject: str
    names: list[str] | None
    time: float
    """Seconds since 1970 at which this was true."""
    position: str
    entries: list[Entry[str]]


class Cache:
    """The file at `path`; its content is not used after `max_age` seconds."""

    def __init__(
        self, path: Path, addresses: Sequence[str], names: Sequence[str] | None, max_age: float | None
    ) -> None:
        self.path = path
        self._addresses = sorted(addresses)
        self._names = None if names is None else sorted(names)
        self._max_age = max_age
        self._written = 0.0

    def load(self, subject: str) -> Cached | None:
        """The state in the file for this subject; None when there is none, when it is too old, and with a
        warning when it is damaged or for something else."""
        found = read(self.path, Cached)
        if found is None:
            return None
        if (found.addresses, found.subject, found.names) != (self._addresses, subject, self._names):
            what = "for other addresses, another subject or other names"
            log.warning("the cache %s is %s, and is not used", self.path, what)
            return None
        if self._max_age is not None and time.time() - found.time > self._max_age:
            log.info("the cache %s is too old", self.path)
            return None
        return found

    def due_in(self, *, changed: bool) -> float:
        """Seconds until it may be written again."""
        return max(0.0, self._written + (SECONDS if changed else IDLE_SECONDS) - time.monotonic())

    async def save(self, subject: str, position: str, entries: Sequence[Entry[str]], when: float) -> None:
        """Write the file, as `load` reads it. A failure is a warning."""
        self._written = time.monotonic()
        cached = Cached(self._addresses, subject, self._names, when, position, list(entries))
        await write(self.path, msgspec.json.encode(cached))

    def delete(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def read(path: Path, kind: type[T]) -> T | None:
    """What a file has, as an object of this kind; None when there is none, and with a warning when it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("the cache %s is not used: %s", path, error)
        return None


async def write(path: Path, data: bytes) -> None:
    """Replace a file. A failure is a warning."""
    try:
        await asyncio.to_thread(_replace, path, data)
    except OSError as error:
        log.warning("the cache %s is not written: %s", path, error)


def _replace(path: Path, data: bytes) -> None:
    """Replace the file atomically, by one that only its owner can read."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # its mode is 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
