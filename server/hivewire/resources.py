"""Configurations in the form of the API (configuration contract, section 1), encoded once for all readers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from hivewire.hub.source import Topic
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import (
    Change,
    Condition,
    Expected,
    Guard,
    Precondition,
    PreconditionFailed,
    Refused,
    Unfit,
    Write,
    version_of,
)
from hivewire.schemas.schemas import Schemas, name_of
from hivewire_protocol import times
from hivewire_protocol.errors import NotFound, VersionConflict, WireError
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import (
    INLINE_CHARACTERS,
    TEXT,
    ChangeInfo,
    Configuration,
    ConfigurationReply,
    resource,
)
from hivewire_protocol.nouns.layer import split

KIND = "configuration"
"""The kind of their records."""

LAYERED = "layerConfiguration"
"""The kind of the records of those in layers, whose keys are `LAYER/NAME`."""

CACHE_BYTES = 16 << 20
"""The most memory for encoded resources: about 40,000 small configurations."""

ENTRY_BYTES = 300
"""Memory of a cache entry beside the encoded resource: a reply, two dictionary slots, its key."""


def resource_of(change: Change, inline: int = INLINE_CHARACTERS, *, secret: bool) -> Configuration:
    """The resource after a change; a content of more than `inline` characters, or a secret one, is left out."""
    layer, name = split(change.key) if change.kind == LAYERED else (UNSET, change.key)
    shown = resource(name, change.content, change.content_type, change.version, inline, secret=secret)
    shown.layer = layer
    return shown


def info_of(change: Change, shown: Configuration) -> ChangeInfo:
    """A change as a push, a history and a conflict show it, with the resource after it."""
    return ChangeInfo(
        change.revision,
        "put" if change.content is not None else "delete",
        times.render(change.time),
        change.author,
        change.description,
        shown,
    )


SHOWN = 256
"""Characters of a name or a value that an error repeats."""


def not_found(name: str) -> NotFound:
    """The error for a configuration that does not exist."""
    return NotFound(f"Requested config with name = {name[:SHOWN]} not found in the database")


class ResourceReply(Reply):
    """The answer to a get, encoded once for all who ask: what `ConfigurationReply` says.

    `encoded` are its members as JSON.
    """

    change: Change
    encoded: bytes

    @property
    def configuration(self) -> Configuration:
        """The resource."""
        return msgspec.json.decode(self.resource, type=Configuration)

    @property
    def revision(self) -> int:
        """The revision of the change."""
        return self.change.revision

    @property
    def resource(self) -> bytes:
        """The resource alone, as JSON."""
        return self.encoded[len(b'"configuration":') : self.encoded.rindex(b',"revision":')]

    def members(self) -> bytes:
        """The members, as ConfigurationReply encodes them."""
        return self.encoded

    def member(self, name: str) -> bytes:
        """One member as JSON."""
        return self.resource if name == "configuration" else super().member(name)


class Resources:
    """Configurations as answers and pushes show them, without the values that are secret.

    Encoded replies by name, of resources that were read since they were written. `limit` is in bytes.

    A change drops its reply, so a reply is never stale, and a hit needs no lookup in the state. The oldest entry is
    dropped first: to track the least recently used one would cost more than it saves.
    """

    def __init__(self, ledger: Ledger, schemas: Schemas, limit: int = CACHE_BYTES) -> None:
        self.size = 0
        """Bytes in use."""
        self.topics: dict[tuple[int, bool, bool, bool], Topic] = {}
        """What can be followed of them, by its form: see `actions.topics`."""
        self._schemas = schemas
        self._limit = limit
        self._live = ledger.kind(KIND).live
        self._kept: dict[str, ResourceReply] = {}
        ledger.observe(self._apply, KIND)
        schemas.on_secrets.append(self._forget)

    def of(self, change: Change, inline: int = INLINE_CHARACTERS, *, reveal: bool = False) -> Configuration:
        """The resource after a change; a content of more than `inline` characters is left out."""
        schemas = self._schemas
        secret = not reveal and schemas.secrets > 0 and schemas.is_secret(name_of(change))
        return resource_of(change, inline, secret=secret)

    def change(self, change: Change, inline: int = INLINE_CHARACTERS, *, reveal: bool = False) -> ChangeInfo:
        """A change as a push, a history and a conflict show it; a longer content is left out."""
        return info_of(change, self.of(change, inline, reveal=reveal))

    def written(self, changes: list[Change]) -> ConfigurationReply:
        """The reply to a write of one configuration."""
        change = changes[0]
        content = change.content
        # Nearly all are short plain text, and need not be looked at as closely as other types of content.
        plain = change.content_type == TEXT and change.kind == KIND and not self._schemas.secrets
        if plain and content is not None and len(content) <= INLINE_CHARACTERS:
            try:
                shown = Configuration(change.key, content.decode(), change.version)
            except UnicodeDecodeError:
                shown = self.of(change)
        else:
            shown = self.of(change)
        return ConfigurationReply(shown, change.revision)

    def refusal(self, refused: Refused) -> WireError:
        """The error for a refused write of configurations."""
        if isinstance(refused, Unfit):
            return refused.error
        if not isinstance(refused, PreconditionFailed):
            return not_found(_name_of(refused.write))
        if isinstance(refused.failed, Condition):
            return refused.failed.error(refused.last)
        return self._conflict(refused, refused.failed)

    def _conflict(self, refused: Refused, failed: Precondition) -> VersionConflict:
        """A 409 with the expected and the current version, and the current change."""
        last = refused.last
        assert isinstance(failed, Expected)  # noqa: S101 - the preconditions of a request
        what, current, expected = "version", version_of(last), failed.version
        if expected is None or expected == current:
            what, current, expected = "revision", last.revision if last else 0, failed.revision
        name = _name_of(refused.write)
        text = VersionConflict.text.format(name=name, what=what, current=current, expected=expected)
        return VersionConflict(text, change=self.change(last) if last is not None else None)

    def read(self, name: str) -> ResourceReply | None:
        """The reply that shows the resource, or None when there is none."""
        reply = self._kept.get(name)
        if reply is None and (change := self._live.get(name)) is not None:
            reply = self._kept[change.key] = ResourceReply(change, self.written([change]).members())
            self.size += _taken(reply)
            while self.size > self._limit:
                self._drop(next(iter(self._kept)))
        return reply

    def _apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.key in self._kept and change.kind == KIND:
                self._drop(change.key)

    def _forget(self) -> None:
        self._kept.clear()
        self.size = 0

    def _drop(self, key: str) -> None:
        self.size -= _taken(self._kept.pop(key))


def _name_of(write: Write | Guard) -> str:
    return split(write.key)[1] if write.kind == LAYERED else write.key


def _taken(reply: ResourceReply) -> int:
    return ENTRY_BYTES + len(reply.encoded)
