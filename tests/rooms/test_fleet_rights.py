"""What tokens of some networks, types and names see and do in a fleet (fleet.md, section 10)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from hivewire.clocks import now
from hivewire_protocol.close import Code
from hivewire_protocol.errors import ValuesDoNotFit
from hivewire_protocol.nouns.user import Role, Status
from tests.rooms.fleets import ADMIN, ANN, World, fleet
from tests.rooms.test_hub import Peer
from tests.rooms.test_rollouts import judge, meanwhile, put, start, state
from tests.rooms.test_schedules import after, timers_of

FAR = "far's value"


async def far_away(world: World) -> int:
    """A device in network 2 with a layer of its own, in which a rollout runs; its number."""
    await world.register("far", network=2)
    await world.put("device/far", n=FAR)
    return await start(world, {"deviceIds": ["far"]}, layer="device/far", rolled=FAR)


async def test_all_layers_of_who_reaches_some_devices_are_not_those_of_single_ones() -> None:
    """Neither in a list nor in what is pushed; who reaches all devices sees them."""
    async with fleet("a") as world:
        await far_away(world)
        await world.put("global", n="everybody's")
        for caller, seen in ((world.caller(ANN), 1), (world.admin, 2)):
            listed = await world.do("configuration/list", caller, layer="*")
            assert (listed["count"], len(listed["configurations"]), FAR in str(listed)) == (seen, seen, seen == 2)
            peer = Peer(world, caller.identity)  # type: ignore[arg-type]
            peer.subscribe(layer="*")
            await world.quiet()
            [_, snapshot] = peer.taken()
            assert (len(snapshot["configurations"]), FAR in str(snapshot)) == (seen, seen == 2)
            await world.put("device/far", n=FAR)
            await world.put("global", n="everybody's")
            await world.quiet()
            assert len(peer.taken()) == seen


async def test_rollouts_of_single_devices_are_for_who_reaches_them() -> None:
    """For others there is none with this number."""
    async with fleet("a") as world:
        number = await far_away(world)
        ann = world.caller(ANN)
        missing = (404, f"Rollout {number} does not exist")
        for action in ("get", "hold", "resume", "rollback"):
            assert await world.no(f"rollout/{action}", ann, rollout=number) == missing
        assert (await world.do("rollout/list", ann))["rollouts"] == []
        assert await world.no("fleet/count", ann, rollout=number) == (404, f"Rollout {number} is not open")
        assert len((await world.do("rollout/list"))["rollouts"]) == 1


async def test_rollouts_are_changed_by_who_may_write_their_layer() -> None:
    """Who has some networks sees one of all devices, and neither holds, resumes nor ends it."""
    async with fleet("a") as world:
        ann, asked = world.caller(ANN), {"steps": [{"deviceIds": ["a"]}, {"percent": 100}]}
        denied = (403, "Access is denied: the layer's target is not limited to networks of the token")
        assert await world.no("rollout/start", ann, layer="global", changes=put(n="1"), **asked) == denied
        number = await start(world, {"deviceIds": ["a"]}, n="1")
        assert (await world.do("rollout/get", ann, rollout=number))["rollout"]["state"] == "running"
        for action in ("hold", "rollback"):
            assert await world.no(f"rollout/{action}", ann, rollout=number) == denied
        await world.do("rollout/hold", rollout=number)
        assert await world.no("rollout/resume", ann, rollout=number) == denied


async def test_who_follows_a_layer_sees_the_names_of_its_token() -> None:
    """In the state and in changes, of one layer and of all."""
    async with fleet("a") as world:
        await world.put("global", seen="1", hidden="1")
        for layer in ("global", "*"):
            peer = Peer(world, world.caller(c=["seen"]).identity)  # type: ignore[arg-type]
            peer.subscribe(layer=layer)
            await world.put("global", seen="2", hidden="2")
            await world.quiet()
            text = str(peer.taken())
            assert ("'seen'" in text, "'hidden'" in text) == (True, False)
            peer.session.close()


async def test_what_is_scheduled_is_for_who_reaches_its_layer() -> None:
    """Of others it is not listed. Who sees it, but may not write the layer, cannot cancel it."""
    async with fleet("a") as world:
        await far_away(world)
        ann, at = world.caller(ANN), world.clock.time + 60_000
        await world.layer("cold", 5)
        for layer in ("device/far", "cold", "device/a"):
            change = {"operation": "put", "name": "n", "value": layer, "layer": layer}
            await world.do("configuration/transact", changes=[change], at=at)
        await world.do("configuration/put", layer="device/far", name="m", value=FAR, ttl=60)
        for caller, seen in ((world.admin, 4), (ann, 2)):
            listed = await world.do("schedule/list", caller)
            assert (len(listed["schedules"]), listed["count"], "device/far" in str(listed)) == (seen, seen, seen == 4)
        assert await world.no("schedule/cancel", ann, schedule=1) == (404, "There is no schedule 1")
        denied = (403, "Access is denied: the layer's target is not limited to networks of the token")
        assert await world.no("schedule/cancel", ann, schedule=2) == denied
        await world.do("schedule/cancel", ann, schedule=3)
        await world.do("layer/delete", layer="cold")
        await world.do("schedule/cancel", ann, schedule=2)
        await world.do("schedule/cancel", schedule=1)


async def test_what_does_not_fit_a_schema_tells_nothing_of_devices_out_of_reach() -> None:
    """Only that there is such a value: of what is stored, of what is scheduled, and of a rollout."""
    async with fleet("a") as world:
        await far_away(world)
        later = {"operation": "put", "name": "later", "value": FAR, "layer": "device/far"}
        await world.do("configuration/transact", changes=[later], at=world.clock.time + 60_000)
        of_none = {"type": "string", "maxLength": 3}
        for caller, told in ((world.admin, True), (world.caller(ANN), False)):
            checked = await world.do("schema/check", caller, names="n", schema=of_none)
            assert (len(checked["misfits"]), "s value" in str(checked)) == (1, told)
            for name in ("n", "later", "rolled"):
                with pytest.raises(ValuesDoNotFit) as refused:
                    await world.do("schema/put", caller, names=name, schema=of_none)
                assert ("s value" in str(refused.value) + str(refused.value.members)) is told, name


@pytest.mark.parametrize("action", ["configuration/rollback", "rollout/start"])
async def test_who_loses_a_network_while_values_are_judged_writes_no_layer_of_it(
    monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """The layer is looked at again."""
    async with fleet("a") as world:
        await world.layer("near", 5, networkIds=[1])
        await world.put("near", n="1")
        await world.put("near", n="2")
        settle = world.services.schemas, "settle"
        meanwhile(monkeypatch, *settle, lambda: world.do("user/unassignNetwork", userId=ANN, networkId=1))
        rollout = {"changes": put(n="3"), "steps": [{"percent": 100}]}
        asked = {"name": "n", "to": 1} if action == "configuration/rollback" else rollout
        denied = (403, "Access is denied: the layer's target is not limited to networks of the token")
        assert await world.no(action, world.caller(ANN), layer="near", **asked) == denied
        assert (await world.do("configuration/get", layer="near", name="n"))["configuration"]["value"] == "2"


@pytest.mark.parametrize("action", ["hold", "resume", "rollback"])
async def test_who_loses_a_network_while_devices_are_counted_changes_no_rollout_of_it(
    monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Its layer is looked at again."""
    async with fleet("a") as world:
        await world.layer("near", 5, networkIds=[1])
        number = await start(world, {"deviceIds": ["a"]}, layer="near", n="1")
        if action == "resume":
            await world.do("rollout/hold", rollout=number)
        before = await state(world, number)
        unassign = {"userId": ANN, "networkId": 1}
        meanwhile(monkeypatch, world.services.progress, "count", lambda: world.do("user/unassignNetwork", **unassign))
        denied = (403, "Access is denied: the layer's target is not limited to networks of the token")
        assert await world.no(f"rollout/{action}", world.caller(ANN), rollout=number) == denied
        assert await state(world, number) == before


