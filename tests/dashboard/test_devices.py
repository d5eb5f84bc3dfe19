"""Devices: who is there, what they were told and answered, what they say."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from tests.dashboard.visit import Visit
from tests.running import RunningGateway, Talk


def device(talk: Talk, id_: str, name: str, **fields: Any) -> None:
    """Make a device."""
    answer = talk("device/save", deviceId=id_, device={"name": name, "networkId": 1, "deviceTypeId": 1, **fields})
    assert answer["status"] == "success", answer


async def test_a_command_is_sent_and_its_answer_comes(visit: Visit, gateway: RunningGateway) -> None:
    """Looking at a device does not make it look online; its own socket does. An earlier command is sent again."""
    with gateway.socket() as talk:
        device(talk, "lamp-a", "Lamp", data={"room": "hall"})
        await visit.open("device/lamp-a")
        await expect(visit.page.locator("h1")).to_contain_text("offline")
        await expect(visit.page.get_by_role("heading", name="No commands")).to_be_visible()
        await expect(visit.page.locator(".empty pre")).to_contain_text("hivewire command send")
        await visit.page.get_by_label("Command", exact=True).fill("on")
        await visit.page.get_by_label("Parameters, as JSON").fill("{")
        await expect(visit.page.get_by_text("This is not JSON")).to_be_visible()
        await visit.page.get_by_label("Parameters, as JSON").fill('{"level": 3}')
        assert talk("command/subscribe", deviceId="lamp-a")["status"] == "success"
        await expect(visit.page.locator("h1")).to_contain_text("online")
        await visit.button("Send").click()
        command = talk.receive()["command"]
        assert (command["command"], command["parameters"]) == ("on", {"level": 3})
        sent = visit.page.get_by_role("list", name="Commands").locator("li")
        await expect(sent.first).to_contain_text("no answer yet")
        done = {"status": "done", "result": {"was": 0}}
        talk("command/update", deviceId="lamp-a", commandId=command["id"], command=done)
        await expect(sent.first).to_contain_text('answered {"was":0}')
        await expect(visit.page.get_by_role("form").get_by_text('answered {"was":0}')).to_be_visible()
        await visit.accessible()
        await visit.fits()
        await visit.page.get_by_label("Like an earlier one").select_option(str(command["id"]))
        await visit.button("Send").click()
        await expect(sent).to_have_count(2)
        assert talk.receive()["command"]["parameters"] == {"level": 3}


async def test_numbers_of_devices_and_commands_keep_their_digits(visit: Visit, gateway: RunningGateway) -> None:
    """What is changed next to them, typed, or sent again is not rounded to what a browser calculates with."""
    serial, other = 9_007_199_254_740_993, 12_345_678_901_234_567_891
    with gateway.socket() as talk:
        device(talk, "exact-a", "Exact", data={"serial": serial})
        await visit.open("device/exact-a?tab=data")
        await expect(visit.page.get_by_label("Data").first).to_contain_text(str(serial))
        await visit.button("Change").click()
        await visit.dialog.get_by_label("Name").fill("Renamed")
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(visit.page.get_by_role("heading", name="Renamed")).to_be_visible()
        assert talk("device/get", deviceId="exact-a")["device"]["data"] == {"serial": serial}
        await visit.open("device/exact-a")
        assert talk("command/subscribe", deviceId="exact-a")["status"] == "success"
        await visit.page.get_by_label("Command", exact=True).fill("set")
        await visit.page.get_by_label("Parameters, as JSON").fill(f'{{"id": {other}}}')
        await visit.button("Send").click()
        command = talk.receive()["command"]
        assert command["parameters"] == {"id": other}
        commands = visit.page.get_by_role("list", name="Commands", exact=True)
        await expect(commands).to_contain_text(f'{{"id":{other}}}')
        talk("command/update", deviceId="exact-a", commandId=command["id"], command={"result": {"id": serial}})
        await expect(commands).to_contain_text(f'answered {{"id":{serial}}}')
        await visit.page.get_by_label("Like an earlier one").select_option(str(command["id"]))
        await expect(visit.page.get_by_label("Parameters, as JSON")).to_have_value(f'{{\n  "id": {other}\n}}')


async def test_notifications_come_as_they_are_sent(visit: Visit, gateway: RunningGateway) -> None:
    """Those that are kept first, then what is new."""
    with gateway.socket() as talk:
        device(talk, "meter-a", "Meter")
        say = {"notification": "temperature", "parameters": {"celsius": 20}}
        talk("notification/insert", deviceId="meter-a", notification=say)
        await visit.open("device/meter-a?tab=notifications")
        said = visit.page.get_by_role("list", name="Notifications").locator("li")
        await expect(said.first).to_contain_text('{"celsius":20}')
        talk("notification/insert", deviceId="meter-a", notification={"notification": "alarm", "parameters": None})
        await expect(said.first).to_contain_text("alarm")
        await visit.accessible()
        await visit.page.get_by_label("Only these notifications").fill("temp")
        await expect(said).to_have_count(1)


async def test_devices_are_found_made_changed_and_deleted(visit: Visit, gateway: RunningGateway) -> None:
    """Live, by name, network, type and presence."""
    with gateway.socket() as talk:
        device(talk, "find-a", "Front door <b>")
        await visit.open("devices")
        await visit.page.get_by_label("Search devices").fill("find-")
        rows = visit.page.locator(".grid .row")
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text("Front door <b>")
        device(talk, "find-b", "Back door")
        await expect(rows).to_have_count(2)
        await visit.accessible()
        await visit.fits()
        await visit.page.get_by_label("Presence", exact=True).select_option("online")
        await expect(visit.page.get_by_role("heading", name="No device matches")).to_be_visible()
    await visit.open("devices")
    await visit.button("New").click()
    await visit.dialog.get_by_label("Name").fill("Made here")
    await visit.dialog.get_by_label("Id").fill("find-a")
    await expect(visit.dialog.get_by_text("There is a device with this id already")).to_be_visible()
    await expect(visit.dialog.get_by_role("button", name="Save")).to_have_attribute("aria-disabled", "true")
    await visit.dialog.get_by_label("Id").fill("made-a")
    await visit.dialog.get_by_label("Data, as JSON").fill('{"floor": 2}')
    await visit.accessible()
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.page.get_by_role("heading", name="Made here")).to_be_visible()
    await visit.open("device/made-a?tab=data")
    await expect(visit.page.get_by_label("Data").first).to_contain_text('"floor": 2')
    await visit.button("Change").click()
    await visit.dialog.get_by_label("Name").fill("Changed here")
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.page.get_by_role("heading", name="Changed here")).to_be_visible()
    await visit.button("Delete…").click()
    await visit.dialog.get_by_role("button", name="Delete").click()
    await expect(visit.page.get_by_role("status").filter(has_text="Deleted Changed here")).to_be_visible()


async def test_a_command_is_sent_by_keys_alone(visit: Visit, gateway: RunningGateway) -> None:
    """`g d` and `/` lead to the search, Enter to the table, Enter to the device, `c` to the command, Enter sends it."""
    page, press = visit.page, visit.page.keyboard.press
    with gateway.socket() as talk:
        device(talk, "keys-a", "By keys")
        assert talk("command/subscribe", deviceId="keys-a")["status"] == "success"
        await press("g")
        await press("d")
        await expect(visit.row("By keys")).to_be_visible()
        await press("/")
        await page.keyboard.type("keys-")
        await expect(page.locator(".grid .row")).to_have_count(1)
        await press("Enter")
        await expect(page.locator(".grid .row")).to_be_focused()
        await press("Enter")
        await expect(page.get_by_label("Command", exact=True)).to_be_visible()
        await press("c")
        await expect(page.get_by_label("Command", exact=True)).to_be_focused()
        await page.keyboard.type("blink")
        await press("Tab")
        await page.keyboard.type('{"times": 2}')
        await press("Shift+Tab")
        await press("Enter")
        command = talk.receive()["command"]
        assert (command["command"], command["parameters"]) == ("blink", {"times": 2})
        talk("command/update", deviceId="keys-a", commandId=command["id"], command={"status": "done"})
        await expect(page.get_by_role("list", name="Commands")).to_contain_text("done")


async def test_networks_and_types_are_managed(visit: Visit, gateway: RunningGateway) -> None:
    """Made, renamed, and deleted with their devices once that was said."""
    for of, what in (("networks", "network"), ("types", "device type")):
        await visit.open(f"devices?of={of}")
        await visit.button(f"New {what}").click()
        await visit.dialog.get_by_label("Name").fill(f"Cellar {of}")
        await visit.dialog.get_by_role("button", name="Save").click()
        row = visit.page.get_by_role("row").filter(has_text=f"Cellar {of}")
        await expect(row).to_contain_text("0 devices")
        await visit.accessible()
        await visit.fits()
        await row.get_by_role("button", name="Change").click()
        await visit.dialog.get_by_label("Description").fill("below ground")
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(row).to_contain_text("below ground")
        await row.get_by_role("button", name="Delete…").click()
        await visit.accessible()
        await visit.dialog.get_by_role("button", name="Delete").click()
        await expect(row).to_have_count(0)
