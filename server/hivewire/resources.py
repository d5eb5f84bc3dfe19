"""Configurations as the wire shows them (configuration contract, section 1), encoded once for all who ask."""

from __future__ import annotations

from hivewire.ledger.records import Change
from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import ChangeInfo, Configuration, resource

CACHE_BYTES = 16 << 20
"""The most that encoded resources may take: those of some 40,000 small configurations."""

ENTRY_BYTES = 300
"""What an entry of the cache takes beside the encoded resource: a tuple, two places in a dictionary, its key."""


def resource_of(change: Change) -> Configuration:
    """The resource after a change."""
    return resource(change.key, change.content, change.content_type, change.version)


def change_of(change: Change) -> ChangeInfo:
    """A change as a push, a history and a conflict show it."""
    return ChangeInfo(
        change.revision,
        "put" if change.content is not None else "delete",
        times.render(change.time),
        change.author,
        change.description,
        resource_of(change),
    )


class ResourceReply(Reply):
    """The answer to get, put and rollback, made straight from the change: what `ConfigurationReply` says."""

    change: Change
    resource: bytes

    @property
    def configuration(self) -> Configuration:
        """The resource."""
        return resource_of(self.change)

    @property
    def revision(self) -> int:
        """That of the change."""
        return self.change.revision

    def members(self) -> bytes:
        """As ConfigurationReply has them."""
        return b'"configuration":%b,"revision":%d' % (self.resource, self.change.revision)


class Resources:
    """Encoded resources, each beside the change that it shows, so that an old one is noticed. `limit` is in bytes.

    The one that came first goes first: to keep account of what was read last would cost more than it saves.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.size = 0
        """Bytes that are taken now."""
        self._limit = limit
        self._kept: dict[str, tuple[Change, bytes]] = {}

    def encoded(self, change: Change) -> bytes:
        """The JSON of the resource after a change."""
        kept = self._kept.get(change.key)
        if kept is not None:
            if kept[0] is change:
                return kept[1]
            self.size -= _weight(kept)
        data = encode(resource_of(change))
        self._kept[change.key] = kept = change, data
        self.size += _weight(kept)
        while self.size > self._limit:
            self.size -= _weight(self._kept.pop(next(iter(self._kept))))
        return data

    def written(self, changes: list[Change]) -> ResourceReply:
        """The reply to a write of one configuration."""
        return ResourceReply(changes[0], self.encoded(changes[0]))


def _weight(kept: tuple[Change, bytes]) -> int:
    """What an entry holds on to: a change that was replaced is kept by it alone."""
    return ENTRY_BYTES + len(kept[1]) + len(kept[0].content or b"")
