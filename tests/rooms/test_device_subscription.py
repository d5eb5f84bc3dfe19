"""A device listens: what it is sent, when, and from where it can go on (fleet.md, section 4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hivewire import slices
from hivewire.fleet import fleet as fleets
from hivewire.fleet import followers, layers, source
from hivewire.fleet.views import View
from hivewire.hub import catchup
from hivewire_protocol.encoding import encode
from tests.rooms.fleets import ADMIN, ANN, DEVICE_RIGHTS, World, fleet
from tests.rooms.test_hub import Peer


class Device:
    """What a device knows that does with pushes what the contract says."""

    def __init__(self, world: World, device: str, **members: Any) -> None:
        self.world, self.id, self.members = world, device, members
        self.have: dict[str, Any] = {}
        self.position: str | None = None
        self.mode = ""
        self.log: list[Any] = []
        self._group: list[Any] = []
        self._stale: set[str] = set()
        self.connect()

    def connect(self) -> None:
        """Begin, or go on over another connection."""
        self._group.clear()
        self.peer = self.world.device(self.id)
        since = {} if self.position is None else {"since": self.position}
        self.mode = self.peer.subscribe(deviceId=self.id, **since, **self.members)["mode"]
        if self.mode != "resumed":
            self._stale = set(self.have)

    async def listen(self) -> list[Any]:
        """Apply what has come; what changed since the last call."""
        await self.world.quiet()
        for frame in self.peer.taken():
            if "status" in frame:
                self.position = frame.get("position", self.position)
                continue
            if frame["action"] == "configuration/snapshot":
                if frame.get("reset"):
                    self._stale = set(self.have)
                for each in frame["configurations"]:
                    self._stale.discard(each["name"])
                    self._set(each)
                if frame["last"]:
                    for name in self._stale:
                        self._set({"name": name, "value": None, "tag": None})
            elif frame["action"] == "configuration/update":
                self._set(frame["configuration"])
            self.position = frame.get("position", self.position)
        found, self.log = self.log, []
        return found

    def _set(self, configuration: Any) -> None:
        name, value = configuration["name"], configuration["value"]
        if configuration["tag"] is None:
            self.have.pop(name, None)
        else:
            self.have[name] = value
        self.log.append((name, value))


async def test_a_device_is_sent_what_counts_for_it_and_what_changes_that() -> None:
    """The state, then each change that it can see, with a tag and without version, time or author."""
    async with fleet("a") as world:
        await world.layer("x", 5)
        await world.put("global", n="0", hidden="0")
        await world.put("x", n="1")
        peer = world.follow("a")
        await world.quiet()
        [snapshot] = peer.taken()
        assert [{*each} for each in snapshot["configurations"]] == [{"name", "value", "tag"}] * 2
        assert snapshot["last"]
        revision = await world.put("x", n="2")
        await world.put("global", n="8")
        await world.put("global", hidden="9")
        await world.put("x", n=None)
        first, second, third = peer.taken()
        tag = first["configuration"].pop("tag")
        assert len(tag) == 12
        assert first == {
            "action": "configuration/update",
            "subscriptionId": 1,
            "position": f"{world.ledger.epoch}-{revision}",
            "revision": revision,
            "operation": "put",
            "configuration": {"name": "n", "value": "2"},
        }
        assert second["configuration"]["value"] == "9"
        assert third["configuration"]["value"] == "8"  # the layer below counts again
        await world.put("global", n=None)
        [gone] = peer.taken()
        assert gone["operation"] == "delete"
        assert gone["configuration"] == {"name": "n", "value": None, "tag": None}


async def test_one_edit_for_a_thousand_devices_is_one_record_and_one_frame() -> None:
    """All devices with the same layers get the same bytes; who has other layers gets nothing."""
    ids = [f"d-{number}" for number in range(1_000)]
    async with fleet(*ids, "other") as world:
        await world.layer("most", 5, deviceIds=ids)
        peers = [world.follow(each) for each in ids]
        other = world.follow("other")
        await world.quiet()
        for peer in (*peers, other):
            peer.frames.clear()
        before = world.ledger.revision
        await world.put("most", n="v")
        await world.quiet()
        assert world.ledger.revision == before + 1
        frames = [peer.taken() for peer in peers]
        assert frames[0][0]["configuration"]["value"] == "v"
        assert all(each == frames[0] for each in frames)
        assert other.taken() == []


def rows_looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on, the names of the rows that are found in layers."""
    names: list[str] = []
    rows_of = source._rows

    def looked_at(view: View, held: Any) -> Any:
        for row in rows_of(view, held):
            names.append(row[0])
            yield row

    monkeypatch.setattr(source, "_rows", looked_at)
    return names


