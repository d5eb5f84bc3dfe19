"""Layers: which devices have which, what counts for a device, and every refusal (fleet.md, sections 2, 3 and 10)."""

from __future__ import annotations

import asyncio
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from itertools import compress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire import schedules, slices, timers
from hivewire.access.bootstrap import SECRET, TAG_KEY
from hivewire.actions import configuration, layer, rollout
from hivewire.caller import Caller
from hivewire.fleet import conditions, layers, notes, progress, watch
from hivewire.fleet import fleet as fleets
from hivewire.fleet.fleet import Fleet
from hivewire.fleet.layers import Layer, Placed, Value
from hivewire.fleet.views import Overlay, View
from hivewire.ledger.records import PreconditionFailed, Transaction, Write
from hivewire.resources import LAYERED
from hivewire.schemas import schemas
from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.nouns.layer import Target, bucket, key_of, split
from hivewire_protocol.tenant.steps import at_once
from tests.rooms.fleets import ANN, fleet

TAG = 12


@pytest.mark.parametrize(
    ("salt", "device", "expected"),
    [
        ("rollout/17", "dev-1", 2032),
        ("rollout/17", "dev-2", 3122),
        ("rollout/17", "A", 8603),
        ("rollout/18", "dev-1", 2497),
        ("layer/canary", "dev-1", 7061),
    ],
)
def test_buckets_are_those_of_the_contract(salt: str, device: str, expected: int) -> None:
    """Anybody can work out which devices a percentage has."""
    assert bucket(salt, device) == expected


def test_bounds_are_those_of_the_contract() -> None:
    """Operators plan with them (fleet.md, section 10)."""
    assert (conditions.MOST_LAYERS, conditions.MOST_NAMES) == (1_000, 1_000)
    assert (layer.MOST_LABELS, layer.MOST_LABEL) == (32, 64)
    assert (rollout.MOST_OPEN, rollout.MOST_STEPS, rollout.MOST_CHANGES) == (100, 20, 100)
    assert (schemas.MAX_SCHEMAS, schedules.MAX_SCHEDULES) == (1_000, 10_000)


async def test_what_looks_at_all_layers_does_it_in_steps(steps_of: Callable[..., list[int]]) -> None:
    """There may be 1,000 with 1,000 values each, and the event loop serves others meanwhile."""
    async with fleet("a", "b") as world:
        await world.layer("one", 1)
        await world.layer("two", 2, deviceIds=["a"])
        for each in ("global", "one", "two"):
            await world.put(each, m="1", n="2")
        steps = steps_of(layer, configuration)
        listed = await world.do("configuration/list", layer="*", names=["n", "m"], skip=1, take=4)
        found = [(each["layer"], each["name"]) for each in listed["configurations"]]
        assert (listed["count"], found) == (6, [("global", "n"), ("one", "m"), ("one", "n"), ("two", "m")])
        assert [each["devices"] for each in (await world.do("layer/list"))["layers"]] == [2, 2, 1]
        assert steps == [3 + 4, 2, 3], "layers and their page, views, layers"


@pytest.mark.parametrize(
    "target", [Target(), Target(labels={"site": ["bonn"]}), Target(networkIds=[1]), Target(deviceTypeIds=[1])]
)
async def test_the_devices_of_a_target_are_looked_for_one_by_one(target: Target) -> None:
    """There may be 100,000, and others come, change and go between two of them."""
    async with fleet("a", "b", "c") as world:
        for device in "abc":
            await world.label(device, site="bonn")
        found = world.services.fleet.members.candidates(target)
        assert next(found) == "a"
        await world.register("d")
        await world.label("d", site="bonn")
        await world.label("a", site="mainz")
        assert set(found) == {"b", "c"}