@pytest.mark.parametrize("action", ["layer/put", "layer/delete"])
async def test_a_layer_that_gets_other_devices_at_the_same_moment_is_not_changed(action: str) -> None:
    """By who does not reach these: its own target would take their values away."""
    async with fleet("a") as world:
        await world.layer("near", 5, networkIds=[1])
        more = {"rank": 7, "target": {"networkIds": [1]}} if action == "layer/put" else {}
        moved = asyncio.create_task(world.layer("near", 5, networkIds=[2]))
        await asyncio.sleep(0)
        denied = (403, "Access is denied: the layer's target is not limited to networks of the token")
        assert await world.no(action, world.caller(ANN), layer="near", **more) == denied
        await moved
        [layer] = (await world.do("layer/list", layer="near"))["layers"]
        assert (layer["rank"], layer["target"]) == (5, {"networkIds": [2]})


async def test_who_is_locked_while_a_layer_is_deleted_does_not_try_again() -> None:
    """Because a value was put into it at the same moment."""
    async with fleet("a") as world:
        await world.layer("near", 5, networkIds=[1])
        ann = world.users.by_id(ANN) or pytest.fail()
        lock = world.users.replace(ann, structs.replace(ann.content, status=Status.LOCKED_OUT), None)
        put_value = asyncio.create_task(world.put("near", n="1"))
        deleted = asyncio.create_task(world.no("layer/delete", world.caller(ANN), layer="near", force=True))
        await asyncio.sleep(0)
        await world.ledger.commit(lock)
        assert (await deleted)[0] == 401
        await put_value
        assert (await world.do("configuration/get", layer="near", name="n"))["configuration"]["value"] == "1"


