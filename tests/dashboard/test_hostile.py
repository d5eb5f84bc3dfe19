"""Hostile texts are text: forty of them on the screens that list things, and one of the worst in every dialog."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.async_api import Locator, expect

from tests.dashboard.hostile import HOSTILE, harmless
from tests.dashboard.test_devices import device
from tests.dashboard.test_fleet import done
from tests.dashboard.test_many import export, preview
from tests.dashboard.test_one import put
from tests.dashboard.test_system import DOCUMENT, Tenant
from tests.dashboard.visit import NARROW, Visit, one
from tests.running import RunningGateway, Talk


async def test_hostile_texts_are_text_on_every_screen(visit: Visit, gateway: RunningGateway) -> None:
    """Names, values, descriptions, devices, their messages and labels: no element comes of them, and no script runs.

    Few of these can be a login, and none the id of a device, client or tenant: their rules allow letters and digits.
    """
    refused = 0
    with gateway.socket() as talk:
        for number, text in enumerate(HOSTILE):
            for name in (f"hostile.{number}", text):
                answer = talk("configuration/put", name=name[:128], value=text, description=text[:1_000])
                refused += answer["status"] != "success"
            named = {"name": text[:120], "data": {"text": text}, "networkId": 1, "deviceTypeId": 1}
            talk("device/save", deviceId=f"hostile-{number}", device=named)
            command = {"command": text[:120], "parameters": {"text": text}}
            talk("command/insert", deviceId="hostile-0", command=command)
            talk("notification/insert", deviceId="hostile-0", notification={"notification": text[:100]})
        for text in HOSTILE[::5]:
            talk("user/insert", user={"login": text[:128], "password": "hostile-password", "role": 1, "status": 0})
            talk("network/insert", network={"name": text[:128], "description": text})
            talk("devicetype/insert", deviceType={"name": text[:128], "description": text})
        talk(
            "layer/put", layer="hostile", rank=666, target={"labels": {text[:64]: [text[:64]] for text in HOSTILE[::2]}}
        )
        assert refused < len(HOSTILE)
    for place in (
        "c?q=hostile.",
        "c?q=<",
        *(one(f"hostile.{number}") for number in (0, 1, 8, 12)),
        one("hostile.0") + "?tab=history",
        one(HOSTILE[0]) + "?tab=lines",
        "audit?name=hostile.*",
        "devices?q=hostile",
        "device/hostile-0",
        "device/hostile-0?tab=notifications",
        "device/hostile-0?tab=data",
        "devices?of=networks",
        "devices?of=types",
        "access",
        "layer/hostile",
        "layers",
    ):
        await visit.open(place)
        await expect(visit.page.locator("main")).to_contain_text(re.compile("hostile|owned|constructor"))
        await harmless(visit)
    await expect(visit.page.locator("td bdi[dir=ltr]", has_text="=العربية ١٢٣")).to_be_visible()
    await visit.open(one("hostile.8"))
    await expect(visit.page.get_by_role("textbox", name="Value")).to_contain_text("\\u202Eevil\\u202C")
    await visit.open("c?q=hostile.8")
    await expect(visit.row("hostile.8")).to_contain_text("\\u202Eevil\\u202C")
    await visit.accessible()


WORST = HOSTILE[1] + "\u202e"
"""An element whose script runs, and a character that turns around what follows."""

LABELS = {WORST: [WORST]}
CHANGE = {"operation": "put", "name": WORST, "value": WORST}


def seed(gateway: RunningGateway, talk: Talk) -> dict[str, Any]:
    """It is wherever it may be; what the addresses of screens need of what was made."""
    network, kind = ({"name": f"{WORST} {of}", "description": WORST} for of in ("network", "type"))
    groups = {
        "networkId": done(talk, "network/insert", network=network)["network"]["id"],
        "deviceTypeId": done(talk, "devicetype/insert", deviceType=kind)["deviceType"]["id"],
    }
    device(talk, "worst", WORST, data={WORST: WORST}, **groups)
    done(talk, "device/label", deviceId="worst", labels={WORST: WORST})
    for message in ("command", "notification"):
        done(talk, f"{message}/insert", deviceId="worst", **{message: {message: WORST, "parameters": {WORST: WORST}}})
    put(gateway, WORST, "before", description=WORST)
    put(gateway, WORST, WORST, description=WORST)
    put(gateway, WORST + ".misfit", WORST)
    for number in range(2):
        schema = {"enum": [number], "description": WORST}
        done(talk, "schema/put", names=WORST + ".*", schema=schema, description=WORST, force=True)
    done(talk, "layer/put", layer="worst", rank=667, target={"labels": LABELS})
    put(gateway, WORST, WORST, layer="worst", description=WORST)
    steps = [{"labels": LABELS}, {"labels": LABELS, "percent": 50}, {"percent": 100}]
    number = done(talk, "rollout/start", layer="worst", changes=[CHANGE | {"value": "new"}], steps=steps)["rollout"]
    done(talk, "rollout/hold", rollout=number)
    user = {"login": "worst", "password": "hostile-password", "role": 1, "status": 0}
    done(talk, "user/insert", user=user)
    assert talk("token", login=WORST, password="hostile-password")["status"] == "error"  # the audit of people has it
    Tenant(gateway, "worst").put(DOCUMENT | {"entityTypes": [DOCUMENT["entityTypes"][0] | {"label": WORST}]})
    return {"rollout": number, **groups}


def screens(rollout: int, **groups: int) -> list[tuple[str, ...]]:
    """Addresses, and how the words of the button begin that opens a dialog there."""
    name = quote(WORST, safe="")
    return [
        (one(WORST), "Delete"),
        (one(WORST) + "?tab=history",),
        (one(WORST) + "?tab=lines",),
        (f"one/{name}/worst",),
        (f"audit?name={name}", "Difference of"),
        ("audit?of=people",),
        ("devices?q=worst",),
        ("device/worst", "Change"),
        ("device/worst", "Delete"),
        ("device/worst?tab=notifications",),
        ("device/worst?tab=data",),
        ("device/worst?tab=configuration", "Change"),
        *((f"devices?of={of}", button) for of in ("networks", "types") for button in ("row: Change", "row: Delete")),
        ("layers",),
        ("layer/worst", "Change"),
        ("rollouts",),
        (f"rollout/{rollout}", "Resume"),
        ("schemas",),
        (f"schema/{name}.*", "Delete"),
        (f"schema/{name}.*?tab=history",),
        ("tenant/worst", "Edit '?<"),
    ]


def top(visit: Visit) -> Locator:
    """What is in front: the last dialog that is open, or the screen."""
    return visit.page.locator("main, dialog").last


async def shows(visit: Visit) -> None:
    """The screen or the dialog in front shows the worst text, a form in its fields, and it does no harm."""
    shown = top(visit).get_by_text("onerror").or_(visit.dialog.locator("input, textarea"))
    await expect(shown.first).to_be_attached()
    await harmless(visit)


async def press(visit: Visit, name: str) -> None:
    """Press a button by the beginning of its words; after `row: `, that of the row that is about the worst text."""
    _, row, name = name.rpartition("row: ")
    about = top(visit).locator("tr").filter(has_text=re.compile("onerror|worst"))
    await (about if row else top(visit)).get_by_role("button", name=re.compile(f"^{name}")).first.click()


async def test_the_worst_text_is_text_in_every_dialog(visit: Visit, gateway: RunningGateway) -> None:
    """As a name, a value, a reason, a label, a title: on each screen and in each dialog that shows one of them."""
    with gateway.socket() as talk:
        made = seed(gateway, talk)
    await visit.page.set_viewport_size(NARROW)  # `again` makes it wide again
    for place, *buttons in screens(**made):
        await visit.open(place)
        await shows(visit)
        for button in buttons:
            await press(visit, button)
            await shows(visit)
        for _ in buttons:
            await visit.page.keyboard.press("Escape")
    await visit.open("access")
    await press(visit, "row: Open")
    await shows(visit)
    await visit.open("rollout/new?layer=worst")
    await visit.page.get_by_label("Name", exact=True).fill(WORST)
    await expect(visit.page.get_by_text("Now:")).to_contain_text("onerror")
    await shows(visit)


async def test_the_worst_text_is_text_while_it_is_edited(visit: Visit, gateway: RunningGateway, tmp_path: Path) -> None:
    """In the review, the conflict, the basket and its merge, a preview of an import, and an answer of the console."""
    page, keyboard, name = visit.page, visit.page.keyboard, "edited " + WORST

    async def review(place: str) -> None:
        await visit.open(place)
        await expect(page.locator(".cm-content")).to_be_focused()
        await keyboard.insert_text(" ")
        await keyboard.press("Control+s")
        await expect(visit.dialog.get_by_label("Why")).to_be_focused()
        await shows(visit)
        await keyboard.press("Escape")

    await visit.page.set_viewport_size(NARROW)
    put(gateway, name, WORST)
    await review(one(name) + "?edit=1")
    put(gateway, name, "theirs " + WORST, description=WORST)
    for button in ("See the difference", "Keep editing", "Stage"):
        await press(visit, button)
        await shows(visit)
    await visit.open("basket")
    await shows(visit)
    await press(visit, "Difference")
    await shows(visit)
    await keyboard.press("Escape")
    put(gateway, name, "again " + WORST)
    await press(visit, "Merge")
    await shows(visit)
    await preview(visit, export(tmp_path, {name: "of a file"}))
    await press(visit, "Difference")
    await shows(visit)
    with gateway.socket() as talk:
        done(talk, "schema/put", names=name + ".*", schema={"description": WORST})
    await visit.open(f"schema/{quote(name, safe='')}.*")
    await press(visit, "Edit")
    await review(f"schema/{quote(name, safe='')}.*")
    await visit.open("api/configuration/get")
    await page.get_by_label("Members, as JSON").fill(json.dumps({"name": name}))
    await press(visit, "Send")
    await expect(page.get_by_role("textbox", name="Answer")).to_contain_text("onerror")
    await shows(visit)


async def test_a_line_to_copy_is_one_command_whatever_the_address_says(visit: Visit) -> None:
    """Somebody may send a link to a folder that is none; the shell takes it as a text, and so do programs."""
    folder = """$(id)';"`id`\\"""
    await visit.open(f"c?below={quote(folder)}")
    terminal, python, javascript = (visit.page.get_by_role("figure").nth(at).locator("code") for at in range(3))
    await expect(terminal).to_be_visible()
    assert shlex.split(await terminal.inner_text()) == ["hivewire", "put", "--", folder + "max", "42"]
    line = f'await hw.put({json.dumps(folder + "max")}, "42")'
    assert (await python.inner_text(), await javascript.inner_text()) == (line, line)