async def test_of_a_long_snapshot_names_are_put_in_order_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only those of the next part are looked at, though there are too many for its rows to be kept."""
    monkeypatch.setattr(source, "KEPT_NAMES", 3)
    monkeypatch.setattr(layers, "FEW_NAMES", 3)
    monkeypatch.setattr(followers, "FRAME_BYTES", 10_000)
    ordered: list[int] = []

    def put_in_order(given: Any, **how: Any) -> list[Any]:
        if not how:
            ordered.append(len(given))
        return sorted(given, **how)

    monkeypatch.setattr(layers, "sorted", put_in_order, raising=False)
    async with fleet("a") as world:
        await world.layer("x", 5)
        await world.put("global", **{f"n{number:02}": "v" * 1_000 for number in range(60)}, m="v")
        await world.put("global", m=None)
        await world.put("x", **{f"n{number:02}": "w" * 1_000 for number in range(0, 60, 2)})
        rows = rows_looked_at(monkeypatch)
        device = Device(world, "a")
        await world.quiet()
        frames = len(device.peer.frames)
        await device.listen()
        assert device.have == {f"n{number:02}": "vw"[number % 2 == 0] * 1_000 for number in range(60)}
        assert frames > 5
        assert sorted(ordered) == [30, 61]
        assert len(rows) <= 61 + frames  # one more is looked at for each frame
        ordered.clear()
        await world.put("x", z="v")
        again = Device(world, "a")
        await again.listen()
        assert (len(again.have), again.have["z"], ordered) == (61, "v", [31])


async def test_a_device_that_comes_back_looks_at_what_changed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands come back at once, and each may have a layer of its own, so that nothing is shared."""
    monkeypatch.setattr(layers, "FEW_NAMES", 1)
    looked_at = rows_looked_at(monkeypatch)
    async with fleet("a") as world:
        await world.layer("x", 5)
        await world.put("global", **{f"n{number}": "v" for number in range(9)})
        await world.put("x", n3="w", n4="w")
        device = Device(world, "a")
        await device.listen()
        position = device.position
        await world.put("global", n1="changed", n2=None, n3="hidden")
        await world.put("x", n4=None, n5="above")
        for _ in range(2):
            device.peer.session.close()
            device.position = position
            device.connect()
            looked_at.clear()
            await device.listen()
            assert looked_at == ["n1", "n2", "n3", "n4", "n5"]
            assert device.have == {"n0": "v", "n1": "changed", "n3": "w", "n4": "v", "n5": "above"} | {
                f"n{number}": "v" for number in (6, 7, 8)
            }


async def test_names_that_a_device_does_not_follow_are_passed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be 100,000 in its layers, of which its token allows one or none."""
    monkeypatch.setattr(source, "LOOKED_AT", 3)
    monkeypatch.setattr(catchup, "LOOK", 2)
    looked_at: list[int] = []
    held = source._held

    def counted(*given: Any) -> Any:
        looked_at.append(0)
        for each in held(*given):
            looked_at[-1] += 1
            yield each

    monkeypatch.setattr(source, "_held", counted)
    async with fleet("a") as world:
        await world.put("global", **{f"n{number:02}": "v" for number in range(20)})
        for names, expected in ((["n13"], ["n13"]), (["x*"], [])):
            looked_at.clear()
            peer = world.device("a", *names)
            peer.subscribe(deviceId="a")
            await world.quiet()
            assert [each["name"] for frame in peer.taken() for each in frame.get("configurations", ())] == expected
            assert len(looked_at) > 5
            assert max(looked_at) <= 4


async def test_a_device_for_which_very_much_changes_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the whole state of its other view, perhaps none, in slices: the differences may be of 100,000 names."""
    monkeypatch.setattr(followers, "MOVED_NAMES", 2)
    async with fleet("a") as world:
        for rank, (layer, names) in enumerate({"few": "mn", "many": "nop"}.items(), 1):
            await world.layer(layer, rank, labels={"has": [layer]})
            await world.put(layer, **dict.fromkeys(names, layer))
        peer = world.follow("a")
        await world.quiet()
        peer.frames.clear()

        async def got() -> list[Any]:
            await world.quiet()
            found = peer.taken()
            changed = [each["configuration"]["name"] for each in found if "configuration" in each]
            return changed or [(each["reset"], len(each["configurations"]), each["last"]) for each in found]

        await world.label("a", has="few")
        assert await got() == ["m", "n"]
        await world.label("a", has="many")
        assert await got() == [(True, 3, True)]
        await world.do("device/delete", deviceId="a")
        assert await got() == [(True, 0, True)]
        await world.register("a")
        await world.label("a", has="few")
        assert await got() == ["m", "n"]
        monkeypatch.setattr(followers, "MOVED_BYTES", 1)
        await world.label("a")
        assert await got() == [(True, 0, True)]