async def test_who_is_locked_while_an_id_becomes_free_saves_no_device() -> None:
    """It was that of a device in a network that was deleted by force, whose rest is removed first."""
    async with fleet() as world:
        await world.register("b", network=2)
        await world.do("network/delete", networkId=2, force=True)
        ann = world.users.by_id(ANN) or pytest.fail()
        lock = world.users.replace(ann, structs.replace(ann.content, status=Status.LOCKED_OUT), None)
        device = {"name": "b", "networkId": 1}
        saved = asyncio.create_task(world.no("device/save", world.caller(ANN), deviceId="b", device=device))
        await asyncio.sleep(0)
        await world.ledger.commit(lock)
        assert (await saved)[0] == 401
        assert (await world.no("device/get", deviceId="b"))[0] == 404


async def test_what_a_token_of_a_device_has_begun_ends_with_the_tokens_of_the_device() -> None:
    """Its rollouts are held, and what it has scheduled is not carried out."""
    async with fleet("a") as world:
        timers, device = timers_of(world), world.caller(d=["a"], i=now())
        asked = {"layer": "device/a", "changes": put(n="1"), "steps": [{"percent": 100}], "gate": {"wait": 60}}
        number = (await world.do("rollout/start", device, **asked))["rollout"]
        change = {"operation": "put", "name": "m", "value": "1", "layer": "device/a"}
        await world.do("configuration/transact", device, changes=[change], at=world.clock.time + 60_000)
        await world.do("device/revoke", deviceId="a")
        await judge(world)
        assert (await state(world, number))[::2] == (
            "held",
            "the token with which its author admin started it was revoked",
        )
        await after(world, timers, 61)
        [schedule] = (await world.do("schedule/list"))["schedules"]
        assert schedule["failed"]


