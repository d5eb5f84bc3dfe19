"""Reading from memory, as the clients for programs with and without asyncio have it."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from hivewire_client.resources import Entry

T = TypeVar("T")
D = TypeVar("D")


class Reading:
    """What can be read at once. `_decoded` has by kind and name what was read before, and `_find` finds the rest."""

    _decoded: dict[Any, dict[str, Entry[Any]]]

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, *, default: D) -> str | D: ...
    @overload
    def get(self, name: str, kind: type[T]) -> T | None: ...
    @overload
    def get(self, name: str, kind: type[T], default: D) -> T | D: ...
    def get(self, name: str, kind: Any = str, default: Any = None) -> Any:
        """The value of a configuration, as an object of this kind; `default` when there is none, or none that was ever
        of this kind.

        It reads memory, and decodes each value once: do not change what it returns. `kind` is `str`, or whatever
        msgspec can decode from JSON, such as a dataclass, a Struct or `dict[str, int]`, or a pydantic model.
        """
        try:
            value = self._decoded[kind][name].value
        except KeyError:
            entry = self._find(name, kind)
            return default if entry is None else entry.value
        return default if value is None and kind is str else value

    @overload
    def entry(self, name: str) -> Entry[str] | None: ...
    @overload
    def entry(self, name: str, kind: type[T]) -> Entry[T] | None: ...
    def entry(self, name: str, kind: Any = str) -> Entry[Any] | None:
        """The same with the version that the value has, for `expect`; None when there is none."""
        return self._decoded.get(kind, {}).get(name) or self._find(name, kind)

    def _find(self, name: str, kind: Any) -> Entry[Any] | None:
        """What was not read before. Raises ValueError for a name that is not followed."""
        raise NotImplementedError
