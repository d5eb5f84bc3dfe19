"""Networks and gateways that fail while somebody works: nothing typed is lost, and the page goes on by itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, WebSocketRoute, expect

from tests.dashboard.test_one import put, value_of
from tests.dashboard.visit import Visit, one, visiting
from tests.running import RunningGateway


class Held:
    """Requests of a page on its socket whose action is `action`: held back, until they are let go."""

    def __init__(self, action: str) -> None:
        self.action = f'"action":"{action}"'
        self.waiting: list[tuple[WebSocketRoute, str | bytes]] = []
        self.arrived = asyncio.Event()
        self.open = True

    def close(self) -> None:
        """From now on they are held."""
        self.open = False

    def go(self) -> None:
        """Let those go that have come, and all that come."""
        self.open = True
        for there, frame in self.waiting:
            there.send(frame)

    def _through(self, socket: WebSocketRoute) -> None:
        there = socket.connect_to_server()

        def forward(frame: str | bytes) -> None:
            if self.open or self.action not in str(frame) or '"dryRun":true' in str(frame):
                there.send(frame)
                return
            self.waiting.append((there, frame))
            self.arrived.set()

        socket.on_message(forward)


@asynccontextmanager
async def holding(
    browser: Browser, gateway: RunningGateway, action: str, place: str
) -> AsyncIterator[tuple[Visit, Held]]:
    """A page whose requests of one action can be held back."""
    held = Held(action)
    async with visiting(browser, gateway, "nothing") as visit:
        visit.page = await visit.guard.page()
        await visit.page.route_web_socket(re.compile("^ws"), held._through)
        await visit.open(place)
        await visit.live()
        yield visit, held


async def test_what_is_typed_while_a_save_is_on_its_way_stays(browser: Browser, gateway: RunningGateway) -> None:
    """It is based on what was saved then, and is saved next."""
    put(gateway, "typed.a", "one")
    async with holding(browser, gateway, "configuration/put", one("typed.a")) as (visit, held):
        await visit.button("Edit").click()
        await visit.type("typed.a", "two")
        await visit.button("Review and save").click()
        held.close()
        await visit.dialog.get_by_role("button", name="Save").click()
        await held.arrived.wait()
        await visit.button("Keep editing").click()
        await visit.type("typed.a", "three")
        held.go()
        await expect(visit.page.get_by_role("status")).to_contain_text("Saved version 2")
        await expect(visit.page.get_by_label("Value of typed.a")).to_have_text("three")
        await expect(visit.page.get_by_text("Your edit is untouched")).to_have_count(0)
        await visit.save("the rest")
        await expect(visit.page.get_by_role("status")).to_contain_text("Saved version 3")
        assert value_of(gateway, "typed.a") == "three"


async def test_what_is_staged_while_a_commit_is_on_its_way_stays(browser: Browser, gateway: RunningGateway) -> None:
    """The commit removes only what it has written."""
    for name in ("later.a", "later.b"):
        put(gateway, name, "one")
    async with holding(browser, gateway, "configuration/transact", one("later.a")) as (visit, held):
        for name in ("later.a", "later.b"):
            await visit.open(one(name))
            await visit.button("Edit").click()
            await visit.type(name, "two")
            if name == "later.b":
                break
            await visit.button("Stage").click()
            await visit.open("basket")
            held.close()
            await visit.button("Commit all or nothing").click()
            await held.arrived.wait()
        await visit.button("Stage").click()
        held.go()
        await expect(visit.page.get_by_role("status")).to_contain_text("1 change written")
        await visit.open("basket")
        await expect(visit.page.locator(".card").get_by_role("link", name="later.")).to_have_text(["later.b", "Edit"])
        assert value_of(gateway, "later.a") == "two"
