"""Looking through configurations: the tree of their names, and the changes of all of them."""

from __future__ import annotations

from collections.abc import Iterator

from hivewire.actions.checks import checked_patterns, within
from hivewire.caller import Caller
from hivewire.ledger.records import Change, NotKept
from hivewire.ledger.state import Kind
from hivewire.resources import KIND
from hivewire.services import Services
from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import (
    ConfigurationAudit,
    ConfigurationAuditReply,
    ConfigurationTree,
    ConfigurationTreeReply,
    TreeNode,
)
from hivewire_protocol.patterns import Patterns

DELIMITER, MAX_DELIMITER = ".", 8

MOST_CHILDREN = 1_000
"""Each takes two searches, about ten microseconds."""

AUDIT_TAKE, MOST_CHANGES = 100, 1_000

WINDOW = 200
"""Revisions that are read from the log at a time, backwards."""

WINDOWS = 50
"""Most windows of one request: where few changes match, its reply says where to continue."""


def tree(services: Services, caller: Caller, request: ConfigurationTree) -> Reply:
    """A page of the children of a prefix that the token reaches. Raises OutOfBounds."""
    prefix, delimiter = request.prefix or "", DELIMITER if request.delimiter is None else request.delimiter
    if not 1 <= len(delimiter) <= MAX_DELIMITER:
        raise OutOfBounds(f"delimiter must have 1 to {MAX_DELIMITER} characters")
    take = within("take", request.take, MOST_CHILDREN, MOST_CHILDREN)
    names, kind = checked_patterns([f"{prefix}*"]) & caller.identity.names, services.ledger.kind(KIND)
    children: list[TreeNode] = []
    for child in _children(kind, names, prefix, delimiter, request.after):
        if len(children) == take:
            break
        children.append(child)
    return ConfigurationTreeReply(children, _count(kind, names), services.ledger.revision)


def _children(kind: Kind, names: Patterns, prefix: str, delimiter: str, after: str | None) -> Iterator[TreeNode]:
    """The children within the names, each where the first of its names stands in the order of names.

    Names may stand between a name and those below it: `a`, `a-b`, `a.b`.
    """
    at = 0 if after is None else _behind(kind, names, after, delimiter)
    for start, end in kind.ranges(names):
        at = max(at, start)
        while at < end:
            key = kind.keys[at]
            head, found, _ = key[len(prefix) :].partition(delimiter)
            child = prefix + head
            if not found:
                yield TreeNode(child, True, _count(kind, Patterns((child + delimiter + "*",)) & names))
                at += 1
                continue
            below = Patterns((child + delimiter + "*",))
            if child not in kind.live or child not in names:  # else it was there as a leaf
                yield TreeNode(child, False, _count(kind, below & names))
            at = next(kind.ranges(below))[1]


def _behind(kind: Kind, names: Patterns, child: str, delimiter: str) -> int:
    """The index of the first name that is behind a child."""
    if child in kind.live and child in names:
        return int(kind.keys.bisect_right(child))
    return next(kind.ranges(Patterns((child + delimiter + "*",))))[1]


def _count(kind: Kind, names: Patterns) -> int:
    return sum(end - start for start, end in kind.ranges(names))


async def audit(services: Services, caller: Caller, request: ConfigurationAudit) -> Reply:
    """Changes of the names that the token reaches, newest first, as far as the log reaches. Raises OutOfBounds.

    One request reads a limited part of the log, so that it does not delay others; the reply says where to continue.
    """
    take = within("take", request.take, AUDIT_TAKE, MOST_CHANGES)
    before, ledger = request.before, services.ledger
    if before is not None and before < 1:
        raise OutOfBounds("before must be a revision, at least 1")
    names = checked_patterns(request.names) & caller.identity.names
    end = min(ledger.revision + 1, before or ledger.revision + 1)
    found: list[Change] = []
    for _ in range(WINDOWS):
        if end <= ledger.oldest or len(found) >= take:
            break
        start = max(ledger.oldest, end - WINDOW)
        try:
            window = await _window(services, start, end)
        except NotKept:
            break  # the log was shortened
        wanted = [
            change
            for change in window
            if change.kind == KIND and change.key in names and request.user in (None, change.author)
        ]
        while wanted and len(found) < take:  # whole transactions, the last one first
            end = wanted[0].revision
            found += [change for change in wanted if change.revision == end]
            wanted = [change for change in wanted if change.revision < end]
        end = end if wanted else start
    more = end if end > ledger.oldest else None
    return ConfigurationAuditReply([services.resources.change(change, inline=0) for change in found], more)


async def _window(services: Services, start: int, end: int) -> list[Change]:
    """The changes from one revision to before another, newest transaction first. Raises NotKept."""
    found: list[Change] = []
    at = start - 1
    while at < end - 1 and (portion := await services.ledger.since(at, take=WINDOW)):
        at = portion[-1].revision
        found += [change for change in portion if change.revision < end]
    return sorted(found, key=lambda change: -change.revision)


READS = {ConfigurationTree: tree, ConfigurationAudit: audit}