async def test_more_edits_than_can_be_announced_are_got_from_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction of many edits, times the views that devices follow, which each may have for itself: its effects are
    not looked for when it is announced. Each device gets what changed, and later edits as ever."""
    monkeypatch.setattr(fleets, "MOST_REACHED", 7)
    monkeypatch.setattr(fleets, "FEW_EDITS", 4)
    looked_at: list[str] = []
    shows = View.shows
    monkeypatch.setattr(View, "shows", lambda *about: looked_at.append(about[2]) or shows(*about))
    async with fleet("a", "b") as world:
        await world.put("global", a="0", b="0", c="0", d="0", e="0")
        for each in "ab":
            await world.put(f"device/{each}", a=each)
        devices = [Device(world, each) for each in "ab"]
        for device in devices:
            await device.listen()
        await world.put("global", a="1", b="1", c="1", d="1")
        assert {*looked_at} == {"a", "b", "c", "d"}, "few"
        for device in devices:
            assert dict(await device.listen()) == {"b": "1", "c": "1", "d": "1"}
        looked_at.clear()
        await world.put("global", a="2", b="2", c="1", d=None, f="2")
        assert not looked_at
        for device in devices:
            found = dict(await device.listen())
            assert found.pop("c") == "1", "a put of the same value insists"
            assert found == {"b": "2", "d": None, "f": "2"}
            assert device.have == {"a": device.id, "b": "2", "c": "1", "e": "0", "f": "2"}
        await world.put("global", b="3")
        for device in devices:
            assert await device.listen() == [("b", "3")]


async def test_a_transaction_is_one_group() -> None:
    """Only its last change has a position, also when the device sees only some of it."""
    async with fleet("a") as world:
        await world.put("device/a", own="1")
        peer = world.follow("a")
        await world.quiet()
        peer.frames.clear()
        revision = await world.put("global", a="1", own="2", b="3")
        first, last = peer.taken()
        assert (first["more"], "position" in first) == (True, False)
        assert last["position"].endswith(f"-{revision}")
        assert [each["configuration"]["name"] for each in (first, last)] == ["a", "b"]
        await world.layer("x", 5)
        both = [
            {"operation": "put", "name": name, "value": layer, "layer": layer}
            for layer in ("global", "x")
            for name in "ab"
        ]
        await world.do("configuration/transact", changes=both)
        pushed = [(each["configuration"]["name"], each["configuration"]["value"]) for each in peer.taken()]
        assert pushed == [("a", "x"), ("b", "x")], "of each name only what counts at last"


@pytest.mark.parametrize("frames", [1, 2, 3])
async def test_a_transaction_that_insists_and_gives_a_device_its_layer_is_got_whole(frames: int) -> None:
    """However many of its frames come before the connection ends: what the device has at last is all of it."""
    async with fleet("a") as world:
        await world.put("global", n="1", o="1")
        device = Device(world, "a")
        await device.listen()
        equal = [{"operation": "put", "name": "n", "value": "1", "layer": "global"}]
        own = [{"operation": "put", "name": name, "value": "2", "layer": "device/a"} for name in ("m", "o")]
        await world.do("configuration/transact", changes=[*equal, *own])
        await world.quiet()
        assert [frame["configuration"]["name"] for frame in device.peer.frames] == ["n", "m", "o"]
        del device.peer.frames[frames:]
        await device.listen()
        device.peer.session.close()
        device.connect()
        await device.listen()
        assert device.have == {"n": "1", "m": "2", "o": "2"}


async def test_labels_network_and_target_push_what_they_change() -> None:
    """A name that has left is a delete; one with the same tag is not pushed."""
    async with fleet("a") as world:
        await world.layer("bonn", 5, labels={"site": ["bonn"]})
        await world.layer("ulm", 6, labels={"site": ["ulm"]})
        await world.put("bonn", same="s", n="bonn", only="b")
        await world.put("ulm", same="s", n="ulm")
        device = Device(world, "a")
        assert await device.listen() == []
        await world.label("a", site="bonn")
        assert await device.listen() == [("n", "bonn"), ("only", "b"), ("same", "s")]
        await world.label("a", site="ulm")
        assert await device.listen() == [("n", "ulm"), ("only", None)]
        await world.layer("ulm", 6, networkIds=[2])
        assert await device.listen() == [("n", None), ("same", None)]
        await world.do("device/save", deviceId="a", device={"networkId": 2})
        assert await device.listen() == [("n", "ulm"), ("same", "s")]
        await world.put("device/a", n="own")
        assert await device.listen() == [("n", "own")]
        await world.do("device/delete", deviceId="a")
        assert await device.listen() == [("n", None), ("same", None)]
        assert device.have == {}


async def test_a_device_that_was_away_gets_what_changed() -> None:
    """It resumes as long as it has the same layers: the latest value of each name that changed, and what is gone."""
    async with fleet("a") as world:
        await world.layer("x", 5)
        await world.put("global", a="1", b="1", c="1", d="1")
        await world.put("x", c="2")
        device = Device(world, "a")
        await device.listen()
        device.peer.session.close()
        await world.put("global", a="2", b=None, d="1")
        await world.put("global", a="3")
        await world.put("x", c=None)
        device.connect()
        assert device.mode == "resumed"
        assert await device.listen() == [("a", "3"), ("b", None), ("c", "1"), ("d", "1")]
        assert device.have == await world.has("a")
        device.peer.session.close()
        device.connect()
        assert (device.mode, await device.listen()) == ("resumed", [])


async def missing_one(world: World) -> Device:
    """A device that is away when `a` becomes 2."""
    await world.put("global", a="1")
    device = Device(world, "a")
    await device.listen()
    device.peer.session.close()
    await world.put("global", a="2")
    return device


async def test_a_device_that_gets_only_the_reply_to_its_resume_resumes_once_more() -> None:
    """The position of the reply is the one it came with: what it has missed is behind that, and was not sent yet."""
    async with fleet("a") as world:
        device = await missing_one(world)
        cut = world.device("a")
        reply = cut.subscribe(deviceId="a", since=device.position)
        cut.session.close()
        assert (reply["mode"], reply["position"]) == ("resumed", device.position)
        device.position = reply["position"]
        device.connect()
        assert await device.listen() == [("a", "2")]


async def test_the_end_of_a_resume_says_so() -> None:
    """The last frame is a bookmark with `live` and the position; there are no other bookmarks."""
    async with fleet("a") as world:
        device = await missing_one(world)
        device.connect()
        await world.quiet()
        _, update, bookmark = device.peer.taken()
        assert update["more"] is True
        assert "conflated" not in update
        assert bookmark["action"] == "configuration/bookmark"
        assert bookmark["live"] is True
        await world.store("plain")
        await world.hub.bookmarks()
        assert device.peer.taken() == []


async def test_who_has_other_layers_begins_anew() -> None:
    """After new labels, another network or a changed layer the answer is `reset`, with all of the state."""
    async with fleet("a") as world:
        await world.layer("x", 5, labels={"site": ["bonn"]})
        await world.put("global", a="1")
        await world.put("x", b="1")
        device = Device(world, "a")
        await device.listen()
        for change in (
            lambda: world.label("a", site="bonn"),
            lambda: world.layer("x", 6, networkIds=[2]),
            lambda: world.do("device/save", deviceId="a", device={"networkId": 2}),
            lambda: world.do("layer/delete", layer="x", force=True),
        ):
            device.peer.session.close()
            await change()
            device.connect()
            assert device.mode == "reset"
            await device.listen()
            assert device.have == await world.has("a")


async def test_a_slow_device_gets_the_latest_values() -> None:
    """While it does not read nothing is kept for it; then it gets of each name what counts, and moves too."""
    async with fleet("a") as world:
        await world.layer("x", 5, labels={"site": ["bonn"]})
        await world.put("x", m="1")
        device = Device(world, "a")
        await device.listen()
        device.peer.session.pause()
        for number in range(5):
            await world.put("global", n=str(number))
        device.peer.read()
        await device.listen()
        assert device.have == {"n": "4"}
        device.peer.session.pause()
        await world.put("global", n="5", o="1")
        await world.label("a", site="bonn")
        await world.put("x", n="x")
        device.peer.read()
        await device.listen()
        assert device.have == {"n": "x", "m": "1", "o": "1"} == await world.has("a")


async def test_frames_are_no_longer_than_a_device_can_take() -> None:
    """A snapshot comes in frames of `frameBytes`; a value that does not fit alone is left out, in updates too."""
    async with fleet("a") as world:
        await world.put("global", **{f"n{number:02}": "x" * 100 for number in range(30)}, long="y" * 2_000)
        peer = world.follow("a", frameBytes=1_024)
        await world.quiet()
        raw = peer.taken()
        assert len(raw) > 5
        found = {each["name"]: each for frame in raw for each in frame["configurations"]}
        assert len(found) == 31
        assert found["long"]["value"] is None
        assert found["long"]["size"] == 2_000
        assert [frame["last"] for frame in raw] == [False] * (len(raw) - 1) + [True]
        await world.put("global", long="z" * 3_000, n00="new")
        first, last = peer.taken()
        assert first["configuration"]["value"] is None
        assert last["configuration"]["value"] == "new"


@pytest.mark.parametrize(("name", "character"), [("n", "x"), ("n", '"'), ("\N{SNOWMAN}" * 128, "x")])
async def test_no_frame_is_longer_than_a_device_can_take(name: str, character: str) -> None:
    """Of whatever length a value is: it is there, or left out. A short one is there."""
    async with fleet("a") as world:
        peer, shown = world.follow("a", frameBytes=1_024), []
        await world.quiet()
        peer.frames.clear()
        for length in range(100, 1_200, 7):
            await world.put("global", **{name: character * length})
            again = world.follow("a", frameBytes=1_024)
            await world.quiet()
            [pushed], [snapshot] = peer.taken(), again.taken()
            again.session.close()
            assert max(len(encode(pushed)), len(encode(snapshot))) <= 1_024
            shown += [pushed["configuration"]["value"], snapshot["configurations"][0]["value"]]
        assert (shown[0], shown[-1]) == (character * 100, None)


@pytest.mark.parametrize("character", ["x", "\N{SNOWMAN}", "\N{ROCKET}", "\x01"])
async def test_a_value_of_65_536_characters_is_there(character: str) -> None:
    """However many bytes they take, in pushes and where a device asks."""
    async with fleet("a") as world:
        peer, own = world.follow("a"), world.caller(ADMIN, DEVICE_RIGHTS, d=["a"])
        await world.quiet()
        peer.frames.clear()
        longest = character * 65_536
        await world.put("global", n=longest)
        await world.quiet()
        [pushed] = peer.taken()
        [asked] = (await world.do("device/effective", own, deviceId="a"))["configurations"]
        assert (pushed["configuration"]["value"], asked["value"]) == (longest, longest)


async def test_names_limit_what_a_device_is_sent() -> None:
    """By its request and by its token, for snapshots, edits and moves."""
    async with fleet("a") as world:
        await world.layer("x", 5, labels={"site": ["bonn"]})
        await world.put("global", **{"net.a": "1", "net.b": "1", "app.a": "1"})
        await world.put("x", **{"net.a": "2", "app.a": "2"})
        peer = world.device("a", "net.*")
        peer.subscribe(deviceId="a", names=["net.a", "app.a"])
        await world.quiet()
        _, snapshot = peer.taken()
        assert [each["name"] for each in snapshot["configurations"]] == ["net.a"]
        await world.put("global", **{"net.a": "3", "net.b": "3", "app.a": "3"})
        await world.label("a", site="bonn")
        assert [frame["configuration"]["value"] for frame in peer.taken()] == ["3", "2"]
        await world.put("x", **{"net.a": "2", "app.a": "2"})
        [insisted] = peer.taken()
        assert insisted["configuration"]["name"] == "net.a"


async def test_only_a_device_s_own_token_follows_its_configurations() -> None:
    """It needs the permission 101 and the device in its claim `d`; what else a request may have is refused."""
    async with fleet("a", "b") as world:
        admin = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        assert admin.subscribe(deviceId="a")["code"] == 403
        own = world.device("a")
        assert own.subscribe(deviceId="b")["code"] == 403
        lacking = Peer(world, world.caller(ADMIN, [100], d=["a"]).identity)  # type: ignore[arg-type]
        assert "SyncConfiguration" in lacking.subscribe(deviceId="a")["error"]
        assert own.subscribe()["code"] == 403
        for wrong in ({"frameBytes": 1_023}, {"frameBytes": 262_145}, {"layer": "global"}, {"snapshot": False}):
            assert own.subscribe(deviceId="a", **wrong)["code"] == 400
        assert own.subscribe(deviceId="z")["code"] == 404
        assert own.subscribe(deviceId="a", names=["n"])["status"] == "success"
        own.ask("subscription/list")
        [listed] = own.frames[-1]["subscriptions"]
        assert listed == {"subscriptionId": 1, "type": "configuration", "names": ["n"], "deviceId": "a"}
        own.ask("configuration/unsubscribe", subscriptionId=1)
        assert own.frames[-1]["status"] == "success"
        assert not world.services.fleet.online("a")


async def test_a_device_with_two_connections_is_online_until_both_have_ended() -> None:
    """It counts once for as long as one of them follows."""
    async with fleet("a") as world:
        first, second = world.follow("a"), world.follow("a")
        for peer, online in ((first, True), (second, False)):
            peer.ask("configuration/unsubscribe", subscriptionId=1)
            assert world.services.fleet.online("a") is online


async def test_many_devices_change_their_layers_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile whoever asks sees the truth, edits are pushed, and no position lets a device miss its move."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    ids = [f"d-{number:03}" for number in range(100)]
    async with fleet(*ids) as world:
        await world.layer("x", 5, networkIds=[2])
        await world.put("x", n="x")
        await world.put("global", n="0", m="0")
        devices = [Device(world, each) for each in ids]
        for device in devices:
            await device.listen()
        put = {"layer": "x", "rank": 5, "target": {}}
        moving = world.dispatcher.carry_out(world.admin, world_request("layer/put", put))
        moving.send(None)
        while world.services.fleet.layers.by_name["x"].target.networkIds:
            await asyncio.sleep(0)
        await world.put("x", n="y")
        for _ in range(2):
            await world.put("global", m="1")  # the second one insists: nobody has applied it
        last = world.follow(ids[-1])
        assert await world.has(ids[50]) == {"n": "y", "m": "1"}
        early = [frame for frame in devices[98].peer.taken() if "position" in frame]
        assert [frame["configuration"]["name"] for frame in early] == ["m", "m"], "it has not moved yet"
        moving.close()
        for frame in early:
            devices[98].position = frame["position"]
        devices[98].peer.session.close()
        devices[98].connect()
        for device in devices:
            await device.listen()
            assert device.have == {"n": "y", "m": "1"}
        assert last.frames


async def test_what_a_move_changes_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all devices that move from one view to another, in however many slices."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    compared: list[View] = []
    differences = View.differences
    monkeypatch.setattr(View, "differences", lambda *views: (compared.append(views[0]), differences(*views))[1])
    ids = [f"d-{number}" for number in range(20)]
    async with fleet(*ids) as world:
        await world.layer("x", 5, networkIds=[2])
        await world.put("x", n="x")
        devices = [Device(world, each) for each in ids]
        await world.layer("x", 5)
        for device in devices:
            await device.listen()
            assert device.have == {"n": "x"}
        assert len(compared) == 1


async def test_devices_with_layers_of_their_own_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a view, more than those of which the differences are kept."""
    monkeypatch.setattr(followers, "KEPT_MOVES", 3)
    ids = [f"d-{number}" for number in range(10)]
    async with fleet(*ids) as world:
        await world.layer("x", 5, networkIds=[2])
        await world.put("x", n="x")
        own = {each: "mn"[number % 2] for number, each in enumerate(ids)}
        for each, name in own.items():
            await world.put(f"device/{each}", **{name: each})
        devices = [Device(world, each) for each in ids]
        await world.layer("x", 5)
        for device in devices:
            await device.listen()
            assert device.have == {"n": "x"} | {own[device.id]: device.id}


