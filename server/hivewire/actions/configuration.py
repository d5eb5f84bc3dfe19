"""What the configuration requests do (configuration contract, sections 1-4)."""

from __future__ import annotations

import re
from itertools import islice

from hivewire.access.identity import Identity
from hivewire.client import Client
from hivewire.dispatch import Commit, House
from hivewire.ledger.records import Change as LedgerChange
from hivewire.ledger.records import Expected, Mismatch, Precondition, Refused, Transaction, Write, version_of
from hivewire_protocol import patterns, times
from hivewire_protocol.configuration import (
    RESERVED,
    TEXT,
    Change,
    Configuration,
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationList,
    ConfigurationListReply,
    ConfigurationPut,
    ConfigurationReply,
    RevisionReply,
    forbidden_character,
    resource,
)
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotFound,
    OutOfBounds,
    Unauthorized,
    VersionConflict,
    WireError,
)
from hivewire_protocol.messages import Reply
from hivewire_protocol.patterns import MAX_PATTERNS, Patterns

KIND = "configuration"
TAKE, MOST = 1_000, 10_000

_MEDIA_TYPE = re.compile(r"[!#$&^\w.+-]{1,64}/[!#$&^\w.+-]{1,64}( *; *[!-~ ]{1,120})?", re.ASCII)


def get(house: House, client: Client, request: ConfigurationGet) -> Reply:
    """The current resource, or NotFound."""
    name = _name(client, request.name)
    found = house.ledger.get(KIND, name)
    if found is None:
        raise _not_found(name)
    return ConfigurationReply(_resource(found), found.revision)


def put(house: House, client: Client, request: ConfigurationPut) -> Commit:
    """Create or update one; equal values count as updates too."""
    name = _name(client, request.name)
    settings = house.settings
    # A longer name may have been made through another door; then it is written here like any other.
    if not 1 <= len(name) <= settings.name_length and house.ledger.get(KIND, name) is None:
        raise OutOfBounds(
            f"Name cannot be empty. The name's length should not be more than {settings.name_length} symbols."
        )
    value = request.value
    if value is None:
        raise InvalidParameters(_violation("value", "null", "value field cannot be null."))
    if not 1 <= len(value) <= settings.value_length:
        shown = value if len(value) <= 128 else f"{value[:128]}... ({len(value)} characters)"
        raise OutOfBounds(
            _violation(
                "value",
                shown,
                f"Field cannot be empty. The length of value should not be more than {settings.value_length} symbols.",
            )
        )
    content_type = TEXT
    if request.contentType is not None:
        content_type = request.contentType
        if not _MEDIA_TYPE.fullmatch(content_type):
            raise OutOfBounds("contentType must be a media type such as application/json")
    description = _description(house, request.description)
    write = Write(KIND, name, value.encode(), content_type, description, _expected(request))
    return Commit(Transaction((write,), _author(client)), _written, refusal)


def delete(house: House, client: Client, request: ConfigurationDelete) -> Commit:
    """Delete one; NotFound when there is none."""
    name = _name(client, request.name)
    write = Write(KIND, name, None, "", _description(house, request.description), _expected(request))
    return Commit(Transaction((write,), _author(client)), _deleted, refusal)


def list_(house: House, client: Client, request: ConfigurationList) -> Reply:
    """A page by name of those that match the patterns and lie within the token's."""
    take = TAKE if request.take is None else request.take
    skip = request.skip or 0
    if not 0 <= take <= MOST:
        raise OutOfBounds(f"take must be between 0 and {MOST}")
    if skip < 0:
        raise OutOfBounds("skip must not be negative")
    wanted = _identity(client).names
    if request.names is not None:
        wanted = checked_patterns(request.names) & wanted
    kind = house.ledger.kind(KIND)
    ranges = list(kind.ranges(wanted))
    count = sum(end - start for start, end in ranges)
    first = kind.keys.bisect_right(request.after) if request.after is not None else 0
    page: list[Configuration] = []
    for start, end in ranges:
        start = max(start, first)
        skipped = min(skip, max(0, end - start))
        skip -= skipped
        start += skipped
        if start < end and len(page) < take:
            for key in islice(kind.keys.islice(start, end), take - len(page)):
                page.append(_resource(kind.live[key]))
    return ConfigurationListReply(page, count, house.ledger.revision)


def checked_patterns(given: list[str]) -> Patterns:
    """The patterns of a request as a set. Raises OutOfBounds that names the bad one."""
    if len(given) > MAX_PATTERNS:
        raise OutOfBounds(f"more than {MAX_PATTERNS} name patterns")
    for index, pattern in enumerate(given):
        if (problem := patterns.problem(pattern)) is not None:
            raise OutOfBounds(f"names[{index}]: {problem}")
    return Patterns(given)


def change_of(change: LedgerChange) -> Change:
    """A ledger change as the wire shows it."""
    return Change(
        change.revision,
        "put" if change.content is not None else "delete",
        times.render(change.time),
        change.author,
        change.description,
        _resource(change),
    )


def refusal(refused: Refused) -> WireError:
    """The error for a write that could not be."""
    if isinstance(refused, Mismatch):
        return conflict(refused, refused.failed)
    return _not_found(refused.write.key)


def conflict(refused: Refused, failed: Precondition) -> VersionConflict:
    """A 409 that says what is, what was expected, and carries the current change."""
    last = refused.last
    assert isinstance(failed, Expected)  # noqa: S101 - the preconditions of a request
    what, current, expected = "version", version_of(last), failed.version
    if expected is None or expected == current:
        what, current, expected = "revision", last.revision if last else 0, failed.revision
    text = VersionConflict.text.format(name=refused.write.key, what=what, current=current, expected=expected)
    return VersionConflict(text, change=change_of(last) if last is not None else None)


def _name(client: Client, name: str | None) -> str:
    """The name of a request, if the caller may use it."""
    if name is None:
        raise InvalidParameters("Configuration name is wrong or empty")
    if name == RESERVED or not _identity(client).reaches(name):
        raise AccessDenied
    if not name.isprintable() and (where := forbidden_character(name)) is not None:
        raise OutOfBounds(f"Configuration name has a forbidden character: {where}")
    return name


def _identity(client: Client) -> Identity:
    if client.identity is None:
        raise Unauthorized
    return client.identity


def _author(client: Client) -> str:
    return _identity(client).login


def _description(house: House, description: str | None) -> str | None:
    most = house.settings.description_length
    if description is not None and len(description) > most:
        raise OutOfBounds(f"description is longer than {most} characters")
    return description


def _expected(request: ConfigurationPut | ConfigurationDelete) -> tuple[Precondition, ...]:
    if request.entityVersion is None and request.revision is None:
        return ()
    return (Expected(request.entityVersion, request.revision),)


def _written(changes: list[LedgerChange]) -> Reply:
    return ConfigurationReply(_resource(changes[0]), changes[0].revision)


def _deleted(changes: list[LedgerChange]) -> Reply:
    return RevisionReply(changes[0].revision)


def _resource(change: LedgerChange) -> Configuration:
    return resource(change.key, change.content, change.content_type, change.version)


def _not_found(name: str) -> NotFound:
    return NotFound(f"Requested config with name = {name} not found in the database")


def _violation(field: str, value: str, message: str) -> str:
    """The reference server's words for a rejected field (core protocol, section 1.8)."""
    return (
        "Error! Make sure, that the passed object is correct and properly structured. Validation failed: \n"
        f"On property {field} (value: {value}): {message} ; "
    )


READS = {ConfigurationGet: get, ConfigurationList: list_}
WRITES = {ConfigurationPut: put, ConfigurationDelete: delete}
