"""Serving a subscription that is behind: from the log, or by copying it the state (configuration contract, section 8).

Each function does one step of a few milliseconds and leaves in the subscription how far it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hivewire.hub.entries import Entry, transactions
from hivewire.hub.feed import Subscription
from hivewire.ledger.records import Change, NotKept
from hivewire.ledger.state import Kind
from hivewire_protocol.close import Code

if TYPE_CHECKING:
    from hivewire.hub.hub import Hub

PORTION = 1_000
"""Changes that are read from the log at a time."""

WRITE = 64 << 10
"""Bytes of frames that are gathered for one write; after each the peer is looked at."""

SNAPSHOT_BYTES = 256 << 10
"""The most in one snapshot frame, unless it is a single record (configuration contract, section 4)."""

ENVELOPE = 512
"""What is around the records of a snapshot frame, at most."""

LOOK = 5_000
"""Records that one step of a conflated run looks at."""


async def advance(hub: Hub, sub: Subscription) -> None:
    """Bring a subscription nearer to the present; it is live when it has got there."""
    idle, sub.idle = sub.idle, False
    if idle and sub.cursor is None:  # what is being copied is the latest anyway
        await _judge(hub, sub)
    elif sub.at < hub.ledger.revision:
        await _read_on(hub, sub)
    elif sub.cursor is None:
        sub.live = True
    elif sub.floor:
        _copy_changed(hub, sub)
    else:
        _copy(hub, sub)


async def _read_on(hub: Hub, sub: Subscription) -> None:
    target, turn = hub.ledger.revision, sub.turn
    portion = hub.recent.after(sub.at, PORTION)
    if portion is None:
        try:
            portion = [Entry(change) for change in await hub.ledger.since(sub.at, take=PORTION)]
        except NotKept:
            if sub.turn == turn:
                _start_over(hub, sub)
            return
        if sub.turn != turn or sub.feed.stalled:
            return
    if portion:
        deliver(hub, sub, transactions(portion))
    else:
        sub.at = target  # what was there left no trace, such as an old state of a user


def deliver(hub: Hub, sub: Subscription, portion: Iterable[list[Entry]]) -> None:
    """Push what matches of these transactions, and stop as soon as the peer does not keep up."""
    out: list[bytes] = []
    size = 0
    feed = sub.feed
    for transaction in portion:
        revision = transaction[0].revision
        entries = [entry for entry in transaction if _wants(sub, entry.change)]
        for number in range(sub.sent, len(entries)):
            position = hub.position(revision) if sub.cursor is None and number == len(entries) - 1 else None
            out.append(hub.update(sub, entries[number], position, conflated=sub.floor > 0))
            if position is not None:
                sub.told = revision
            size += len(out[-1])
            if size >= WRITE:
                feed.listener.push(b"".join(out))
                out, size = [], 0
                if feed.stalled:
                    whole = number + 1 == len(entries)
                    sub.at, sub.sent = (revision, 0) if whole else (revision - 1, number + 1)
                    return
        sub.at, sub.sent = revision, 0
    if out:
        feed.listener.push(b"".join(out))


def _wants(sub: Subscription, change: Change) -> bool:
    """Whether it is about a name that the subscription has by now, or does not have to get any more."""
    if change.kind != sub.topic.kind or change.key not in sub.served:
        return False
    return sub.cursor is None or change.key <= sub.cursor or (sub.floor > 0 and change.content is None)


async def _judge(hub: Hub, sub: Subscription) -> None:
    """The peer had not read for a while: conflate if it would have to read too many changes."""
    turn = sub.turn
    if sub.sent and hub.ledger.covers(sub.at):
        # What it has of a transaction would come again in the run: it gets the rest first.
        try:
            broken_off = await hub.ledger.since(sub.at, take=1)
        except NotKept:
            return  # reading on finds out the same
        if sub.turn != turn:
            return
        deliver(hub, sub, transactions(map(Entry, broken_off)))
        if sub.sent or sub.feed.stalled:
            return
    at, left = sub.at, hub.conflate_after
    while left >= 0 and hub.ledger.oldest - 1 <= at:
        if at >= hub.ledger.revision:
            return
        try:
            portion = await hub.ledger.since(at, take=PORTION)
        except NotKept:
            if sub.turn != turn:
                return
            break
        if sub.turn != turn or not portion:
            return
        left -= sum(_wants(sub, change) for change in portion)
        at = portion[-1].revision
    _conflate(hub, sub)


def _start_over(hub: Hub, sub: Subscription) -> None:
    """The log does not go back so far: neither do its tombstones, so the state replaces what the client has."""
    if not sub.conflate:
        sub.feed.listener.close(Code.SLOW_CONSUMER)
        sub.feed.end(sub)
        return
    sub.copy_from(hub.ledger.revision)
    sub.reset = True


def _conflate(hub: Hub, sub: Subscription) -> None:
    if not hub.ledger.covers(sub.at) or not sub.conflate:
        _start_over(hub, sub)
        return
    kind = hub.ledger.kind(sub.topic.kind)
    floor = sub.at
    sub.copy_from(hub.ledger.revision, floor)
    sub.buried = [change for change in kind.tombstones.values() if change.revision > floor and change.key in sub.served]


def _copy(hub: Hub, sub: Subscription) -> None:
    """The next frame of a snapshot. It goes out in the same moment in which it is known to be up to date."""
    assert sub.cursor is not None  # noqa: S101 - this is what it is called for
    topic, kind = sub.topic, hub.ledger.kind(sub.topic.kind)
    elements: list[bytes] = []
    size, last = 0, True
    for name in _names_after(kind, sub, sub.cursor):
        element = topic.entry(kind.live[name])
        size += len(element) + 1
        if elements and size > SNAPSHOT_BYTES - ENVELOPE:
            last = False
            break
        elements.append(element)
        sub.cursor = name
    members = b'"%b":[%b],"last":%b' % (topic.elements.encode(), b",".join(elements), b"true" if last else b"false")
    position = None
    if sub.reset:
        members, sub.reset = b'"reset":true,' + members, False
    if last:
        position = hub.position(sub.at)
        members = b'"position":"%b",%b' % (position.encode(), members)
        sub.cursor, sub.live, sub.told = None, True, sub.at
    sub.feed.listener.push(sub.shape.render("snapshot", members, position))


def _names_after(kind: Kind, sub: Subscription, cursor: str) -> Iterator[str]:
    first = kind.keys.bisect_right(cursor) if cursor else 0
    for start, end in kind.ranges(sub.served):
        if end > first:
            yield from kind.keys.islice(max(start, first), end)


def _copy_changed(hub: Hub, sub: Subscription) -> None:
    """The next frames of a conflated run: the tombstones first, then the records by name."""
    assert sub.cursor is not None  # noqa: S101 - this is what it is called for
    kind, out, size = hub.ledger.kind(sub.topic.kind), [], 0
    while sub.buried and size < WRITE:
        change = sub.buried.pop()
        # What happened to the name since has been delivered if it is a delete, and else comes with the live ones.
        if kind.last(change.key) in (None, change):
            out.append(Entry(change))
            size += 500
    last = False
    if not sub.buried:
        last = True
        for number, name in enumerate(_names_after(kind, sub, sub.cursor)):
            if number == LOOK or size >= WRITE:
                last = False
                break
            sub.cursor = name
            change = kind.live[name]
            if change.revision > sub.floor:
                out.append(Entry(change))
                size += len(change.content or b"") + 500
    position = hub.position(sub.at) if last else None
    frames = [hub.update(sub, entry, None, conflated=True) for entry in out[: -1 if last else None]]
    if last:
        frames.append(hub.update(sub, out[-1], position, conflated=True) if out else hub.bookmark(sub, sub.at))
        sub.cursor, sub.floor, sub.buried, sub.live, sub.told = None, 0, None, True, sub.at
    if frames:
        sub.feed.listener.push(b"".join(frames))
