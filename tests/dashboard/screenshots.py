"""`make screenshots`: the pictures of the documentation, of a gateway with some data, in real Chromium."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser import guarded, launched
from tests.dashboard.test_fleet import done, following
from tests.dashboard.visit import Visit, not_first
from tests.running import RunningGateway

FOLDER = Path(__file__).parents[2] / "docs" / "dashboard"

VALUES = {
    "checkout.payment.methods": '{"card": true, "invoice": ["DE", "AT"], "limit": 2500}',
    "checkout.payment.timeout": "30",
    "checkout.v2": "on",
    "feature.dark-mode": "on",
    "feature.search.fuzzy": "off",
    "limits.api.read": '{"perSecond": 50, "burst": 200}',
    "limits.api.write": '{"perSecond": 10, "burst": 20}',
    "limits.max": "42",
    "mail.sender": "shop@example.com",
    "shop.banner": "Free delivery until Sunday",
    "shop.currency": "EUR",
    "shop.opening": '{"mon-fri": "09:00-18:00", "sat": "10:00-14:00"}',
}

SCHEMA = {
    "type": "object",
    "required": ["perSecond", "burst"],
    "properties": {"perSecond": {"type": "integer", "maximum": 1000}, "burst": {"type": "integer"}},
}


def seed(gateway: RunningGateway) -> None:
    """What is in the pictures."""
    with gateway.socket() as talk:
        for name, value in VALUES.items():
            kind = {"contentType": "application/json"} if value.startswith("{") else {}
            talk("configuration/put", name=name, value=value, description="first", **kind)
        for value, why in (("50", "for the sale"), ("80", "more for the sale")):
            talk("configuration/put", name="limits.max", value=value, description=why)
        talk("schema/put", names="limits.api.*", schema=SCHEMA)
        for number, name in enumerate(("Front door", "Lamp in the hall", "Meter", "Thermostat")):
            device = {"name": name, "data": {"room": "hall"}, "networkId": 1, "deviceTypeId": 1}
            talk("device/save", deviceId=f"{name.split()[0].lower()}-{number}", device=device)
        made = talk("command/insert", deviceId="lamp-1", command={"command": "set", "parameters": {"level": 3}})
        done = {"status": "done", "result": {"was": 0}}
        talk("command/update", deviceId="lamp-1", commandId=made["command"]["id"], command=done)
        talk("command/insert", deviceId="lamp-1", command={"command": "blink", "parameters": {"times": 2}})


async def conflict(visit: Visit) -> None:
    """An edit over one that was saved meanwhile."""
    await visit.open("one/limits.api.read?edit=1")
    await visit.type("limits.api.read", '{"perSecond": 75, "burst": 200}')
    with visit.gateway.socket() as talk:
        value = '{"perSecond": 60, "burst": 200}'
        kind = "application/json"
        talk("configuration/put", name="limits.api.read", value=value, contentType=kind, description="less load")
    await visit.page.get_by_role("button", name="See the difference").click()


async def schema(visit: Visit) -> None:
    """A schema that is edited, and a value that it refuses."""
    await visit.open("schema/limits.api.*")
    await visit.button("Edit").click()
    await visit.page.get_by_role("textbox", name="A value").fill('{"perSecond": 5000}')
    await visit.page.get_by_role("list", name="Problems").wait_for()


@contextmanager
def pumps(gateway: RunningGateway) -> Iterator[int]:
    """Pumps of two sites, of which one refuses what its layer says, and a rollout to the first site: its number."""
    ids = [f"pump-{number}" for number in range(1, 9)]
    with gateway.socket() as talk, following(gateway, talk, "pumps", 500, *ids) as found:
        for each, site in zip(found, ["bonn", "ulm"] * 4, strict=True):
            done(talk, "device/label", deviceId=each.id, labels={"site": site})
        done(talk, "configuration/put", name="baud", value="9600", layer="pumps")
        for each in found:
            each.report("baud", "9600", **({"error": "unsupported rate"} if each.id == "pump-4" else {}))
        change = {"operation": "put", "name": "volume", "value": "30"}
        steps = [{"labels": {"site": ["bonn"]}}, {"percent": 50}, {"percent": 100}]
        number = done(talk, "rollout/start", layer="pumps", changes=[change], steps=steps)["rollout"]
        for each in found[:6:2]:
            each.report("volume", "30", **({"error": "over 25"} if each.id == "pump-3" else {}))
        yield number


async def take(folder: Path) -> None:
    """All of them."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, RunningGateway(Path(place) / "hivewire.db") as gateway:
        seed(gateway)
        size = {"width": 1280, "height": 640}
        async with launched() as browser, guarded(browser, viewport=size) as guard:
            await guard.context.add_init_script(not_first())
            visit = Visit(guard, await guard.page(), gateway)
            await visit.open()
            await visit.log_in()

            async def picture(name: str, place: str | None = None, theme: str = "light") -> None:
                if place is not None:
                    await visit.open(place)
                await visit.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
                await visit.page.mouse.move(0, 0)
                await visit.page.wait_for_timeout(1_000)  # the editor is loaded, charts are drawn
                await visit.page.screenshot(path=folder / f"{name}.png")

            await picture("configurations", "c")
            await picture("configurations-dark", "c", "dark")
            await picture("history", "one/limits.max?tab=history")
            await picture("device", "device/lamp-1")
            await picture("audit", "audit", "dark")
            await schema(visit)
            await picture("schema")
            with pumps(gateway) as number:
                await picture("fleet", "fleet")
                await picture("rollout", f"rollout/{number}", "dark")
            await conflict(visit)
            await picture("conflict")
    total = sum(path.stat().st_size for path in folder.glob("*.png"))
    sys.stderr.write(f"{len([*folder.glob('*.png')])} pictures in {folder}, {total >> 10} KiB\n")


if __name__ == "__main__":
    asyncio.run(take(FOLDER))
