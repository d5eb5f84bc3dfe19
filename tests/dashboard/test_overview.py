"""The overview of a fleet: counts as they change, the devices behind each, layers and rollouts."""

from __future__ import annotations

from playwright.async_api import expect

from tests.dashboard.hostile import HOSTILE, MARKUP
from tests.dashboard.test_devices import device
from tests.dashboard.test_fleet import QUICK, done, following
from tests.dashboard.visit import NARROW, WIDE, Visit
from tests.running import RunningGateway


async def test_the_counts_of_a_fleet_lead_to_its_devices(visit: Visit, gateway: RunningGateway) -> None:
    """They change as devices answer; what devices say is text; a layer, a label and a state narrow them down."""
    page = visit.page
    with gateway.socket() as talk, following(gateway, talk, "mills", 800, "mill-a", "mill-b", "mill-c") as mills:
        for each, floor in zip(mills, "112", strict=True):
            done(talk, "device/label", deviceId=each.id, labels={"mill-floor": floor})
        done(talk, "configuration/put", name="mill.speed", value="7", layer="mills")
        await visit.open("fleet?layer=mills")
        figures = page.get_by_label("Devices by state")
        await expect(figures).to_contain_text("Devices3Following3Applied0Refused0Pending3")
        mills[0].report("mill.speed", "7")
        mills[1].report("mill.speed", "7", error=HOSTILE[1])
        await expect(figures).to_contain_text("Applied1Refused1Pending1")
        await expect(page.get_by_role("region", name="Most refused")).to_contain_text(HOSTILE[1])
        await visit.accessible()
        await visit.fits()
        await figures.get_by_role("link", name="Refused: 1").click()
        rows = page.get_by_role("region", name="Devices", exact=True).get_by_role("row")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(1)).to_contain_text(f"mill.speed: {HOSTILE[1]}")
        assert await page.locator(MARKUP).count() == 0
        mills[1].report("mill.speed", "7")
        await expect(page.get_by_text("None is in this state.")).to_be_visible()
        await page.get_by_label("Labels").fill("mill-floor=2")
        await page.get_by_label("Labels").press("Enter")
        await expect(figures).to_contain_text("Devices1Following1Applied0Refused0Pending1")
        await page.get_by_role("link", name="mill-c").click()
        await expect(page.get_by_role("row").filter(has_text="mill.speed")).to_contain_text("pending")


async def test_a_fleet_shows_its_layers_and_rollouts(visit: Visit, gateway: RunningGateway) -> None:
    """Each layer with its devices by state; what is rolled out now; the way from there to the devices."""
    page = visit.page
    with gateway.socket() as talk, following(gateway, talk, "ovens", 801, "oven-a", "oven-b") as (oven, _):
        done(talk, "configuration/put", name="oven.heat", value="1", layer="ovens")
        change = {"operation": "put", "name": "oven.light", "value": "on"}
        number = done(talk, "rollout/start", layer="ovens", changes=[change], steps=[{"percent": 100}], gate=QUICK)[
            "rollout"
        ]
        oven.report("oven.heat", "1")
        oven.report("oven.light", "on")
        await visit.open("fleet")
        rollout = (
            page.get_by_role("region", name="Rollouts that are not over")
            .get_by_role("row")
            .filter(has_text="oven.light")
        )
        await expect(rollout.get_by_role("cell").nth(3)).to_have_text("1")
        row = page.get_by_role("region", name="Layers, the highest first").get_by_role("row").filter(has_text="ovens")
        await expect(row.get_by_role("cell")).to_have_text(["2", "2", "1", "0", "1", "0"])
        await visit.accessible()
        await visit.fits()
        await page.set_viewport_size(NARROW)
        headings = await row.get_by_role("cell").evaluate_all(
            "cells => cells.map(each => getComputedStyle(each, '::before').content)"
        )
        assert headings == [f'"{each} "' for each in ("Devices", "Following", "Applied", "Refused", "Pending", "Local")]
        await page.set_viewport_size(WIDE)
        await row.get_by_role("link", name="ovens, pending: 1").click()
        rows = page.get_by_role("region", name="Devices", exact=True).get_by_role("row")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(1)).to_contain_text("oven-b")
        done(talk, "rollout/rollback", rollout=number)
        await visit.open("fleet")
        await expect(rollout).to_have_count(0)


