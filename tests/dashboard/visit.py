"""Somebody at the dashboard: logs in, goes to screens, and sees what is there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser import Guarded, guarded
from tests.running import PASSWORD, PATIENCE, RunningGateway

expect.set_options(timeout=PATIENCE * 1_000)


def not_first(gateway: RunningGateway, **settings: Any) -> Any:
    """What a browser has stored that was here before: the first steps are closed. `settings` are further ones."""
    stored = [{"name": "hivewire.settings", "value": json.dumps({"start": False, **settings})}]
    return {"cookies": [], "origins": [{"origin": gateway.url, "localStorage": stored}]}


WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


class Visit:
    """A page at the dashboard of a gateway."""

    def __init__(self, guard: Guarded, page: Page, gateway: RunningGateway) -> None:
        self.guard = guard
        self.page = page
        self.gateway = gateway

    async def open(self, place: str = "") -> None:
        """Go to a place, such as `c` or `one/limits.max`; the whole page is loaded if it is not there yet."""
        await self.page.goto(f"{self.gateway.url}/dashboard/#/{place}")

    async def log_in(self, login: str = "admin", password: str = PASSWORD) -> None:
        """Fill in the login, and wait until what is shown is the present."""
        await self.page.get_by_label("Login").fill(login)
        await self.page.get_by_label("Password").fill(password)
        await self.button("Log in").click()
        await self.live()

    async def live(self) -> None:
        """Wait until what is shown is the present."""
        await expect(self.page.locator(".status")).to_have_text("Live")

    def button(self, name: str, **options: Any) -> Locator:
        """A button by its words."""
        return self.page.get_by_role("button", name=name, exact=True, **options)

    def row(self, name: str) -> Locator:
        """The row of a configuration."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_text(name, exact=True))

    async def type(self, name: str, value: str) -> None:
        """Replace what is in the editor of a configuration, as a person would: it indents by itself."""
        editor = self.page.get_by_label(f"Value of {name}")
        await editor.click()
        await self.page.keyboard.press("Control+a")
        await self.page.keyboard.insert_text(value)
        await expect(self.button("Review and save")).not_to_have_attribute("aria-disabled", "true")

    async def save(self, why: str) -> None:
        """Review and save the open edit."""
        await self.button("Review and save").click()
        await self.dialog.get_by_label("Why").fill(why)
        await self.dialog.get_by_role("button", name="Save").click()
        await expect(self.page.get_by_role("status")).to_contain_text("Saved version")

    @property
    def dialog(self) -> Locator:
        """The open dialog."""
        return self.page.get_by_role("dialog")

    async def accessible(self) -> None:
        """No rule of WCAG 2.2 A or AA is broken, in light or in dark."""
        for theme in ("light", "dark"):
            await self.page.emulate_media(color_scheme=theme)
            found = await Axe().run(self.page, options=WCAG)
            told = [
                (each["id"], [node["html"][:300] for node in each["nodes"]][:3])
                for each in found.response["violations"]
            ]
            assert not told, (theme, told)

    async def fits(self) -> None:
        """Nothing has to be scrolled sideways on a screen of 320 pixels."""
        size = self.page.viewport_size
        assert size is not None
        await self.page.set_viewport_size({"width": 320, "height": 640})
        width = await self.page.evaluate("document.documentElement.scrollWidth")
        await self.page.set_viewport_size(size)
        assert width <= 320, width


@asynccontextmanager
async def visiting(
    browser: Browser,
    gateway: RunningGateway,
    place: str = "",
    login: str = "admin",
    password: str = PASSWORD,
    **options: Any,
) -> AsyncIterator[Visit]:
    """Somebody logged in, not for the first time. What goes wrong in the page fails the test at the end."""
    async with guarded(browser, storage_state=not_first(gateway), **options) as guard:
        visit = Visit(guard, await guard.page(), gateway)
        await visit.open(place)
        await visit.log_in(login, password)
        yield visit


def one(name: str) -> str:
    """The place of a configuration."""
    return "one/" + quote(name, safe="")
