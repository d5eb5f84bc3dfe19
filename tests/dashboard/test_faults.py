"""Networks and gateways that fail while somebody works: nothing typed is lost, and the page goes on by itself."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect

from tests.browser import guarded
from tests.dashboard.test_devices import device
from tests.dashboard.test_one import put, value_of
from tests.dashboard.test_system import DOCUMENT, Tenant, edit
from tests.dashboard.visit import Visit, not_first, one, visiting
from tests.running import RunningGateway

IMPATIENT = """
(() => {
    const timeout = AbortSignal.timeout;
    window.impatience = 100;
    AbortSignal.timeout = milliseconds => timeout.call(AbortSignal, milliseconds / window.impatience);
})();
"""
"""The script that makes the limits of HTTP requests a hundred times as short, until `PATIENT` is run."""
PATIENT = "window.impatience = 1"


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


async def test_a_login_request_without_an_answer_is_given_up(browser: Browser, gateway: RunningGateway) -> None:
    """The page says so and asks again; the form of the login does not wait for ever either."""
    waiting: list[Route] = []
    async with guarded(browser) as guard:
        await guard.context.add_init_script(not_first())
        await guard.context.add_init_script(IMPATIENT)
        page = await guard.page()
        visit = Visit(guard, page, gateway)
        await page.route(re.compile("/dashboard/(token|session)$"), lambda route: waiting.append(route))
        await visit.open()
        await expect(page.get_by_role("alert")).to_contain_text("The gateway does not answer")
        await page.unroute_all()
        await expect(page.get_by_label("Login")).to_be_visible()
        await page.route("**/dashboard/session", lambda route: waiting.append(route))
        await page.get_by_label("Login").fill("admin")
        await page.get_by_label("Password").fill("wrong")
        await visit.button("Log in").click()
        await expect(page.get_by_role("alert")).to_contain_text("The gateway does not answer")
        await page.unroute_all()
        await page.evaluate(PATIENT)
        await visit.log_in()


async def test_a_page_in_place_of_an_answer_is_called_so(browser: Browser, gateway: RunningGateway) -> None:
    """What a proxy answers while the gateway is away is no JSON; the page goes on when it is back."""
    page_of_proxy = {"status": 502, "content_type": "text/html", "body": "<html>Bad Gateway</html>"}
    async with visiting(browser, gateway, "c") as visit:
        page = visit.page
        await page.route("**/dashboard/token", lambda route: route.fulfill(**page_of_proxy))
        await page.reload()
        await expect(page.get_by_role("alert")).to_contain_text("something else answered, with status 502")
        await page.unroute_all()
        await visit.live()


async def test_a_file_that_does_not_come_is_asked_for_again(browser: Browser, gateway: RunningGateway) -> None:
    """Of the page itself, of a screen, and of the editor; the rest of the page goes on. Each time it has another
    address: Firefox never asks again for one that was not found."""
    put(gateway, "files.a", "one")
    async with visiting(browser, gateway, "c") as visit:
        page = visit.page
        for path in ("**/shell.js", "**/screens/basket.js", "**/codemirror.js"):
            await page.route(path, lambda route: route.abort())
        await page.reload()
        await expect(page.get_by_role("alert")).to_contain_text("It is asked again")
        await visit.live()
        await visit.open("basket")
        await expect(page.get_by_role("alert")).to_contain_text("reload the page")
        await visit.button("Try again").click()
        await expect(page.get_by_role("heading", name="The basket is empty")).to_be_visible()
        await visit.open(one("files.a"))
        await expect(page.get_by_role("alert")).to_contain_text("reload the page")
        await visit.button("Try again").click()
        await expect(page.get_by_role("textbox", name="Value")).to_have_text("one")
        await visit.button("Edit").click()
        await visit.type("files.a", "two")
        await visit.save("all the same")


async def test_a_page_of_which_a_file_is_missing_says_something(browser: Browser, gateway: RunningGateway) -> None:
    """It is not just white."""
    async with guarded(browser) as guard:
        page = await guard.page()
        await page.route("**/preact.js", lambda route: route.abort())
        await Visit(guard, page, gateway).open()
        await expect(page.get_by_role("status")).to_contain_text("reload the page")


NO_STORAGE = """
for (const name of ["sessionStorage", "localStorage"])
    Object.defineProperty(window, name, {get() { throw new DOMException("refused", "SecurityError") }});
