"""Users, tokens, clients and tenants."""

from __future__ import annotations

import re

import httpx
from playwright.async_api import Browser, expect

from tests.browser import guarded
from tests.dashboard.test_devices import device
from tests.dashboard.test_shell import REACHED
from tests.dashboard.visit import Visit, not_first, one, visiting
from tests.running import PATIENCE, RunningGateway


async def test_a_user_is_made_given_a_network_and_locked(visit: Visit, gateway: RunningGateway) -> None:
    """What is changed holds at once; the caller's own user is marked."""
    await visit.open("access")
    await expect(visit.row("admin")).to_contain_text("(you)")
    await visit.accessible()
    await visit.fits()
    await visit.button("New user").click()
    await visit.dialog.get_by_label("Login").fill("ada.l")
    await visit.dialog.get_by_label("Password").fill("the first one")
    await visit.accessible()
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.row("ada.l")).to_contain_text("client")
    gateway.token("ada.l", "the first one")
    await visit.row("ada.l").get_by_role("button", name="Open").click()
    await visit.dialog.get_by_label("Sample Network").click()
    await expect(visit.dialog.get_by_label("Sample Network")).to_be_checked()
    await visit.accessible()
    with gateway.http(gateway.token("ada.l", "the first one")) as client:
        assert [each["name"] for each in client.get("/user/current").json()["networks"]] == ["Sample Network"]
    await visit.dialog.get_by_label("Status").select_option("locked")
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.row("ada.l")).to_contain_text("locked")
    login = {"login": "ada.l", "password": "the first one"}
    assert httpx.post(gateway.rest_url + "/token", json=login, timeout=PATIENCE).status_code == 401
    await visit.row("ada.l").get_by_role("button", name="Open").click()
    await visit.button("Delete this user…").click()
    await visit.page.get_by_role("dialog", name="Delete this user?").get_by_role("button", name="Delete").click()
    await expect(visit.row("ada.l")).to_have_count(0)


async def test_a_token_has_the_rights_that_were_ticked_and_is_ended(visit: Visit, gateway: RunningGateway) -> None:
    """It is shown once, for the names that were given, and its id ends it."""
    await visit.open("access?of=tokens")
    await visit.accessible()
    await visit.fits()
    await visit.page.get_by_label("Only these configurations").fill("minted.*")
    await visit.button("Make it").click()
    await visit.accessible()
    token = await visit.dialog.get_by_role("figure", name="Access token").locator("code").inner_text()
    number = await visit.dialog.get_by_role("figure", name="Id, to end it").locator("code").inner_text()
    await visit.button("Done").click()
    assert token not in await visit.page.content()
    with gateway.http(token) as client:
        assert client.get("/configuration/minted.a").status_code == 404
        assert client.get("/configuration/others").status_code == 403
        assert client.put("/configuration/minted.a", json={"value": "1"}).status_code == 403
        await visit.page.get_by_label("The token, or its id").fill(number)
        await visit.button("End it").click()
        await expect(visit.page.get_by_role("status").filter(has_text="Ended")).to_be_visible()
        assert client.get("/configuration/minted.a").status_code == 401


async def test_a_tenant_and_a_client_with_its_secret(visit: Visit, gateway: RunningGateway) -> None:
    """The secret is shown once and works; a new one ends the old; deletes say what goes with them."""
    await visit.open("access?of=tenants")
    await visit.page.get_by_label("Id of a new tenant").fill("shop")
    await visit.button("Make it").click()
    await expect(visit.row("shop")).to_be_visible()
    await visit.accessible()
    await visit.open("access?of=clients")
    await visit.button("New client").click()
    await visit.dialog.get_by_label("Id").fill("till-1")
    await visit.dialog.get_by_role("group", name="shop").get_by_label("READ").check()
    await visit.accessible()
    await visit.dialog.get_by_role("button", name="Save").click()
    secret = await visit.dialog.get_by_role("figure", name="Client secret").locator("code").inner_text()
    asked = httpx.post(
        gateway.url + "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=("till-1", secret),
        timeout=PATIENCE,
    )
    assert asked.json()["scope"] == "shop:READ"
    await visit.button("Done").click()
    await expect(visit.row("till-1")).to_contain_text("shop: READ")
    await visit.row("till-1").get_by_role("button", name="Change").click()
    with gateway.socket() as talk:
        assert talk("client/update", clientId="till-1", tenants={"shop": ["UPDATE"]})["status"] == "success"
    await visit.dialog.get_by_role("group", name="shop").get_by_label("DELETE").check()
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.dialog.get_by_role("alert")).to_contain_text("Client 'till-1' is at revision")
    await visit.dialog.get_by_role("button", name="Cancel").click()
    await expect(visit.row("till-1")).to_contain_text("shop: READ, UPDATE")
    await visit.row("till-1").get_by_role("button", name="Delete…").click()
    await visit.dialog.get_by_role("button", name="Delete").click()
    await expect(visit.row("till-1")).to_have_count(0)


async def test_who_may_not_is_told_so_and_stays_logged_in(browser: Browser, gateway: RunningGateway) -> None:
    """Screens say which right is missing, the gateway refuses what is asked all the same, and the rest goes on."""
    with gateway.http() as admin:
        user = {"login": "little", "password": "little password", "role": 1, "status": 0}
        assert admin.post("/user", json=user).status_code == 201
    async with visiting(browser, gateway, login="little", password="little password") as visit:
        for place, right in (("c", "GetConfiguration"), ("access?of=users", "ManageUser")):
            await visit.open(place)
            await expect(visit.page.locator("main")).to_contain_text(f"This login has not the right {right}.")
        await visit.accessible()
        await visit.open("api/user/list")
        await visit.button("Send").click()
        await expect(visit.page.get_by_role("textbox", name="Answer")).to_contain_text("403")
        await expect(visit.page.locator(".who")).to_have_text("little")
        await expect(visit.page.locator(".status")).to_have_text("Live")


