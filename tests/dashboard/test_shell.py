"""What is around every screen: logging in and out, the state of the connection, the keys."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import httpx
from playwright.async_api import Browser, expect

from tests.browser import guarded
from tests.dashboard.hostile import HOSTILE, harmless
from tests.dashboard.test_one import put
from tests.dashboard.visit import NARROW, Visit, visiting
from tests.running import PASSWORD, RunningGateway


async def test_whoever_has_only_the_address_logs_in_and_out(browser: Browser, gateway: RunningGateway) -> None:
    """One step to the configurations; nothing comes from elsewhere.

    The cookie gives the next token; scripts find none in storage, cookies or the address. A logout ends that.
    """
    with gateway.socket() as talk:
        talk("configuration/put", name="used.a", value="1")
    async with guarded(browser) as guard:
        page = await guard.page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        visit = Visit(guard, page, gateway)
        await page.goto(gateway.url)
        await expect(page.get_by_role("heading", name="Log in to Hivewire")).to_be_visible()
        await expect(page.get_by_label("Login")).to_be_focused()
        await visit.accessible()
        await visit.fits()
        await visit.log_in()
        await expect(page.get_by_role("searchbox", name="Search")).to_be_visible()
        await expect(page.get_by_role("complementary", name="First steps")).to_have_count(0)  # others use this gateway
        await page.reload()
        await visit.live()
        stored = await page.evaluate(REACHED)
        assert "eyJ" not in stored and "hivewire_dashboard" not in stored, stored
        await visit.button("Log out").click()
        await expect(page.get_by_role("heading", name="Log in to Hivewire")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Log in to Hivewire")).to_be_visible()
        assert {url.split("/", 3)[2] for url in asked} == {gateway.url.removeprefix("http://")}


async def test_a_logout_that_the_gateway_does_not_get_says_so(browser: Browser, gateway: RunningGateway) -> None:
    """The cookie is still there then, so the page does not look as if the next person had to log in."""
    async with visiting(browser, gateway, "devices") as visit:
        await visit.page.route("**/dashboard/session", lambda route: route.abort())
        await visit.button("Log out").click()
        await expect(visit.page.locator(".notice.wrong")).to_contain_text("You are still logged in")
        await visit.page.unroute("**/dashboard/session")
        await visit.button("Log out").click()
        await expect(visit.page.get_by_label("Password")).to_be_visible()
        assert not await visit.page.context.cookies()


async def test_a_login_that_reaches_other_names_shows_no_others(browser: Browser, gateway: RunningGateway) -> None:
    """The page begins anew."""
    put(gateway, "reached.a", "1")
    put(gateway, "hidden.b", "1")
    rights = {"userId": 1, "actions": ["*"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
    with gateway.socket() as talk:
        token = talk("token/create", payload={**rights, "configurations": ["reached.*"]})["accessToken"]
    async with visiting(browser, gateway, "c?q=hidden.") as visit:
        await expect(visit.row("hidden.b")).to_be_visible()
        async with visit.page.expect_event("load"):
            await visit.page.evaluate(LOG_IN_WITH, token)


LOG_IN_WITH = """
async token => (await import(new URL("lib/session.js", location.href.replace(/#.*/, "")))).logInWith(token)
"""
"""What the login form does with a token."""


REACHED = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
"""What scripts find of a browser."""


async def test_a_wrong_password_says_so_and_too_many_count_down(browser: Browser, data: Path) -> None:
    """The words of the gateway are beside the form; while it has to wait, nothing is sent."""
    with RunningGateway(data) as gateway:
        async with guarded(browser) as guard:
            visit = Visit(guard, await guard.page(), gateway)
            await visit.open()
            for login, says in ((HOSTILE[1] + "\u202e", "onerror"), ("admin", "Invalid credentials")):
                await visit.page.get_by_label("Login").fill(login)
                await visit.page.get_by_label("Password").fill("wrong")
                await visit.button("Log in").click()
                await expect(visit.page.get_by_role("alert")).to_contain_text(says)
                await harmless(visit)
            headers = {"Hivewire-Dashboard": "1"}
            for _ in range(12):
                body = {"login": "admin", "password": "wrong"}
                httpx.post(gateway.url + "/dashboard/session", json=body, headers=headers)
            status = 0
            while status != 429:  # each attempt that comes after the wait is over makes the next wait twice as long
                await visit.page.get_by_label("Password").fill("wrong")
                async with visit.page.expect_response("**/dashboard/session") as answer:
                    await visit.button("Log in").click()
                status = (await answer.value).status
            await expect(visit.page.get_by_role("alert")).to_contain_text("Try again in")
            await expect(visit.button("Log in")).to_have_attribute("aria-disabled", "true")


PREFIX = b"/some/prefix"


async def prefixed(port: int) -> asyncio.Server:
    """A proxy that has the gateway at a port below PREFIX, and nothing else."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if asks and re.match(rb"[A-Z]+ /", data):
                    data = (
                        re.sub(rb"^([A-Z]+) " + PREFIX + rb"/", rb"\1 /", data)
                        if b" " + PREFIX in data
                        else b"X / ?\r\n\r\n"
                    )
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, to_writer, True), copy(to_reader, writer, False))

    return await asyncio.start_server(accept, "127.0.0.1", 0)


async def test_behind_the_prefix_of_a_proxy_everything_is_there(browser: Browser, gateway: RunningGateway) -> None:
    """All addresses are relative, those of the socket and of the cookie too."""
    async with await prefixed(gateway.port) as server:
        port = server.sockets[0].getsockname()[1]
        async with guarded(browser) as guard:
            page = await guard.page()
            visit = Visit(guard, page, gateway)
            await page.goto(f"http://127.0.0.1:{port}{PREFIX.decode()}/dashboard")
            await visit.log_in()
            await page.reload()
            await visit.live()
            (cookie,) = await guard.context.cookies()
            assert cookie.get("path") == PREFIX.decode() + "/dashboard"
            await page.close()


async def test_over_tls_everything_is_there(browser: Browser, data: Path, certificate: tuple[Path, Path]) -> None:
    """The socket is one over TLS, and the cookie stays there."""
    chain, key = certificate
    with RunningGateway(data, f"--tls-certificate={chain}", f"--tls-key={key}") as gateway:
        async with guarded(browser, ignore_https_errors=True) as guard:
            visit = Visit(guard, await guard.page(), gateway)
            await visit.open()
            await visit.page.get_by_label("Login").fill("admin")
            await visit.page.get_by_label("Password").fill(PASSWORD)
            await visit.button("Log in").click()
            await visit.live()
            (cookie,) = await guard.context.cookies()
            assert cookie.get("secure") and cookie.get("httpOnly") and cookie.get("sameSite") == "Strict"


async def test_a_page_of_another_origin_can_do_nothing_with_the_cookie(visit: Visit, data: Path) -> None:
    """It can neither log in, nor renew, nor log out: the browser asks whether it may, and gets no answer."""
    ask = """
    async ([method, url]) => {
        const headers = {"Hivewire-Dashboard": "1"};
        const sent = [{method, headers, credentials: "include"}, {method, credentials: "include", mode: "no-cors"}];
        return Promise.all(sent.map(each => fetch(url, each).then(answer => answer.type, error => "refused")));
    }
    """
    with RunningGateway(data) as other:
        page = await visit.page.context.new_page()
        await page.goto(other.url + "/health/live")
        for method, path in (("POST", "session"), ("POST", "token"), ("DELETE", "session")):
            found = await page.evaluate(ask, [method, f"{visit.gateway.url}/dashboard/{path}"])
            assert found[0] == "refused" and found[1] in ("opaque", "refused"), (method, path)
        await page.close()
    visit.guard.problems = [each for each in visit.guard.problems if "CORS policy" not in each]
    await visit.page.reload()
    await visit.live()


async def test_it_is_in_no_frame(visit: Visit) -> None:
    """A page that frames it shows nothing."""
    url = visit.gateway.url
    page = await visit.guard.page()
    await page.goto(url + "/health/live")
    await page.set_content(f'<iframe src="{url}/dashboard/"></iframe>')
    frame = page.frames[-1]
    await expect(page.locator("iframe")).to_be_visible()
    assert await frame.locator("main").count() == 0 and "dashboard" not in frame.url
    await page.close()
    visit.guard.problems = [each for each in visit.guard.problems if "frame-ancestors" not in each]


async def test_the_layout_fits_and_the_theme_follows(visit: Visit) -> None:
    """Dark as the system is dark, and no sideways scroll at 320 pixels, with the screens behind a button."""
    await visit.open("c")
    await visit.page.emulate_media(color_scheme="dark")
    ground = await visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(19, 20, 23)"
    await visit.fits()
    await visit.page.set_viewport_size(NARROW)
    await visit.button("Screens").click()
    await expect(visit.page.get_by_role("link", name="Configurations", exact=True)).to_be_visible()


async def test_the_first_visit_is_guided_by_five_steps(browser: Browser, data: Path) -> None:
    """A value, its change from elsewhere, a conflict, a rollback, a line to copy; then it can be closed for ever."""
    with RunningGateway(data) as gateway:
        async with guarded(browser) as guard:
            visit = Visit(guard, await guard.page(), gateway)
            await visit.open()
            await visit.log_in()
            steps = visit.page.get_by_role("complementary", name="First steps")
            await expect(steps).to_contain_text("1 of 5")
            await visit.accessible()
            await visit.fits()
            await steps.get_by_role("link", name="Make start.hello").click()
            await visit.button("Write its value").click()
            await visit.type("start.hello", "mine")
            await visit.save("first")
            await expect(steps).to_contain_text("2 of 5")
            with gateway.socket() as talk:
                talk("configuration/put", name="start.hello", value="theirs")
                await expect(steps).to_contain_text("3 of 5")
                await visit.button("Edit").click()
                talk("configuration/put", name="start.hello", value="theirs again")
            await visit.type("start.hello", "mine again")
            await visit.button("Review and save").click()
            await visit.dialog.get_by_role("button", name="Take theirs").click()
            await expect(steps).to_contain_text("4 of 5")
            await steps.get_by_role("link", name="history").click()
            await visit.button("Roll back to version 2").click()
            await expect(steps).to_contain_text("5 of 5")
            await visit.button("Skip this step").click()
            await expect(steps).to_contain_text("That is all.")
            await expect(steps).to_contain_text("(skipped)")
            await visit.open("one/start.hello?tab=lines")
            await expect(steps).not_to_contain_text("(skipped)")
            await visit.button("Close the first steps for ever").click()
            await expect(steps).to_have_count(0)
            await visit.page.reload()
            await visit.live()
            await expect(steps).to_have_count(0)


async def test_theme_density_and_keys_are_chosen(visit: Visit) -> None:
    """`?` opens them; they are kept by the browser. `g` and a letter lead to screens."""
    press = visit.page.keyboard.press
    await press("?")
    await visit.accessible()
    await visit.dialog.get_by_label("Dark").check()
    await visit.dialog.get_by_label("Compact").check()
    await visit.button("Done").click()
    await visit.page.reload()
    await visit.live()
    ground = await visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(19, 20, 23)"
    await press("g")
    await press("a")
    await expect(visit.page.get_by_role("heading", name="Audit")).to_be_visible()
    await visit.button("Settings and keys").click()
    await visit.dialog.get_by_label("Single letters are keys").uncheck()
    await visit.button("Done").click()
    await press("g")
    await press("c")
    await expect(visit.page.get_by_role("heading", name="Audit")).to_be_visible()