"""


async def test_a_browser_without_storage_shows_a_folder_and_keeps_a_basket(
    browser: Browser, gateway: RunningGateway
) -> None:
    """What is chosen and staged lasts as long as the page, which says so."""
    put(gateway, "folder.a", "one")
    async with visiting(browser, gateway, "nothing") as visit:
        page = visit.page
        await page.add_init_script(NO_STORAGE)
        few = {
            "content_type": "application/json",
            "body": '{"count": 300000, "children": [{"name": "folder", "count": 1}]}',
        }
        await page.route("**/configuration-tree?*", lambda route: route.fulfill(**few))
        await page.reload()
        await page.get_by_role("listitem").get_by_role("button", name="Open", exact=True).click()
        await visit.live()
        await visit.open(one("folder.a"))
        await visit.button("Stage delete").click()
        await visit.open("basket")
        await expect(page.get_by_text("a reload loses them")).to_be_visible()
        page.once("dialog", lambda dialog: dialog.accept())


async def test_more_names_than_a_page_holds_that_are_in_no_folder_can_be_chosen(
    browser: Browser, gateway: RunningGateway
) -> None:
    """By how they begin."""
    put(gateway, "flat-1", "one")

    async def answer(route: Route) -> None:
        few = "prefix=flat-1" in route.request.url
        count, children = (1, []) if few else (300_000, [{"name": f"flat-{number}", "count": 0} for number in range(9)])
        await route.fulfill(content_type="application/json", body=json.dumps({"count": count, "children": children}))

    async with visiting(browser, gateway, "nothing") as visit:
        await visit.page.route("**/configuration-tree?*", answer)
        await visit.page.reload()
        await visit.page.get_by_label("Names that begin with").fill("flat-1")
        await visit.accessible()
        await visit.fits()
        await visit.page.keyboard.press("Enter")
        await visit.button("Open all of this").click()
        await visit.live()
        await visit.open("c")
        await expect(visit.page.locator(".grid .row")).to_have_count(1)


async def test_an_edit_of_a_document_outlives_its_screen_and_a_save(visit: Visit, gateway: RunningGateway) -> None:
    """Other tabs and screens keep it, and what is changed while it is saved stays; it can be discarded."""
    page = visit.page
    tenant = Tenant(gateway, "documentf")
    tenant.put(DOCUMENT)
    await visit.open("tenant/documentf")
    await edit(visit, "CRM", '{"uri": "configuration/sources/CRM", "label": "Customers"}')
    await visit.open("tenant/documentf?tab=history")
    await expect(page.get_by_role("list", name="Versions")).to_be_visible()
    await visit.open("tenant/documentf")
    await expect(page.get_by_text("Not saved yet.")).to_be_visible()
    saves: asyncio.Queue[Route] = asyncio.Queue()

    async def hold(route: Route) -> None:
        await (saves.put(route) if route.request.method == "PUT" else route.continue_())

    await page.route("**/reltio/**", hold)
    await visit.button("Save").click()
    save = await saves.get()
    await edit(visit, "Store", json.dumps(tenant.get()["entityTypes"][0] | {"label": "Branch"}))
    await save.continue_()
    await expect(page.get_by_role("status").filter(has_text="Saved the document")).to_be_visible()
    await page.unroute("**/reltio/**")
    await expect(visit.button("Save")).not_to_have_attribute("aria-disabled", "true")
    await expect(page.locator("main")).to_contain_text("Branch")
    await visit.button("Save").click()
    await visit.button("Save merged").click()
    await expect(page.get_by_text("Not saved yet.")).to_have_count(0)
    found = tenant.get()
    assert (found["sources"][0]["label"], found["entityTypes"][0]["label"]) == ("Customers", "Branch")
    await edit(visit, "Branch", "{}")
    await visit.button("Discard…").click()
    await visit.dialog.get_by_role("button", name="Discard").click()
    await expect(page.locator("main")).to_contain_text("Branch")


async def test_a_save_of_a_document_whose_answer_was_lost_counts_as_saved(
    visit: Visit, gateway: RunningGateway
) -> None:
    """If it was not carried out, it may be tried again."""
    tenant = Tenant(gateway, "documentg")
    tenant.put(DOCUMENT)
    await visit.open("tenant/documentg")
    carried_out: list[bool] = []

    async def lose(route: Route) -> None:
        if route.request.method == "PUT":
            if carried_out:
                await route.fetch()
            carried_out.append(True)
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await edit(visit, "CRM", '{"uri": "configuration/sources/CRM", "label": "Customers"}')
    await visit.page.route("**/reltio/**", lose)
    await visit.button("Save").click()
    await expect(visit.page.get_by_role("alert")).to_contain_text("it may have been written")
    await visit.button("Save").click()
    await expect(visit.page.get_by_role("status").filter(has_text="Saved the document")).to_be_visible()
    await expect(visit.page.get_by_text("Not saved yet.")).to_have_count(0)
    assert tenant.get()["sources"][0]["label"] == "Customers"


async def test_two_access_tokens_that_are_not_accepted_leave_the_form(
    browser: Browser, gateway: RunningGateway
) -> None:
    """The form says so, and the third one is taken."""
    with gateway.socket() as talk:
        payload = {"userId": 1, "actions": ["*"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
        bad, good = [talk("token/create", payload=payload)["accessToken"] for _ in range(2)]
        assert talk("token/revoke", token=bad)["status"] == "success"
    async with guarded(browser) as guard:
        visit = Visit(guard, await guard.page(), gateway)
        await visit.open("devices")
        await visit.page.get_by_text("With an access token").click()
        for _ in range(2):
            await visit.page.get_by_label("Access token").fill(bad)
            await visit.button("Log in").click()
            await expect(visit.page.get_by_role("alert")).to_contain_text("revoked")
        await visit.page.get_by_label("Access token").fill(good)
        await visit.button("Log in").click()
        await visit.live()


async def test_an_http_request_without_an_answer_is_given_up(browser: Browser, gateway: RunningGateway) -> None:
    """The screen offers another try, and the metrics are not asked for again meanwhile."""
    waiting: list[Route] = []
    async with visiting(browser, gateway, "devices") as visit:
        await visit.page.route("**/asyncapi.json", lambda route: waiting.append(route))
        await visit.page.evaluate(IMPATIENT)
        await visit.open("api")
        await expect(visit.page.get_by_role("alert")).to_contain_text("no answer from asyncapi.json in time")
        await visit.page.unroute_all()
        await visit.page.evaluate(PATIENT)
        await visit.button("Try again").click()
        await expect(visit.page.get_by_role("heading", name="Everything the gateway can do")).to_be_visible()
        await visit.page.clock.install()
        asked: list[Route] = []
        await visit.page.route("**/metrics", lambda route: asked.append(route))
        await visit.open("live")
        await expect(visit.page.get_by_role("heading", name="Live")).to_be_visible()
        await visit.page.clock.run_for(40_000)
        await expect(visit.page.get_by_role("alert")).to_contain_text("timed out")
        assert len(asked) <= 2, asked


async def lose_answer(page: Page, action: str) -> list[str]:
    """The connection of a page, still empty, ends in place of the first answer to an action; the answers so lost."""
    lost: list[str] = []

    async def lose(socket: WebSocketRoute) -> None:
        there = socket.connect_to_server()

        async def back(frame: str | bytes) -> None:
            if f'"action":"{action}"' in str(frame) and not lost:
                lost.append(str(frame))
                await socket.close(code=1011)
                await there.close()
            else:
                socket.send(frame)

        there.on_message(back)

    await page.route_web_socket(re.compile("^ws"), lose)
    return lost


@asynccontextmanager
async def losing(
    browser: Browser, gateway: RunningGateway, action: str, place: str
) -> AsyncIterator[tuple[Visit, list[str]]]:
    """Somebody at a place whose connection ends in place of the first answer to an action; the answers so lost."""
    async with visiting(browser, gateway, "nothing") as visit:
        visit.page = await visit.guard.page()  # the connection of the first one is open already
        lost = await lose_answer(visit.page, action)
        await visit.open(place)
        await visit.live()
        yield visit, lost


async def test_a_command_whose_answer_was_lost_is_sent_once(browser: Browser, gateway: RunningGateway) -> None:
    """The page sends it again by itself, with the same key."""
    with gateway.socket() as talk:
        device(talk, "lost-answer", "Lost")
    async with losing(browser, gateway, "command/insert", "device/lost-answer") as (visit, lost):
        await visit.page.get_by_label("Command", exact=True).fill("on")
        await visit.button("Send").click()
        await expect(visit.page.get_by_role("status").filter(has_text="Sent on.")).to_be_visible()
        with gateway.socket() as talk:
            assert len(talk("command/list", deviceId="lost-answer")["commands"]) == len(lost) == 1


async def test_an_undo_runs_once(browser: Browser, gateway: RunningGateway) -> None:
    """A second press would be refused, and would say that nothing was undone."""
    put(gateway, "undo.once", "one")
    async with holding(browser, gateway, "configuration/put", one("undo.once")) as (visit, held):
        await visit.button("Edit").click()
        await visit.type("undo.once", "two")
        await visit.save("to be undone")
        held.close()
        await visit.button("Undo").click()
        await held.arrived.wait()
        await expect(visit.button("Undo")).to_have_count(0)
        held.go()
        await expect(visit.page.locator(".notice")).to_contain_text("Put back as it was")


async def test_what_is_typed_in_the_editor_is_not_replaced_by_a_merge(visit: Visit, gateway: RunningGateway) -> None:
    """A staged edit that was overtaken is merged in the editor when that has newer text."""
    put(gateway, "newer.a", "one")
    await visit.open(one("newer.a"))
    await visit.button("Edit").click()
    await visit.type("newer.a", "staged")
    await visit.button("Stage").click()
    await visit.button("Edit the change").click()
    await visit.type("newer.a", "typed later")
    put(gateway, "newer.a", "theirs")
    await visit.open("basket")
    await visit.button("Merge…").click()
    await expect(visit.page.get_by_label("Value of newer.a")).to_have_text("typed later")
    await expect(visit.page.get_by_text("Your edit is untouched")).to_be_visible()


NEXT_KEY = """
async click => {
    const next = () => new Promise(done => {
        const {port1, port2} = new MessageChannel();
        port1.onmessage = done;
        port2.postMessage(0);
    });
    document.querySelector(click).click();
    await next();
    let at = document.activeElement;
    while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.tagName;
}
"""
"""Click, and say where a key would go that is pressed at once: before the next frame."""


async def test_a_key_right_after_a_dialog_opens_reaches_its_field(visit: Visit, gateway: RunningGateway) -> None:
    """Not the button that closes the dialog."""
    put(gateway, "at.once", "one")
    await visit.open("devices")
    await visit.button("New").click()  # so that all files are there
    await visit.button("Cancel").click()
    assert await visit.page.evaluate(NEXT_KEY, "form.search .primary") == "Id"
    await visit.button("Cancel").click()
    await visit.open(one("at.once"))
    await expect(visit.page.get_by_role("textbox", name="Value")).to_have_text("one")
    assert await visit.page.evaluate(NEXT_KEY, ".title .primary") == "Value of at.once"


async def test_a_line_is_selected_where_there_is_no_clipboard(visit: Visit, gateway: RunningGateway) -> None:
    """As on a page without TLS."""
    put(gateway, "clipped.a", "one")
    await visit.open(one("clipped.a") + "?tab=lines")
    await visit.page.evaluate("delete Navigator.prototype.clipboard")
    await visit.button("Copy").first.click()
    assert "hivewire get" in await visit.page.evaluate("getSelection().toString()")
    await visit.page.reload()


async def test_a_token_lasts_as_long_as_is_said_whatever_the_clock_of_the_browser(visit: Visit) -> None:
    """Its end is counted from the time of the gateway."""
    await visit.open("access?of=tokens")
    await visit.page.evaluate("Date.now = () => 1e12")
    await visit.button("Make it").click()
    token = await visit.dialog.get_by_role("figure", name="Access token").locator("code").inner_text()
    with visit.gateway.http(token) as client:
        assert client.get("/configuration").status_code == 200
    await visit.page.reload()


async def test_a_save_whose_answer_was_lost_counts_as_saved(browser: Browser, gateway: RunningGateway) -> None:
    """The page looks it up; nobody else changed it, and it can be undone."""
    put(gateway, "lost.a", "one")
    async with losing(browser, gateway, "configuration/put", one("lost.a")) as (visit, lost):
        await visit.button("Edit").click()
        await visit.type("lost.a", "two")
        await visit.save("lost")
        assert len(lost) == 1
        await expect(visit.page.get_by_text("changed this")).to_have_count(0)
        await visit.button("Undo").click()
        await expect(visit.page.locator(".notice")).to_contain_text("Put back as it was")
        assert value_of(gateway, "lost.a") == "one"


async def test_a_commit_whose_answer_was_lost_empties_the_basket(browser: Browser, gateway: RunningGateway) -> None:
    """All of it was written, also what is new and what is deleted; and it is taken back."""
    for name in ("swept.a", "swept.b"):
        put(gateway, name, "one")
    async with losing(browser, gateway, "configuration/transact", one("swept.new") + "?new=1") as (visit, lost):
        await visit.button("Write its value").click()
        await visit.type("swept.new", "new")
        await visit.button("Stage").click()
        await visit.open(one("swept.a"))
        await visit.button("Edit").click()
        await visit.type("swept.a", "two")
        await visit.button("Stage").click()
        await visit.open(one("swept.b"))
        await visit.button("Stage delete").click()
        await visit.open("basket")
        await visit.button("Commit all or nothing").click()
        await expect(visit.page.get_by_role("status").filter(has_text="3 changes written")).to_be_visible()
        assert len(lost) == 1
        await visit.button("Undo").click()
        await expect(visit.page.locator(".notice")).to_contain_text("3 changes taken back")
        assert [value_of(gateway, name) for name in ("swept.a", "swept.b")] == ["one", "one"]


async def test_an_age_is_that_of_the_gateway_whatever_the_clock_of_the_browser(
    browser: Browser, gateway: RunningGateway
) -> None:
    """It is not years because the browser is years ahead."""
    put(gateway, "aged.a", "one")
    async with visiting(browser, gateway, "nothing") as visit:
        await visit.page.add_init_script("(() => { const now = Date.now; Date.now = () => now() + 2e11; })()")
        await visit.page.reload()
        await visit.live()
        await visit.open(one("aged.a"))
        await expect(visit.page.locator(".facts time")).to_have_text(re.compile(r"^(just now|\d+(s|min) ago)$"))


async def test_another_value_of_the_same_revision_is_not_overwritten(browser: Browser, data: Path) -> None:
    """After the restore of a backup the next change has the revision of one that is gone."""
    backup = data.with_suffix(".backup")
    with RunningGateway(data) as first:
        put(first, "restored.a", "one")
        first.stop()
    backup.write_bytes(data.read_bytes())
    async with AsyncExitStack() as stack:
        first = stack.enter_context(RunningGateway(data))
        put(first, "restored.a", "two")
        visit = await stack.enter_async_context(visiting(browser, first, one("restored.a")))
        await visit.button("Edit").click()
        await visit.type("restored.a", "mine")
        first.stop(signal.SIGKILL)
        for each in data.parent.glob(data.name + "*"):
            each.unlink()
        data.write_bytes(backup.read_bytes())
        second = RunningGateway(data)
        put(second, "restored.a", "theirs")
        second.stop()
        second = stack.enter_context(RunningGateway(data, f"--port={first.port}"))
        await visit.live()
        await visit.button("Review and save").click()
        await expect(visit.dialog).to_contain_text("Somebody else saved this meanwhile")
        assert value_of(second, "restored.a") == "theirs"