async def test_an_audit_shows_the_changes_of_one_layer_or_of_all() -> None:
    """Within the names of the token; what a layer of a single device holds is shown to who reaches the device."""
    async with fleet("a") as world:
        await world.register("b", network=2)
        await world.layer("one", 1)
        for layer, names in (("global", "m"), ("one", "mn"), ("device/a", "m"), ("device/b", "m")):
            await world.put(layer, **dict.fromkeys(names, "1"))
        await world.put("one", n=None)

        async def found(caller: Caller | None = None, **asked: Any) -> list[tuple[str | None, str, str]]:
            changes = (await world.do("configuration/audit", caller, **asked))["changes"]
            shown = [(each["configuration"], each["operation"]) for each in changes]
            return [(each.get("layer"), each["name"], operation) for each, operation in shown]

        one = [("one", "n", "delete"), ("one", "m", "put"), ("one", "n", "put")]
        assert await found(layer="one") == one
        assert await found(layer="one", user="ann") == await found() == []
        devices = [("device/b", "m", "put"), ("device/a", "m", "put")]
        assert await found(layer="*") == [one[0], *devices, *one[1:], ("global", "m", "put")]
        assert await found(world.caller(ANN, c=["m"]), layer="*") == [devices[1], one[1], ("global", "m", "put")]
        assert await found(world.caller(ANN), layer="device/a") == [devices[1]]
        assert (await world.no("configuration/audit", world.caller(ANN), layer="device/b"))[0] == 404
        assert (await world.no("configuration/audit", layer="two"))[0] == 404


async def test_a_list_of_all_layers_may_be_resumed_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to a layer that has been looked at is not in the list, so it comes after its revision."""
    async with fleet("a") as world:
        before = await world.put("global", n="1")

        async def written_meanwhile(work: Any) -> Any:
            next(work)
            await world.put("global", n="2", o="3")
            return at_once(work)

        monkeypatch.setattr(configuration, "in_slices", written_meanwhile)
        listed = await world.do("configuration/list", layer="*")
        assert (listed["revision"], listed["count"]) == (before, 1)


async def test_the_layers_of_single_devices_are_put_in_order_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be 100,000. Who asks for the others has nothing to do with them."""
    async with fleet(*"abcde") as world:
        for each in "ebdac":
            await world.put(f"device/{each}", n="1")
        await world.layer("one", 1)
        monkeypatch.setattr(slices, "RUN", 2)
        assert sum(1 for _ in world.services.fleet.layers.ranked()) == 5 + 3 + 5
        listed = await world.do("configuration/list", layer="*")
        assert [each["layer"] for each in listed["configurations"]] == [f"device/{each}" for each in "abcde"]
        monkeypatch.delattr(type(world.services.fleet.layers), "ranked")
        assert [each["layer"] for each in (await world.do("layer/list"))["layers"]] == ["global", "one"]


async def test_pages_of_all_layers_begin_behind_the_last_one() -> None:
    """By rank, layer and name, so nothing is shown twice or left out because others write meanwhile."""
    async with fleet("a", "b") as world:
        await world.layer("one", 2)
        await world.layer("two", 1)
        for each in ("global", "one", "two", "device/a", "device/b"):
            await world.put(each, m="1", n="2")

        async def page(after: str | None) -> list[str]:
            listed = await world.do("configuration/list", layer="*", after=after, take=3)
            return [f"{each['layer']}/{each['name']}" for each in listed["configurations"]]

        assert await page(None) == ["global/m", "global/n", "two/m"]
        await world.put("global", l="0", o="0")
        assert await page("two/m") == ["two/n", "one/m", "one/n"]
        await world.do("configuration/delete", layer="two", name="m")
        assert await page("one/n") == ["device/a/m", "device/a/n", "device/b/m"]
        for name in "mn":
            await world.do("configuration/delete", layer="device/a", name=name)
        assert await page("device/a/n") == ["device/b/m", "device/b/n"]
        listed = await world.do("configuration/list", layer="*", after="one/m", skip=1, take=1)
        assert (listed["count"], listed["configurations"][0]["name"]) == (9, "m")
        for after, code, words in (("m", 400, "LAYER/NAME"), ("gone/m", 404, "'gone'"), ("device/c/m", 404, "c")):
            found = await world.no("configuration/list", layer="*", after=after)
            assert (found[0], words in found[1]) == (code, True)


