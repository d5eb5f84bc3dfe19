"""A gateway that is killed under everything that somebody has open, and comes back."""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import Browser, Page, WebSocketRoute, expect

from tests.dashboard.test_many import export, preview
from tests.dashboard.test_one import put, value_of
from tests.dashboard.visit import Visit, one, visiting
from tests.running import RunningGateway


async def stop_amid_an_import(page: Page, gateway: RunningGateway) -> asyncio.Event:
    """Stop the gateway when a page, still empty, sends the second transaction of an import, which then stays unread."""
    sent: list[str] = []
    stopped = asyncio.Event()

    async def through(socket: WebSocketRoute) -> None:
        there = socket.connect_to_server()

        def forward(frame: str | bytes) -> None:
            text = str(frame)
            if '"configuration/transact"' in text and '"import.' in text and '"dryRun"' not in text:
                sent.append(text)
                if len(sent) == 2:
                    gateway.process.send_signal(signal.SIGSTOP)
                    stopped.set()
            there.send(frame)

        socket.on_message(forward)

    await page.route_web_socket(re.compile("^ws"), through)
    return stopped


async def test_a_kill_loses_nothing_that_was_typed(browser: Browser, data: Path) -> None:
    """What was known stays, with its time. Edits wait and are saved, a commit is whole, an import says that its answer
    was lost and goes on with what is missing; all windows are live again by themselves, and have what they missed.
    """
    async with AsyncExitStack() as stack:
        first = stack.enter_context(RunningGateway(data))
        for name in ("a.table", "edit.a"):
            put(first, name, "before")
        table = await stack.enter_async_context(visiting(browser, first))
        edit, commit = [await stack.enter_async_context(table.window(place)) for place in (one("edit.a"), "transfer")]
        import_ = Visit(table.guard, await table.guard.page(), first)
        stopped = await stop_amid_an_import(import_.page, first)
        await import_.open("transfer")
        await import_.live()
        await edit.button("Edit").click()
        await edit.type("edit.a", "typed")
        await preview(commit, export(data.parent, {f"commit.{number}": "new" for number in range(50)}))
        await commit.button("Into the basket").click()
        await expect(commit.page.locator(".card")).to_have_count(50)
        await preview(import_, export(data.parent, {f"import.{number}": "new" for number in range(1_050)}))
        await import_.button("Import 1,050").click()
        await stopped.wait()
        first.stop(signal.SIGKILL)

        for each in (table, edit, commit, import_):
            await expect(each.page.locator(".status")).to_contain_text("Offline since")
        await expect(table.row("a.table")).to_contain_text("before")
        await expect(import_.page.get_by_role("alert")).to_contain_text(
            "The answer was lost: it may have been written."
        )
        await edit.button("Review and save").click()
        await edit.dialog.get_by_role("button", name="Save").click()
        await expect(edit.dialog).to_contain_text("Waiting for the gateway…")
        await commit.button("Commit all or nothing").click()

        second = stack.enter_context(RunningGateway(data, f"--port={first.port}"))
        put(second, "a.table", "after")
        await table.live()
        await expect(table.row("a.table")).to_contain_text("after")
        await expect(edit.page.get_by_role("status")).to_contain_text("Saved version 2")
        assert value_of(second, "edit.a") == "typed"
        await expect(commit.page.get_by_role("status").filter(has_text="50 changes written")).to_be_visible()
        await expect(import_.page.get_by_text("Of 1,050, 50 are still to be written")).to_be_visible()
        await import_.button("Import 50").click()
        await expect(import_.page.get_by_role("status").filter(has_text="Imported 50 configurations")).to_be_visible()
        with second.socket() as talk:
            for names, number in (("commit.*", 50), ("import.*", 1_050)):
                assert talk("configuration/list", names=[names])["count"] == number