@pytest.mark.parametrize(
    ("action", "more"), [("layer/delete", {"force": True}), ("layer/put", {"rank": 7, "target": {"deviceIds": ["a"]}})]
)
async def test_a_token_of_some_names_changes_no_layer_that_holds_others(action: str, more: Any) -> None:
    """What the layer says of the others would change too."""
    async with fleet("a") as world:
        await world.layer("cold", 5)
        await world.put("cold", app="1", other="2")
        some = world.caller(c=["app"])
        code, text = await world.no(action, some, layer="cold", **more)
        assert (code, text.endswith("layer 'cold' holds names that the token does not reach")) == (403, True)
        await world.put("cold", other=None)
        await world.do(action, some, layer="cold", **more)


@pytest.mark.parametrize("layer", ["global", "device/far"])
async def test_who_is_no_administrator_any_more_has_no_rollout_for_all(layer: str) -> None:
    """The user's own networks limit it from then on, so that a layer with other devices is out of reach."""
    async with fleet("a") as world:
        await world.register("far", network=2)
        number = await start(world, {"deviceIds": ["far"]}, layer=layer, n="1")
        for role in (Role.CLIENT, Role.ADMIN):
            found = world.users.by_id(ADMIN)
            assert found is not None
            await world.ledger.commit(world.users.replace(found, structs.replace(found.content, role=role), None))
            await judge(world)
        expected = f"its author admin does not reach all devices of layer '{layer}' any more"
        assert (await state(world, number))[::2] == ("held", expected)


async def test_a_rollout_ends_with_its_device() -> None:
    """It failed, however far it was, and does not count against the bound."""
    async with fleet("a", "b") as world:
        running = await start(world, {"deviceIds": ["a"]}, layer="device/a", n="1")
        held = await start(world, {"deviceIds": ["a"]}, layer="device/a", m="1")
        await world.do("rollout/hold", rollout=held)
        await world.do("device/delete", deviceId="a")
        await judge(world)
        gone = ("failed", "Device with such deviceId = a not found")
        assert [(await state(world, number))[::2] for number in (running, held)] == [gone, gone]
        assert not world.services.fleet.rollouts


async def test_a_device_with_the_id_of_another_was_not_reached() -> None:
    """Whether it listens or not: the time since the former one was sent the values is not its silence."""
    async with fleet("a") as world:
        peer = world.follow("a")
        number = await start(world, {"deviceIds": ["a"]}, gate={"silent": 60, "wait": 0, "minimum": 0}, n="1")
        await judge(world, 59)
        await world.do("device/delete", deviceId="a")
        await world.register("a")
        await world.quiet()
        await judge(world, 59)
        assert (await world.do("rollout/get", rollout=number))["rollout"]["counts"]["silent"] == 0
        assert peer.taken()[-1]["configuration"]["value"] == "1"
        peer.ask("configuration/unsubscribe", subscriptionId=1)
        await world.quiet()
        await world.do("device/delete", deviceId="a")
        await world.register("a")
        counts = (await world.do("rollout/get", rollout=number))["rollout"]["counts"]
        assert (counts["reached"], counts["waiting"]) == (0, 1)


async def test_a_device_that_asks_is_reached() -> None:
    """Some devices do not listen, but ask now and then what they should have."""
    async with fleet("a") as world:
        number = await start(world, {"deviceIds": ["a"]}, n="1")
        assert (await world.do("rollout/get", rollout=number))["rollout"]["counts"]["waiting"] == 1
        await world.do("device/effective", world.caller(a=[101], d=["a"]), deviceId="a")
        assert (await world.do("rollout/get", rollout=number))["rollout"]["counts"]["reached"] == 1


@pytest.mark.parametrize(
    ("change", "more", "text"),
    [
        (
            {"contentType": "text/html\r\nX: y"},
            {},
            "changes[0]: contentType must be a media type such as application/json",
        ),
        (
            {"contentType": "application/json"},
            {},
            "changes[0]: Value is not valid JSON, which its contentType requires",
        ),
        ({}, {"salt": ""}, "salt must have 1 to 64 characters"),
        ({}, {"salt": "s" * 65}, "salt must have 1 to 64 characters"),
    ],
)
async def test_values_of_a_rollout_are_judged_like_those_of_a_put(change: Any, more: Any, text: str) -> None:
    """They become configurations without another look."""
    async with fleet("a") as world:
        changes = [put(n="{")[0] | change]
        code, found = await world.no("rollout/start", layer="global", changes=changes, steps=[{"percent": 100}], **more)
        assert (code, found.startswith(text)) == (400, True), found