def world_request(action: str, members: Any) -> Any:
    """A request."""
    import msgspec

    from hivewire_protocol.catalogue import REQUESTS
    from hivewire_protocol.coercion import build, decode_members

    return build(REQUESTS[action], decode_members(msgspec.json.encode(members)))


async def test_layers_can_be_followed_as_they_are_written() -> None:
    """Operators follow a layer, or all of them: changes with version, author and layer."""
    async with fleet("a") as world:
        await world.put("global", n="0", m="0")
        await world.put("device/a", n="1")
        admin = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        assert admin.subscribe(layer="device/a")["mode"] == "snapshot"
        assert admin.subscribe(layer="*", names=["n"])["mode"] == "snapshot"
        await world.quiet()
        shown = [frame["configurations"] for frame in admin.taken() if frame["action"] == "configuration/snapshot"]
        assert [[(each["layer"], each["name"]) for each in frame] for frame in shown] == [
            [("device/a", "n")],
            [("device/a", "n"), ("global", "n")],
        ]
        await world.put("device/a", n="2")
        await world.put("global", m="3")
        await world.put("global", n="4")
        pushed = admin.taken()
        assert [(each["subscriptionId"], each["configuration"]["value"]) for each in pushed] == [
            (1, "2"),
            (2, "2"),
            (2, "4"),
        ]
        assert pushed[0]["modifiedBy"] == "admin"


