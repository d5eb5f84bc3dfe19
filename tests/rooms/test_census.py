"""Counts of a fleet are those of a recount, whoever asks (fleet.md, section 9)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hivewire.devices.scope import EVERYWHERE
from hivewire.fleet import census, effect
from hivewire.fleet.census import Query
from hivewire.fleet.reports import state
from hivewire_protocol.nouns.fleet import FleetCountReply
from hivewire_protocol.nouns.layer import Target, bucket
from hivewire_protocol.patterns import EVERYTHING, Patterns
from tests.rooms.fleets import ANN, World, fleet
from tests.rooms.test_hub import Peer
from tests.rooms.test_reports import reported, states, tags
from tests.rooms.test_rollouts import start


async def counted(world: World, **members: object) -> dict[str, int]:
    """The counts that are not 0."""
    found = await world.do("fleet/count", **members)
    return {name: value for name, value in found.items() if isinstance(value, int) and value}


async def test_a_device_has_the_worst_state_of_its_names() -> None:
    """Refused before pending before local before applied; errors are counted."""
    async with fleet("a", "b", "c", "d") as world:
        await world.put("global", n="1", m="1")
        tag = await tags(world, "a")
        fine = [{"name": name, "tag": tag[name]} for name in "nm"]
        await reported(world, "a", *fine)
        await reported(world, "b", fine[0], {**fine[1], "error": "no"})
        await reported(world, "c", *fine, {"name": "own", "value": "1"})
        online = world.follow("a")
        assert await counted(world) == {"devices": 4, "online": 1, "applied": 1, "refused": 1, "local": 1, "pending": 1}
        found = await world.do("fleet/count", names=["m", "own"])
        assert found["errors"] == [{"name": "m", "error": "no", "devices": 1}]
        assert found["names"] == [
            {"name": "m", "applied": 2, "refused": 1, "pending": 1, "local": 0},
            {"name": "own", "applied": 0, "refused": 0, "pending": 0, "local": 1},
        ]
        listed = (await world.do("fleet/list", state="refused"))["devices"]
        assert [(each["deviceId"], each["errors"]) for each in listed] == [("b", {"m": "no"})]
        online.session.close()
        assert "online" not in await counted(world)


async def test_the_five_most_frequent_errors_are_counted() -> None:
    """Of all names and devices, however many there are."""
    ids = [f"d-{number}" for number in range(8)]
    async with fleet(*ids) as world:
        await world.put("global", n="1")
        tag = (await tags(world, "d-0"))["n"]
        for number, device in enumerate(ids):
            await reported(world, device, {"name": "n", "tag": tag, "error": f"error {max(2, number)}"})
        found = (await world.do("fleet/count"))["errors"]
        assert (found[0], len(found)) == ({"name": "n", "error": "error 2", "devices": 3}, 5)


async def test_a_percentage_of_a_rollout_is_those_that_it_takes_first() -> None:
    """With a salt of its own, too. Without a rollout it is always the same sample, in no relation to them."""
    ids = [f"d-{number}" for number in range(100)]
    async with fleet(*ids) as world:
        steps = [{"percent": 50}, {"percent": 100}]
        for name, salt in (("n", None), ("m", "mine")):
            changes = [{"operation": "put", "name": name, "value": "1"}]
            given = {"layer": "global", "changes": changes, "steps": steps, "salt": salt}
            number = (await world.do("rollout/start", **given))["rollout"]
            await world.quiet()
            first = [each for each in ids if bucket(salt or f"rollout/{number}", each) < 2_000]
            found = await world.do("fleet/list", rollout=number, target={"percent": 20})
            assert [each["deviceId"] for each in found["devices"]] == sorted(first)
        sample = [each for each in ids if bucket("layer/", each) < 2_000]
        assert (await counted(world, target={"percent": 20}))["devices"] == len(sample)


async def test_a_device_is_counted_by_its_labels_whatever_else_changes() -> None:
    """Its own layer comes and goes, other labels too; one that it loses does not count, nor one of a deleted device."""
    async with fleet("a", "b") as world:
        for device in ("a", "b"):
            await world.label(device, site="bonn")
        bonn = {"labels": {"site": ["bonn"]}}
        await world.put("device/a", n="1")
        assert (await counted(world, target=bonn))["devices"] == 2
        await world.label("a", site="bonn", floor="1")
        await world.layer("bonn", 5, **bonn)
        assert (await counted(world, target=bonn))["devices"] == 2
        await world.label("a", floor="1")
        assert (await counted(world, target=bonn))["devices"] == 1
        await world.do("device/delete", deviceId="b")
        assert await counted(world, target=bonn) == {}


async def test_counts_are_those_of_a_recount() -> None:
    """Of all devices, of a target, of some networks and of a rollout; and pages of the list are all of it."""
    ids = [f"d-{number:03}" for number in range(60)]
    async with fleet(*ids[:40]) as world:
        await world.register(*ids[40:], network=2)
        await world.put("global", n="1")
        await world.layer("odd", 5, labels={"kind": ["odd"]})
        await world.put("odd", m="1")
        for number, device in enumerate(ids):
            if number % 2:
                await world.label(device, kind="odd")
        tag = await tags(world, ids[1])
        for number, device in enumerate(ids):
            error = {"error": "no"} if number % 5 == 0 else {}
            if number % 3:
                await reported(world, device, {"name": "n", "tag": tag["n"], **error}, {"name": "m", "tag": tag["m"]})
        worst = {device: await _worst(world, device) for device in ids}
        assert await counted(world) == {"devices": 60, **Counter(worst.values())}
        odd = {"labels": {"kind": ["odd"]}}
        listening = [world.follow(device) for device in ids[:4]]
        assert await counted(world, target=odd) == {"devices": 30, "online": 2, **Counter(list(worst.values())[1::2])}
        for peer in listening:
            peer.session.close()
        ann = world.caller(ANN)
        found = await world.do("fleet/count", ann)
        assert found["devices"] == 40
        assert found["refused"] == sum(each == "refused" for each in list(worst.values())[:40])
        pages, after = [], ""
        while page := (await world.do("fleet/list", take=7, after=after))["devices"]:
            pages += page
            after = page[-1]["deviceId"]
        assert {each["deviceId"]: each["state"] for each in pages} == worst
        number = await start(world, {"deviceIds": ids[:9]}, gate={"wait": 100}, n="2")
        assert await counted(world, rollout=number) == {"devices": 9, "pending": 9, "waiting": 9}
        listed = (await world.do("fleet/list", rollout=number))["devices"]
        assert [each["deviceId"] for each in listed] == ids[:9]
        assert (await world.no("fleet/count", rollout=99))[0] == 404
        assert (await world.no("fleet/list", state="lost"))[0] == 400


async def _worst(world: World, device: str) -> str:
    found = {*(await states(world, device)).values()}
    return next((each for each in ("refused", "pending", "local") if each in found), "applied")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, range(40)),
        ({"labels": {"site": ["x", "y"]}}, [number for number in range(40) if number % 3 < 2]),
        ({"deviceIds": ["d-31", "missing", "d-07"]}, [7, 31]),
    ],
)
async def test_pages_of_a_list_have_each_device_once(
    monkeypatch: pytest.MonkeyPatch, target: Any, expected: list[int]
) -> None:
    """In the order of ids, of few devices and of many, whoever comes meanwhile."""
    monkeypatch.setattr(census, "LOOK", 7)
    monkeypatch.setattr(census, "FEW", 5)
    ids = [f"d-{number:02}" for number in range(40)]
    async with fleet(*ids) as world:
        for number, device in enumerate(ids):
            await world.label(device, site="xyz"[number % 3])
        found: list[str] = []
        while page := (await world.do("fleet/list", target=target, take=4, after=found[-1] if found else ""))[
            "devices"
        ]:
            found += [each["deviceId"] for each in page]
            await world.register(f"c-{len(found)}")
        assert found == [ids[number] for number in expected]


async def test_a_step_is_one_device_or_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target may have 32,000 values, a view 100,000 names: others are served in between."""
    async with fleet("a", "b", "c") as world:
        await world.put("global", **{f"n{number}": "1" for number in range(40)})
        looked: list[Any] = []
        wants = Query.wants
        monkeypatch.setattr(census, "state", lambda *of: looked.append(of) or state(*of))
        monkeypatch.setattr(Query, "wants", lambda query, member: looked.append(member) or wants(query, member))
        model = world.services.fleet
        for names in (EVERYTHING, Patterns(["n*"]), Patterns([f"n{number}" for number in range(40)])):
            query = Query(EVERYWHERE, names, lambda name: False, Target(deviceTypeIds=[1]))
            for steps in (census.count(model, query, each_name=True), census.rows(model, query, None, "", 10)):
                looked.clear()
                most = 0
                for _ in steps:
                    most = max(most, len(looked))
                    looked.clear()
                assert max(most, len(looked)) == 1


