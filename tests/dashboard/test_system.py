"""The screens about the gateway itself, and the documents of tenants."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import httpx
from playwright.async_api import expect

from tests.dashboard.hostile import HOSTILE, MARKUP
from tests.dashboard.test_one import put
from tests.dashboard.visit import Visit
from tests.running import PATIENCE, RunningGateway

STORE = "configuration/entityTypes/Store"
DOCUMENT: dict[str, Any] = {
    "label": "Shop",
    "schemaVersion": "1",
    "sources": [{"uri": "configuration/sources/CRM", "label": "CRM"}],
    "entityTypes": [
        {
            "uri": STORE,
            "label": "Store",
            "attributes": [{"uri": f"{STORE}/attributes/City", "name": "City", "label": "City", "type": "String"}],
        }
    ],
}


class Tenant:
    """A tenant, and its document beside the browser."""

    def __init__(self, gateway: RunningGateway, name: str) -> None:
        self.headers = {"Authorization": f"Bearer {gateway.token()}"}
        self.url = f"{gateway.url}/reltio/api/{name}/configuration"
        with gateway.http() as admin:
            assert admin.post("/tenant", json={"tenantId": name}).status_code == 201

    def put(self, document: dict[str, Any]) -> None:
        """Save a document."""
        assert httpx.put(self.url, json=document, headers=self.headers, timeout=PATIENCE).status_code == 200

    def get(self) -> Any:
        """The document that is stored."""
        return httpx.get(self.url, headers=self.headers, timeout=PATIENCE).json()


async def edit(visit: Visit, label: str, text: str) -> None:
    """Replace an element of the document that is open."""
    await visit.page.get_by_role("button", name=f"Edit {label}").click()
    await visit.page.get_by_role("textbox", name="Element").click()
    await visit.page.keyboard.press("Control+a")
    await visit.page.keyboard.insert_text(text)
    await visit.button("Take over").click()


async def test_a_tenant_document_is_validated_edited_and_saved(visit: Visit, gateway: RunningGateway) -> None:
    """Findings are beside the element that they are about; nothing is written before it is saved."""
    tenant = Tenant(gateway, "documenta")
    tenant.put(DOCUMENT)
    await visit.open("tenant/documenta")
    await expect(visit.page.get_by_text(STORE, exact=True)).to_be_visible()
    await visit.accessible()
    await visit.fits()
    wrong = tenant.get()["entityTypes"][0]
    wrong["attributes"][0]["type"] = "Strng"
    await edit(visit, "Store", json.dumps(wrong))
    await visit.button("Validate").click()
    await expect(visit.page.get_by_role("list", name="Findings")).to_contain_text("type is 'Strng'")
    await visit.accessible()
    assert tenant.get()["entityTypes"][0]["attributes"][0]["type"] == "String"
    await visit.button("Save").click()
    await expect(visit.page.get_by_role("status").filter(has_text="Saved the document")).to_be_visible()
    assert tenant.get()["entityTypes"][0]["attributes"][0]["type"] == "Strng"
    tenant.put(tenant.get() | {"label": "Shops"})
    await visit.open("tenant/documenta?tab=history")
    versions = visit.page.get_by_role("list", name="Versions").get_by_role("listitem")
    await expect(versions).to_have_count(3)
    await expect(visit.page.get_by_role("textbox", name="After")).to_contain_text("Shops")
    await visit.accessible()


async def test_the_history_of_one_element(visit: Visit, gateway: RunningGateway) -> None:
    """Only the versions that changed it, and what it was; also after it was deleted."""
    page = visit.page
    tenant = Tenant(gateway, "documentc")
    tenant.put(DOCUMENT)
    edits: list[dict[str, Any]] = [
        {"entityTypes": [DOCUMENT["entityTypes"][0] | {"label": HOSTILE[1]}]},
        {"label": "Another"},
        {"entityTypes": []},
    ]
    for each in edits:
        tenant.put(tenant.get() | each)
    await visit.open("tenant/documentc")
    await page.get_by_role("link", name="History of CRM").click()
    versions = page.get_by_role("list", name="Versions").get_by_role("listitem")
    await expect(versions).to_have_count(1)
    await expect(page.get_by_label("Element").first).to_contain_text("CRM")
    await visit.accessible()
    await visit.fits()
    await visit.open("tenant/documentc?tab=history&element=" + quote(STORE, safe=""))
    await expect(versions).to_have_count(3)
    await expect(versions.first).to_contain_text("deleted")
    await versions.nth(1).get_by_role("button").click()
    await expect(page.get_by_role("textbox", name="After")).to_contain_text("onerror")
    await expect(page.get_by_role("textbox", name="Before")).to_contain_text("Store")
    assert await page.locator(MARKUP).count() == 0
    await page.get_by_role("link", name="Of all of the document").click()
    await expect(versions).to_have_count(4)


async def test_two_people_edit_a_document_apart(visit: Visit, gateway: RunningGateway) -> None:
    """Who is second sees the merge, and both edits are saved."""
    tenant = Tenant(gateway, "documentb")
    tenant.put(DOCUMENT)
    await visit.open("tenant/documentb")
    await edit(visit, "Store", json.dumps(tenant.get()["entityTypes"][0] | {"label": "Branch"}))
    theirs = tenant.get()
    theirs["sources"][0]["label"] = "Customers"
    tenant.put(theirs)
    await visit.button("Save").click()
    await expect(visit.dialog).to_contain_text("Your edits are apart")
    await visit.accessible()
    await visit.button("Save merged").click()
    await expect(visit.page.get_by_role("status").filter(has_text="Saved the document")).to_be_visible()
    found = tenant.get()
    assert (found["entityTypes"][0]["label"], found["sources"][0]["label"]) == ("Branch", "Customers")


async def test_of_two_first_documents_one_wins(visit: Visit, gateway: RunningGateway) -> None:
    """Who is second sees that there is one now."""
    tenant = Tenant(gateway, "documentd")
    await visit.open("tenant/documentd")
    await visit.button("Edit all of it").click()
    await visit.page.get_by_role("textbox", name="Element").click()
    await visit.page.keyboard.press("Control+a")
    await visit.page.keyboard.insert_text(json.dumps(DOCUMENT | {"label": "Mine"}))
    await visit.button("Take over").click()
    tenant.put(DOCUMENT)
    await visit.button("Save").click()
    await expect(visit.dialog).to_contain_text("Somebody else saved this document meanwhile")
    assert tenant.get()["label"] == "Shop"


BRIEFLY = """
async () => {
    const {hw} = await import(new URL("lib/gateway.js", location.href.replace(/#.*/, "")));
    const look = async () =>
        new Map((await hw.call("connection/list")).connections.map(each => [each.connectionId, each.subscriptions]));
    const before = await look();
    for (let number = 0; number < 20; number++) hw.follow("network/subscribe", {}, () => {})();
    await look(); // comes after the answers to these
    return [...await look()].filter(([id, number]) => number > (before.get(id) ?? 0));
}
"""


async def test_what_is_left_before_it_began_is_followed_no_more(visit: Visit) -> None:
    """Also at the gateway, whose subscriptions of a connection are bounded."""
    assert await visit.page.evaluate(BRIEFLY) == []


async def test_the_metrics_move_and_connections_can_be_closed(visit: Visit, gateway: RunningGateway) -> None:
    """Each chart has its figures beside it; who is connected is listed."""
    await visit.open("live")
    changes = visit.page.get_by_role("figure").filter(has_text="Changes a second")
    with gateway.socket() as talk:
        for _ in range(20):
            talk("configuration/put", name="moving.a", value="1")
        await expect(changes.get_by_role("row", name="Changes").get_by_text("most")).not_to_have_text("most –")
        await expect(changes.locator("path.accent")).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+L"))
        await expect(changes.locator(".scale").last).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        await visit.accessible()
        await visit.fits()
        await visit.open("live?of=connections")
        await expect(visit.page.get_by_role("row").filter(has_text="admin").first).to_be_visible()
        await visit.accessible()
        await visit.fits()


async def test_the_api_explorer_sends_what_it_describes(visit: Visit, gateway: RunningGateway) -> None:
    """An action with its members; the console shows the answer, a refusal too, and the pushes of a subscription."""
    await visit.open("api")
    await visit.page.get_by_label("Search actions").fill("subscribe to nothing")
    await expect(visit.page.get_by_text("0 actions")).to_be_visible()
    await visit.page.get_by_label("Search actions").fill("configuration/sub")
    await visit.page.get_by_role("link", name="configuration/subscribe").click()
    await visit.accessible()
    await visit.fits()
    await visit.page.get_by_label("Members, as JSON").fill('{"names": ["explored.*"], "snapshot": false}')
    await visit.button("Send").click()
    await expect(visit.page.get_by_role("textbox", name="Answer")).to_contain_text('"mode": "live"')
    put(gateway, "explored.a", "1")
    await expect(visit.page.locator("pre").filter(has_text="explored.a")).to_be_visible()
    await visit.page.get_by_label("Members, as JSON").fill('{"names": 7}')
    await visit.button("Send").click()
    await expect(visit.page.get_by_role("textbox", name="Answer")).to_contain_text("400")


async def test_an_address_that_leads_nowhere_says_so(visit: Visit) -> None:
    """Nothing breaks, and a way goes on."""
    for place, says in {
        "nothing": "There is no such screen",
        "c/%E0%A4%A": "configuration",
        "one": "no configuration",
        "one/%00": "no configuration",
        "device/no-such": "There is no such device",
        "tenant/none": "none",
        "api/no/such": "actions",
        "rollout/9999": "There is no such rollout",
    }.items():
        await visit.open(place)
        await expect(visit.page.locator("main")).to_contain_text(says)
        await visit.accessible()


async def test_elements_are_shown_whatever_their_label_is(visit: Visit, gateway: RunningGateway) -> None:
    """A number, too; and each has only the findings that are about it."""
    tenant = Tenant(gateway, "documente")
    wrong = {"name": "City", "label": "City", "type": "Strng"}
    front: dict[str, Any] = {"uri": f"{STORE}Front", "label": "Front"}
    front |= {"attributes": [wrong | {"uri": f"{STORE}Front/attributes/City"}]}
    tenant.put(DOCUMENT | {"entityTypes": [*DOCUMENT["entityTypes"], front]})
    await visit.open("tenant/documente")
    await edit(visit, "CRM", '{"uri": "configuration/sources/CRM", "label": 12}')
    await expect(visit.page.get_by_role("button", name="Edit 12")).to_be_visible()
    await visit.button("Validate").click()
    cards = visit.page.locator("details .card")
    await expect(cards.filter(has_text="Front").locator(".wrong").first).to_contain_text("Strng")
    await expect(cards.filter(has=visit.page.get_by_text("Store", exact=True)).locator(".wrong")).to_have_count(0)