async def test_values_of_labels_are_not_judged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of a rollout may have 300,000, and the event loop serves nobody else meanwhile."""
    async with fleet("a") as world:
        judged: list[Any] = []
        check = layer.check_labels
        monkeypatch.setattr(layer, "check_labels", lambda *given: judged.append(given) or check(*given))
        assert await world.layer("x", 5, labels={"site": [str(number) for number in range(300)]}) == 0
        assert len(judged) == 2
        long = {"site": ["a", "b" * 65, "c"]}
        assert "at most 64" in (await world.no("layer/put", layer="x", rank=5, target={"labels": long}))[1]


def test_intervals_are_those_of_the_contract() -> None:
    """A report is on the disk within five seconds, a bad rollout is held and what expires is gone within one, and who
    watches a fleet is told at most once a second."""
    assert notes.SAVE_SECONDS + notes.SETTLE_SECONDS < 5
    assert max(progress.JUDGE_SECONDS, timers.LOOK_SECONDS) < 1
    assert watch.TELL_SECONDS >= 1


async def test_a_tag_is_the_keyed_hash_of_type_and_content() -> None:
    """With a key of the ledger, so that nobody finds out a content by trying values."""
    async with fleet("a") as world:
        await world.ledger.commit(Transaction([Write(SECRET, TAG_KEY, b"key")]))
        await world.put("global", n="1")
        again = await world.restarted()
        [found] = (await again.do("device/effective", deviceId="a"))["configurations"]
        digest = hmac.digest(b"key", b"text/plain; charset=utf-8\0" + b"1", "sha256")
        assert found["tag"] == urlsafe_b64encode(digest).decode()[:12]
        await again.messages.close()


async def test_the_highest_layer_that_has_a_name_wins() -> None:
    """A device has the whole value of its highest layer; what that hides is named, and counts again when it goes."""
    async with fleet("dev-1") as world:
        await world.put("global", a="1", b="1", c="1")
        await world.layer("cold", 500, labels={"site": ["bonn"]})
        await world.put("cold", b="2", c="2")
        await world.put("device/dev-1", c="3")
        assert await world.has("dev-1") == {"a": "1", "b": "1", "c": "3"}
        await world.label("dev-1", site="bonn")
        found = await world.do("device/effective", deviceId="dev-1", names=["b*", "c"])
        assert found["layers"] == ["device/dev-1", "cold", "global"]
        b, c = found["configurations"]
        assert len(b.pop("tag")) == TAG
        assert b == {
            "name": "b",
            "value": "2",
            "layer": "cold",
            "entityVersion": 1,
            "hidden": ["global"],
            "state": "pending",
        }
        assert (c["value"], c["hidden"]) == ("3", ["cold", "global"])
        await world.put("device/dev-1", c=None)
        await world.put("cold", b=None)
        assert await world.has("dev-1") == {"a": "1", "b": "1", "c": "2"}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, {"a", "b", "c"}),
        ({"networkIds": [2]}, {"c"}),
        ({"deviceTypeIds": [2]}, {"b"}),
        ({"deviceIds": ["a", "z"]}, {"a"}),
        ({"labels": {"site": ["bonn", "ulm"]}}, {"a", "b"}),
        ({"labels": {"site": ["bonn", "ulm"], "spare": None}}, {"a"}),
        ({"labels": {"spare": None}}, {"a", "c"}),
        ({"networkIds": [1], "labels": {"site": ["ulm"]}}, {"b"}),
        ({"percent": 100}, {"a", "b", "c"}),
    ],
)
async def test_all_members_of_a_target_must_hold(target: Any, expected: set[str]) -> None:
    """Networks, types, ids, labels and parts of all devices, alone and together."""
    async with fleet("a") as world:
        await world.register("b", device_type=2)
        await world.register("c", network=2)
        await world.label("a", site="bonn")
        await world.label("b", site="ulm", spare="")
        assert await world.layer("x", 5, **target) == len(expected)
        await world.put("x", n="v")
        assert {device for device in "abc" if await world.has(device)} == expected
        [_, listed] = (await world.do("layer/list"))["layers"]
        assert listed["target"] == target
        assert (listed["layer"], listed["rank"], listed["configurations"]) == ("x", 5, 1)


async def test_a_greater_part_has_all_of_a_smaller_one() -> None:
    """A percentage that grows takes no device out, and the buckets decide which come in."""
    ids = [f"d-{number}" for number in range(300)]
    async with fleet(*ids) as world:
        before: set[str] = set()
        await world.put("global", n="0")
        for percent in (0.5, 10, 33.3, 100):
            count = await world.layer("part", 7, percent=percent)
            await world.put("part", n="1")
            now = {each for each in ids if (await world.has(each))["n"] == "1"}
            assert now == {each for each in ids if bucket("layer/part", each) < percent * 100}
            assert len(now) == count
            assert before <= now
            before = now


async def test_membership_is_true_at_once() -> None:
    """Labels, network, type and target decide from the moment that they are written."""
    async with fleet("a") as world:
        await world.layer("site", 5, labels={"site": ["bonn"]})
        await world.layer("two", 6, networkIds=[2])
        await world.put("site", n="site")
        await world.put("two", n="two")
        assert await world.has("a") == {}
        await world.label("a", site="bonn")
        assert await world.has("a") == {"n": "site"}
        await world.do("device/save", deviceId="a", device={"networkId": 2})
        assert await world.has("a") == {"n": "two"}
        await world.layer("two", 6, networkIds=[1])
        assert await world.has("a") == {"n": "site"}
        await world.label("a")
        assert await world.has("a") == {}


async def test_a_layer_s_configurations_have_versions_and_history() -> None:
    """Put, get, list, history, rollback and delete are those of plain configurations, beside them. A write that names a
    device in place of its layer is refused."""
    async with fleet("a") as world:
        await world.layer("x", 5)
        put = {"name": "n", "layer": "x"}
        first = await world.do("configuration/put", **put, value="1")
        assert first["configuration"] == {"name": "n", "value": "1", "entityVersion": 1, "layer": "x"}
        await world.do("configuration/put", **put, value="2", entityVersion=1, description="why")
        assert await world.no("configuration/get", name="n") == (
            404,
            "Requested config with name = n not found in the database",
        )
        await world.do("configuration/put", name="n", value="plain")
        assert (await world.do("configuration/get", **put))["configuration"]["value"] == "2"
        assert (await world.do("configuration/get", **put, entityVersion=1))["configuration"]["value"] == "1"
        changes = (await world.do("configuration/history", **put))["changes"]
        assert [(each["configuration"]["entityVersion"], each["description"]) for each in changes] == [
            (2, "why"),
            (1, None),
        ]
        assert await world.no("configuration/put", **put, value="3", entityVersion=1) == (
            409,
            "Configuration 'n' is at version 2, not 1",
        )
        back = await world.do("configuration/rollback", **put, to=1)
        assert (back["configuration"]["value"], back["configuration"]["entityVersion"]) == ("1", 3)
        await world.put("global", z="0", n="g")
        await world.put("device/a", n="own")
        listed = await world.do("configuration/list", layer="*")
        assert [(each["layer"], each["name"]) for each in listed["configurations"]] == [
            ("global", "n"),
            ("global", "z"),
            ("x", "n"),
            ("device/a", "n"),
        ]
        [only] = (await world.do("configuration/list", layer="global", after="n"))["configurations"]
        assert only["name"] == "z"
        assert (await world.do("configuration/list"))["count"] == 1
        refused, revision = (400, "name the layer device/a"), world.ledger.revision
        changes = [{"operation": "put", "name": "n", "value": "1"}]
        assert await world.no("configuration/put", deviceId="a", name="n", value="1") == refused
        assert await world.no("configuration/delete", deviceId="a", name="n") == refused
        assert await world.no("configuration/rollback", deviceId="a", name="n", to=1) == refused
        assert await world.no("configuration/transact", deviceId="a", changes=changes) == refused
        assert world.ledger.revision == revision
        await world.do("configuration/delete", **put)
        assert (await world.no("configuration/get", **put))[0] == 404
        tags = set()
        for content_type in ("text/plain", "application/json"):
            own = {"name": "n", "value": "1", "layer": "device/a", "contentType": content_type}
            await world.do("configuration/put", **own)
            tags |= {
                each["tag"]
                for each in (await world.do("device/effective", deviceId="a", names=["n"]))["configurations"]
            }
        assert len(tags) == 2, "a tag stands for the type too"


async def test_what_is_refused_is_refused_in_these_words() -> None:
    """Ranks, layers that hold something, and what does not exist."""
    async with fleet("a") as world:
        await world.layer("cold-chain", 500)
        await world.put("cold-chain", **{f"n{number}": "v" for number in range(12)})
        one = {"layer": "x", "target": {}, "rank": 500}
        assert await world.no("layer/put", **one) == (409, "Rank 500 belongs to layer 'cold-chain'")
        at_once = [world.do("layer/put", layer=name, target={}, rank=501) for name in ("first", "second")]
        _, taken = await asyncio.gather(*at_once, return_exceptions=True)
        assert str(taken) == "Rank 501 belongs to layer 'first'"
        await asyncio.gather(world.layer("first", 502), world.layer("second", 501))
        await asyncio.gather(world.do("layer/delete", layer="first"), world.layer("second", 502))
        await world.do("layer/delete", layer="second")
        assert await world.no("layer/delete", layer="cold-chain") == (
            409,
            "Layer 'cold-chain' holds 12 configurations",
        )
        assert await world.no("layer/delete", layer="x") == (404, "Layer 'x' does not exist")
        assert await world.no("configuration/put", name="n", value="v", layer="x") == (
            404,
            "Layer 'x' does not exist",
        )
        assert await world.no("configuration/put", name="n", value="v", layer="device/z") == (
            404,
            "Device with such deviceId = z not found",
        )
        assert (await world.no("device/effective", deviceId="z"))[0] == 404
        assert (await world.no("device/label", deviceId="z", labels={}))[0] == 404
        assert await world.no("layer/put", layer="global", target={}, rank=1) == (
            403,
            "Layer 'global' is always there, and cannot be changed",
        )
        assert await world.no("layer/put", layer="cold-chain", target={}, rank=1, entityVersion=7) == (
            409,
            "Layer 'cold-chain' is at version 1, not 7",
        )
        deleted = await world.do("layer/delete", layer="cold-chain", force=True)
        assert await world.has("a") == {}
        assert deleted["revision"] == world.ledger.revision
        assert (await world.do("layer/list"))["layers"][0]["layer"] == "global"


async def test_there_are_so_many_layers_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there can be changed."""
    monkeypatch.setattr("hivewire.fleet.conditions.MOST_LAYERS", 2)
    async with fleet("a") as world:
        await world.layer("one", 1)
        await world.layer("two", 2)
        refused = await world.no("layer/put", layer="three", target={}, rank=3)
        assert refused == (400, "there are 2 layers, the most that there can be")
        await world.layer("two", 3)