async def test_the_devices_of_a_fleet_come_in_pages(visit: Visit, gateway: RunningGateway) -> None:
    """A hundred at a time, by id. What somebody types is not lost when the counts change."""
    page = visit.page
    with gateway.socket() as talk:
        for number in range(101):
            device(talk, f"many-{number:03}", "one of many")
            done(talk, "device/label", deviceId=f"many-{number:03}", labels={"many": "yes"})
    await visit.open("fleet?label=many=yes")
    rows = page.get_by_role("region", name="Devices", exact=True).get_by_role("row")
    await expect(rows).to_have_count(101)
    await visit.button("The next 100").click()
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1)).to_contain_text("many-100")
    await visit.button("From the beginning").click()
    await expect(rows.nth(1)).to_contain_text("many-000")
    await page.get_by_label("Labels").fill("many=no")
    with gateway.socket() as talk:
        done(talk, "device/label", deviceId="many-100", labels={})
    await expect(page.get_by_role("link", name="Devices: 100")).to_be_visible()
    await page.get_by_label("Labels").press("Enter")
    await expect(page.get_by_role("heading", name="No device has this")).to_be_visible()
    await visit.accessible()


async def test_a_rollout_goes_by_labels(visit: Visit, gateway: RunningGateway) -> None:
    """The form says how many devices each step has, and the gateway whether it would take it, before it starts."""
    page = visit.page
    with gateway.socket() as talk:
        for each, floor in zip(("fan-1", "fan-2", "fan-3", "fan-4"), "1112", strict=True):
            device(talk, each, each)
            done(talk, "device/label", deviceId=each, labels={"fan-floor": floor, "fan": "yes"})
        done(talk, "layer/put", layer="all-fans", rank=802, target={"labels": {"fan": ["yes"]}})
        await visit.open("rollout/new?layer=all-fans")
        await page.get_by_label("Name", exact=True).fill("fan.speed")
        await page.get_by_label("Value", exact=True).fill("3")
        await page.get_by_label("First these devices").fill("fan-4\nlamp-4")
        await page.get_by_label("Then devices with these labels").fill("fan-floor=1, fan=yes\nfan-floor=1 34 %")
        await page.get_by_label("Then these percentages").fill("50, 100")
        steps = page.get_by_role("list", name="What these steps are").get_by_role("listitem")
        await expect(steps).to_contain_text(
            [
                "1device fan-4 or lamp-41 device",
                "2fan-floor=1, fan=yes3 devices",
                "3fan-floor=1, 34 % of the devicesabout 1 device",
                "450 % of the devicesabout 2 devices",
                "5100 % of the devices4 devices",
            ]
        )
        await visit.button("Check").click()
        await expect(
            page.get_by_text("The gateway would take it: for 4 devices, of which 0 follow their configuration.")
        ).to_be_visible()
        await visit.accessible()
        await visit.fits()
        await visit.button("Start").click()
        await expect(page.locator("h1")).to_contain_text("running")
        waiting = page.get_by_role("region", name="Waiting, or without an answer")
        await expect(waiting).to_contain_text("fan-4waits until the device follows its configuration")
        found = done(talk, "rollout/list", take=1)["rollouts"][0]
        assert found["steps"][1:3] == [
            {"labels": {"fan-floor": ["1"], "fan": ["yes"]}},
            {"labels": {"fan-floor": ["1"]}, "percent": 34},
        ]
        done(talk, "rollout/rollback", rollout=found["rollout"])


async def test_a_device_has_labels_and_what_it_has_is_adopted(visit: Visit, gateway: RunningGateway) -> None:
    """Labels lead to the devices that have them; what a device changed itself becomes what it should have, and back."""
    page = visit.page
    with gateway.socket() as talk, following(gateway, talk, "doors", 803, "door-a") as (door,):
        done(talk, "configuration/put", name="door.code", value="1", layer="doors")
        door.say({"name": "door.code", "value": HOSTILE[1]})
        await visit.open("device/door-a?tab=configuration")
        await expect(page.get_by_text("Labels: none")).to_be_visible()
        await visit.button("Change…").click()
        await visit.dialog.get_by_label("Labels").fill("door-side")
        await expect(visit.dialog.get_by_text("A name, = and a text")).to_be_visible()
        await visit.accessible()
        await visit.dialog.get_by_label("Labels").fill("door-side=<b>north</b>\ndoor-floor=1")
        await visit.dialog.get_by_role("button", name="Save").click()
        row = page.get_by_role("row").filter(has_text="door.code")
        await row.get_by_role("button", name="Adopt door.code").click()
        await expect(row.get_by_role("cell").nth(1)).to_have_text("device/door-a")
        assert (
            done(talk, "configuration/get", name="door.code", layer="device/door-a")["configuration"]["value"]
            == HOSTILE[1]
        )
        assert await page.locator(MARKUP).count() == 0
        await visit.accessible()
        await visit.fits()
        await visit.button("Undo").click()
        await expect(row.get_by_role("cell").nth(1)).to_have_text("doors")
        await page.get_by_role("link", name="door-side=<b>north</b>").click()
        await expect(page.get_by_label("Devices by state")).to_contain_text("Devices1")
