"""A real Chromium for tests: that of the distribution, headless, driven by Playwright.

Without one, tests that ask for it are skipped aloud, or fail where `BROWSER_TESTS=required` says so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.running import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
"""The first that is installed. That without windows is the same browser, and loads a page in half the time."""

REQUIRED = os.environ.get("BROWSER_TESTS") == "required"

VIOLATIONS = """
document.addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI, sourceFile, lineNumber}) =>
    console.error("violation of", violatedDirective, blockedURI, sourceFile, lineNumber));
"""

NETWORK = ("Failed to load resource", "WebSocket connection to")
"""What the browser itself says about requests that were refused, and gateways that are gone."""


def require_chromium() -> str:
    """The path of Chromium. Without one the test that asks is skipped, or fails where one is required."""
    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("there is no Chromium, and BROWSER_TESTS says that there must be one")
        pytest.skip("there is no Chromium")
    return CHROMIUM


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A browser. Root, as in a container, has no sandbox."""
    from playwright.async_api import async_playwright  # here: each process of the suite loads this module

    program = require_chromium()  # first: where there is none, what Playwright needs may be missing too
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


class Guarded:
    """A context of a browser whose pages may write no error to the console, raise none, and break no policy."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.problems: list[str] = []
        context.set_default_timeout(PATIENCE * 1_000)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NETWORK):
            self.problems.append(message.text)

    def check(self) -> None:
        """Nothing may have gone wrong since this was asked last."""
        problems, self.problems = self.problems, []
        assert not problems, problems

    async def page(self) -> Page:
        """Another page."""
        return await self.context.new_page()


@asynccontextmanager
async def guarded(browser: Browser, **options: Any) -> AsyncIterator[Guarded]:
    """A context of its own, with no cookies and an empty cache. At its end nothing may have gone wrong in it."""
    context = await browser.new_context(**options)
    await context.add_init_script(VIOLATIONS)
    found = Guarded(context)
    try:
        yield found
    finally:
        await context.close()
    found.check()