async def test_a_rollout_leaves_no_layer_with_too_many_names() -> None:
    """What it would put into the layer counts together."""
    async with fleet("a") as world:
        await world.put("global", **{f"n{number}": "1" for number in range(999)})
        given = {"layer": "global", "steps": [{"percent": 100}]}
        full = (400, "Layer 'global' holds 1,000 configurations, the most that a layer can")
        assert await world.no("rollout/start", changes=put(x="1", y="1"), **given) == full
        await world.do("rollout/start", changes=put(x="1", n1="2"), **given)


async def test_a_list_of_rollouts_leaves_long_values_out() -> None:
    """With them many rollouts would be too large for one answer. One rollout shows them."""
    async with fleet("a") as world:
        number = await start(world, short="s" * 256, long="l" * 257)
        [listed] = (await world.do("rollout/list"))["rollouts"]
        assert [each.get("value") for each in listed["changes"]] == ["s" * 256, None]
        changes = (await world.do("rollout/get", rollout=number))["rollout"]["changes"]
        assert [len(each["value"]) for each in changes] == [256, 257]


async def test_who_follows_the_layer_of_a_device_keeps_it_as_long_as_it_reaches_that() -> None:
    """When the device moves away, a new and empty state comes at once, and then nothing; when it is back, the state."""
    async with fleet("a") as world:
        await world.put("device/a", n="1")
        peers = [Peer(world, caller.identity) for caller in (world.caller(ANN), world.admin)]  # type: ignore[arg-type]
        for peer in peers:
            peer.subscribe(layer="device/a")
        await world.quiet()
        for peer in peers:
            [_, snapshot] = peer.taken()
            assert [each["value"] for each in snapshot["configurations"]] == ["1"]
        ann, admin = peers
        await world.do("device/save", deviceId="a", device={"networkId": 2})
        await world.quiet()
        [reset] = ann.taken()
        assert (reset["reset"], reset["configurations"], reset["last"]) == (True, [], True)
        assert admin.taken() == []
        await world.put("device/a", n=FAR)
        await world.quiet()
        assert (ann.taken(), len(admin.taken())) == ([], 1)
        await world.do("device/save", deviceId="a", device={"networkId": 1})
        await world.quiet()
        [back] = ann.taken()
        assert [each["value"] for each in back["configurations"]] == [FAR]
        ann.session.close()
        await world.do("device/save", deviceId="a", device={"networkId": 2})


async def test_a_device_that_moves_out_of_the_reach_of_its_token_is_cut_off() -> None:
    """It keeps what it has, and cannot follow again. One whose token reaches all networks goes on."""
    async with fleet("a") as world:
        await world.put("global", n="1")
        near = Peer(world, world.caller(ADMIN, [101], d=["a"], n=["1"]).identity)  # type: ignore[arg-type]
        assert near.subscribe(deviceId="a")["status"] == "success"
        everywhere = world.follow("a")
        await world.quiet()
        near.taken(), everywhere.taken()
        await world.do("device/save", deviceId="a", device={"name": "a", "networkId": 2})
        assert (near.closed, everywhere.closed) == (Code.CLOSED_BY_ADMINISTRATOR, None)
        await world.put("global", n="2")
        await world.quiet()
        assert len(everywhere.taken()) == 1