READS = [
    *("GetConfiguration", "GetDevice", "GetNetwork", "GetDeviceType", "GetDeviceCommand", "GetDeviceNotification"),
    "GetCurrentUser",
]
PLACES = {
    "c?below=reader.": "reader.a",
    one("reader.a"): "Version 1",
    one("reader.a") + "?tab=history": "Deleted",
    one("reader.none"): "There is no configuration of this name",
    "schema/reader.*": "reader.",
    "devices?q=reader": "Reader",
    "devices?of=networks": "Sample Network",
    "devices?of=types": "Default Device Type",
    "device/reader-a": "No commands",
    "layer/readers": "readers",
    "rollouts": "Rollouts",
    "transfer": "Export",
}
"""Screens on which an administrator can write something, and what is there once they have been read."""

WRITES = re.compile(
    r"^(New|Edit|Delete(?!d)|Stage|Roll back|Choose a file|Change|Send|Make|Write|Replace|Hold|Resume|Undo|make it now)"
)


async def enter(visit: Visit, token: str) -> None:
    """Log in with an access token."""
    await visit.page.get_by_text("With an access token").click()
    await visit.page.get_by_label("Access token").fill(token)
    await visit.button("Log in").click()


async def test_who_may_only_read_is_offered_nothing_that_is_refused(
    visit: Visit, browser: Browser, gateway: RunningGateway
) -> None:
    """No button, no link and no key writes, and no screen asks for what the login may not see."""
    with gateway.socket() as talk:
        for value in ("old", None, "new"):
            if value is None:
                talk("configuration/delete", name="reader.a")
            else:
                talk("configuration/put", name="reader.a", value=value)
        talk("schema/put", names="reader.*", schema={"type": ["string", "null"]})
        device(talk, "reader-a", "Reader")
        assert talk("layer/put", layer="readers", rank=849, target={"deviceIds": ["reader-a"]})["status"] == "success"
        payload = {"userId": 1, "actions": READS, "networkIds": ["*"], "deviceTypeIds": ["*"]}
        token = talk("token/create", payload=payload)["accessToken"]
    async with guarded(browser) as guard:
        await guard.context.add_init_script(not_first())
        page = await guard.page()
        refused: list[str] = []
        page.on("response", lambda answer: refused.append(answer.url) if answer.status == 403 else None)
        page.on("websocket", lambda socket: socket.on("framereceived", lambda data: refused.extend(denied(data))))
        reader = Visit(guard, page, gateway)
        await reader.open()
        await enter(reader, "eyJ.none")
        await expect(page.get_by_role("alert")).to_have_text("This is no access token.")
        await reader.accessible()
        await page.get_by_label("Access token").fill(token)
        await reader.button("Log in").click()
        await reader.live()
        assert token not in await page.evaluate(REACHED)
        for each in (visit, reader):
            for place, text in PLACES.items():
                await each.open(place)
                main = each.page.locator("main")
                await expect(main).to_contain_text(text)
                writes = main.locator("button, a, label").filter(has_text=WRITES)
                if each is visit:
                    await expect(writes).not_to_have_count(0)
                else:
                    assert await writes.all_inner_texts() == [], place
        for place in ("audit", "live", "fleet", "schemas", "layers", "access"):
            await reader.open(place)
            await expect(page.locator("main")).not_to_be_empty()
        await reader.open(one("reader.a"))
        await expect(page.locator(".facts")).to_contain_text("Version 1")
        await page.keyboard.press("e")
        await expect(page).to_have_url(f"{gateway.url}/dashboard/#/{one('reader.a')}")
        await expect(page.get_by_label("Value").first).to_be_visible()
        assert refused == []
        await page.reload()  # nothing has kept the token
        await expect(page.get_by_role("heading", name="Log in to Hivewire")).to_be_visible()
        with gateway.socket() as talk:
            assert talk("token/revoke", token=token)["status"] == "success"
        await enter(reader, token)
        await expect(page.get_by_role("alert")).to_contain_text("revoked")


def denied(frame: str | bytes) -> list[str]:
    """The answer, when it is a refusal for want of a right."""
    return [str(frame)] if '"code":403' in str(frame) else []


async def test_what_somebody_else_changes_of_a_user_meanwhile_stays(visit: Visit, gateway: RunningGateway) -> None:
    """A save writes the fields that were changed in the form, also when the user was read again since."""
    with gateway.http() as admin:
        user = {"login": "changed.twice", "password": "some password", "role": 1, "status": 0}
        number = admin.post("/user", json=user).json()["id"]
        await visit.open("access")
        await visit.row("changed.twice").get_by_role("button", name="Open").click()
        await expect(visit.dialog.get_by_label("Status")).to_have_value("0")
        assert admin.put(f"/user/{number}", json={"status": 1}).status_code == 204
        await visit.dialog.get_by_label("Sample Network").click()
        await expect(visit.dialog.get_by_label("Sample Network")).to_be_checked()
        await visit.dialog.get_by_label("Login").fill("changed.once")
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(visit.row("changed.once")).to_contain_text("locked")