async def test_a_layer_is_followed_in_all_forms_of_plain_configurations() -> None:
    """With `detail` its state has authors; `inline` leaves long values out, also of pushes."""
    async with fleet("a") as world:
        await world.put("global", n="long")
        admin = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        assert admin.subscribe(layer="global", detail=True, inline=3)["mode"] == "snapshot"
        await world.quiet()
        [state] = [frame["changes"] for frame in admin.taken() if frame["action"] == "configuration/snapshot"]
        assert [(each["modifiedBy"], each["configuration"]["layer"]) for each in state] == [("admin", "global")]
        assert (state[0]["configuration"]["value"], state[0]["configuration"]["size"]) == (None, 4)
        await world.put("global", n="longer")
        await world.put("global", n="s")
        assert [each["configuration"]["value"] for each in admin.taken()] == [None, "s"]


async def test_a_new_token_may_see_other_names() -> None:
    """With fewer rights a device is sent less, and keeps what it has; with more again, all of it."""
    async with fleet("a") as world:
        await world.put("global", **{"net.a": "1", "app.a": "1"})
        peer = world.follow("a")
        await world.quiet()
        peer.frames.clear()
        peer.ask("authenticate", token=world.token(ADMIN, DEVICE_RIGHTS, d=["a"], c=["net.*"]))
        await world.put("global", **{"net.a": "2", "app.a": "2"})
        await world.quiet()
        [pushed] = [frame for frame in peer.taken() if "configuration" in frame]
        assert pushed["configuration"]["name"] == "net.a"
        peer.ask("authenticate", token=world.token(ADMIN, DEVICE_RIGHTS))
        await world.put("global", **{"net.a": "3"})
        await world.quiet()
        assert [frame for frame in peer.taken() if "status" not in frame] == []
        peer.ask("authenticate", token=world.token(ADMIN, DEVICE_RIGHTS, d=["a"]))
        await world.quiet()
        snapshot = peer.taken()[-1]
        assert snapshot["reset"] is True
        assert {each["name"] for each in snapshot["configurations"]} == {"net.a", "app.a"}