async def test_what_a_deleted_device_had_is_not_shown_to_who_has_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the history of its layer nor by a rollback, an audit or a resumed subscription, but to who reaches all
    devices. What the device itself had before it came into reach is shown."""
    async with fleet("a") as world:
        await world.register("b", network=2)
        anns, name = world.caller(ANN), {"layer": "device/b", "name": "n"}
        position = f"{world.ledger.epoch}-{world.ledger.revision}"
        monkeypatch.setattr("hivewire.devices.registry.PAGE", 2)
        former = await world.put("device/b", n="former")
        await world.do("device/delete", deviceId="b")
        await world.register("b", network=2)

        async def known(caller: Any = None) -> list[Any]:
            return [
                each["configuration"]["value"]
                for each in (await world.do("configuration/history", caller, **name))["changes"]
            ]

        async def audited(layer: str) -> list[Any]:
            changes = (await world.do("configuration/audit", anns, layer=layer))["changes"]
            return [each["operation"] for each in changes]

        async def resumed() -> Any:
            peer = Peer(world, anns.identity)  # type: ignore[arg-type]
            mode = peer.subscribe(layer="device/b", since=position)["mode"]
            await world.quiet()
            assert "former" not in str(peer.taken())
            return mode

        await world.do("device/save", deviceId="b", device={"networkId": 1})
        assert (await world.no("configuration/history", anns, **name))[0] == 404
        assert (await audited("device/b"), await audited("*"), await resumed()) == ([], [], "reset")
        await world.put("device/b", n="1")
        await world.put("device/b", n="2")
        await world.do("device/save", deviceId="b", device={"networkId": 2})
        await world.put("device/b", n=None)
        await world.do("device/save", deviceId="b", device={"networkId": 1})
        assert await known(anns) == [None, "2", "1"]
        assert await known() == [None, "2", "1", None, "former"]
        assert await audited("device/b") == await audited("*") == ["delete", "put", "put"]
        assert await resumed() == "reset"
        for action, member in (("get", "revision"), ("rollback", "toRevision")):
            asked = {**name, member: former}
            assert (await world.no(f"configuration/{action}", anns, **asked))[0] == 404
            assert (await world.do(f"configuration/{action}", **asked))["configuration"]["value"] == "former"


async def test_a_rollout_to_a_deleted_device_is_none_of_who_has_its_id() -> None:
    """It fails, and shows its values to who reaches all devices only, and not to the device."""
    async with fleet("a") as world:
        await world.register("b", network=2)
        number = await start(world, layer="device/b", n="former")
        await world.do("device/delete", deviceId="b")
        await world.register("b", network=1)
        anns = world.caller(ANN)
        assert await world.has("b") == {}
        await world.do("schema/put", names="n", schema={"type": "integer"}, dryRun=True)
        assert (await world.do("rollout/list", anns))["rollouts"] == []
        assert (await world.no("rollout/get", anns, rollout=number))[0] == 404
        await judge(world)
        assert (await state(world, number))[0] == "failed"
        [listed] = (await world.do("rollout/list"))["rollouts"]
        assert listed["changes"][0]["value"] == "former"
        own = await start(world, layer="device/b", n="own")
        assert [each["rollout"] for each in (await world.do("rollout/list", anns))["rollouts"]] == [own]


async def test_a_schedule_for_a_deleted_device_is_none_of_who_has_its_id() -> None:
    """It fails at its time, and shows its values to who reaches all devices only."""
    async with fleet("a") as world:
        await world.register("b", network=2)
        change = {"operation": "put", "name": "n", "value": "former", "layer": "device/b"}
        at = str(world.clock.time + 60_000)
        number = (await world.do("configuration/transact", changes=[change], at=at))["schedule"]
        await world.do("device/delete", deviceId="b")
        await world.register("b", network=1)
        anns = world.caller(ANN)
        assert (await world.do("schedule/list", anns))["schedules"] == []
        assert (await world.no("schedule/cancel", anns, schedule=number))[0] == 404
        await world.do("schema/put", names="n", schema={"type": "integer"}, dryRun=True)
        await after(world, timers_of(world), 60)
        assert await world.has("b") == {}
        [listed] = (await world.do("schedule/list"))["schedules"]
        assert (listed["changes"][0]["value"], listed["failed"]) == (
            "former",
            "Device with such deviceId = b not found",
        )
        assert (await world.do("schedule/list", anns))["schedules"] == []
