"""The data of a DeviceHive server as records of a new ledger. Ids are kept; invalid data is repaired and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct, field

from hivewire.access.users import KIND as USER
from hivewire.access.users import UserContent
from hivewire.cli.devicehive_server import Changed, DeviceHiveServer, segment
from hivewire.cli.output import printable
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import NULL, DeviceContent
from hivewire.devices.registry import DEVICE_TYPE, NAME, NETWORK, GroupingContent
from hivewire.devices.seeds import FIRST, TYPES
from hivewire.ledger.dump import Note
from hivewire.ledger.records import Change
from hivewire.resources import KIND as CONFIGURATION
from hivewire_protocol import times
from hivewire_protocol.nouns.configuration import (
    INLINE_CHARACTERS,
    RESERVED,
    TEXT,
    forbidden_character,
    is_media_type,
    is_text,
)
from hivewire_protocol.nouns.device import MAX_DEVICE_ID, is_device_id
from hivewire_protocol.nouns.user import Role, Status

AUTHOR_NOTE = "imported from DeviceHive"

ID_GAP = 1_000
"""Distance of new ids from the greatest one that was read. DeviceHive may have given ids in between to users and
networks that were deleted since, and tokens with them may still be in use."""

OTHERS = "Without network"
"""The name of the network for devices that have none, which DeviceHive's older versions allowed."""

PATHS = {NETWORK: "/network", DEVICE_TYPE: "/devicetype"}
WORDS = {NETWORK: "network", DEVICE_TYPE: "device type"}

Item: TypeAlias = Change | Note

Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
"""An id or a version, as far as JSON is exact."""


class OldGrouping(Struct):
    """A network or a device type. Some versions nest a network of a user in a member of its own."""

    id: Number = 0
    name: str | None = None
    description: str | None = None
    network: OldGrouping | None = None


class OldUser(Struct):
    """A user; only what is read of a single one has networks."""

    id: Number
    login: str | None = None
    role: int | None = None
    status: int | None = None
    lastLogin: str | int | None = None
    data: Any = None
    introReviewed: bool | None = None
    allDeviceTypesAvailable: bool | None = None
    networks: list[OldGrouping] | None = None


class OldDevice(Struct):
    """A device."""

    id: str
    name: str | None = None
    data: Raw = NULL
    networkId: Number | None = None
    deviceTypeId: Number | None = None
    isBlocked: bool | None = None


class OldConfiguration(Struct):
    """A configuration. DeviceHive has neither a list of them nor a type of their content."""

    name: str = ""
    value: str | None = None
    entityVersion: Number | None = None
    contentType: str | None = None
    size: Number | None = None
    secret: bool | None = None


class ConfigurationPage(Struct):
    """A page of the list that a Hivewire gateway has."""

    configurations: list[OldConfiguration]


class Report(Struct):
    """What was read, for the operator."""

    counts: dict[str, int] = field(default_factory=dict)
    without_password: list[str] = field(default_factory=list)
    """The logins of active users, who need a new password before they can log in."""
    administrators: list[str] = field(default_factory=list)
    """Those of them that are administrators."""
    remarks: list[str] = field(default_factory=list)
    """Sentences about repaired data."""

    def add(self, kind: str) -> None:
        """Count a record."""
        self.counts[kind] = self.counts.get(kind, 0) + 1


