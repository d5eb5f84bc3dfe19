"""The effective configurations of devices, and their reports (fleet.md, sections 3 to 5)."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.errors import NotFound, OutOfBounds, TooManyReports, Unavailable, VersionConflict
from hivewire_protocol.messages import DryRun, Reply, Request, WasDryRun, WriteReply, says
from hivewire_protocol.nouns.configuration import ExpectedRevision, ExpectedVersion
from hivewire_protocol.permissions import Permission

_Name = Annotated[str, says("Its name.")]
_Tag = Annotated[str | None, says("12 characters that stand for the content; null: gone.")]


class DesiredConfiguration(Struct, gc=False):
    """A configuration as its device sees it."""

    name: _Name
    value: Annotated[str | None, says("Its content; null if gone, binary, or too long.")]
    tag: _Tag
    contentType: Annotated[str | UnsetType, says("The media type; absent of plain text that is there.")] = UNSET
    size: Annotated[int | UnsetType, says("The length of the content in bytes, likewise.")] = UNSET


class Reported(Struct, omit_defaults=True, gc=False):
    """What a device reported about a name."""

    tag: Annotated[str | UnsetType | None, says("The tag that it has; null: no value; absent: a value of its own.")] = (
        UNSET
    )
    error: Annotated[str | UnsetType, says("Why it refused that.")] = UNSET
    value: Annotated[str | UnsetType, says("What it has instead.")] = UNSET


class EffectiveConfiguration(Struct, gc=False):
    """A configuration of a device, and where it comes from."""

    name: _Name
    value: Annotated[str | None, says("Its content; null if binary, or longer than 65,536 characters.")]
    tag: Annotated[
        str | UnsetType | None,
        says("12 characters that stand for the content; null: gone. Absent of a secret value, but for its device."),
    ] = UNSET
    layer: Annotated[
        str | UnsetType | None,
        says("The layer that it is from; null if only the device has it. Devices do not get this and what follows."),
    ] = UNSET
    entityVersion: Annotated[int | UnsetType, says("Its version in this layer; 0 while a rollout has it.")] = UNSET
    contentType: Annotated[str | UnsetType, says("The media type, if it is not plain text.")] = UNSET
    size: Annotated[int | UnsetType, says("The length of the content in bytes, likewise.")] = UNSET
    secret: Annotated[bool | UnsetType, says("True: the value is secret, and so shown to the device only.")] = UNSET
    rollout: Annotated[int | UnsetType, says("The rollout whose new value this is.")] = UNSET
    hidden: Annotated[list[str] | UnsetType, says("Lower layers that have the name too, the highest first.")] = UNSET
    state: Annotated[str | UnsetType, says("`refused`, `applied`, `local` or `pending`.")] = UNSET
    reported: Annotated[
        Reported | UnsetType, says("What the device reported, if anything; of a secret value only its `error`.")
    ] = UNSET


class DeviceEffectiveReply(Reply, kw_only=True):
    """What a device should have."""

    layers: Annotated[list[str] | UnsetType, says("The layers of the device, the highest first.")] = UNSET
    configurations: Annotated[list[EffectiveConfiguration], says("Its configurations by name.")]
    revision: Annotated[int, says("The revision of the ledger that this shows.")]


class DeviceEffective(Request, tag="device/effective"):
    """The effective configurations of a device, their layers, and what the device has reported of them.

    A token of the device needs `SyncConfiguration` only, and is shown names, values and tags.
    """

    permission = Permission.GET_CONFIGURATION
    or_one_of = (Permission.SYNC_CONFIGURATION,)
    of_device = True
    read_only = True
    required = ("deviceId",)
    reply = DeviceEffectiveReply
    errors = (NotFound, OutOfBounds)

    names: Annotated[
        list[str] | None, says("Up to 1,000 exact names, or prefixes that end in `*`; all when absent.", maxItems=1_000)
    ] = None


class DeviceLabelReply(Reply):
    """The labels as they are now."""

    labels: Annotated[dict[str, str], says("All labels of the device.")]
    revision: Annotated[int | UnsetType, says("The revision of their last change; absent after a dry run.")] = UNSET
    dryRun: WasDryRun = UNSET


class DeviceLabel(Request, tag="device/label", forbid_unknown_fields=True):
    """Set the labels of a device, which needs `ManageConfiguration`; without `labels` only show them."""

    permission = Permission.GET_CONFIGURATION
    concurrent = True
    of_device = True
    required = ("deviceId",)
    reply = DeviceLabelReply
    errors = (NotFound, OutOfBounds, VersionConflict, Unavailable)

    labels: Annotated[
        dict[str, str] | None,
        says("All labels, in place of the former ones: up to 32, names of 1 to 64 characters, values of up to 64."),
    ] = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None


class DeviceRevoke(Request, tag="device/revoke"):
    """End all tokens of a device at once, and close its connections."""

    permission = Permission.MANAGE_TOKEN
    of_device = True
    required = ("deviceId",)
    reply = WriteReply
    errors = (NotFound, OutOfBounds, Unavailable)

    dryRun: DryRun = None


class ReportEntry(Struct):
    """A device's report of a name: applied with a `tag`, refused with an `error` too, otherwise a `value` of its
    own."""

    required: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str | None, says("The name.")] = None
    tag: Annotated[str | UnsetType | None, says("The tag that it was sent; null: removed.")] = UNSET
    error: Annotated[str | None, says("Why it was refused: at most 256 characters.")] = None
    value: Annotated[str | None, says("What the device has instead: at most 1,024 characters.")] = None


class DeviceReport(Request, tag="device/report"):
    """Report what a device has applied, refused or changed itself. It does not change the desired values.

    The report is answered when it is counted, and is on the disk 5 s later at most. A device may report once a second,
    and 20 times in a burst.
    """

    permission = Permission.SYNC_CONFIGURATION
    heeds = ("deviceId",)
    required = ("report",)
    reply = Reply
    errors = (NotFound, OutOfBounds, TooManyReports)

    report: Annotated[list[ReportEntry] | None, says("The report of each name: at most 256, 32 KiB in all.")] = None
    complete: Annotated[bool | None, says("True: the device has no other names.")] = None
