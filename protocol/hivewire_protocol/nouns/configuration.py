"""Configuration: the resource, its change, and the requests about it (configuration contract, sections 1-4)."""

import re
from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.errors import (
    Conflict,
    DoesNotFit,
    NotAllowed,
    NotFound,
    OutOfBounds,
    Unavailable,
    VersionConflict,
)
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WasDryRun, says
from hivewire_protocol.permissions import Permission

MAX_TRANSACTION = 1_000
"""Changes of one transaction (configuration contract, section 4)."""

TEXT = "text/plain; charset=utf-8"
"""The content type of a value that was put without one."""

INLINE_CHARACTERS = 65_536
"""A longer content is left out of the resource: `value` is null and `size` gives its length in bytes."""

RESERVED = "jwt.secret"
"""The name under which DeviceHive kept its signing secret. Nobody can read or write it here."""

_MEDIA_TYPE = re.compile(r"[!#$&^\w.+-]{1,64}/[!#$&^\w.+-]{1,64}( *; *[!-~ ]{1,120})?", re.ASCII)


# Members that several requests and replies share.
_Name = Annotated[str | None, says("The configuration's name.")]
_Value = Annotated[str | None, says("The new content, at least one character.")]
Description = Annotated[str | None, says("The reason of the change; shown in the history.")]
_ContentType = Annotated[str | None, says("The media type of the content; default `text/plain; charset=utf-8`.")]
# Unset when they are absent, so that the codec need not look for a second one.
_Expected = Integer | UnsetType | None
ExpectedVersion = Annotated[_Expected, says("The expected current version; 0: it must not exist. Otherwise 409.")]
ExpectedRevision = Annotated[_Expected, says("The expected revision of the last change; otherwise 409.")]
_Check = Annotated[bool | None, says("False: a value whose `contentType` is JSON is stored without being checked.")]
Layer = Annotated[
    str | None,
    says("The layer that it is in: `global`, `device/ID`, or one that `layer/put` made; a plain one when absent."),
]
_AnyLayer = Annotated[
    str | None, says("Those of this layer; `*` for those of all, by rank, then name; plain ones when absent.")
]
AtLeast = Annotated[
    Integer | None,
    says("Wait until the gateway has this revision, that of the reply to a write; after 5 s 503."),
]
Fresh = Annotated[bool | None, says("True: show all that any gateway answered before; after 5 s 503.")]
Revision = Annotated[int, says("The ledger-wide number of the change.")]
Inline = Annotated[
    Integer | None,
    says(
        "Leave out values of more characters than this, 0 to 65,536: they are null, and `size` says how long.",
        minimum=0,
        maximum=65_536,
    ),
]
Detail = Annotated[
    bool | None,
    says("True: the last change of each configuration, with its author and time, as `changes` in place of the states."),
]


Reveal = Annotated[bool | None, says("True: show secret values. It needs RevealSecret, and is noted in the audit.")]

_Ttl = Annotated[Integer | None, says("Seconds after which the configuration is deleted, unless it is put again.")]
_Expires = Annotated[
    str | None, says("When it is deleted, in place of `ttl`: `2026-03-01T09:30:00Z`, or milliseconds since 1970.")
]


class Configuration(Struct, gc=False):
    """A configuration. `contentType` and `size` are present if the type is not plain text or the value is left out."""

    name: Annotated[str, says("Its name.")]
    value: Annotated[
        str | None,
        says("Its content; null if deleted, secret, binary, or longer than 65,536 characters: read that over HTTP."),
    ]
    entityVersion: Annotated[int, says("1 at creation, one more with every change.")]
    contentType: Annotated[str | UnsetType, says("The media type of the content.")] = UNSET
    size: Annotated[int | UnsetType, says("The length of the content in bytes.")] = UNSET
    secret: Annotated[bool | UnsetType, says("True: the value is secret, so it is null here.")] = UNSET
    layer: Annotated[str | UnsetType, says("The layer that it is in; absent of a plain configuration.")] = UNSET