async def test_the_layer_of_a_device_is_listed_if_it_is_asked_for() -> None:
    """With what it holds, also when that is nothing; not among all layers, and not of who does not reach the device."""
    async with fleet("a", "b") as world:
        await world.register("far", network=2)
        await world.put("device/a", n="v", m="v")
        shown = {"rank": 10_000, "revision": 0, "devices": 1}
        for device, held in (("a", 2), ("b", 0), ("far", 0)):
            own = {"layer": f"device/{device}", "target": {"deviceIds": [device]}, "configurations": held, **shown}
            assert (await world.do("layer/list", layer=f"device/{device}"))["layers"] == [own]
        assert [each["layer"] for each in (await world.do("layer/list"))["layers"]] == ["global"]
        for caller, device in ((world.admin, "nobody"), (world.caller(ANN), "far")):
            refused = 404, f"Device with such deviceId = {device} not found"
            assert await world.no("layer/list", caller, layer=f"device/{device}") == refused


async def test_a_layer_holds_a_thousand_names() -> None:
    """One more is refused, also within a transaction; a name that is there can be put again."""
    async with fleet() as world:
        await world.put("global", **{f"n{number}": "v" for number in range(999)})
        two = [{"operation": "put", "name": name, "value": "v", "layer": "global"} for name in ("x", "y")]
        code, text = await world.no("configuration/transact", changes=two)
        assert (code, text) == (
            400,
            "changes[1]: Layer 'global' holds 1,000 configurations, the most that a layer can",
        )
        await world.put("global", x="v")
        await world.put("global", x="w")
        await world.put("global", x=None, y="v")


