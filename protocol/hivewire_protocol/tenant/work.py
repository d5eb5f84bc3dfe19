"""Whole operations on documents, from bytes to bytes: validating, saving, showing.

Each takes plain values and runs in steps, so it can run in slices on the event loop or without pauses in a worker
process. Each raises TenantError.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from hivewire_protocol.tenant import objects
from hivewire_protocol.tenant.differences import Differences, compare
from hivewire_protocol.tenant.documents import Document, check_depth, parse, parse_value, render
from hivewire_protocol.tenant.elements import uri_of, walk
from hivewire_protocol.tenant.errors import (
    BadRequest,
    Finding,
    Invalid,
    NotJson,
    Stale,
    TenantError,
    TooLarge,
    Unreadable,
    ValidationError,
)
from hivewire_protocol.tenant.ids import ids_of, number, stamp
from hivewire_protocol.tenant.steps import Steps
from hivewire_protocol.tenant.validation import Checked, validate


class Rules(Struct, frozen=True):
    """The settings that saving depends on. `limit` is the size of the largest stored document in bytes."""

    strict: bool
    known_members_only: bool
    limit: int


class Edit(Struct, frozen=True):
    """A change of one type, part or source of a document (sections 2.2 to 2.4)."""

    verb: Literal["insert", "replace", "remove"]
    address: tuple[str, ...]


class Version(Struct, frozen=True):
    """A stored version, and the last number that was used for an id."""

    document: bytes
    counter: int


class Saved(Struct, frozen=True):
    """A document ready to be stored. `part` is the edited part as it is in the new document, null when it was removed;
    `warnings` is the number of findings that did not keep it from being saved."""

    document: bytes
    counter: int
    differences: Differences
    part: bytes
    warnings: int


def find(body: bytes, rules: Rules) -> Steps[list[Finding]]:
    """The findings in a document, without saving it. Raises TenantError when it cannot be read."""
    document = yield from parse(body)
    return (yield from _check(document, rules)).findings


def save(
    body: bytes | None,
    edit: Edit | None,
    old: Version | None,
    rules: Rules,
    members: dict[str, Any],
    *,
    stale: bool,
) -> Steps[Saved]:
    """What to store for a whole document (`edit` is None), or for an edit of the stored one, which must exist.

    `members` are those that the server sets. `stale` says that the precondition does not hold; errors in the document
    are reported before it (section 10). Raises TenantError when nothing may be saved.
    """
    value: Any = None
    before: Document | None = None
    if edit is None or old is None:
        document = yield from parse(body or b"")
    else:
        if body is not None:
            value = yield from _value(body)
        before = yield from _parse_stored(old.document)
        document = _apply_edit(before, edit, value)  # leaves `before` as it is
        check_depth(document)  # the value is nested deeper in the document than in its body
    checked = yield from _check(document, rules)
    if wrong := checked.errors:
        raise Invalid(wrong) if edit is None else ValidationError(wrong)
    if stale:
        raise Stale
    if before is None and old is not None:
        before = yield from _parse_stored(old.document)
    ids = (yield from ids_of(before)) if before is not None else {}
    numbered = yield from number(document, ids, old.counter if old is not None else 0)
    differences = yield from compare(before, numbered.document)
    rendered = render(stamp(numbered.document, members))
    # A document that is over the limit because the limit was lowered can still be changed, if it does not grow.
    if len(rendered) > rules.limit and (old is None or len(rendered) > len(old.document)):
        raise TooLarge(
            f"The configuration would become {len(rendered):,} bytes long, with ids; {rules.limit:,} is the limit",
            "Nothing was changed.",
        )
    shown = None
    if edit is not None and edit.verb != "remove":
        shown = _at(numbered.document, _place(edit, value))
    return Saved(rendered, numbered.counter, differences, render(shown), checked.warnings)


def collections(document: bytes, names: list[str], privileges: list[str] | None) -> Steps[bytes]:
    """The collections of a document (all of it without names), each element with `access` if privileges are given."""
    value = yield from _parse_stored(document)
    if privileges is not None:
        for count, element in enumerate(walk(value)):
            if element.owner is not None:
                element.value["access"] = privileges
            if not count % 1_000:
                yield
    return render(objects.select(value, names) if names else value)


def part(document: bytes, address: tuple[str, ...]) -> Steps[bytes]:
    """A collection, a type, or a part of one. Raises TypeIsNotFound."""
    value = yield from _parse_stored(document)
    return render(_at(value, address))


def _value(body: bytes) -> Steps[Any]:
    try:
        return (yield from parse_value(body))
    except NotJson as error:  # section 2.2: a malformed type is a BAD_REQUEST
        raise BadRequest(str(error), error.args[1]) from None


def _parse_stored(document: bytes) -> Steps[Document]:
    try:
        return (yield from parse(document))
    except TenantError as error:
        raise Unreadable(None, str(error)) from None


def _at(document: Document, address: tuple[str, ...]) -> Any:
    if _is_publish_date(address):
        return objects.source_publish_date(document, address[1])
    return objects.get(document, address)


def _check(document: Document, rules: Rules) -> Steps[Checked]:
    return validate(document, strict=rules.strict, known_members_only=rules.known_members_only)


def _apply_edit(document: Document, edit: Edit, value: Any) -> Document:
    if edit.verb == "insert":
        return objects.insert(document, edit.address, value)
    if edit.verb == "remove":
        return objects.remove(document, edit.address)
    if _is_publish_date(edit.address):
        return objects.with_source_publish_date(document, edit.address[1], value)
    return objects.replace(document, edit.address, value)


def _place(edit: Edit, value: Any) -> tuple[str, ...]:
    """The address of the edited part. A part that was added to a collection is found there by its name."""
    if edit.verb == "insert" and len(edit.address) % 2:
        return (*edit.address, (uri_of(value) or "").rpartition("/")[2])
    return edit.address


def _is_publish_date(address: tuple[str, ...]) -> bool:
    return len(address) == 3 and (address[0], address[2]) == ("sources", "sourcePublishDate")