async def test_a_device_gets_nothing_while_its_user_is_not_in_its_network() -> None:
    """When the user is a member again, the device gets the state."""
    async with fleet("a") as world:
        peer = Peer(world, world.caller(ANN, DEVICE_RIGHTS, d=["a"]).identity)  # type: ignore[arg-type]
        peer.subscribe(deviceId="a")
        await world.put("global", n="1")
        await world.quiet()
        assert peer.taken()[-1]["configuration"]["value"] == "1"
        membership = {"userId": ANN, "networkId": 1}
        await world.do("user/unassignNetwork", **membership)
        await world.put("global", n="2")
        await world.put("device/a", m="2")
        await world.hub.bookmarks()
        await world.quiet()
        assert peer.taken() == []
        await world.do("user/assignNetwork", **membership)
        await world.quiet()
        frames = peer.taken()
        assert {each["name"]: each["value"] for each in frames[0]["configurations"]} == {"m": "2", "n": "2"}


@pytest.mark.parametrize("anew", [False, True])
async def test_a_device_that_moves_while_its_token_shows_nothing(anew: bool) -> None:
    """It is sent nothing until it has a token of its own again: then all that it should have, and each edit."""
    async with fleet("a") as world:
        peer = world.follow("a")
        await world.quiet()
        peer.ask("authenticate", token=world.token(ADMIN, DEVICE_RIGHTS, d=["b"]))
        if anew:
            await world.do("device/delete", deviceId="a")
            await world.register("a")
        await world.layer("own", 5, deviceIds=["a"])
        await world.put("own", n="1")
        await world.quiet()
        assert [frame for frame in peer.taken()[1:] if "status" not in frame] == []
        peer.ask("authenticate", token=world.token(ADMIN, DEVICE_RIGHTS, d=["a"]))
        await world.quiet()
        await world.put("own", n="2")
        await world.quiet()
        snapshot, pushed = [frame for frame in peer.taken() if "status" not in frame]
        assert [each["value"] for each in snapshot["configurations"]] == ["1"]
        assert pushed["configuration"]["value"] == "2"