class Reading:
    """Reads a server once. `items` makes the changes of a new ledger, and fills the report."""

    def __init__(self, server: DeviceHiveServer, now: int, password_hash: str, take: int) -> None:
        self.report = Report({"networks": 0, "deviceTypes": 0, "users": 0, "devices": 0, "configurations": 0})
        self._server = server
        self._now = now
        self._hash = password_hash
        self._take = take
        self._revision = 0
        self._last_ids: dict[str, int] = {}
        self._groups: dict[str, set[int]] = {NETWORK: set(), DEVICE_TYPE: set()}
        self._names: set[str] = set()
        self._logins: set[str] = set()

    def items(self, configurations: tuple[str, ...], progress: Callable[[int, int], None]) -> Iterator[Item]:
        """Everything. Raises RefusedByGateway, Changed and Unreachable."""
        total = sum(self._server.count(path) or 0 for path in ("/network", "/devicetype", "/user", "/device"))
        steps = (
            self._groupings(NETWORK),
            self._groupings(DEVICE_TYPE),
            self._users(),
            self._devices(),
            self._configurations(configurations),
        )
        for done, item in enumerate((item for step in steps for item in step), 1):
            if not done % 100:
                progress(min(done, total), total)
            yield item
        for kind, last in self._last_ids.items():
            if kind in (NETWORK, DEVICE_TYPE, USER):
                yield Note(f"lastId:{kind}", str(last + ID_GAP))

    def _change(self, kind: str, key: str, record_id: int, content: bytes, description: str | None) -> Change:
        self._revision += 1
        self._last_ids[kind] = max(self._last_ids.get(kind, 0), record_id)
        return Change(
            revision=self._revision,
            kind=kind,
            key=key,
            id=record_id,
            version=1,
            content=content,
            content_type="application/json",
            time=self._now,
            description=description,
        )

    def _remark(self, text: str) -> None:
        self.report.remarks.append(printable(text))

    # Networks and device types.

    def _groupings(self, kind: str) -> Iterator[Change]:
        found = self._server.listed(PATHS[kind], OldGrouping, self._take, sortField="id")
        if found is None:
            if kind == NETWORK:
                raise Changed("the server has no list of networks")
            self._remark(f"the server has no device types, so all devices get the type {TYPES[0].name}")
            yield from self._grouping(kind, FIRST, TYPES[0])
            return
        for each in found:
            name = each.name or f"{WORDS[kind].capitalize()} {each.id}"
            yield from self._grouping(kind, each.id, GroupingContent(name, each.description))
        self._last_ids.setdefault(kind, 0)

    def _grouping(self, kind: str, group_id: int, content: GroupingContent) -> Iterator[Change]:
        """The records of a network or device type. A name that another one has gets its id behind it."""
        if group_id in self._groups[kind]:
            raise Changed(f"the {WORDS[kind]} {group_id} was read twice")
        wanted = content.name
        while f"{kind}/{content.name}" in self._names:
            content.name += f" ({group_id})"
        if content.name != wanted:
            self._remark(f"{WORDS[kind]} {group_id} is now called {content.name}, because another one is {wanted}")
        key = f"{kind}/{content.name}"
        self._names.add(key)
        self._groups[kind].add(group_id)
        self.report.add("networks" if kind == NETWORK else "deviceTypes")
        change = self._change(kind, str(group_id), group_id, msgspec.json.encode(content), content.name)
        yield change
        name = self._change(NAME, key, len(self._names), b"1", None)
        self._revision = name.revision = change.revision
        name.content_type = ""
        yield name

    # Users.

    def _users(self) -> Iterator[Item]:
        found = self._server.listed("/user", OldUser, self._take, sortField="id")
        if found is None:
            raise Changed("the server has no list of users")
        for listed in found:
            user = self._server.find(f"/user/{listed.id}", OldUser)
            if user is None or user.id != listed.id:
                raise Changed(f"the user {listed.id} is gone")
            yield self._user(user)
            if user.lastLogin:
                with suppress(ValueError):
                    yield Note(f"lastLogin:{user.id}", str(times.parse(str(user.lastLogin))))
        if not self.report.administrators:
            self._remark("no administrator is active: unlock one with hivewire user unlock LOGIN --data FILE")

    def _user(self, user: OldUser) -> Change:
        login = user.login or f"user-{user.id}"
        if login in self._logins:
            raise Changed(f"the login {printable(login)} was read twice")
        self._logins.add(login)
        content = UserContent(
            self._hash,
            Role.ADMIN if user.role == Role.ADMIN else Role.CLIENT,
            user.status if user.status in tuple(Status) else Status.DISABLED,
            user.data if isinstance(user.data, dict) else None,
            bool(user.introReviewed),
            user.allDeviceTypesAvailable is not False,
            networks=self._networks_of(user),
        )
        if not content.all_device_types_available:
            types = self._server.find(f"/user/{user.id}/devicetype", list[OldGrouping]) or []
            content.device_types = [each.id for each in types if each.id in self._groups[DEVICE_TYPE]]
        if content.status != user.status:
            self._remark(f"the user {login} has the unknown status {user.status} and is disabled")
        if content.data is None and user.data is not None:
            self._remark(f"the data of the user {login} are no object and left out")
        if content.status == Status.ACTIVE:
            self.report.without_password.append(login)
            if content.role == Role.ADMIN:
                self.report.administrators.append(login)
        self.report.add("users")
        return self._change(USER, login, user.id, msgspec.json.encode(content), AUTHOR_NOTE)

    def _networks_of(self, user: OldUser) -> list[int]:
        found = (each.network.id if each.network is not None else each.id for each in user.networks or [])
        return sorted(network for network in found if network in self._groups[NETWORK])

    # Devices.

    def _devices(self) -> Iterator[Change]:
        found = self._server.listed("/device", OldDevice, self._take)
        if found is None:
            raise Changed("the server has no list of devices")
        seen: set[str] = set()
        others: int | None = None
        for device in found:
            if not is_device_id(device.id):
                self._remark(f"the device '{device.id[:MAX_DEVICE_ID]}' is left out: {ID_RULE}")
                continue
            if device.id in seen:
                raise Changed(f"the device {device.id} was read twice")
            seen.add(device.id)
            if device.networkId is None:
                if others is None:
                    others = self._last_ids.get(NETWORK, 0) + 1
                    yield from self._grouping(NETWORK, others, GroupingContent(OTHERS))
                    self._remark(f"devices without a network are in the new network {others}, {OTHERS}")
                device.networkId = others
            yield self._device(device, len(seen))

    def _device(self, device: OldDevice, number: int) -> Change:
        types, network = self._groups[DEVICE_TYPE], device.networkId or 0
        device_type = min(types, default=0) if device.deviceTypeId is None else device.deviceTypeId
        if network not in self._groups[NETWORK] or device_type not in types:
            raise Changed(f"the device {device.id} is in a network or of a type that was not read")
        data = bytes(device.data)
        if data[:1] != b"{" and data != b"null":
            self._remark(f"the data of the device {device.id} are no object and left out")
            device.data = NULL
        content = DeviceContent(
            name=device.name or device.id,
            data=device.data,
            network=network,
            type=device_type,
            blocked=bool(device.isBlocked),
        )
        self.report.add("devices")
        return self._change(DEVICE, device.id, number, msgspec.json.encode(content), None)

    # Configurations.

    def _configurations(self, names: tuple[str, ...]) -> Iterator[Change]:
        seen: set[str] = set()
        for number, found in enumerate(self._readable(names), 1):
            if found.name in seen:
                raise Changed(f"the configuration {printable(found.name)} was read twice")
            seen.add(found.name)
            if not found.value or _fault_of_name(found.name) is not None:
                why = _fault_of_name(found.name) or _why_without_value(found)
                self._remark(f"the configuration {found.name} is left out: {why}")
                continue
            change = self._change(CONFIGURATION, found.name, number, found.value.encode(), AUTHOR_NOTE)
            given = found.contentType
            change.content_type = given if given is not None and is_media_type(given) else TEXT
            change.version = change.ordinal = max(found.entityVersion or 1, 1)
            self.report.add("configurations")
            yield change

    def _readable(self, names: tuple[str, ...]) -> Iterator[OldConfiguration]:
        """Those with these names, or all, if the server has a list of them."""
        for name in dict.fromkeys(names):
            if name == RESERVED:  # a secret, and not one that any reader of configurations may have
                self._remark(f"{name} is no configuration here: start the gateway with it as HIVEWIRE_JWT_SECRET")
                continue
            found = self._server.find(f"/configuration/{segment(name)}", OldConfiguration)
            if found is None:
                self._remark(f"there is no configuration {name}")
            else:
                found.name = name  # a server that ignores case may tell another one
                yield found
        page = None if names else self._server.find("/configuration", ConfigurationPage, take=PAGE)
        while page is not None and page.configurations:
            yield from page.configurations
            last = page.configurations[-1].name
            page = self._server.find("/configuration", ConfigurationPage, take=PAGE, after=last)


PAGE = 1_000

ID_RULE = f"an id has 1 to {MAX_DEVICE_ID} letters, digits and dashes"


def _fault_of_name(name: str) -> str | None:
    """Why no configuration can have this name; None when one can."""
    if not name:
        return "its name is empty"
    if name == RESERVED:
        return "its name is that of a signing key"
    found = forbidden_character(name)
    return None if found is None else f"its name has {found}"


def _why_without_value(found: OldConfiguration) -> str:
    """Why an answer shows no value of this configuration, or one that no configuration can have here."""
    if found.secret:
        return "its value is secret"
    if found.value is not None:
        return "its value is empty"
    if found.size is None:
        return "it has no value"
    if is_text(found.contentType or TEXT) and found.size > INLINE_CHARACTERS:
        return f"its value of {found.size:,} bytes is longer than an answer shows"
    return "its value is no text"


def is_whole(claims: Mapping[str, Any], all_types: bool | None) -> bool:
    """Whether a token reaches all networks and device types, as far as its claims can be read."""
    if not claims:
        return True
    networks, types = ("*" in found if isinstance(found := claims.get(name), list) else False for name in ("n", "dt"))
    return networks and (all_types is not False or types)
