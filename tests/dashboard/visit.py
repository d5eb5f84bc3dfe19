"""Somebody at the dashboard: logs in, goes to screens, and sees what is there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Locator, Page, ViewportSize, expect

from tests.browser import Guarded, guarded
from tests.running import PASSWORD, PATIENCE, RunningGateway

expect.set_options(timeout=PATIENCE * 1_000)


def not_first(**settings: Any) -> str:
    """The script that makes a browser one that was here before: the first steps are closed. `settings` are others."""
    stored = json.dumps(json.dumps({"start": False, **settings}))
    return f"if (location.protocol.startsWith('http')) localStorage['hivewire.settings'] ??= {stored}"


UNTOUCHED = """
async () => {
    const lib = name => import(new URL(`lib/${name}.js`, location.href.replace(/#.*/, "")));
    const [{drafts}, {staged}, {names, status}] = await Promise.all(["drafts", "basket", "gateway"].map(lib));
    const kept = JSON.stringify([{...localStorage}, {...sessionStorage}]);
    return kept === JSON.stringify([{"hivewire.settings": '{"start": false}'}, {}])
        && !drafts.peek().size && !staged.peek().size && names.paused.peek() === undefined
        && status.peek().state === "live" && !document.querySelector("dialog");
}
"""
"""Whether nothing is left of what somebody did in a page, once its screen is another."""


WIDE: ViewportSize = {"width": 1280, "height": 720}
NARROW: ViewportSize = {"width": 320, "height": 640}

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"], "resultTypes": ["violations"]}
"""The rules that may be kept in light and broken in dark: nothing else depends on the theme."""

AXE = """
async rules => {
    const open = [...document.querySelectorAll("dialog:modal")].at(-1);
    const {violations} = await axe.run(open ?? document, rules);
    return violations.map(({id, nodes}) => [id, nodes.slice(0, 3).map(({html}) => html)]);
}
"""
"""What breaks rules: in the open dialog, because what is behind it is inert, or on the page."""

PARSE_ONCE = """
(() => {
    const {Color} = axe.commons.color, {parseString} = Color.prototype, parsed = new Map();
    Color.prototype.parseString = function (text) {
        if (!parsed.has(text)) parsed.set(text, parseString.call(new Color(0, 0, 0), text));
        const {r, g, b, alpha} = parsed.get(text);
        return Object.assign(this, {r, g, b, alpha});
    };
})();
"""
"""axe parses the few colours of a page thousands of times, which takes a fifth of its time."""


WIDTHS = """
[document.documentElement, ...document.querySelectorAll(".tabs, .scroll, dialog, dialog .content")]
    .map(each => each.scrollWidth)
"""


class Visit:
    """A page at the dashboard of a gateway."""

    def __init__(self, guard: Guarded, page: Page, gateway: RunningGateway) -> None:
        self.guard = guard
        self.page = page
        self.gateway = gateway

    async def open(self, place: str = "") -> None:
        """Go to a place, such as `c` or `one/limits.max`; the whole page is loaded if it is not there yet."""
        await self.page.goto(f"{self.gateway.url}/dashboard/#/{place}")

    async def again(self) -> None:
        """Be at no screen, with nothing left of what was done in the page. If something is, load it anew."""
        await self.page.emulate_media(color_scheme="light")
        await self.page.set_viewport_size(WIDE)
        if await self.page.evaluate(UNTOUCHED):
            await self.open("nothing")
        else:
            # Going there would ask whether what was edited may be lost.
            leave = "localStorage.clear(); sessionStorage.clear(); history.replaceState(null, '', '#/nothing')"
            await self.page.evaluate(leave)
            await self.page.reload()
            await self.live()
        await expect(self.page.get_by_role("heading", name="There is no such screen")).to_be_visible()

    @asynccontextmanager
    async def window(self, place: str = "") -> AsyncIterator[Visit]:
        """A second window of the same browser."""
        other = Visit(self.guard, await self.guard.page(), self.gateway)
        await other.open(place)
        await other.live()
        yield other
        await other.page.close()

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
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE_SCRIPT + PARSE_ONCE)
        themes: list[tuple[Literal["light", "dark"], Any]] = [("light", WCAG), ("dark", COLOURS)]
        for theme, rules in themes:
            await self.page.emulate_media(color_scheme=theme)
            broken = await self.page.evaluate(AXE, rules)
            assert not broken, (theme, broken)

    async def fits(self) -> None:
        """Nothing has to be scrolled sideways on a screen of 320 pixels: not the page, its tabs, tables and dialogs."""
        before = self.page.viewport_size or WIDE
        if before != NARROW:
            await self.page.set_viewport_size(NARROW)
        widths = await self.page.evaluate(WIDTHS)
        if before != NARROW:
            await self.page.set_viewport_size(before)
        assert max(widths) <= 320, widths


@asynccontextmanager
async def visiting(
    browser: Browser, gateway: RunningGateway, place: str = "", login: str = "admin", password: str = PASSWORD
) -> AsyncIterator[Visit]:
    """Somebody who is logged in, by the cookie of an earlier visit. What goes wrong in the page fails the test."""
    async with guarded(browser) as guard:
        await guard.context.add_init_script(not_first())
        answer = await guard.context.request.post(
            f"{gateway.url}/dashboard/session",
            headers={"Hivewire-Dashboard": "1"},
            data={"login": login, "password": password},
        )
        assert answer.ok, await answer.text()
        visit = Visit(guard, await guard.page(), gateway)
        await visit.open(place)
        await visit.live()
        yield visit


def one(name: str) -> str:
    """The place of a configuration."""
    return "one/" + quote(name, safe="")
