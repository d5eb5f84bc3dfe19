"""Answers that come late, or never: after a dialog was closed, another screen is shown, or the text has changed."""

from __future__ import annotations

import asyncio
import json
import re

from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect

from tests.dashboard.test_devices import device
from tests.dashboard.test_faults import holding, losing
from tests.dashboard.test_one import put, value_of
from tests.dashboard.test_system import DOCUMENT, Tenant, edit
from tests.dashboard.visit import Visit, one, visiting
from tests.running import RunningGateway


class Busy:
    """Requests of a page, still empty, for an action: refused while it is busy."""

    def __init__(self, action: str, *, busy: bool) -> None:
        self.action = action
        self.busy = busy
        self.refused: asyncio.Queue[str] = asyncio.Queue()

    def through(self, socket: WebSocketRoute) -> None:
        """Pass on what a page sends."""
        there = socket.connect_to_server()

        def forward(frame: str | bytes) -> None:
            asked = json.loads(frame)
            if not self.busy or asked["action"] != self.action:
                there.send(frame)
                return
            reply = {"action": self.action, "requestId": asked["requestId"], "status": "error"}
            socket.send(json.dumps(reply | {"code": 503, "error": "busy"}))
            self.refused.put_nowait(self.action)

        socket.on_message(forward)


def user(gateway: RunningGateway, login: str) -> None:
    """Make a user."""
    with gateway.http() as admin:
        made = {"login": login, "password": "some password", "role": 1, "status": 0}
        assert admin.post("/user", json=made).status_code == 201


async def test_a_dialog_that_is_opened_again_is_not_closed_by_the_save_before(
    browser: Browser, gateway: RunningGateway
) -> None:
    """It was closed while its save waited, and has other text now."""
    user(gateway, "late.user")
    async with holding(browser, gateway, "user/update", "access") as (visit, held):
        page = visit.page
        opening = visit.row("late.user").get_by_role("button", name="Open")
        await opening.click()
        await visit.dialog.get_by_label("Status").select_option("locked")
        held.close()
        await visit.dialog.get_by_role("button", name="Save").click()
        await held.arrived.wait()
        await page.keyboard.press("Escape")
        await expect(visit.dialog).to_have_count(0)
        await opening.click()
        await visit.dialog.get_by_label("Login").fill("late.other")
        held.go()
        await expect(page.locator(".notice")).to_contain_text("Saved late.user")
        await expect(visit.row("late.user")).to_contain_text("locked")
        await expect(visit.dialog.get_by_label("Login")).to_have_value("late.other")


async def test_who_has_gone_elsewhere_stays_there(browser: Browser, gateway: RunningGateway) -> None:
    """A delete that ends late leads nobody away, but says that it is done."""
    with gateway.socket() as talk:
        assert talk("layer/put", layer="late-layer", rank=711, target={})["status"] == "success"
    async with holding(browser, gateway, "layer/delete", "layer/late-layer") as (visit, held):
        page = visit.page
        await visit.button("Delete…").click()
        held.close()
        await visit.dialog.get_by_role("button", name="Delete").click()
        await held.arrived.wait()
        await page.keyboard.press("Escape")
        await visit.open("transfer")
        held.go()
        await expect(page.locator(".notice")).to_contain_text("Deleted the layer late-layer")
        await expect(page).to_have_url(re.compile("#/transfer$"))


async def test_a_secret_that_came_too_late_to_be_shown_is_not_passed_over(
    browser: Browser, gateway: RunningGateway
) -> None:
    """Whoever closed the dialog is told that it is there, of a client and of a token."""
    with gateway.http() as admin:
        assert admin.post("/tenant", json={"tenantId": "late"}).status_code == 201
    async with holding(browser, gateway, "client/insert", "access?of=clients") as (visit, held):
        await visit.button("New client").click()
        await visit.dialog.get_by_label("Id").fill("late-client")
        await visit.dialog.get_by_role("group", name="late").get_by_label("READ").check()
        held.close()
        await visit.dialog.get_by_role("button", name="Save").click()
        await held.arrived.wait()
        await visit.page.keyboard.press("Escape")
        held.go()
        await expect(visit.page.locator(".notice")).to_contain_text("late-client has a secret that was not shown")
    async with holding(browser, gateway, "token/create", "access?of=tokens") as (visit, held):
        held.close()
        await visit.button("Make it").click()
        await held.arrived.wait()
        await visit.open("transfer")
        held.go()
        await expect(visit.page.locator(".notice")).to_contain_text("A token that was not shown")