async def test_the_state_of_a_view_is_found_once_for_those_who_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept until the next change, whatever that is about; a view with very many names is not kept."""
    async with fleet(*"abc") as world:
        await world.put("global", n="1", m="1")
        found: list[object] = []
        rows = source._rows

        def counted(*given: Any) -> Any:
            found.append(given)
            return rows(*given)

        monkeypatch.setattr(source, "_rows", counted)
        for value, names, times in (("2", 1_000, 1), ("3", 1_000, 1), ("4", 1, 3)):
            monkeypatch.setattr(source, "KEPT_NAMES", names)
            await world.put("global", n=value)
            found.clear()
            peers = [world.follow(device) for device in "abc"]
            await world.quiet()
            for peer in peers:
                [snapshot] = peer.taken()
                assert {each["name"]: each["value"] for each in snapshot["configurations"]} == {"m": "1", "n": value}
                peer.session.close()
            assert len(found) == times


async def test_devices_of_a_view_share_what_is_kept_of_their_subscriptions() -> None:
    """Thousands have the same view: the keys are one object for all, and what is served is what was wanted."""
    async with fleet("a", "b") as world:
        await world.put("global", n="1")
        peers = [world.follow(device) for device in "ab"]
        one, other = (peer.caller.feed.subscriptions[0] for peer in peers if peer.caller.feed is not None)
        assert one.served is one.wanted
        assert one.served.prefixes is other.served.prefixes
        assert one.noted.deviceId == "a"


async def test_what_changes_while_a_new_state_is_looked_for_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many names that a device does not follow may come before the first that it does. A push in between must not
    come before the frame that replaces all that it has."""
    monkeypatch.setattr(followers, "MOVED_NAMES", 0)
    monkeypatch.setattr(catchup, "LOOK", 1)
    monkeypatch.setattr(catchup, "SLICE_SECONDS", 0)
    async with fleet("a") as world:
        await world.layer("x", 5, labels={"site": ["bonn"]})
        await world.put("x", **{f"m{number:03}": "1" for number in range(300)})
        device = Device(world, "a", names=["a", "z"])
        await device.listen()
        await world.label("a", site="bonn")
        [feed] = world.hub.feeds
        [sub] = feed.subscriptions
        while sub.copy is None or not sub.copy.cursor:
            await asyncio.sleep(0)
        await world.put("global", a="1")
        assert sub.copy is not None
        await device.listen()
        assert device.have == {"a": "1"}


async def test_a_deleted_device_is_told_that_values_of_its_own_layer_are_gone() -> None:
    """They are deleted with it, in one transaction."""
    async with fleet("a") as world:
        await world.put("global", n="1", m="1")
        await world.put("device/a", n="2", own="2")
        device = Device(world, "a")
        await device.listen()
        await world.do("device/delete", deviceId="a")
        await device.listen()
        assert device.have == {}