NAMES = "nmo"
VALUES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([Value(b"", "", tag, 1, 1) for tag in "12"]))


@st.composite
def sides(draw: st.DrawFn) -> list[View]:
    """Two views with some layers and rollouts in common, in the same order or another."""
    known = [Layer(name, 1) for name in "abcd"]
    for each in known:
        each.values = draw(VALUES)
    overlays = [Overlay() for _ in range(2)]
    for overlay in overlays:
        overlay.layer = draw(st.sampled_from(known))
        overlay.values = draw(VALUES | st.just(dict.fromkeys(NAMES)))
    # Rollouts have the same order in all views. A set would have another one now and then.
    some, shown = st.lists(st.sampled_from(known), unique=True), st.tuples(st.booleans(), st.booleans())
    return [View(number, tuple(draw(some)), tuple(compress(overlays, draw(shown)))) for number in range(2)]


@given(sides())
def test_the_differences_of_views_are_those_of_all_names(two: list[View]) -> None:
    """Whichever layers and rollouts came, went, or changed places."""
    before, after = two
    expected = [name for name in sorted(NAMES) if before.tag(name) != after.tag(name)]
    found = before.differences(after, len(NAMES)) or []
    assert [name for name, _ in found] == expected
    assert [None if value is None else value.tag for _, value in found] == [after.tag(name) for name in expected]