async def test_a_list_stays_when_it_cannot_be_read_again(browser: Browser, gateway: RunningGateway) -> None:
    """So does the search in it; the error is a note."""
    user(gateway, "listed.user")
    async with visiting(browser, gateway, "nothing") as visit:
        visit.page = page = await visit.guard.page()
        users = Busy("user/list", busy=False)
        await page.route_web_socket(re.compile("^ws"), users.through)
        await visit.open("access")
        await expect(visit.row("listed.user")).to_be_visible()
        users.busy = True
        await page.get_by_label("Search users").press_sequentially("listed.u")
        await expect(page.get_by_role("alert")).to_contain_text("busy")
        await expect(page.get_by_label("Search users")).to_be_focused()
        await expect(visit.row("listed.user")).to_be_visible()
        users.busy = False
        await visit.button("Try again").click()
        await expect(page.get_by_role("alert")).to_have_count(0)
        await expect(visit.row("admin")).to_have_count(0)


async def test_a_rollback_whose_answer_was_lost_counts_as_done(browser: Browser, gateway: RunningGateway) -> None:
    """The page looks it up, and it can be undone."""
    for value in ("one", "two"):
        put(gateway, "lost.back", value)
    async with losing(browser, gateway, "configuration/rollback", one("lost.back") + "?tab=history") as (visit, lost):
        await visit.button("Roll back to version 1").click()
        await expect(visit.page.locator(".notice")).to_contain_text("Rolled back to version 1")
        assert len(lost) == 1
        await visit.button("Undo").click()
        await expect(visit.page.locator(".notice")).to_contain_text("Undone")
        assert value_of(gateway, "lost.back") == "two"


async def test_a_delete_whose_answer_was_lost_counts_as_done(browser: Browser, gateway: RunningGateway) -> None:
    """The page looks it up, and what was deleted can be put back; so does an undo that deletes."""
    put(gateway, "lost.gone", "one")
    async with losing(browser, gateway, "configuration/delete", one("lost.gone")) as (visit, lost):
        await visit.button("Delete…").click()
        await visit.dialog.get_by_role("button", name="Delete").click()
        await expect(visit.page.locator(".notice")).to_contain_text("Deleted lost.gone")
        assert len(lost) == 1
        await visit.button("Undo").click()
        await expect(visit.page.locator(".notice")).to_contain_text("lost.gone is back")
        assert value_of(gateway, "lost.gone") == "one"


async def lose_request(page: Page, action: str) -> None:
    """The connection of a page, still empty, ends in place of each request for an action."""

    async def lose(socket: WebSocketRoute) -> None:
        there = socket.connect_to_server()

        async def forward(frame: str | bytes) -> None:
            if f'"action":"{action}"' in str(frame):
                await socket.close(code=1011)
                await there.close()
            else:
                there.send(frame)

        socket.on_message(forward)

    await page.route_web_socket(re.compile("^ws"), lose)


async def test_a_save_that_was_lost_is_not_taken_for_one_of_an_earlier_life(
    browser: Browser, gateway: RunningGateway
) -> None:
    """The same user made it with the same value once, and it was deleted since."""
    put(gateway, "lives.a", "one")
    with gateway.socket() as talk:
        talk("configuration/delete", name="lives.a")
    async with visiting(browser, gateway, "nothing") as visit:
        visit.page = await visit.guard.page()
        await lose_request(visit.page, "configuration/put")
        await visit.open(one("lives.a") + "?new=1")
        await visit.live()
        await visit.button("Write its value").click()
        await visit.type("lives.a", "one")
        await visit.button("Review and save").click()
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(visit.dialog.get_by_role("alert")).to_contain_text("may have been written")


async def test_a_long_value_is_edited_when_it_has_come(browser: Browser, gateway: RunningGateway) -> None:
    """Not as if it were empty."""
    put(gateway, "long.late", "long " * 1_000)
    async with holding(browser, gateway, "configuration/get", "nothing") as (visit, held):
        held.close()
        await visit.open(one("long.late"))
        await held.arrived.wait()
        await visit.button("Edit").click()
        held.go()
        await expect(visit.page.get_by_label("Value of long.late")).to_contain_text("long long")