class ChangeInfo(Struct):
    """One change of one configuration: a row of its history, and the current state in a conflict."""

    revision: Revision
    operation: Annotated[str, says("`put` or `delete`.")]
    modified: Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
    modifiedBy: Annotated[str | None, says("The login of the writer.")]
    description: Annotated[str | None, says("The writer's reason.")]
    configuration: Annotated[Configuration, says("The configuration after the change.")]


class Affects(Struct):
    """The devices that a change of layers is about."""

    devices: Annotated[int, says("Those that have one of the layers.")]
    online: Annotated[int, says("Of these, those that follow their configurations, at any gateway.")]
    hidden: Annotated[int, says("Of these, those that see nothing of it: higher layers have all the names.")]


class ConfigurationReply(Reply):
    """The configuration, and its last change's revision."""

    configuration: Annotated[Configuration, says("The configuration.")]
    revision: Annotated[int | UnsetType, says("The revision of its last change; absent after a dry run.")] = UNSET
    dryRun: WasDryRun = UNSET
    affects: Annotated[Affects | UnsetType, says("Of a dry run in layers: the devices that it is about.")] = UNSET


class RevisionReply(Reply):
    """The revision of the delete."""

    revision: Annotated[int | UnsetType, says("The revision of the delete; absent after a dry run.")] = UNSET
    dryRun: WasDryRun = UNSET
    affects: Annotated[Affects | UnsetType, says("Of a dry run in layers: the devices that it is about.")] = UNSET


class ConfigurationHistoryReply(Reply):
    """Changes of one name."""

    changes: Annotated[list[ChangeInfo], says("The changes, newest first.")]


class ConfigurationTransactReply(Reply):
    """The configurations after the transaction, or the number under which it is scheduled."""

    bounded: ClassVar[bool] = False

    configurations: Annotated[
        list[Configuration] | UnsetType,
        says("The configurations in the order of `changes`; a deleted one has the value null. Absent with `at`."),
    ] = UNSET
    schedule: Annotated[int | UnsetType, says("With `at`: the number of the schedule.")] = UNSET
    revision: Annotated[int | UnsetType, says("The revision that all these changes share; absent after a dry run.")] = (
        UNSET
    )
    dryRun: WasDryRun = UNSET
    affects: Annotated[Affects | UnsetType, says("Of a dry run in layers: the devices that it is about.")] = UNSET


class ConfigurationListReply(Reply, kw_only=True):
    """A page of configurations."""

    configurations: Annotated[
        list[Configuration] | UnsetType, says("The configurations by name, in order of code points.")
    ] = UNSET
    changes: Annotated[list[ChangeInfo] | UnsetType, says("With `detail`: the last change of each, by name.")] = UNSET
    count: Annotated[int, says("The number of all that match.")]
    revision: Annotated[int, says("The revision of the ledger that the list shows.")]


class TreeNode(Struct, gc=False):
    """A part of names that stands before a delimiter, or a whole name."""

    name: Annotated[str, says("The names begin with this.")]
    leaf: Annotated[bool, says("Whether there is a configuration of just this name.")]
    count: Annotated[int, says("The number of configurations below it: whose names have the delimiter behind this.")]


class ConfigurationTreeReply(Reply):
    """What is directly below a prefix."""

    children: Annotated[list[TreeNode], says("The children; a page of them is in the order of the names below them.")]
    count: Annotated[int, says("The number of all names that begin with the prefix.")]
    revision: Annotated[int, says("The revision of the ledger that the tree shows.")]


class ConfigurationAuditReply(Reply):
    """Changes of many names, newest first."""

    changes: Annotated[list[ChangeInfo], says("The changes, newest first; those of a transaction in its order.")]
    before: Annotated[
        int | None, says("Where to continue: earlier changes are before this revision. Null when there are none.")
    ]


