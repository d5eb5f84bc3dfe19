"""When a write is refused: the `abort` parameter and its tables of decisions (site properties, section 7)."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from hivewire_protocol.errors import OutOfBounds


class Abort(Enum):
    """The `abort` parameter: when not to write."""

    NEVER = "never"
    MODIFIED = "modified"
    EXISTS = "exists"


def abort_of(text: str) -> Abort:
    """The value of an `abort` parameter, in any case. Raises OutOfBounds."""
    try:
        return Abort(text.lower())
    except ValueError:
        raise OutOfBounds("abort must be never, modified or exists") from None


class AbortRule(NamedTuple):
    """The status of each kind of write: with the current etag, another one or none; of a new property, without an etag
    and with one."""

    match: int
    stale: int
    none: int
    new: int
    new_with_etag: int


PUT = {
    #                    match stale none  new  new with an etag
    Abort.MODIFIED: AbortRule(200, 409, 409, 404, 404),
    Abort.EXISTS: AbortRule(409, 409, 409, 200, 200),
    Abort.NEVER: AbortRule(200, 200, 200, 200, 200),
}
POST = {
    Abort.MODIFIED: AbortRule(200, 409, 409, 200, 409),
    Abort.EXISTS: AbortRule(409, 409, 409, 200, 200),
    Abort.NEVER: AbortRule(200, 200, 200, 200, 200),
}
PUT_MAY_CREATE = {**PUT, Abort.MODIFIED: POST[Abort.MODIFIED]}
"""PUT creates, as in the open-source server (section 11, row 2)."""

ENTRY = AbortRule(200, 409, 409, 200, 200)
"""An entry of a batch with contents (section 7.3)."""


def verdict(rule: AbortRule, given: str | None, current: str | None) -> int:
    """The status of a write with the etag `given` to a property whose etag is `current`; None stands for none."""
    if current is None:
        return rule.new if given is None else rule.new_with_etag
    if given is None:
        return rule.none
    return rule.match if given == current else rule.stale


def reason(rule: AbortRule, given: str | None, current: str | None) -> str:
    """Why such a write was refused, for the error text."""
    if current is None:
        return "There is no such property" if rule.new == 404 else "There is no such property that the etag could match"
    if rule.match != 200:
        return "The property exists already"
    if given is None:
        return "An etag is required to change a property; abort=never overwrites whatever is there"
    return "The etag does not match the current revision"
