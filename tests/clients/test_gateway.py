"""The Python client with a gateway in a process of its own: what needs its HTTP dialects, and kills of the process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from hivewire_client import (
    ABSENT,
    Backoff,
    Changes,
    ClientCredentials,
    Conflict,
    Hivewire,
    LoginRequired,
    NotFound,
    Password,
    Reset,
    Unavailable,
    Uncertain,
)
from hivewire_client.testing import FakeGateway
from tests.clients.test_contract import client
from tests.running import PASSWORD, PATIENCE, RunningGateway

TENANT = "pyclient"


async def test_an_oauth_client_follows_a_document(shared_gateway: RunningGateway) -> None:
    """With its id and secret: the state, then which elements each save has changed."""
    login = Password("admin", PASSWORD)
    async with Hivewire(shared_gateway.url, token=login, names=[]) as admin:
        await admin.call("tenant/insert", tenantId=TENANT)
        made = await admin.call("client/insert", clientId="follower", tenants={TENANT: ["READ", "UPDATE"]})
    credentials = ClientCredentials("follower", made["clientSecret"])
    async with (
        Hivewire(shared_gateway.url, token=credentials, names=[]) as hw,
        httpx.AsyncClient(base_url=shared_gateway.url, timeout=PATIENCE) as http,
    ):
        await hw.ready(PATIENCE)
        assert credentials.subject == "client follower"
        http.headers["Authorization"] = f"Bearer {hw._tokens.current}"
        first = {"label": "Shop", "schemaVersion": "1", "entityTypes": []}
        path = f"/reltio/api/{TENANT}/configuration"
        async with asyncio.timeout(PATIENCE), hw.watch_tenant(TENANT) as watch:
            await watch.follow()
            assert (await http.put(path, json=first)).status_code == 200
            added = await anext(watch)
            assert (added.tenant, added.reset, "configuration" in added.added) == (TENANT, False, True)
            async with hw.watch_tenant(TENANT) as late:
                state = await anext(late)
            assert (state.reset, state.updated_time) == (True, added.updated_time)
            document = (await http.get(path)).json() | {"label": "Other"}
            saved = await http.put(path, json=document)
            assert saved.status_code == 200, saved.text
            async with hw.watch_tenant(TENANT, since=added.position) as again:
                for each in (await anext(watch), await anext(again)):
                    assert (each.modified, each.modified_by) == (["configuration"], "follower")
        with pytest.raises(NotFound):
            await anext(hw.watch_tenant("nobody"))
    async with Hivewire(shared_gateway.url, token=ClientCredentials("follower", "wrong"), names=[]) as wrong:
        with pytest.raises(LoginRequired, match="refused"):
            await wrong.ready(PATIENCE)


async def more(hw: Hivewire, before: dict[str, int]) -> int:
    """How many more subscriptions connections have than before. Those of other tests may be about to end."""
    found = (await hw.call("connection/list"))["connections"]
    return sum(max(0, each["subscriptions"] - before.get(each["connectionId"], 0)) for each in found)


async def cancelled(what: Coroutine[Any, Any, Any]) -> None:
    """Begin something, and cancel it when it has sent its first request."""
    task = asyncio.ensure_future(what)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_who_is_cancelled_before_the_answer_to_a_subscription_goes_on(shared_gateway: RunningGateway) -> None:
    """Such as by a timeout for the first item: the items come all the same, and what is left is left at the gateway."""
    device = {"name": "cancelled", "networkId": 1, "deviceTypeId": 1}
    async with Hivewire(shared_gateway.url, token=Password("admin", PASSWORD), names=[]) as hw:
        await hw.ready(PATIENCE)
        await hw.call("device/save", deviceId="cancelled", device=device)
        found = (await hw.call("connection/list"))["connections"]
        before = {each["connectionId"]: each["subscriptions"] for each in found}
        async with asyncio.timeout(PATIENCE), hw.commands("cancelled") as commands:
            await cancelled(anext(commands))
            assert await more(hw, before) == 1
            await hw.insert_command("cancelled", "go")
            assert (await anext(commands)).name == "go"
        with pytest.raises(NotFound):
            async with hw.commands("nobody") as nothing:
                await cancelled(anext(nothing))
                await anext(nothing)
        async with hw.commands("cancelled") as left:
            await cancelled(anext(left))
        await cancelled(hw.device("cancelled").__aenter__())
        async with asyncio.timeout(PATIENCE):
            while await more(hw, before):  # nobody waits for the ends of these
                pass
        assert not hw._link.subscriptions


async def test_contents_of_any_size(shared_gateway: RunningGateway) -> None:
    """What is longer than a message shows, or binary, is read and written over HTTP, with a version that is expected;
    a token that the gateway refuses is replaced."""
    async with Hivewire(shared_gateway.url, token=Password("admin", PASSWORD), names=["pyclient.*"]) as hw:
        await hw.ready(PATIENCE)
        long = "ü" * 70_000
        entry = await hw.put_content("pyclient.long text/1", long.encode(), description="why")
        assert (entry.value, entry.version, entry.size) == (None, 1, 140_000)
        assert (await hw.content("pyclient.long text/1")).decode() == long
        image = await hw.put_content("pyclient.image", b"\xff\0", content_type="image/png", expect=ABSENT)
        assert image.content_type == "image/png"
        with pytest.raises(Conflict) as conflict:
            await hw.put_content("pyclient.image", b"other", expect=ABSENT)
        assert conflict.value.change is not None
        assert conflict.value.change.modified_by == "admin"
        await hw.put_content("pyclient.image", b"second")
        assert await hw.content("pyclient.image", version=1) == b"\xff\0"
        with pytest.raises(NotFound, match=r"pyclient\.none"):
            await hw.content("pyclient.none")
        hw._link._token = "stale"
        assert await hw.content("pyclient.image") == b"second"


async def test_a_content_that_is_cut_off_may_have_been_written(fake: FakeGateway) -> None:
    """What only reads says that it cannot be done now."""
    async with client(fake) as hw:  # which breaks off whatever is no handshake
        with pytest.raises(Uncertain, match="may or may not"):
            await hw.put_content("a", b"1")
        with pytest.raises(Unavailable):
            await hw.content("a")


async def test_a_content_that_could_not_be_sent_was_not_written(fake: FakeGateway) -> None:
    """The gateway takes no more connections, but keeps the one that there is."""

    async def take_no_more() -> None:
        assert fake._server is not None
        fake._server.server.close()

    async with client(fake) as hw:
        fake._thread.run(take_no_more())
        with pytest.raises(Unavailable, match="no answer from"):
            await hw.put_content("a", b"1")


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.long)])
async def test_kills_of_the_gateway(data: Path, kills: int) -> None:
    """The process is killed again and again while values change: a watch sees each change once, in order."""
    gateway = RunningGateway(data)
    login = Password("admin", PASSWORD)
    seen: list[int] = []
    try:
        async with (
            Hivewire(gateway.url, token=login, names=["n"], backoff=Backoff(0.05, 0.1)) as hw,
            Hivewire(gateway.url, token=login, names=[], backoff=Backoff(0.05, 0.1)) as writer,
            asyncio.timeout(PATIENCE * kills),
            hw.watch() as watch,
        ):
            for number in range(3 * kills):
                await writer.put("n", number)
                if number % 3 == 1:
                    await asyncio.to_thread(gateway.stop, signal.SIGKILL)
                    gateway = await asyncio.to_thread(RunningGateway, data, "--port", str(gateway.port))
            while not seen or seen[-1] < 3 * kills - 1:
                event = await anext(watch)
                if isinstance(event, Changes | Reset):
                    seen += [int(change.entry.value or "") for change in event.changes]
    finally:
        gateway.stop(signal.SIGKILL)
    assert seen == [*range(3 * kills)]
