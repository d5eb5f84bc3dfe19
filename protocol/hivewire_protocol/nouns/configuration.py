"""Configuration: the resource, its change, and the requests about it (configuration contract, sections 1-4)."""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.messages import Integer, Reply, Request
from hivewire_protocol.permissions import Permission

TEXT = "text/plain; charset=utf-8"
"""The content type of a value that was put without one."""

INLINE_CHARACTERS = 65_536
"""A longer content is left out of the resource: `value` is null and `size` says how much there is."""

RESERVED = "jwt.secret"
"""A name that DeviceHive kept its signing secret under: nobody reads or writes it here."""

_MEDIA_TYPE = re.compile(r"[!#$&^\w.+-]{1,64}/[!#$&^\w.+-]{1,64}( *; *[!-~ ]{1,120})?", re.ASCII)


class Configuration(Struct, gc=False):
    """The resource. `contentType` and `size` (bytes) follow when the type is not plain text, or the value left out."""

    name: str
    value: str | None
    entityVersion: int
    contentType: str | UnsetType = UNSET
    size: int | UnsetType = UNSET


class ChangeInfo(Struct):
    """What happened to one configuration: a row of its history, and the current state in a conflict."""

    revision: int
    operation: str
    modified: str
    modifiedBy: str | None
    description: str | None
    configuration: Configuration


class ConfigurationGet(Request, tag="configuration/get"):
    """Read one configuration; with `entityVersion` that version of its current life, with `revision` that change."""

    permission: ClassVar[Permission | None] = Permission.GET_CONFIGURATION

    name: str | None = None
    entityVersion: Integer | None = None
    revision: Integer | None = None


class ConfigurationPut(Request, tag="configuration/put"):
    """Create or update one; `entityVersion` (0 = must not exist) and `revision` are what the writer expects."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_CONFIGURATION

    name: str | None = None
    value: str | None = None
    description: str | None = None
    contentType: str | None = None
    entityVersion: Integer | None = None
    revision: Integer | None = None


class ConfigurationDelete(Request, tag="configuration/delete"):
    """Delete one; the expected `entityVersion` and `revision` as for put."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_CONFIGURATION

    name: str | None = None
    description: str | None = None
    entityVersion: Integer | None = None
    revision: Integer | None = None


class ConfigurationList(Request, tag="configuration/list"):
    """List by name, ordinal: those that match `names` (patterns), after the name `after`, `skip`ped, `take` of them."""

    permission: ClassVar[Permission | None] = Permission.GET_CONFIGURATION

    names: list[str] | None = None
    take: Integer | None = None
    skip: Integer | None = None
    after: str | None = None


class ConfigurationHistory(Request, tag="configuration/history"):
    """The changes of one name, newest first, deletes and earlier lives too; `before` is a revision."""

    permission: ClassVar[Permission | None] = Permission.GET_CONFIGURATION

    name: str | None = None
    take: Integer | None = None
    before: Integer | None = None


class ConfigurationRollback(Request, tag="configuration/rollback"):
    """Write the content and type of an earlier version (`to`) or change (`toRevision`) as a new version."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_CONFIGURATION

    name: str | None = None
    to: Integer | None = None
    toRevision: Integer | None = None
    description: str | None = None
    entityVersion: Integer | None = None
    revision: Integer | None = None


class TransactChange(Struct, gc=False):
    """One write of a transaction: `put` or `delete`, with what those requests take."""

    operation: str | None = None
    name: str | None = None
    value: str | None = None
    description: str | None = None
    contentType: str | None = None
    entityVersion: Integer | None = None
    revision: Integer | None = None


class ConfigurationTransact(Request, tag="configuration/transact"):
    """Write 1 to 1,000 names, each at most once, all or nothing, under one revision."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_CONFIGURATION

    changes: list[TransactChange] | None = None


class ConfigurationReply(Reply):
    """The resource and the `revision` of its last change: the answer to get and put."""

    configuration: Configuration
    revision: int


class RevisionReply(Reply):
    """The `revision` of the delete."""

    revision: int


class ConfigurationHistoryReply(Reply):
    """Changes, newest first."""

    changes: list[ChangeInfo]


class ConfigurationTransactReply(Reply):
    """The resources in the order of the changes, a deleted one with value null, and the revision of all of them."""

    bounded: ClassVar[bool] = False

    configurations: list[Configuration]
    revision: int


class ConfigurationListReply(Reply):
    """A page of resources, the `count` before paging, and the ledger's `revision` at which both are true."""

    configurations: list[Configuration]
    count: int
    revision: int


def is_text(content_type: str) -> bool:
    """Whether a content of this type is shown in `value`: text/*, JSON and XML and what is built on them."""
    if content_type == TEXT:
        return True
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.startswith("text/") or media_type.endswith(("/json", "/xml", "+json", "+xml"))


def is_media_type(text: str) -> bool:
    """Whether a configuration can have this `contentType`."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def resource(name: str, content: bytes | None, content_type: str, version: int) -> Configuration:
    """The resource as every admission shows it; `content` None is a deleted one."""
    if content is None:
        return Configuration(name, None, version)
    value = _shown(content) if is_text(content_type) else None
    if value is not None and content_type == TEXT:
        return Configuration(name, value, version)
    return Configuration(name, value, version, content_type, len(content))


def _shown(content: bytes) -> str | None:
    """The content as text; None when it is not UTF-8 or too long, and is shown by its size only."""
    if len(content) > 4 * INLINE_CHARACTERS:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= INLINE_CHARACTERS else None


def forbidden_character(name: str) -> str | None:
    """The first character of a name that no name may have (section 1), as `U+XXXX at position N`; None if fine."""
    for position, character in enumerate(name):
        if character < " " or "\ud800" <= character <= "\udfff" or character in "\ufffe\uffff":
            return f"U+{ord(character):04X} at position {position}"
    return None