async def test_a_count_of_all_takes_a_step_for_each_report_of_a_view() -> None:
    """Each of 100,000 devices may say something of its own, and all may have one view."""
    ids = [f"d-{number}" for number in range(30)]
    async with fleet(*ids) as world:
        for each in ids:
            await reported(world, each, {"name": "serial", "value": each})
        steps = census.count(world.services.fleet, Query(EVERYWHERE, Patterns(()), lambda name: False), each_name=False)
        assert sum(1 for _ in steps) >= 2 * len(ids)
        assert (await world.do("fleet/count"))["local"] == len(ids)


async def test_a_step_of_a_dry_run_is_one_device_or_one_view() -> None:
    """As of a count."""
    async with fleet("a", "b", "c") as world:
        await world.put("device/a", n="own")
        model = world.services.fleet
        assert len([*effect.of_target(model, "new", 5, Target(deviceTypeIds=[1]))]) == 3
        assert len([*effect.of_names(model, {"global": ["n"]})]) == 2


async def test_a_secret_is_not_in_the_errors() -> None:
    """What devices say of it is not shown."""
    async with fleet("a") as world:
        await world.put("global", key="hunter2")
        tag = (await tags(world, "a"))["key"]
        await world.do("schema/put", names="key", secret=True)
        await reported(world, "a", {"name": "key", "tag": tag, "error": "hunter2 is short"})
        assert (await world.do("fleet/count"))["errors"] == []
        assert "hunter2" not in str(await world.do("fleet/list"))
        assert (await counted(world))["refused"] == 1


