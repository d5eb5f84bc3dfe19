"""Looking through configurations: the tree of their names, and the changes of all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

from msgspec import UNSET

from hivewire.actions.checks import checked_patterns, within
from hivewire.actions.layered import check_read, seen_from
from hivewire.caller import Caller
from hivewire.fleet.layer_topic import EVERY
from hivewire.ledger.records import Change, NotKept
from hivewire.ledger.state import Kind
from hivewire.resources import KIND, LAYERED
from hivewire.services import Services
from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import (
    ChangeInfo,
    ConfigurationAudit,
    ConfigurationAuditReply,
    ConfigurationTree,
    ConfigurationTreeReply,
    TreeNode,
)
from hivewire_protocol.nouns.layer import split
from hivewire_protocol.patterns import Patterns

DELIMITER, MAX_DELIMITER = ".", 8

_END = itemgetter(1)

MOST_CHILDREN = 1_000
"""Each takes two searches, about five microseconds."""

AUDIT_TAKE, MOST_CHANGES = 100, 1_000

WINDOW = 200
"""Revisions that are read from the log at a time, backwards; fewer where transactions are long."""

LONG = 2 * WINDOW
"""Changes above which a window is too long. Reading the rest of it could take seconds, and hundreds of megabytes."""

MOST_READ = 50 * WINDOW
"""About the most changes that one request reads: where few of them match, its reply says where to continue."""


def tree(services: Services, caller: Caller, request: ConfigurationTree) -> Reply:
    """A page of the children of a prefix that the token reaches. Raises OutOfBounds."""
    prefix, delimiter = request.prefix or "", DELIMITER if request.delimiter is None else request.delimiter
    if not 1 <= len(delimiter) <= MAX_DELIMITER:
        raise OutOfBounds(f"delimiter must have 1 to {MAX_DELIMITER} characters")
    take = within("take", request.take, MOST_CHILDREN, MOST_CHILDREN)
    names, kind = checked_patterns([f"{prefix}*"]) & caller.identity.names, services.ledger.kind(KIND)
    reached = [*kind.ranges(names)]
    children: list[TreeNode] = []
    for child in _children(kind, names, reached, prefix, delimiter, request.after):
        if len(children) == take:
            break
        children.append(child)
    count = sum(end - start for start, end in reached)
    return ConfigurationTreeReply(children, count, services.ledger.revision)


def _children(
    kind: Kind, names: Patterns, reached: Sequence[tuple[int, int]], prefix: str, delimiter: str, after: str | None
) -> Iterator[TreeNode]:
    """The children within the names, each where the first of its names stands in the order of names. `reached` are the
    ranges of the names.

    Names may stand between a name and those below it: `a`, `a-b`, `a.b`.
    """
    at = 0 if after is None else _behind(kind, names, after, delimiter)
    for start, end in reached:
        at = max(at, start)
        while at < end:
            key = kind.keys[at]
            head, found, _ = key[len(prefix) :].partition(delimiter)
            child = prefix + head
            below = kind.range(child + delimiter)
            if not found:
                yield TreeNode(child, True, _common(reached, below))
                at += 1
                continue
            if child not in kind.live or child not in names:  # else it was there as a leaf
                yield TreeNode(child, False, _common(reached, below))
            at = below[1]


def _behind(kind: Kind, names: Patterns, child: str, delimiter: str) -> int:
    """The index of the first name that is behind a child."""
    if child in kind.live and child in names:
        return int(kind.keys.bisect_right(child))
    return kind.range(child + delimiter)[1]


def _common(ranges: Sequence[tuple[int, int]], of: tuple[int, int]) -> int:
    """How many indexes of a range are in others, which are in order and disjoint."""
    count, (start, end) = 0, of
    for at in range(bisect_right(ranges, start, key=_END), len(ranges)):
        other_start, other_end = ranges[at]
        if other_start >= end:
            break
        count += min(end, other_end) - max(start, other_start)
    return count


async def audit(services: Services, caller: Caller, request: ConfigurationAudit) -> Reply:
    """Changes of the names that the token reaches, newest first, as far as the log reaches. Raises OutOfBounds, and as
    `check_read` for a layer.

    One request reads a limited part of the log, so that it does not delay others; the reply says where to continue.
    """
    take = within("take", request.take, AUDIT_TAKE, MOST_CHANGES)
    before, ledger = request.before, services.ledger
    if before is not None and before < 1:
        raise OutOfBounds("before must be a revision, at least 1")
    wanted, first = _wanted(services, caller, request), dict[str | None, int]()
    end = min(ledger.revision + 1, before or ledger.revision + 1)
    found: list[ChangeInfo] = []
    width, read = WINDOW, 0
    while end > ledger.oldest and len(found) < take and read < MOST_READ:
        start = max(ledger.oldest, end - width)
        try:
            window = await _window(services, start, end, wanted)
        except NotKept:
            break  # the log was shortened
        if window is None:
            width = max(1, width // 4)
            continue
        read += window.read
        for layer in {_layer(each) for each in window.shown} - first.keys():
            first[layer] = await seen_from(services, caller.identity, layer)
        shown = [each for each in window.shown if each.revision >= first[_layer(each)]]
        for revision, changes in groupby(shown, key=attrgetter("revision")):  # whole transactions
            if len(found) >= take:
                break
            end = revision
            found += changes
        else:
            end = start
    return ConfigurationAuditReply(found, end if end > ledger.oldest else None)


def _wanted(services: Services, caller: Caller, request: ConfigurationAudit) -> Callable[[Change], bool]:
    """Whether a change is among those that are requested, and the caller sees it."""
    names, layer, user = checked_patterns(request.names) & caller.identity.names, request.layer, request.user
    if layer is None:
        return lambda change: change.kind == KIND and change.key in names and user in (None, change.author)
    if layer != EVERY:
        check_read(services, caller, layer)

    def wanted(change: Change) -> bool:
        if change.kind != LAYERED or user not in (None, change.author):
            return False
        holder, name = split(change.key)
        return name in names and (holder == layer or (layer == EVERY and services.fleet.sees(caller.identity, holder)))

    return wanted


def _layer(change: ChangeInfo) -> str | None:
    layer = change.configuration.layer
    return None if layer is UNSET else layer


class _Window(NamedTuple):
    """What is wanted of a part of the log, without values, newest transaction first. `read`: how many it has."""

    shown: list[ChangeInfo]
    read: int


async def _window(services: Services, start: int, end: int, wanted: Callable[[Change], bool]) -> _Window | None:
    """The changes from one revision to before another; None where these are too many. Raises NotKept."""
    shown: list[ChangeInfo] = []
    at, read = start - 1, 0
    while at < end - 1 and (portion := await services.ledger.since(at, take=min(WINDOW, end - 1 - at))):
        at = portion[-1].revision
        read += len(portion)
        if read > LONG and at < end - 1:
            return None
        shown += [
            services.resources.change(change, inline=0)
            for change in portion
            if change.revision < end and wanted(change)
        ]
    return _Window(sorted(shown, key=lambda each: -each.revision), read)


READS = {ConfigurationTree: tree, ConfigurationAudit: audit}
