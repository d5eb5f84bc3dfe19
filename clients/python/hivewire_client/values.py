"""Values as text on the wire and as objects in a program."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from hivewire_client.resources import JSON, TEXT

_QUOTES_NOTHING = re.compile("Expected `|Object missing required field `|JSON is malformed: |Input data was truncated")
"""How the errors begin that name only types, and fields of types; others may quote the value."""


def decode(text: str, kind: Any) -> Any:
    """The value as an object of this kind. Raises ValueError if it is not one.

    `str` and `bytes` are the text itself. Everything else is JSON: a msgspec Struct, a dataclass, a TypedDict, a
    pydantic model, `dict[str, int]`, `int`. Plain text that is no JSON is converted, so `2026-03-01` can be a date.
    """
    if kind is str:
        return text
    if kind is bytes:
        return text.encode()
    if hasattr(kind, "model_validate_json"):  # pydantic
        return kind.model_validate_json(text)
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:  # also for JSON of another kind: a date begins like a number
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            raise error from None


def name_of(kind: Any) -> str:
    """What a program calls a type: `Limits`, `dict[str, int]`."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def safe_reason(error: ValueError) -> str:
    """Why a value could not be decoded, to follow what is said about it; empty if that may quote the value."""
    return f" ({error})" if _QUOTES_NOTHING.match(str(error)) else ""


def encode(value: Any, content_type: str | None) -> tuple[str, str]:
    """The text of a value, and its content type. Raises ValueError for bytes that are not UTF-8, and TypeError for an
    object that is not JSON.

    Text is written as it is; everything else as JSON.
    """
    if isinstance(value, str):
        return value, content_type or TEXT
    if isinstance(value, bytes):
        return value.decode(), content_type or TEXT
    if hasattr(value, "model_dump_json"):  # pydantic
        return value.model_dump_json(), content_type or JSON
    return msgspec.json.encode(value).decode(), content_type or JSON


def moment(time: datetime | None) -> str | None:
    """A time as the gateway reads it. One without a zone is local, as everywhere in Python."""
    return None if time is None else time.astimezone(UTC).isoformat(timespec="milliseconds")