async def test_counts_and_rows_are_followed() -> None:
    """Who follows is told what has changed: counts, rows that enter, change and leave, and why they leave."""
    async with fleet("a", "b", "c") as world:
        await world.put("global", n="1")
        peer = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        members = {"target": {"networkIds": [1]}, "state": "pending", "rows": 10}
        peer.ask("fleet/subscribe", **members)
        tell = world.services.fleet_watch.tell
        await tell()
        reply, counts, rows = peer.taken()
        assert reply["mode"] == "live"
        assert (counts["action"], counts["devices"], counts["pending"]) == ("fleet/count", 3, 3)
        assert [each["deviceId"] for each in rows["entered"]] == ["a", "b", "c"]
        await tell()
        assert peer.taken() == []
        tag = (await tags(world, "a"))["n"]
        await reported(world, "a", {"name": "n", "tag": tag})
        await world.do("device/delete", deviceId="b")
        await world.do("device/save", deviceId="c", device={"networkId": 2})
        await world.register("d")
        await tell()
        counts, rows = peer.taken()
        assert (counts["devices"], counts["applied"], counts["pending"]) == (2, 1, 1)
        assert [each["deviceId"] for each in rows["entered"]] == ["d"]
        assert rows["left"] == [
            {"deviceId": "a", "why": "state"},
            {"deviceId": "b", "why": "deleted"},
            {"deviceId": "c", "why": "target"},
        ]
        await world.label("d", site="bonn")
        await tell()
        [changed] = peer.taken()
        assert changed["changed"][0]["labels"] == {"site": "bonn"}
        peer.session.pause()
        await world.register("e")
        await tell()
        assert peer.taken() == []
        peer.read()
        await world.quiet()
        await tell()
        assert [each["action"] for each in peer.taken()] == ["fleet/count", "fleet/rows"]
        peer.ask("fleet/unsubscribe", subscriptionId=1)
        await world.register("f")
        await tell()
        assert [each.get("status") for each in peer.taken()] == ["success"]
        peer.ask("fleet/subscribe", rows=201)
        assert peer.taken()[0]["code"] == 400


