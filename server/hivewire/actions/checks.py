"""Checks of members that several actions take, with the reference server's texts (core protocol, section 1.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import UNSET, Raw, UnsetType

from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.ledger.records import Change, Expected, Precondition, version_of
from hivewire.resources import SHOWN
from hivewire.services import Services
from hivewire_protocol import coercion, patterns
from hivewire_protocol.errors import AccessDenied, InvalidParameters, OutOfBounds, VersionConflict
from hivewire_protocol.nouns.configuration import INLINE_CHARACTERS, RESERVED
from hivewire_protocol.patterns import EVERYTHING, MAX_PATTERNS, Patterns

NULL = Raw(b"null")

NO_OBJECT = "'parameters' must be JSON Object!"

MAX_NAME, MAX_DESCRIPTION = 128, 128
"""Characters, of networks, device types, devices, commands and notifications."""


Broken: TypeAlias = tuple[str, "str | None", str]
"""A member of an object, its value, and the rule that it breaks."""


def check_token(services: Services, caller: Caller) -> None:
    """Raise the error of a token that has ended while its request waited."""
    services.tokens.check(caller.identity, now())


def violations(broken: Sequence[Broken]) -> InvalidParameters:
    """The error for members of an object that break rules."""
    return InvalidParameters(
        "Error! Make sure, that the passed object is correct and properly structured. Validation failed: "
        + "".join(
            f"\nOn property {member} (value: {'null' if value is None else value[:SHOWN]}): {rule} ; "
            for member, value, rule in broken
        )
    )


NAME_MISSING = "name field cannot be null."
NAME_LENGTH = f"Field cannot be empty. The length of name should not be more than {MAX_NAME} symbols."


def broken_name(name: str | None) -> list[Broken]:
    """The rule that the name of a network or a device type breaks, if it breaks one."""
    if name is None:
        return [("name", None, NAME_MISSING)]
    return [] if 1 <= len(name) <= MAX_NAME else [("name", name, NAME_LENGTH)]


def json_object(given: Raw | UnsetType) -> Raw:
    """A JSON object that a client gave, as it is; null when there is none. Raises InvalidParameters for anything else.

    The text names `parameters` whatever the member is, as in the reference (devices, section 0.5).
    """
    if given is UNSET:
        return NULL
    data = bytes(given)
    try:
        if not data.isascii():
            data.decode()  # what is copied as it is was checked to be JSON, but not to be UTF-8
    except UnicodeDecodeError:
        raise InvalidParameters(NO_OBJECT) from None
    if data.startswith(b"{"):
        return given
    if data == b"null":
        return NULL
    raise InvalidParameters(NO_OBJECT)


def within(name: str, given: int | None, default: int, most: int) -> int:
    """A number of a request, from 0 to `most`. Raises OutOfBounds."""
    if given is None:
        return default
    if not 0 <= given <= most:
        raise OutOfBounds(f"{name} must be between 0 and {most:,}")
    return given


def out_of_length(what: str, text: str, most: int, setting: str) -> OutOfBounds:
    """The error for a text that is empty or too long."""
    if not text:
        return OutOfBounds(f"{what} is empty; it has 1 to {most:,} characters, setting {setting}")
    return OutOfBounds(f"{what} is {len(text):,} characters long; at most {most:,}, setting {setting}")


def out_of_reach(name: str) -> AccessDenied:
    """The error for a name that the caller may not use."""
    problem = "is reserved" if name == RESERVED else "is not among those of the token"
    return AccessDenied.because(f"the name '{name[:128]}' {problem}")


def description_of(services: Services, description: str | None) -> str | None:
    """The reason of a change. Raises OutOfBounds."""
    most = services.settings.description_length
    if description is not None and len(description) > most:
        raise out_of_length("Description", description, most, "description_length")
    return description


class Expecting(Protocol):
    """A request that may say what it expects of the record."""

    entityVersion: int | UnsetType | None
    revision: int | UnsetType | None


def expected_of(request: Expecting) -> tuple[Precondition, ...]:
    """What the request expects of the record that it writes."""
    version = None if request.entityVersion is UNSET else request.entityVersion
    revision = None if request.revision is UNSET else request.revision
    return () if version is None and revision is None else (Expected(version, revision),)


def moved(what: str, failed: Expected, last: Change | None) -> VersionConflict:
    """The error for a record that is at another version or revision than its writer expected."""
    if failed.version is not None and failed.version != version_of(last):
        return VersionConflict(f"{what} is at version {version_of(last)}, not {failed.version}")
    current = 0 if last is None else last.revision
    return VersionConflict(f"{what} is at revision {current}, not {failed.revision}")


def checked_patterns(given: list[str] | None) -> Patterns:
    """The patterns of a request as a set: of all names if it has none. Raises OutOfBounds that names the bad one."""
    if given is None:
        return EVERYTHING
    if len(given) > MAX_PATTERNS:
        raise OutOfBounds(f"more than {MAX_PATTERNS} name patterns")
    for index, pattern in enumerate(given):
        if (problem := patterns.problem(pattern)) is not None:
            raise OutOfBounds(f"names[{index}]: {problem}")
    return Patterns(given)


def time_of(name: str, given: Raw | None) -> int | None:
    """The time of a member, in milliseconds since 1970; None without one. Raises OutOfBounds."""
    try:
        return coercion.timestamp(given)
    except ValueError:
        raise OutOfBounds(f"{name} is not a timestamp: milliseconds since 1970, or ISO 8601") from None


def inline_of(given: int | None) -> int:
    """The most characters of a value that a request wants to see. Raises OutOfBounds."""
    return within("inline", given, INLINE_CHARACTERS, INLINE_CHARACTERS)
