"""Schemas: which values a name may have, and which are secret (fleet configuration, section 7)."""

from typing import Annotated

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol.errors import (
    DoesNotFit,
    NotAllowed,
    NotFound,
    OutOfBounds,
    Unavailable,
    ValuesDoNotFit,
    VersionConflict,
)
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WasDryRun, says
from hivewire_protocol.nouns.configuration import (
    Description,
    ExpectedRevision,
    ExpectedVersion,
    Revision,
    RevisionReply,
)
from hivewire_protocol.permissions import Permission


class Problem(Struct, gc=False):
    """One rule of a schema that a value breaks."""

    pointer: Annotated[str, says("Where in the value: a JSON pointer, empty for all of it, and for a secret value.")]
    rule: Annotated[str, says("Which rule of the schema: a JSON pointer such as `/items/maximum`.")]
    message: Annotated[str, says("What is wrong, in words; of a secret value nothing is repeated.")]


class Misfit(Struct, gc=False):
    """A stored configuration that breaks a schema."""

    name: Annotated[str, says("The configuration's name.")]
    problems: Annotated[list[Problem], says("What is wrong with its value, at most 20 problems.")]


_Names = Annotated[
    str | None,
    says("An exact name, or a prefix that ends in `*`. The exact name counts first, then the longest prefix."),
]
_Schema = Annotated[
    Raw | UnsetType,
    says(
        "A JSON Schema (2020-12), up to 64 KiB. With the root type `string` it judges the text of a value, otherwise "
        "the value as JSON. Patterns have no look-around, and references begin with `#/`."
    ),
]


class SchemaView(Struct):
    """A schema."""

    names: Annotated[str, says("The names of the configurations that it is for.")]
    schema: Annotated[Raw, says("The JSON Schema; null when it only says that values are secret.")]
    secret: Annotated[bool, says("Whether the values are secret.")]
    entityVersion: Annotated[int, says("1 at creation, one more with every change.")]
    modified: Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
    modifiedBy: Annotated[str | None, says("The login of the writer.")]
    revision: Annotated[int | UnsetType, says("The revision of its last change; absent after a dry run.")] = UNSET


class SchemaReply(Reply):
    """The schema, and its last change's revision."""

    schema: Annotated[SchemaView, says("The schema.")]
    revision: Annotated[int | UnsetType, says("The revision of the change; absent after a dry run.")] = UNSET
    dryRun: WasDryRun = UNSET


class SchemaListReply(Reply):
    """A page of schemas."""

    schemas: Annotated[list[SchemaView], says("The schemas by names, in order of code points.")]
    count: Annotated[int, says("The number of all that match.")]
    revision: Annotated[int, says("The revision of the ledger that the list shows.")]


class SchemaChange(Struct):
    """One change of a schema."""

    revision: Revision
    operation: Annotated[str, says("`put` or `delete`.")]
    entityVersion: Annotated[int, says("The version after it; 0 after a delete.")]
    schema: Annotated[Raw, says("The JSON Schema after it; null after a delete, and when it only says what is secret.")]
    secret: Annotated[bool, says("Whether the values are secret after it.")]
    modified: Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
    modifiedBy: Annotated[str | None, says("The login of the writer.")]
    description: Annotated[str | None, says("The writer's reason.")]


class SchemaHistoryReply(Reply):
    """What happened to the schema of some names."""

    changes: Annotated[list[SchemaChange], says("The changes, newest first, as far as they are kept.")]


class SchemaCheckReply(Reply):
    """Whether values fit."""

    fits: Annotated[bool, says("Whether the value fits, or all stored values do.")]
    names: Annotated[str | None, says("The names of the schema that was used; null when there is none.")]
    problems: Annotated[list[Problem] | UnsetType, says("Of a given `value`: what is wrong, at most 20 problems.")] = (
        UNSET
    )
    misfits: Annotated[
        list[Misfit] | UnsetType, says("Without `value`: stored configurations that do not fit, at most 20.")
    ] = UNSET


class SchemaPut(Request, tag="schema/put", forbid_unknown_fields=True):
    """Set the schema of names, or say that their values are secret. Values that are stored already have to fit.

    Who changes a schema that makes values secret, or one for a part of its names, needs RevealSecret too.
    """

    permission = Permission.MANAGE_CONFIGURATION
    required = ("names",)
    reply = SchemaReply
    errors = (DoesNotFit, NotAllowed, OutOfBounds, ValuesDoNotFit, VersionConflict, Unavailable)

    names: _Names = None
    schema: _Schema = UNSET
    secret: Annotated[bool | None, says("True: the values are secret, and shown to nobody without RevealSecret.")] = (
        None
    )
    force: Annotated[bool | None, says("True: stored values that do not fit stay, until they are written again.")] = (
        None
    )
    description: Description = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None


class SchemaList(Request, tag="schema/list"):
    """List schemas, a page at a time: those for names that the token reaches."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = SchemaListReply
    errors = (NotFound, OutOfBounds)

    names: Annotated[str | None, says("Only the schema that was put for just these names.")] = None
    name: Annotated[str | None, says("Only the schema that this name has.")] = None
    take: Annotated[
        Integer | None, says("The most to return: 0 to 1,000, default 1,000.", minimum=0, maximum=1_000)
    ] = None
    after: Annotated[str | None, says("Start after these names: the last ones of the previous page.")] = None


class SchemaDelete(Request, tag="schema/delete", forbid_unknown_fields=True):
    """Delete the schema of names. One that makes values secret is deleted only with RevealSecret."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("names",)
    reply = RevisionReply
    errors = (NotAllowed, NotFound, OutOfBounds, VersionConflict, Unavailable)

    names: _Names = None
    description: Description = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None


class SchemaHistory(Request, tag="schema/history"):
    """The changes of the schema of names, newest first, also when it was deleted."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    required = ("names",)
    reply = SchemaHistoryReply
    errors = (NotFound, OutOfBounds)

    names: _Names = None
    take: Annotated[
        Integer | None, says("The most changes to return: 0 to 100, default 20.", minimum=0, maximum=100)
    ] = None


class SchemaCheck(Request, tag="schema/check"):
    """Check a value without writing it, or stored values by a schema that is not there yet.

    `name` and `value`: the value by the schema of the name. `schema` and `value`: the value by this schema. `names` and
    `schema`: the stored values that this schema would be for.
    """

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = SchemaCheckReply
    errors = (DoesNotFit, NotAllowed, OutOfBounds, Unavailable)

    name: Annotated[str | None, says("The name that the value would have.")] = None
    value: Annotated[str | None, says("The value.")] = None
    names: _Names = None
    schema: _Schema = UNSET
