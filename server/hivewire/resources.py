"""Configurations as the wire shows them (configuration contract, section 1), encoded once for all who ask."""

from __future__ import annotations

from hivewire.ledger.records import Change
from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import INLINE_CHARACTERS, TEXT, ChangeInfo, Configuration, resource

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
    """The answer to get, put and rollback, made straight from the change: what `ConfigurationReply` says.

    `encoded` are its members as JSON.
    """

    change: Change
    encoded: bytes

    @property
    def configuration(self) -> Configuration:
        """The resource."""
        return resource_of(self.change)

    @property
    def revision(self) -> int:
        """That of the change."""
        return self.change.revision

    @property
    def resource(self) -> bytes:
        """The resource alone, as JSON."""
        return self.encoded[len(b'"configuration":') : self.encoded.rindex(b',"revision":')]

    def members(self) -> bytes:
        """As ConfigurationReply has them."""
        return self.encoded


class Resources:
    """Encoded replies, each beside the change that it shows, so that an old one is noticed. `limit` is in bytes.

    What is read is kept, and what is written when it was read before. The one that came first goes first: to keep
    account of what was read last would cost more than it saves.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.size = 0
        """Bytes that are taken now."""
        self._limit = limit
        self._kept: dict[str, tuple[Change, bytes]] = {}

    def read(self, change: Change) -> ResourceReply:
        """The reply that shows the resource after a change."""
        kept = self._kept.get(change.key)
        if kept is not None and kept[0] is change:
            return ResourceReply(change, kept[1])
        data = _encoded(change)
        self._keep(change, data)
        return ResourceReply(change, data)

    def written(self, changes: list[Change]) -> ResourceReply:
        """The reply to a write of one configuration."""
        change = changes[0]
        data = _encoded(change)
        if change.key in self._kept:
            self._keep(change, data)
        return ResourceReply(change, data)

    def _keep(self, change: Change, data: bytes) -> None:
        key = change.key
        former = self._kept.get(key)
        self._kept[key] = change, data
        # Counted twice, as the change of a record that was deleted since is kept by this alone.
        if former is not None:
            self.size += 2 * (len(data) - len(former[1]))
        else:
            self.size += ENTRY_BYTES + 2 * len(data)
        while self.size > self._limit:
            self.size -= ENTRY_BYTES + 2 * len(self._kept.pop(next(iter(self._kept)))[1])


def _encoded(change: Change) -> bytes:
    content = change.content
    # Nearly all are short plain text, and need not be looked at as closely as other types of content.
    if change.content_type == TEXT and content is not None and len(content) <= INLINE_CHARACTERS:
        try:
            shown = Configuration(change.key, content.decode(), change.version)
        except UnicodeDecodeError:
            shown = resource_of(change)
    else:
        shown = resource_of(change)
    return b'"configuration":%b,"revision":%d' % (encode(shown), change.revision)
