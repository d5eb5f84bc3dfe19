"""Configurations and their changes, as the gateway sends them and as this package shows them."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct, field

T = TypeVar("T")

TEXT = "text/plain; charset=utf-8"
"""The content type of what was put without one."""

JSON = "application/json"


class Entry(Struct, Generic[T], frozen=True, gc=False):
    """A configuration: its `name`, `value` and `version`.

    As text, the value is None where the gateway leaves it out: what is `secret`, binary, or longer than 65,536
    characters. Then `size` says how many bytes it has, unless it is secret. `size` is None for plain text, and `layer`
    unless it is in a layer.
    """

    name: str
    value: T | None
    version: int = field(name="entityVersion")
    content_type: str = field(name="contentType", default=TEXT)
    size: int | None = None
    layer: str | None = None
    secret: bool = False


class Change(Struct, frozen=True):
    """A change of one configuration; `entry` is what it is afterwards, with the value None after a delete.

    Those that come from a state, in place of the changes that led to it, have neither revision nor time nor author.
    """

    operation: str
    entry: Entry[str] = field(name="configuration")
    revision: int | None = None
    modified: str | None = None
    """When, in UTC: `2026-03-01T09:30:00.123`."""
    modified_by: str | None = field(name="modifiedBy", default=None)
    description: str | None = None

    @property
    def name(self) -> str:
        """The name of the configuration."""
        return self.entry.name


class Patterns:
    """A set of names: exact ones, and prefixes that end in `*`. None stands for all."""

    def __init__(self, patterns: tuple[str, ...] | None) -> None:
        given = ("*",) if patterns is None else patterns
        self._exact = frozenset(pattern for pattern in given if not pattern.endswith("*"))
        self._prefixes = tuple(pattern[:-1] for pattern in given if pattern.endswith("*"))

    def __contains__(self, name: str) -> bool:
        return name in self._exact or name.startswith(self._prefixes)