def test_a_name_that_only_a_rollout_sets_moves_with_its_layer() -> None:
    """Although neither the rollout nor what the layer itself has is another one."""
    low, high, overlay = Layer("low", 1), Layer("high", 2), Overlay()
    overlay.layer, overlay.values = low, {"n": Value(b"", "", "1", 1, 1)}
    high.values = {"n": Value(b"", "", "2", 1, 1)}
    before, after = View(0, (high, low), (overlay,)), View(1, (low, high), (overlay,))
    assert before.differences(after, 1) == [("n", overlay.values["n"])]


def test_what_a_higher_layer_sets_covers_a_rollout() -> None:
    """Also what a rollout sets there, but not what one deletes there."""
    top, high, low, above, below = Layer("top", 3), Layer("high", 2), Layer("low", 1), Overlay(), Overlay()
    value = Value(b"", "", "1", 1, 1)
    above.layer, above.values = high, {"set": value, "deleted": None}
    below.layer, below.values = low, dict.fromkeys(("set", "deleted", "had", "highest", "none"), value)
    high.values = {"deleted": value, "had": value}
    top.values = {"highest": value}
    assert View(0, (top, high, low), (above, below)).uncovered(below) == ["deleted", "none"]


def test_names_that_cannot_differ_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of layers that both views have in the same order: there may be a hundred of a thousand names."""
    known = [Layer(str(number), number) for number in range(5)]
    for each in known:
        each.values = {f"{each.name}-{number}": Value(b"", "", "1", 1, 1) for number in range(10)}
    looked_at: list[str] = []
    find = View.find
    monkeypatch.setattr(View, "find", lambda view, name: looked_at.append(name) or find(view, name))
    a, b, c, d, e = known
    for layers_after, differing in (((a, b, c, d), 10), ((b, c, d, a, e), 0), ((a, b, c, d, e), 0)):
        looked_at.clear()
        assert len(View(0, (a, b, c, d, e), ()).differences(View(1, layers_after, ()), 10) or []) == differing
        assert len({*looked_at}) <= 10


def test_a_device_is_not_compared_with_all_that_a_target_names() -> None:
    """It may be 32,000 values of labels, for each of 100,000 devices."""
    compared: list[object] = []

    class Named(str):
        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return str(self) == other

        __hash__ = str.__hash__

    named = [Named(f"x{number}") for number in range(100)]
    device = Placed("x98", 1, 1, {"a": "x97", "b": "x96"})
    for target, selected in (
        (Target(labels={"a": [*named], "b": [*named], "c": None}), True),
        (Target(labels={"a": [*named], "c": [*named]}), False),
        (Target(labels={"a": None}), False),
        (Target(deviceIds=[*named]), True),
        (Target(deviceIds=[*named[:98]], labels={"a": [*named]}), False),
    ):
        selector = layers.Selector(target)
        compared.clear()
        assert selector.selects(device, "salt") is selected
        assert len(compared) <= 2


def changes_of(*names: str) -> list[dict[str, str]]:
    """Changes of `global`: puts of names, and deletes of those with a minus."""
    return [
        {"operation": "delete", "layer": "global", "name": name[1:]}
        if name.startswith("-")
        else {"operation": "put", "layer": "global", "name": name, "value": "v"}
        for name in names
    ]


async def test_what_a_layer_holds_is_counted_within_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what came before it there, without what was taken back; each change is looked at once."""
    monkeypatch.setattr(conditions, "MOST_NAMES", 4)
    async with fleet("a") as world:
        await world.put("global", a="1", b="1", c="1", d="1")

        async def transact(*names: str, dry: bool = False) -> int:
            try:
                await world.do("configuration/transact", changes=changes_of(*names), dryRun=dry)
            except OutOfBounds:
                return 400
            return 200

        asked = [
            (["-a", "-b", "x", "y"], True),
            (["-b", "-c", "-d", "x", "y"], True),
            (["a", "-b", "x"], True),
            (["-a", "x", "y"], False),
            (["z"], False),
            (["-a", "x"], False),
            (["a"], False),
        ]
        asked += [(["-b", "-x"], False), (["a", "b", "-c", "x"], False), (["c"], False)]
        outcomes = await asyncio.gather(*(transact(*names, dry=dry) for names, dry in asked))
        assert outcomes == [200, 200, 200, 400, 400, 200, 400, 200, 200, 400]
        assert {*world.services.fleet.layers.by_name["global"].values} == {"a", "b", "d", "x"}
        looked_at: list[str] = []
        monkeypatch.setattr(layers, "split", lambda key: looked_at.append(key) or split(key))
        assert await transact("-a", "-b", "-d", "-x", "e", "f", "g", "h", dry=True) == 200
        assert len(looked_at) == 7