class ConfigurationGet(Request, tag="configuration/get"):
    """Read a configuration, or an earlier version or change of it."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    required = ("name",)
    reply = ConfigurationReply
    errors = (NotFound, OutOfBounds, Unavailable)

    name: _Name = None
    layer: Layer = None
    entityVersion: Annotated[Integer | None, says("Read this version of the current life.")] = None
    revision: Annotated[Integer | None, says("Read this change, also of earlier lives.")] = None
    reveal: Reveal = None
    atLeast: AtLeast = None
    fresh: Fresh = None


class ConfigurationPut(Request, tag="configuration/put", forbid_unknown_fields=True):
    """Create or update a configuration; the same content is an update too."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("name", "value")
    reply = ConfigurationReply
    errors = (Conflict, DoesNotFit, NotAllowed, NotFound, OutOfBounds, Unavailable, VersionConflict)

    name: _Name = None
    layer: Layer = None
    value: _Value = None
    description: Description = None
    contentType: _ContentType = None
    check: _Check = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    ttl: _Ttl = None
    expires: _Expires = None
    dryRun: DryRun = None


class ConfigurationDelete(Request, tag="configuration/delete", forbid_unknown_fields=True):
    """Delete a configuration."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("name",)
    reply = RevisionReply
    errors = (Conflict, NotAllowed, NotFound, OutOfBounds, Unavailable, VersionConflict)

    name: _Name = None
    layer: Layer = None
    description: Description = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None


class ConfigurationList(Request, tag="configuration/list"):
    """List the configurations whose names match, a page at a time."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = ConfigurationListReply
    errors = (NotFound, OutOfBounds, Unavailable)

    names: Annotated[
        list[str] | None, says("Up to 1,000 exact names, or prefixes that end in `*`; all when absent.", maxItems=1_000)
    ] = None
    layer: _AnyLayer = None
    take: Annotated[
        Integer | None, says("The most to return: 0 to 10,000, default 1,000.", minimum=0, maximum=10_000)
    ] = None
    skip: Annotated[Integer | None, says("The number to skip at the beginning of the page.", minimum=0)] = None
    after: Annotated[
        str | None,
        says("Start after this name, the last one of the previous page; with the layer `*` after this `LAYER/NAME`."),
    ] = None
    inline: Inline = None
    detail: Detail = None
    atLeast: AtLeast = None
    fresh: Fresh = None


class ConfigurationTree(Request, tag="configuration/tree"):
    """List what is directly below a prefix, with the number of configurations below each."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = ConfigurationTreeReply
    errors = (OutOfBounds,)

    prefix: Annotated[str | None, says("What the names begin with, such as `shop.`; all names when absent.")] = None
    delimiter: Annotated[str | None, says("What separates the parts of names, 1 to 8 characters; default `.`.")] = None
    after: Annotated[str | None, says("Start after this child: the last one of the previous page.")] = None
    take: Annotated[
        Integer | None, says("The most children to return: 0 to 1,000, default 1,000.", minimum=0, maximum=1_000)
    ] = None


class ConfigurationAudit(Request, tag="configuration/audit"):
    """The changes of all names, newest first: who changed what, when and why. Values are left out."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = ConfigurationAuditReply
    errors = (NotFound, OutOfBounds)

    names: Annotated[
        list[str] | None, says("Up to 1,000 exact names, or prefixes that end in `*`; all when absent.", maxItems=1_000)
    ] = None
    layer: Annotated[
        str | None, says("Only changes in this layer; `*` for those in all layers; of plain ones when absent.")
    ] = None
    user: Annotated[str | None, says("Only the changes of this login or client.")] = None
    before: Annotated[Integer | None, says("Only changes before this revision: `before` of the previous page.")] = None
    take: Annotated[
        Integer | None,
        says("Changes to return: 0 to 1,000, default 100; more where a transaction ends.", minimum=0, maximum=1_000),
    ] = None


