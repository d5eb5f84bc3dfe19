"""Names of properties, and how paths, `Slug` headers and the `names` parameter carry them (site properties, 1)."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import quote, unquote

from hivewire_protocol.errors import AccessDenied, OutOfBounds
from hivewire_protocol.nouns.configuration import RESERVED, forbidden_character

NAME_LENGTH = 255
"""In characters (section 8)."""

MAX_NAMES = 1_000
"""Most items of a `names` parameter: as many as patterns elsewhere."""


def decoded_key(segment: str, known: Container[str] = ()) -> str:
    """The name in a path segment: decoded as a URI, then as a name. Raises as `checked_name`."""
    return checked_name(_decode(_decode(segment)), known)


def decoded_slug(slug: str) -> str:
    """The name in a `Slug` header, encoded once. Raises OutOfBounds."""
    if not slug.isascii():
        raise OutOfBounds("Slug must be percent-encoded")
    return checked_name(_decode(slug))


def encoded_key(name: str) -> str:
    """The path segment for a name, encoded twice. The dots of `.` and `..` are encoded too, because clients remove
    these segments from paths, also when they are written with `%2E`."""
    once = quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
    return quote(once, safe="")


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise OutOfBounds("The name is not UTF-8") from None


def checked_name(name: str, known: Container[str] = ()) -> str:
    """The name itself. Raises OutOfBounds for a name that no new property can have, AccessDenied for the reserved one.

    The characters of a `known` name are not checked: some that are forbidden now were allowed earlier.
    """
    if name == RESERVED:
        raise AccessDenied(f"{AccessDenied.text}: the name '{name}' is reserved")
    if not 1 <= len(name) <= NAME_LENGTH:
        raise OutOfBounds(f"A property name has 1 to {NAME_LENGTH:,} characters; this one has {len(name):,}")
    if not name.isprintable() and name not in known and (where := forbidden_character(name)) is not None:
        raise OutOfBounds(f"The property name has a forbidden character: {where}")
    return name


class Names:
    """The `names` parameter: a list with commas, in which `*` at the start or end of an item stands for any text.

    `patterns` are exact names and prefixes that find at least all matches; `in` then decides about each name, in at
    most `effort` comparisons. Raises OutOfBounds for too many items.
    """

    def __init__(self, text: str) -> None:
        items = set(text.split(",")) - {""}
        if len(items) > MAX_NAMES:
            raise OutOfBounds(f"More than {MAX_NAMES} names")
        self._exact = frozenset(item for item in items if not item.startswith("*") and not item.endswith("*"))
        self._prefixes = tuple(item[:-1] for item in items if item.endswith("*") and not item.startswith("*"))
        self._suffixes = tuple(item[1:] for item in items if item.startswith("*") and not item.endswith("*"))
        self._middles = [item[1:-1] for item in items if item.startswith("*") and item.endswith("*")]
        self.patterns = [*self._exact, *(prefix + "*" for prefix in self._prefixes)]
        if not items or self._suffixes or self._middles:
            self.patterns = ["*"]  # what ends with a text, or contains it, can begin in any way
        self.effort = 1 + len(self._prefixes) + len(self._suffixes) + len(self._middles)
        self._all = not items

    def __contains__(self, name: str) -> bool:
        return (
            self._all
            or name in self._exact
            or name.startswith(self._prefixes)
            or name.endswith(self._suffixes)
            or any(middle in name for middle in self._middles)
        )