async def test_a_deleted_device_takes_its_labels_and_its_layer_along() -> None:
    """A new device of the same id begins with nothing; a device that is deleted with its network, too."""
    async with fleet("a", "b") as world:
        await world.layer("site", 5, labels={"site": ["bonn"]})
        for device in "ab":
            await world.label(device, site="bonn")
            await world.put(f"device/{device}", own="1", too="2")
        await world.put("site", n="v")
        await world.do("device/delete", deviceId="a")
        await world.register("a")
        assert await world.has("a") == {}
        assert (await world.do("device/label", deviceId="a"))["labels"] == {}
        await world.do("network/delete", networkId=1, force=True)
        await world.services.registry.forget("b")
        await world.register("b", network=2)
        assert await world.has("b") == {}
        assert not [key for key in world.ledger.kind("layerConfiguration").live if key.startswith("device/")]


async def test_a_layer_forgets_the_deletes_that_the_log_no_longer_has() -> None:
    """Names come and go for years. Only devices that resume need those that went, as far back as the log goes."""
    async with fleet() as world:
        await world.layer("base", 5)
        await world.put("base", old="v", other="v")
        await world.put("base", old=None, other=None)
        assert [*world.services.fleet.layers.by_name["base"].gone] == ["old", "other"]
        world.clock.time += 8 * 86_400_000
        await world.put("base", new="v")
        await world.ledger.compact(at_once=True)
        await world.put("base", new=None)
        assert [*world.services.fleet.layers.by_name["base"].gone] == ["new"]


@pytest.mark.parametrize(
    ("action", "members"),
    [
        ("configuration/put", {"layer": "device/a", "name": "n", "value": "1"}),
        ("device/label", {"deviceId": "a", "labels": {"site": "bonn"}}),
    ],
)
@pytest.mark.parametrize("first", [True, False])
async def test_what_is_written_while_its_device_is_deleted_does_not_stay(
    action: str, members: dict[str, Any], first: bool
) -> None:
    """It is refused behind the delete, and goes with the device before it; another device of the id has nothing."""
    async with fleet("a") as world:
        write, delete = world.do(action, **members), world.do("device/delete", deviceId="a")
        done = await asyncio.gather(*((write, delete) if first else (delete, write)), return_exceptions=True)
        assert [str(each) for each in done if isinstance(each, Exception)] == (
            [] if first else ["Device with such deviceId = a not found"]
        )
        await world.register("a")
        assert await world.has("a") == {}
        assert (await world.do("device/label", deviceId="a"))["labels"] == {}


