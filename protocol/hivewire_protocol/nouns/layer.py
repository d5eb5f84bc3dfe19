"""Layers: configurations for some devices, with a rank (fleet.md, section 3)."""

import hashlib
import re
from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.errors import Conflict, NotAllowed, NotFound, OutOfBounds, Unavailable, VersionConflict
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WasDryRun, says
from hivewire_protocol.nouns.configuration import Affects, ExpectedRevision, ExpectedVersion, RevisionReply
from hivewire_protocol.permissions import Permission

GLOBAL = "global"
"""The layer of all devices, which is always there and below all others."""

OF_DEVICE = "device/"
"""What the name of the layer of one device begins with, before its id. It is above all others."""

LAYER_NAME = re.compile(r"[a-z0-9.-]{1,32}", re.ASCII)

TOP_RANK = 9_999

BUCKETS = 10_000


def bucket(salt: str, device_id: str) -> int:
    """The bucket of a device under a salt, from 0 to 9,999 (fleet.md, section 3)."""
    digest = hashlib.sha256(f"{salt}:{device_id}".encode()).digest()
    return int.from_bytes(digest[:4]) * BUCKETS >> 32


def key_of(layer: str, name: str) -> str:
    """A name in a layer, as one text: the key of its record."""
    return f"{layer}/{name}"


def split(key: str) -> tuple[str, str]:
    """The layer and the name of such a key."""
    end = key.index("/", len(OF_DEVICE) if key.startswith(OF_DEVICE) else 0)
    return key[:end], key[end + 1 :]


class Target(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Which devices have a layer: all members must hold. Without any it is every device."""

    networkIds: Annotated[list[int] | None, says("Devices in one of these networks.")] = None
    deviceTypeIds: Annotated[list[int] | None, says("Devices of one of these types.")] = None
    deviceIds: Annotated[list[str] | None, says("These devices, also those that do not exist yet.")] = None
    labels: Annotated[
        dict[str, list[str] | None] | None,
        says("Devices that have one of the values of each label here; null: that do not have the label."),
    ] = None
    percent: Annotated[float | None, says("This part of the devices, always the same: over 0, at most 100.")] = None


class LayerView(Struct):
    """A layer."""

    layer: Annotated[str, says("Its name.")]
    rank: Annotated[int, says("Higher ones win; `global` has 0, `device/ID` 10,000.")]
    target: Annotated[Target, says("Which devices have it.")]
    revision: Annotated[int, says("The revision of its last change; 0 of `global` and `device/ID`.")]
    configurations: Annotated[int, says("How many configurations it holds.")]
    devices: Annotated[int, says("How many devices have it.")]


class LayerListReply(Reply):
    """The layers."""

    layers: Annotated[list[LayerView], says("The layers by rank; that of a single device only if it is asked for.")]


class LayerPutReply(Reply, kw_only=True):
    """The layer as it is now."""

    layer: Annotated[str, says("Its name.")]
    revision: Annotated[int | UnsetType, says("The revision of the change; absent after a dry run.")] = UNSET
    devices: Annotated[int, says("How many devices have it now.")]
    dryRun: WasDryRun = UNSET
    affects: Annotated[Affects | UnsetType, says("Of a dry run in layers: the devices that it is about.")] = UNSET


_Layer = Annotated[str | None, says("The name of the layer: 1-32 of `a-z 0-9 . -`.")]


class LayerPut(Request, tag="layer/put", forbid_unknown_fields=True):
    """Create or change a layer: which devices have it, and its rank."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("layer", "target", "rank")
    reply = LayerPutReply
    errors = (Conflict, NotAllowed, NotFound, OutOfBounds, VersionConflict, Unavailable)

    layer: _Layer = None
    target: Annotated[Target | None, says("Which devices have it; `{}` for all.")] = None
    rank: Annotated[Integer | None, says("1 to 9,999; no two layers have the same.")] = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None


class LayerList(Request, tag="layer/list"):
    """List the layers by rank."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = LayerListReply
    errors = (NotFound,)

    layer: Annotated[str | None, says("Only this one; also `device/ID`.")] = None


class LayerDelete(Request, tag="layer/delete", forbid_unknown_fields=True):
    """Delete a layer. One that holds configurations is deleted with `force` only, together with them."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("layer",)
    reply = RevisionReply
    errors = (Conflict, NotAllowed, NotFound, OutOfBounds, VersionConflict, Unavailable)

    layer: _Layer = None
    force: Annotated[bool | None, says("True: delete its configurations too.")] = None
    entityVersion: ExpectedVersion = UNSET
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None
