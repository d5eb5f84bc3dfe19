"""Tokens that do not reach something: every action and every row of REST is tried, from the gateway's own tables.

Something is a device with its commands and notifications, its network, its device type and a user; whatever of it a
reply could show has the word HIDDEN in it. (Callers without a token: `tests/gate/test_anonymous.py`.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

import msgspec
import pytest

from hivewire.access.users import UserContent
from hivewire.caller import Caller
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.dialects.devicehive.row import Row
from hivewire.dialects.devicehive.rows import ROWS
from hivewire.ledger.records import Transaction
from hivewire_protocol.catalogue import HTTP_ONLY, REQUESTS
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.errors import WireError
from hivewire_protocol.messages import Request, action_of
from hivewire_protocol.nouns.user import Role
from tests.rooms.test_device_messages import Messages
from tests.rooms.test_hub import Peer
from tests.rooms.test_messages import ALSO, EXAMPLES

ADMIN, VICTIM, OTHER = 1, 2, 3
HIDDEN = "hidden"

AT_ONCE: dict[str, Any] = {"waitTimeout": 0, "timestamp": 0, "force": True}
"""Polls do not wait and return what is stored; what is deleted may have devices."""


class World(Messages):
    """The device `kept` in network 1, of type 1, and two clients, of which only one belongs to the network."""

    staff: ClassVar[Mapping[str, UserContent]] = {
        "admin": UserContent("", Role.ADMIN, networks=[1, 2], all_device_types_available=False, device_types=[1, 2]),
        HIDDEN: UserContent("", networks=[1], all_device_types_available=False, device_types=[1]),
        "other": UserContent("", networks=[2], all_device_types_available=False, device_types=[2]),
    }

    async def begin(self) -> World:
        """With a command, a notification, a label and a layer of its own, in which a rollout runs and more is to be
        written later."""
        await self.open()
        for kind in (NETWORK, DEVICE_TYPE):
            for name in (HIDDEN, "shown"):
                await self.ledger.commit(Transaction(insert(kind, GroupingContent(name, name))))
        saved = {"name": HIDDEN, "networkId": 1, "deviceTypeId": 1, "data": {HIDDEN: 1}}
        await self.do("device/save", deviceId="kept", device=saved)
        self.command = (await self.order("on", "kept", parameters={HIDDEN: 1}))["id"]
        self.notification = (await self.tell("temp", "kept", parameters={HIDDEN: 1}))["id"]
        await self.store("kept")
        await self.do("device/label", deviceId="kept", labels={"site": HIDDEN})
        later = {"operation": "put", "name": "later", "value": HIDDEN, "layer": "device/kept"}
        await self.do("configuration/put", layer="device/kept", name="own", value=HIDDEN, ttl=1_000)
        await self.do("configuration/transact", changes=[later], at=self.clock.time + 60_000)
        change = {"operation": "put", "name": "rolled", "value": HIDDEN}
        await self.do("rollout/start", layer="device/kept", changes=[change], steps=[{"percent": 100}])
        return self

    async def say_something(self) -> None:
        """Another command and notification, and an update, with time for everybody to get them."""
        with suppress(WireError):
            command = (await self.order(HIDDEN, "kept", parameters={HIDDEN: 1}))["id"]
            await self.do("command/update", deviceId="kept", commandId=command, command={"status": HIDDEN})
            await self.tell(HIDDEN, "kept", parameters={HIDDEN: 1})
        for _ in range(5):
            await asyncio.sleep(0)

    def state(self) -> tuple[int, ...]:
        """What changes with everything that is written."""
        messages = self.services.messages
        return self.ledger.revision, messages.commands.tip, messages.notifications.tip

    def members(self, request: type[Request]) -> dict[str, Any]:
        """Good values for what a request needs, about what is hidden."""
        ids = {"deviceId": "kept", "networkId": 1, "deviceTypeId": 1, "userId": VICTIM}
        ids |= {"commandId": self.command, "notificationId": self.notification}
        given = {name: EXAMPLES[name] for name in request.required if name in EXAMPLES} | ALSO.get(
            action_of(request), {}
        )
        known = {*request.__struct_fields__}
        return {name: value for name, value in (given | ids | AT_ONCE).items() if name in known}


class Case(NamedTuple):
    """An action over a socket, or a row of REST."""

    request: type[Request]
    row: Row | None = None

    @property
    def action(self) -> str:
        """The action."""
        return action_of(self.request)


CASES = [
    *(Case(request) for request in REQUESTS.values()),
    *(Case(row.request, row) for row in ROWS),
    *(Case(row.stream, row) for row in ROWS if row.stream is not None),
]

FAMILIES = {
    "device": ("device/", "command/", "notification/"),
    "network": ("network/",),
    "type": ("devicetype/",),
    "user": ("user/",),
}
"""What an action names, by the beginning of its own name."""

LISTS = {
    *(f"{noun}/{what}" for noun in ("device", "network", "devicetype", "user") for what in ("list", "count")),
    *(f"{noun}/subscribe" for noun in ("device", "network", "devicetype")),
}
"""They are refused to nobody who has the action, and show what is within reach."""

NO_FAMILY = {
    *("configuration", "layer", "fleet", "rollout", "schedule", "schema", "subscription", "connection", "audit"),
    *("server", "cluster", "authenticate", "token", "client", "tenant"),
}
"""Nouns of actions that name nothing that belongs to another network, type or user, or have rules of their own."""

ABOUT_NONE = {
    *(action for action in (*REQUESTS, *HTTP_ONLY) if action.partition("/")[0] in NO_FAMILY),
    *(action for action in REQUESTS if action.endswith("/unsubscribe")),
    *("network/insert", "devicetype/insert", "user/insert", "user/getCurrent", "user/updateCurrent"),
}
"""All actions of these nouns, and those of others of which the same is true."""

CLIENT: dict[str, Any] = {"user": OTHER, "a": [*range(2, 12), 100]}
"""What another user gets at its login, and more: `ManageNetwork` and so on have no scope of users."""

TOKENS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "another network": ({"n": ["2"]}, {"device", "network"}),
    "no network": ({"n": []}, {"device", "network"}),
    "another type": ({"dt": ["2"]}, {"device", "type"}),
    "no type": ({"dt": []}, {"device", "type"}),
    "another user": (CLIENT | {"n": ["2"], "dt": ["2"]}, {*FAMILIES}),
    "another user, for everything": (CLIENT, {*FAMILIES}),
    "another user, for what is not its own": (CLIENT | {"n": ["1"], "dt": ["1"]}, {*FAMILIES}),
}
"""The claims of a token, and what it does not reach."""

EXEMPT = {("no network", "device/save"), ("another type", "device/save")}
"""A save goes by memberships; of a token only a list of networks counts (devices, section 1.4; addendum, section 4)."""

SHOWING = {"audit/list", "user/getCurrent"}
"""They show administrators what they did, and each user its own networks, whatever the token lists."""

WAYS: list[dict[str, list[int]]] = [{}, {"networkIds": [1]}, {"deviceTypeIds": [1]}, {"networkIds": [2]}]
"""How several devices can be asked for."""

GRANTED = {("no network", "networkIds"), ("no type", "deviceTypeIds")}
"""A token that lists none keeps nobody from asking for some (devices, section 6.2)."""


def family(action: str) -> str:
    """What an action names."""
    found = [name for name, beginnings in FAMILIES.items() if action.startswith(beginnings)]
    assert found, f"does {action} name a device, a network, a type or a user? Put its noun into FAMILIES, or NO_FAMILY"
    return found[0]


def test_every_action_names_something_or_is_known_not_to() -> None:
    """So a new one is tried here, or somebody has thought about it."""
    for case in CASES:
        if case.action not in ABOUT_NONE:
            assert case.action in LISTS or family(case.action)
            assert {*case.request.required} <= {*EXAMPLES}


async def asked(world: World, case: Case, caller: Caller, members: dict[str, Any]) -> tuple[int, str, bool]:
    """The code of the answer, 0 for success, everything that the caller got, a moment later too, and whether anything
    was written."""
    before = world.state()
    if case.row is None:
        peer = Peer(world, caller.identity)  # type: ignore[arg-type]
        peer.ask(case.action, **members)
        while not peer.frames:
            await asyncio.sleep(0)
        written = world.state() != before
        await world.say_something()
        peer.session.close()
        return peer.frames[0].get("code", 0), msgspec.json.encode(peer.frames).decode(), written
    caller.http = True
    caller.listener = peer = Peer(world, caller.identity)  # type: ignore[arg-type]
    try:
        if case.row.check is not None:
            case.row.check(world.services, caller, {name: str(value) for name, value in members.items()})
        request = build(case.request, decode_members(msgspec.json.encode(members)))
        reply = await world.dispatcher.carry_out(caller, request)
    except WireError as error:
        return error.code, str(error), world.state() != before
    finally:
        for feed in caller.feeds:
            feed.close()
    return 0, reply.members().decode(), world.state() != before


@pytest.mark.parametrize("token", TOKENS)
async def test_what_a_token_does_not_reach_is_refused_by_every_action(token: str) -> None:
    """With 403 or 404. Nothing of it is shown, by lists and pushes neither, and nothing is written."""
    claims, hidden = TOKENS[token]
    world = await World().begin()
    for case in CASES:
        code, shown, written = await asked(world, case, world.caller(**claims), world.members(case.request))
        told = token, case, code, shown
        if case.action in ABOUT_NONE:
            assert HIDDEN not in shown or case.action in SHOWING, told
        elif family(case.action) in hidden and (token, case.action) not in EXEMPT:
            assert HIDDEN not in shown, told
            if case.action not in LISTS:
                assert code in (403, 404), told
                assert not written, told
        if written:
            await world.close()
            world = await World().begin()
    await world.close()


@pytest.mark.parametrize("token", TOKENS)
async def test_several_devices_are_asked_for_within_reach(token: str) -> None:
    """However they are asked for, nothing of the device is shown, stored or new."""
    claims, hidden = TOKENS[token]
    world = await World().begin()
    several = [case for case in CASES if "networkIds" in case.request.__struct_fields__]
    cases = [case for case in several if case.row is None or "{deviceId}" not in case.row.path]
    assert len(cases) >= 4
    for case in [case for case in cases if family(case.action) in hidden]:
        for way in WAYS:
            members = {name: value for name, value in world.members(case.request).items() if not name.endswith("Id")}
            if any((token, name) in GRANTED for name in way):
                continue
            code, shown, _ = await asked(world, case, world.caller(**claims), members | way)
            assert HIDDEN not in shown, (token, case, way, shown)
            assert code in (0, 403, 404), (token, case, way, shown)
    await world.close()


async def test_who_reaches_everything_is_refused_nothing() -> None:
    """The requests of these tests are good."""
    for case in CASES:
        if case.action not in ABOUT_NONE:
            world = await World().begin()
            code, shown, _ = await asked(world, case, world.caller(d=["kept"]), world.members(case.request))
            assert code == 0, (case, shown)
            await world.close()