async def test_tokens_of_some_networks_write_the_layers_of_their_devices() -> None:
    """A layer's target must name only networks of the token; everybody else's are 403."""
    async with fleet("a") as world:
        await world.register("b", network=2)
        ann = world.caller(ANN)
        await world.layer("one", 5, networkIds=[1])
        await world.layer("both", 6, networkIds=[1, 2])
        put = {"name": "n", "value": "v"}
        await world.do("configuration/put", ann, **put, layer="one")
        await world.do("configuration/put", ann, **put, layer="device/a")
        assert (await world.no("configuration/put", ann, **put, layer="device/b"))[0] == 404
        for layer in ("both", "global"):
            assert (await world.no("configuration/put", ann, **put, layer=layer))[0] == 403
        await world.do("layer/put", ann, layer="one", rank=7, target={"networkIds": [1], "percent": 5})
        for target in ({}, {"networkIds": [2]}, {"labels": {"a": ["b"]}}):
            assert (await world.no("layer/put", ann, layer="one", rank=7, target=target))[0] == 403
        assert (await world.no("layer/delete", ann, layer="both", force=True))[0] == 403
        assert (await world.no("layer/put", ann, layer="both", rank=6, target={"networkIds": [1]}))[0] == 403
        named = world.caller(c=["m*"])
        assert (await world.no("configuration/put", named, **put, layer="one"))[0] == 403
        assert (await world.do("device/effective", named, deviceId="a"))["configurations"] == []


async def test_a_transaction_that_makes_many_layers_moves_their_devices_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be a thousand, and each takes up to half a millisecond. A few are moved at once."""
    monkeypatch.setattr(fleets, "LOOK", 2)
    monkeypatch.setattr(fleets, "background_seconds", lambda others: -1.0)
    placed: list[str] = []
    place = Fleet._place
    monkeypatch.setattr(Fleet, "_place", lambda found, device: placed.append(device) or place(found, device))
    async with fleet(*"abcde") as world:
        at_once: list[int] = []
        world.ledger.observe(lambda changes: at_once.append(len(placed)), LAYERED)
        await world.quiet()
        for devices, expected in (("ab", 2), ("cde", 1)):
            placed.clear()
            changes = [{"operation": "put", "layer": f"device/{each}", "name": "n", "value": each} for each in devices]
            await world.do("configuration/transact", changes=changes)
            await world.quiet()
            assert at_once.pop() == expected
            assert placed == [*devices]
            assert [await world.has(each) for each in devices] == [{"n": each} for each in devices]


async def test_a_restart_finds_the_same() -> None:
    """Layers, labels and what they hold are in the ledger; what counts is worked out again, with the same tags."""
    async with fleet("a", "b") as world:
        await world.layer("site", 5, labels={"site": ["bonn"]})
        await world.label("a", site="bonn")
        await world.put("site", n="1", m="1")
        await world.put("global", n="0", o="0")
        await world.put("device/b", o="own")
        await world.put("site", m=None)
        before = [await world.do("device/effective", deviceId=device) for device in "ab"]
        again = await world.restarted()
        assert [await again.do("device/effective", deviceId=device) for device in "ab"] == before
        await again.messages.close()


async def test_a_device_is_deleted_with_a_full_layer() -> None:
    """And with its label, in one transaction."""
    async with fleet("a") as world:
        keys = [key_of("device/a", f"n{number}") for number in range(conditions.MOST_NAMES)]
        await world.ledger.commit(Transaction([Write(LAYERED, key, b"1") for key in keys]))
        await world.label("a", ring="first")
        await world.do("device/delete", deviceId="a")
        assert not world.ledger.kind(LAYERED).live


async def test_the_removal_of_many_devices_looks_at_each_of_their_values_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are removed in one transaction, where each has to have an empty layer; a value that is left refuses it."""
    devices = [f"d{number}" for number in range(50)]
    async with fleet(*devices) as world:
        for device in devices:
            await world.put(f"device/{device}", n="v")
        registry = world.services.registry
        found = registry.devices_in(None, None)
        writes = [write for device in found for write in registry.removal(device)]
        late = Write(LAYERED, key_of("device/d49", "late"), b"v", "text/plain")
        with pytest.raises(PreconditionFailed):
            await world.ledger.commit(Transaction([late, *writes]))
        keys: list[str] = []
        for module in (layers, conditions):
            monkeypatch.setattr(module, "split", lambda key: keys.append(key) or split(key))
        await world.ledger.commit(Transaction(writes))
        assert len(keys) <= 3 * len(devices)