async def test_counts_and_rows_are_those_that_are_reached_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another token, and another network of the user, count at once, although nothing has changed in the fleet."""
    async with fleet("a", "b", "c") as world:
        await world.do("device/save", deviceId="c", device={"networkId": 2})
        peer = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        anns = Peer(world, world.caller(ANN).identity)  # type: ignore[arg-type]
        for each in (peer, anns):
            each.ask("fleet/subscribe", rows=10)
        tell, progress = world.services.fleet_watch.tell, world.services.progress
        await tell()
        assert [each.taken()[1]["devices"] for each in (peer, anns)] == [3, 2]
        peer.ask("authenticate", token=world.token(n=["1"]))
        await world.do("user/assignNetwork", userId=ANN, networkId=2)
        await tell()
        _, counts, rows = peer.taken()
        assert (counts["devices"], rows["left"]) == (2, [{"deviceId": "c", "why": "target"}])
        counts, rows = anns.taken()
        assert (counts["devices"], [each["deviceId"] for each in rows["entered"]]) == (3, ["c"])
        await tell()
        assert [*peer.taken(), *anns.taken()] == []
        census = progress.census

        async def with_another_token(*given: Any, **members: Any) -> FleetCountReply:
            found = await census(*given, **members)
            peer.ask("authenticate", token=world.token(n=["2"]))
            return found

        monkeypatch.setattr(progress, "census", with_another_token)
        await world.register("d")
        await tell()
        assert {each["action"] for each in peer.taken()} == {"authenticate"}, "what was counted is not of this token"
        await tell()
        assert peer.taken()[1]["devices"] == 1


async def test_a_subscription_that_cannot_be_served_keeps_no_other_one_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong with it, and whichever comes first."""
    async with fleet("a") as world:
        peer, watch = Peer(world, world.caller().identity), world.services.fleet_watch  # type: ignore[arg-type]
        for _ in range(2):
            peer.ask("fleet/subscribe")
        peer.taken()
        query, asked = watch._query, list[object]()

        def fail_at_first(*given: Any) -> Query | None:
            asked.append(given)
            return query(*given) if len(asked) > 1 else 1 / 0  # type: ignore[return-value]

        monkeypatch.setattr(watch, "_query", fail_at_first)
        await watch.tell()
        assert [each["subscriptionId"] for each in peer.taken()] == [2]
        await watch.tell()
        assert [each["subscriptionId"] for each in peer.taken()] == [1]


async def test_a_rollout_is_followed_as_long_as_it_is_seen() -> None:
    """Neither with a token for other names, nor when its device has moved out of reach."""
    async with fleet("a") as world:
        first = await start(world, n="1")
        second = await start(world, layer="device/a", m="1")
        every = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        anns = Peer(world, world.caller(ANN).identity)  # type: ignore[arg-type]
        for peer, number in ((every, first), (anns, second)):
            peer.ask("fleet/subscribe", rollout=number)
        tell = world.services.fleet_watch.tell
        await tell()
        assert [len(peer.taken()) for peer in (every, anns)] == [2, 2], "the reply and the counts"
        every.ask("authenticate", token=world.token(c=["m"]))
        await world.do("device/save", deviceId="a", device={"networkId": 2})
        world.follow("a")
        await tell()
        assert [len(peer.taken()) for peer in (every, anns)] == [1, 0], "the reply"


async def test_the_devices_of_a_rollout_are_followed() -> None:
    """Those that were reached, and those that fall silent, which only the clock says."""
    async with fleet("a", "b") as world:
        number = await start(world, gate={"silent": 60, "failures": 9}, n="1")
        peer = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        peer.ask("fleet/subscribe", rollout=number)
        tell = world.services.fleet_watch.tell
        world.follow("a")
        await tell()
        _, counts = peer.taken()
        assert [counts[each] for each in ("reached", "waiting", "silent", "overridden")] == [1, 1, 0, 0]
        await tell()
        assert peer.taken() == []
        world.clock.time += 60_000
        await tell()
        [counts] = peer.taken()
        assert counts["silent"] == 1
        await world.do("rollout/rollback", rollout=number)
        await tell()
        assert peer.taken() == []
