"""`make bench-dashboard`: the dashboard in Chromium, over many names that change all the time, and a large fleet.

It prints what it measured; nothing is asserted but that at the end the table has what the ledger has.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect
from tests.browser import guarded, launched
from tests.dashboard.visit import Visit, not_first
from tests.running import RunningGateway

from hivewire_client import Hivewire

NAMES, DEVICES, FLEET, RATE = 100_000, 5_000, 50_000, 200
REPORTING = 1_000
"""Devices of the fleet that report, so that none does more often than it may."""

WATCH = """
() => {
    const found = window.measured = {frames: [], tasks: []};
    new PerformanceObserver(list => list.getEntries().forEach(each => found.tasks.push(each.duration)))
        .observe({type: "longtask"});
    let last = performance.now();
    const frame = now => { found.frames.push(now - last); last = now; requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
}
"""
"""Note how far apart frames are, and which tasks took over 50 ms."""

SEARCH = """
async text => {
    const field = document.querySelector("input[type=search]");
    const summary = () => document.querySelector(".summary").textContent;
    const before = summary();
    const began = performance.now();
    field.value = text;
    field.dispatchEvent(new Event("input", {bubbles: true}));
    while (summary() === before) await new Promise(requestAnimationFrame);
    return performance.now() - began;
}
"""

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"

STATE = """
async () => {
    const {hw} = await import(new URL("lib/gateway.js", location.href.replace(/#.*/, "")));
    return [...hw.names()].map(name => [name, hw.get(name).version]);
}
"""


def client(gateway: RunningGateway, token: str | None = None) -> Hivewire:
    """A client with nothing in memory, as the administrator without a token."""
    return Hivewire(gateway.url, token=token or gateway.token(), names=[])


async def all_of(hw: Hivewire, action: str, requests: Iterable[dict[str, Any]]) -> None:
    """Send many requests before the first is answered."""
    await asyncio.gather(*(hw.call(action, **members) for members in requests))


async def fill(hw: Hivewire) -> None:
    """Names in folders, with short values, and devices."""
    for start in range(0, NAMES, 1_000):
        changes = [
            {"operation": "put", "name": f"team{n % 50:02}.service{n % 500:03}.key{n:06}", "value": f"value {n}"}
            for n in range(start, start + 1_000)
        ]
        await hw.call("configuration/transact", changes=changes)
    for start in range(0, DEVICES, 500):
        await all_of(hw, "device/save", (device(n, "first") for n in range(start, start + 500)))


def device(number: int, room: str) -> dict[str, Any]:
    """What `device/save` needs to make or change a device."""
    named = {"name": f"Device {number:04}", "data": {"room": room}, "networkId": 1, "deviceTypeId": 1}
    return {"deviceId": f"device-{number:04}", "device": named}


async def under_load(
    page: Page, seconds: float, change: Callable[[int], Awaitable[object]]
) -> tuple[list[float], list[float]]:
    """Frames and long tasks while RATE things change in a second, in ten groups."""
    await page.evaluate(WATCH)
    began, done = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        await change(done)
        done += RATE // 10
        await asyncio.sleep(max(0, began + done / RATE - time.monotonic()))
    found = await page.evaluate("window.measured")
    return sorted(found["frames"]), found["tasks"]


def told(what: str, frames: list[float], tasks: list[float]) -> None:
    """A line about how the page felt."""
    p50, p95, p99 = (frames[int(len(frames) * share)] for share in (0.5, 0.95, 0.99))
    longest = max(tasks, default=0)
    over = sum(each > 100 for each in tasks)
    print(f"{what:44} frames p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; ", end="")
    print(f"tasks over 50 ms: {len(tasks)}, over 100 ms: {over}, longest {longest:.0f} ms")


async def measure(seconds: float) -> None:
    """All figures, one after the other."""
    with tempfile.TemporaryDirectory() as folder, RunningGateway(Path(folder) / "hivewire.db") as gateway:
        async with client(gateway) as hw:
            await fill(hw)
            size = {"width": 1280, "height": 900}
            async with launched() as browser, guarded(browser, viewport=size) as guard:
                await guard.context.add_init_script(not_first())
                visit = Visit(guard, await guard.page(), gateway)
                await visit.open()
                await visit.log_in()
                await names(visit, hw, seconds)
                await devices(visit, hw, seconds / 3)
                await fleet(visit, hw, seconds / 3)


async def memory(page: Page) -> float:
    """MiB that the JavaScript of a page holds."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    return float((await session.send("Runtime.getHeapUsage"))["usedSize"]) / (1 << 20)


async def names(visit: Visit, hw: Hivewire, seconds: float) -> None:
    """The table of configurations: loading, searching, changing."""
    page = visit.page
    began = time.monotonic()
    await page.reload()
    await expect(page.locator(".summary")).to_have_text(f"{NAMES:,} configurations.")
    print(f"{'all names after a reload':44} {time.monotonic() - began:.2f} s")
    print(f"{'first paint':44} {await page.evaluate(PAINT) / 1_000:.2f} s")
    rows = await page.locator(".grid .row").count()
    print(f"{'memory of the page':44} {await memory(page):.0f} MiB, {rows} rows")
    for text in ("team07.", "*key09*", "=value 999"):
        print(f"{'search ' + text:44} {await page.evaluate(SEARCH, text):.0f} ms")
    await visit.open("c")

    async def change(done: int) -> None:
        numbers = [(done + n) * 7_919 % NAMES for n in range(RATE // 10)]
        changed = [f"team{n % 50:02}.service{n % 500:03}.key{n:06}" for n in numbers]
        await all_of(hw, "configuration/put", ({"name": name, "value": f"changed {done}"} for name in changed))

    told(f"table, {RATE} changes a second for {seconds:g} s", *await under_load(page, seconds, change))
    await visit.open("one/team00.service000.key000000?edit=1")
    await visit.type("team00.service000.key000000", "an edit that nothing disturbs")
    told(f"an open editor, for {seconds / 3:g} s", *await under_load(page, seconds / 3, change))
    editor = page.get_by_label("Value of team00.service000.key000000")
    await expect(editor).to_have_text("an edit that nothing disturbs")
    state = dict(await page.evaluate(STATE))
    assert state == {entry.name: entry.version for entry in await hw.list()}
    print(f"{'then the table has what the ledger has':44} yes")


async def devices(visit: Visit, hw: Hivewire, seconds: float) -> None:
    """The table of devices."""
    began = time.monotonic()
    await visit.open("devices")
    await expect(visit.page.locator(".summary")).to_contain_text(f"{DEVICES + 1:,} devices")
    print(f"{f'{DEVICES:,} devices':44} {time.monotonic() - began:.2f} s")

    async def change(done: int) -> None:
        await all_of(hw, "device/save", (device((done + n) % DEVICES, f"room {done}") for n in range(RATE // 10)))

    told(f"devices, {RATE} changes a second for {seconds:g} s", *await under_load(visit.page, seconds, change))


async def fleet(visit: Visit, hw: Hivewire, seconds: float) -> None:
    """The counts of many devices, and a page of them, while they report."""
    for start in range(DEVICES, FLEET, 500):
        await all_of(hw, "device/save", (device(n, "first") for n in range(start, start + 500)))
    await hw.put("baud", "9600", layer="global")
    began = time.monotonic()
    await visit.open("fleet")
    await expect(visit.page.get_by_label("Devices by state")).to_contain_text(f"Devices{FLEET + 1:,}")
    print(f"{f'the counts of {FLEET:,} devices':44} {time.monotonic() - began:.2f} s")

    ids = [f"device-{n:04}" for n in range(REPORTING)]
    payload = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceIds": ids}
    token = (await hw.call("token/create", payload=payload))["accessToken"]
    async with client(visit.gateway, token) as reporting:

        async def change(done: int) -> None:
            report = [{"name": "baud", "value": str(done)}]
            some = [ids[(done + n) % REPORTING] for n in range(RATE // 10)]
            await all_of(reporting, "device/report", ({"deviceId": each, "report": report} for each in some))

        told(f"fleet, {RATE} reports a second for {seconds:g} s", *await under_load(visit.page, seconds, change))
    print(f"{'memory of the page':44} {await memory(visit.page):.0f} MiB")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long things change")
    asyncio.run(measure(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