async def test_findings_are_about_the_document_that_is_shown(visit: Visit, gateway: RunningGateway) -> None:
    """Those of a text that has been changed meanwhile are not shown."""
    page = visit.page
    Tenant(gateway, "documentl").put(DOCUMENT)
    await visit.open("tenant/documentl")
    held: list[Route] = []
    await page.route("**/_validation*", lambda route: held.append(route))
    async with page.expect_request("**/_validation*"):
        await visit.button("Validate").click()
    await edit(visit, "CRM", '{"uri": "configuration/sources/CRM", "label": "Customers"}')
    await expect(page.locator("main")).to_contain_text("Customers")
    async with page.expect_response("**/_validation*"):
        await held[0].continue_()
    await expect(visit.button("Validate")).not_to_have_attribute("aria-disabled", "true")
    assert "finds nothing wrong" not in await page.locator("main").inner_text()
    await page.unroute("**/_validation*")
    await visit.button("Validate").click()
    await expect(page.get_by_text("finds nothing wrong")).to_be_visible()


async def test_a_validation_without_an_answer_has_written_nothing(visit: Visit, gateway: RunningGateway) -> None:
    """It says so."""
    Tenant(gateway, "documentv").put(DOCUMENT)
    await visit.open("tenant/documentv")
    await visit.page.route("**/_validation*", lambda route: route.abort())
    await visit.button("Validate").click()
    await expect(visit.page.get_by_role("alert")).to_contain_text("The gateway cannot do this now")
    await visit.page.unroute("**/_validation*")


async def test_an_error_stays_while_the_same_is_asked_again(browser: Browser, gateway: RunningGateway) -> None:
    """It does not come and go with each look, and move what is below it."""
    async with visiting(browser, gateway, "nothing") as visit:
        visit.page = page = await visit.guard.page()
        rollouts = Busy("rollout/list", busy=True)
        await page.route_web_socket(re.compile("^ws"), rollouts.through)
        await visit.open("rollouts")
        alert = page.get_by_role("alert")
        await expect(alert).to_contain_text("busy")
        await alert.evaluate("each => (each.dataset.first = 'yes')")
        for _ in range(rollouts.refused.qsize() + 2):
            await rollouts.refused.get()
        await expect(alert).to_have_attribute("data-first", "yes")


async def test_a_rollout_keeps_the_type_of_a_configuration(browser: Browser, gateway: RunningGateway) -> None:
    """Also when it is started before the form knows what the layer holds."""
    json_type = "application/json"
    with gateway.socket() as talk:
        device(talk, "typed-a", "Typed")
        target = {"deviceIds": ["typed-a"]}
        assert talk("layer/put", layer="typed", rank=520, target=target)["status"] == "success"
        put(gateway, "typed.a", "1", layer="typed", contentType=json_type)
        async with holding(browser, gateway, "configuration/list", "nothing") as (visit, held):
            held.close()
            await visit.open("rollout/new?layer=typed")
            await held.arrived.wait()
            await visit.page.get_by_label("Name", exact=True).fill("typed.a")
            await visit.page.get_by_label("Value", exact=True).fill("2")
            await visit.button("Start").click()
            await expect(visit.button("Starting…")).to_be_visible()
            held.go()
            await expect(visit.page.locator("h1")).to_contain_text("running")
        (rollout,) = [each for each in talk("rollout/list")["rollouts"] if each["layer"] == "typed"]
        assert [each.get("contentType") for each in rollout["changes"]] == [json_type]
        assert talk("rollout/rollback", rollout=rollout["rollout"])["status"] == "success"


async def test_a_judgement_is_about_the_value_that_is_shown(browser: Browser, gateway: RunningGateway) -> None:
    """While the gateway does not answer, that of an earlier one is not shown."""
    with gateway.socket() as talk:
        assert talk("schema/put", names="judged.late", schema={"type": "integer"})["status"] == "success"
    async with holding(browser, gateway, "schema/check", "schemas") as (visit, held):
        tried = visit.page.get_by_role("region", name="Try a value")
        await tried.get_by_label("Its name").fill("judged.late")
        await tried.get_by_label("A value").fill("1")
        await expect(tried).to_contain_text("fits by the schema")
        held.close()
        await tried.get_by_label("A value").fill("word")
        await expect(tried).not_to_contain_text("fits")
        held.go()
        await expect(tried).to_contain_text("refused")
