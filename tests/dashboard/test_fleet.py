"""The screens of the fleet: rollouts, layers, what a device should have, schemas, counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from playwright.async_api import Page, expect

from tests.dashboard.hostile import HOSTILE, MARKUP
from tests.dashboard.test_devices import device
from tests.dashboard.visit import Visit
from tests.running import RunningGateway, Talk

MINT = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
QUICK = {"wait": 0, "minimum": 1, "failures": 0}


def done(talk: Talk, action: str, **members: Any) -> Any:
    """The answer to a request that must succeed."""
    answer = talk(action, **members)
    assert answer["status"] == "success", answer
    return answer


class Follower:
    """A device on a socket of its own: what it was sent last, by name."""

    def __init__(self, talk: Talk, id_: str) -> None:
        self.talk = talk
        self.id = id_
        self.have: dict[str, Any] = {}
        self._take(talk("configuration/subscribe", deviceId=id_))

    def _take(self, frame: Any) -> bool:
        """Keep what was pushed; whether the frame is an answer."""
        for each in frame.get("configurations", []) + [frame[key] for key in frame if key == "configuration"]:
            self.have[each["name"]] = each
        return "status" in frame

    def report(self, name: str, value: str, **error: str) -> None:
        """Wait until it is sent a value of a name, and answer."""
        while name not in self.have or self.have[name]["value"] != value:
            self._take(self.talk.receive())
        self.say({"name": name, "tag": self.have[name]["tag"], **error})

    def say(self, entry: dict[str, str]) -> None:
        """Report one entry."""
        frame = self.talk("device/report", deviceId=self.id, report=[entry])
        while not self._take(frame):
            frame = self.talk.receive()
        assert frame["status"] == "success", frame


@contextmanager
def following(gateway: RunningGateway, talk: Talk, layer: str, rank: int, *ids: str) -> Iterator[list[Follower]]:
    """Devices that follow what they should have, and a layer for them."""
    for each in ids:
        device(talk, each, each)
    done(talk, "layer/put", layer=layer, rank=rank, target={"deviceIds": list(ids)})
    with ExitStack() as stack:
        found = []
        for each in ids:
            token = done(talk, "token/create", payload=MINT | {"deviceIds": [each]})["accessToken"]
            found.append(Follower(stack.enter_context(gateway.socket(token)), each))
        yield found


async def set_gates(page: Page) -> None:
    """A quick gate for all steps of the form, and from the second one on another success."""
    second = page.get_by_role("list", name="What these steps are").get_by_role("listitem").nth(1)
    await second.get_by_text("Another gate from here on").click()
    await second.get_by_label("Success, in percent").fill("90")
    await page.get_by_text("Gate and time").click()
    for label, value in (("Failures", "0"), ("Minimum", "1"), ("Wait", "0")):
        await page.locator("form > details").get_by_label(label).fill(value)
    await expect(second.get_by_label("Minimum")).to_have_attribute("placeholder", "1")


async def test_a_rollout_is_started_held_and_rolled_back(visit: Visit, gateway: RunningGateway) -> None:
    """Started in the form, followed as devices answer; what a device says why not is text, whatever it is."""
    page = visit.page
    ids = ("pump-a", "pump-b", "pump-c")
    with gateway.socket() as talk, following(gateway, talk, "pumps", 500, *ids) as (first, second, _):
        await visit.open("rollout/new?layer=pumps")
        await expect(page.get_by_text("3 devices have it.")).to_be_visible()
        await page.get_by_label("Name", exact=True).fill("pumps.baud")
        await page.get_by_label("Value", exact=True).fill("9600")
        await page.get_by_label("First these devices").fill("pump-a")
        await page.get_by_label("Then these percentages").fill("50")
        await expect(page.get_by_text("the last one 100")).to_be_visible()
        await page.get_by_label("Then these percentages").fill("100")
        await set_gates(page)
        await visit.accessible()
        await visit.fits()
        await visit.button("Start").click()
        figures = page.locator(".figures")
        steps = page.get_by_role("list", name="Steps").get_by_role("listitem")
        await expect(figures).to_contain_text("Reached1")
        await expect(steps.nth(0)).to_contain_text("nowdevice pump-a")
        await expect(steps.nth(1)).to_contain_text("success 90")
        await expect(page.get_by_text("95 % of at least 1 device, after")).to_be_visible()
        first.report("pumps.baud", "9600")
        await expect(steps.nth(0)).to_contain_text("done")
        second.report("pumps.baud", "9600", error=HOSTILE[1])
        await expect(page.locator("h1")).to_contain_text("held")
        await expect(page.get_by_role("img", name=re.compile("^Devices: .*, Applied 1, Failed 1$"))).to_be_visible()
        await expect(page.locator(".bar")).to_contain_text("1 refused")
        await expect(page.get_by_role("region", name="Devices that have refused")).to_contain_text(HOSTILE[1])
        assert await page.locator(MARKUP).count() == 0
        await visit.accessible()
        await visit.fits()
        await visit.button("Resume…").click()
        await visit.accessible()
        await visit.dialog.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("status").filter(has_text="goes on")).to_be_visible()
        await expect(page.locator("h1")).to_contain_text("running")  # as long as the third device has not answered
        await visit.button("Roll back…").click()
        await visit.dialog.get_by_role("button", name="Roll back").click()
        await expect(page.locator("h1")).to_contain_text("rolled back")
        await expect(steps.nth(1)).to_contain_text("ended")
        await visit.open("rollouts")
        row = page.get_by_role("row").filter(has_text="pumps.baud")
        await expect(row).to_contain_text("rolled back")
        await visit.accessible()
        await visit.fits()


async def test_a_completed_rollout_is_undone_by_another(visit: Visit, gateway: RunningGateway) -> None:
    """The form begins with the changes that undo it."""
    with gateway.socket() as talk, following(gateway, talk, "fans", 501, "fan-a") as (fan,):
        done(talk, "configuration/put", name="fans.speed", value="1", layer="fans")
        fan.report("fans.speed", "1")
        asked = {"layer": "fans", "changes": [{"operation": "put", "name": "fans.speed", "value": "2"}]}
        number = done(talk, "rollout/start", **asked, steps=[{"percent": 100}], gate=QUICK)["rollout"]
        await visit.open(f"rollout/{number}")
        fan.report("fans.speed", "2")
        await expect(visit.page.locator("h1")).to_contain_text("completed")
        await visit.button("Undo with a new rollout…").click()
        await expect(visit.page.get_by_label("Value", exact=True)).to_have_value("1")
        await expect(visit.page.get_by_text("Now: 2")).to_be_visible()


async def test_a_layer_is_made_and_what_it_holds_is_edited(visit: Visit, gateway: RunningGateway) -> None:
    """With the editor of plain configurations: conflicts, history and undo are those of the layer; texts stay text."""
    page = visit.page
    with gateway.socket() as talk:
        device(talk, "fridge-a", "fridge-a")
        done(talk, "device/label", deviceId="fridge-a", labels={"kind": "fridge"})
        done(talk, "configuration/put", name="fridge.level", value="plain")
        await visit.open("layers")
        await expect(page.get_by_role("heading", name="Layers")).to_be_visible()  # other screens have this button too
        await visit.button("New").click()
        await visit.dialog.get_by_label("Name").fill("fridges")
        await visit.dialog.get_by_label("Rank").fill("700")
        await visit.dialog.get_by_label("Labels").fill("kind=fridge\nkind=freezer\nspare")
        await visit.accessible()
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(page.locator(".facts")).to_contain_text("kind=fridge or freezer, without spare · 1 device")
        await page.get_by_role("link", name="New configuration").click()
        await page.get_by_label("Name").fill("fridge.level")
        await visit.button("Write its value").click()
        await visit.type("fridge.level", "one")
        done(talk, "configuration/put", name="fridge.level", value=HOSTILE[0], layer="fridges", description=HOSTILE[1])
        await expect(page.get_by_role("alert")).to_contain_text("Your edit is untouched")
        await visit.button("Review and save").click()
        await visit.dialog.get_by_role("radio", name="Yours").check()
        await visit.dialog.get_by_role("button", name="Save merged").click()
        await expect(page.get_by_role("status").filter(has_text="Saved version 2")).to_be_visible()
        assert done(talk, "configuration/get", name="fridge.level", layer="fridges")["configuration"]["value"] == "one"
        assert done(talk, "configuration/get", name="fridge.level")["configuration"]["value"] == "plain"
        await visit.accessible()
        await visit.fits()
        await page.get_by_role("link", name="History").click()
        await visit.button("Roll back to version 1").click()
        await expect(page.get_by_role("status").filter(has_text="Rolled back to version 1")).to_be_visible()
        await page.get_by_role("link", name="fridges").click()
        row = page.get_by_role("row").filter(has_text="fridge.level")
        await expect(row).to_contain_text(HOSTILE[0])
        assert await page.locator(MARKUP).count() == 0
        await visit.accessible()
        await visit.fits()
        change = {"operation": "put", "name": "fridge.level", "value": "two"}
        number = done(talk, "rollout/start", layer="fridges", changes=[change], steps=[{"percent": 100}])["rollout"]
        await row.get_by_role("link").click()
        await visit.button("Edit").click()
        await visit.type("fridge.level", "three")
        await visit.button("Review and save").click()
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(visit.dialog.get_by_role("alert")).to_contain_text(f"is held by rollout {number}")


async def test_a_device_shows_what_it_should_have_and_what_it_says(visit: Visit, gateway: RunningGateway) -> None:
    """Which layer wins, what that hides, and each of the four states; as it changes."""
    page = visit.page
    with gateway.socket() as talk, following(gateway, talk, "lifts", 600, "lift-a") as (lift,):
        done(talk, "layer/put", layer="below-lifts", rank=599, target={"deviceIds": ["lift-a"]})
        done(talk, "configuration/put", name="lift.speed", value="1", layer="below-lifts")
        done(talk, "configuration/put", name="lift.speed", value="2", layer="lifts")
        done(talk, "configuration/put", name="lift.door", value=HOSTILE[0], layer="device/lift-a")
        done(talk, "configuration/put", name="lift.bell", value="on", layer="lifts")
        device(talk, "lift-bare", "lift-bare")
        await visit.open("device/lift-bare?tab=configuration")
        await expect(page.get_by_role("heading", name="Nothing to apply")).to_be_visible()
        await visit.accessible()
        await visit.fits()
        await visit.open("device/lift-a?tab=configuration")
        speed, door, bell = (
            page.get_by_role("row").filter(has_text=f"lift.{name}") for name in ("speed", "door", "bell")
        )
        await expect(speed.get_by_role("cell")).to_have_text(["2", "lifts", "below-lifts", "pending"])
        await expect(door).to_contain_text(HOSTILE[0])
        lift.report("lift.speed", "2")
        await expect(speed).to_contain_text("applied")
        lift.report("lift.door", HOSTILE[0], error=HOSTILE[1])
        await expect(door).to_contain_text(f"refused{HOSTILE[1]}")
        lift.say({"name": "lift.bell", "value": HOSTILE[2]})
        await expect(bell).to_contain_text("local")
        await expect(bell).to_contain_text(HOSTILE[2])
        await expect(page.locator("p > .tag")).to_have_text(["1 refused", "1 local", "1 applied"])
        assert await page.locator(MARKUP).count() == 0
        await visit.accessible()
        await visit.fits()
        await speed.get_by_role("link", name="lift.speed").click()
        await expect(page.get_by_label("Above")).to_contain_text("lifts")