class ConfigurationHistory(Request, tag="configuration/history"):
    """The changes of one name, newest first, including deletes and the changes before them."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    required = ("name",)
    reply = ConfigurationHistoryReply
    errors = (NotFound, OutOfBounds, Unavailable)

    name: _Name = None
    layer: Layer = None
    take: Annotated[
        Integer | None, says("The most changes to return: 0 to 1,000, default 20.", minimum=0, maximum=1_000)
    ] = None
    before: Annotated[Integer | None, says("Only changes before this revision, that of the last one so far.")] = None
    atLeast: AtLeast = None
    fresh: Fresh = None


class ConfigurationRollback(Request, tag="configuration/rollback", forbid_unknown_fields=True):
    """Write the content and type of an earlier version (`to`) or change (`toRevision`) as a new version."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("name",)
    reply = ConfigurationReply
    errors = (Conflict, DoesNotFit, NotAllowed, NotFound, OutOfBounds, Unavailable, VersionConflict)

    name: _Name = None
    layer: Layer = None
    to: Annotated[Integer | None, says("The version to go back to; give either this or `toRevision`.")] = None
    toRevision: Annotated[Integer | None, says("The revision of the change to go back to.")] = None
    description: Description = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None


class TransactChange(Struct, gc=False, forbid_unknown_fields=True):
    """One write of a transaction: a put or a delete, with the members of that request."""

    required: ClassVar[tuple[str, ...]] = ("operation", "name")

    operation: Annotated[str | None, says("`put` or `delete`.")] = None
    name: _Name = None
    layer: Layer = None
    value: Annotated[str | None, says("The new content, at least one character; required for a put.")] = None
    description: Description = None
    contentType: _ContentType = None
    check: _Check = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    ttl: _Ttl = None
    expires: _Expires = None


class ConfigurationTransact(Request, tag="configuration/transact", forbid_unknown_fields=True):
    """Write several configurations under one revision, all or nothing. `index` of an error is the failed change."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("changes",)
    reply = ConfigurationTransactReply
    errors = (Conflict, DoesNotFit, NotAllowed, NotFound, OutOfBounds, Unavailable, VersionConflict)

    changes: Annotated[
        list[TransactChange] | None,
        says("1 to 1,000 writes, each name at most once; one that expires counts twice, and `at` as one more."),
    ] = None
    at: Annotated[
        str | None,
        says("Write it at this time, in the forms of `expires`. Versions and rights are checked now, and again then."),
    ] = None
    dryRun: DryRun = None


def is_text(content_type: str) -> bool:
    """Whether content of this type is shown in `value`: text/*, JSON, XML, and types built on these two."""
    if content_type == TEXT:
        return True
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.startswith("text/") or media_type.endswith(("/json", "/xml", "+json", "+xml"))


def is_json(content_type: str) -> bool:
    """Whether content of this type is JSON: `application/json`, and types built on it."""
    return content_type.partition(";")[0].strip().lower().endswith(("/json", "+json"))


def json_problem(content: bytes) -> str | None:
    """Why this is not JSON (RFC 8259), in UTF-8; None when it is."""
    try:
        _any_json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)
    except RecursionError:
        return "it is nested too deep"
    return None


_any_json = msgspec.json.Decoder(msgspec.Raw)


def is_media_type(text: str) -> bool:
    """Whether a configuration can have this `contentType`."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def resource(
    name: str,
    content: bytes | None,
    content_type: str,
    version: int,
    inline: int = INLINE_CHARACTERS,
    *,
    secret: bool = False,
) -> Configuration:
    """The resource as every dialect shows it. `content` is None when the configuration is deleted.

    A content of more than `inline` characters is left out, and a secret one always.
    """
    if content is None:
        return Configuration(name, None, version)
    if secret:
        return Configuration(name, None, version, UNSET if content_type == TEXT else content_type, secret=True)
    value = _shown(content, inline) if is_text(content_type) else None
    if value is not None and content_type == TEXT:
        return Configuration(name, value, version)
    return Configuration(name, value, version, content_type, len(content))


def _shown(content: bytes, inline: int) -> str | None:
    """The content as text; None when it is not UTF-8 or too long, and only its size is shown."""
    if len(content) > 4 * inline:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= inline else None


def forbidden_character(name: str) -> str | None:
    """The first forbidden character of a name (section 1), as `U+XXXX at position N`; None when there is none."""
    for position, character in enumerate(name):
        if (
            character < " "
            or "\x7f" <= character <= "\x9f"
            or "\ud800" <= character <= "\udfff"
            or character in "\ufffe\uffff"
        ):
            return f"U+{ord(character):04X} at position {position}"
    return None
