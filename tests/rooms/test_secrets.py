"""Secret values: nobody sees one without the right and without asking, in any answer, push, conflict or problem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw

from hivewire.actions.configuration import PAGE
from hivewire.ledger.records import AuditFilter, Change, Transaction, Write
from hivewire.schemas.survey import Survey
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.errors import AccessDenied, DoesNotFit, NotAllowed, ValuesDoNotFit, VersionConflict, WireError
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import (
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationList,
    ConfigurationPut,
    ConfigurationRollback,
    ConfigurationTransact,
    TransactChange,
)
from hivewire_protocol.nouns.schema import SchemaCheck, SchemaDelete, SchemaPut
from hivewire_protocol.permissions import ALL, Permission
from tests.rooms.fleets import fleet
from tests.rooms.test_hub import Peer, World
from tests.rooms.test_messages import ALSO, EXAMPLES
from tests.world import ALL as EVERYTHING

PLANTED = "planted-5f0c"
"""What no answer may contain."""

WITHOUT = [int(permission) for permission in sorted(ALL - {Permission.REVEAL_SECRET})]
"""All rights but the one to see secrets."""

BLIND = EVERYTHING & ~(1 << Permission.REVEAL_SECRET)
"""The same, of an identity."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One in which `kept` is secret, and has been there before that was so."""
    world = await World().open()
    await world.ask(ConfigurationPut(name="kept", value=f"{PLANTED}-1"))
    await world.ask(SchemaPut(names="k*", secret=True))
    await world.ask(ConfigurationPut(name="kept", value=f'{{"{PLANTED}":2}}', contentType="application/json"))
    planned = [TransactChange(operation="put", name="kept", value=f"{PLANTED}-later")]
    await world.ask(ConfigurationTransact(changes=planned, at=str(world.clock() + 1_000)))
    yield world
    await world.services.pool.close()
    await world.close()


async def answered(world: World, request: Request, caller: Any) -> bytes:
    """The members of the reply, or all of the error."""
    try:
        reply = await world.ask(request, caller)
    except WireError as error:
        return msgspec.json.encode([str(error), error.members])
    return bytes(reply.members())


REQUESTED: dict[str, list[dict[str, Any]]] = {
    "configuration/get": [{"entityVersion": 1}, {"revision": 7}, {"atLeast": 1}, {"reveal": True}],
    "configuration/list": [{"detail": True}, {"inline": 5, "detail": True}, {"names": ["kept"]}],
    "configuration/put": [
        {"dryRun": True},
        {"entityVersion": 9},
        {"revision": 9},
        {"value": "{", "contentType": "a/json"},
    ],
    "configuration/rollback": [{"to": 1}, {"to": 1, "dryRun": True}, {"to": 1, "entityVersion": 9}],
    "configuration/delete": [{"entityVersion": 9}],
    "configuration/transact": [
        {"changes": [{"operation": "put", "name": "kept", "value": "new", "entityVersion": 9}]},
        {"changes": [{"operation": "put", "name": "kept", "value": "new"}], "dryRun": True},
    ],
    "configuration/history": [{}, {"take": 1}],
    "configuration/subscribe": [{"names": ["kept"]}, {"reveal": True}, {"detail": True}],
    "schema/check": [
        {"names": "kept", "schema": {"const": 1}},
        {"names": "*", "schema": {"const": 1}},
        {"name": "kept", "value": "x"},
    ],
    "schema/put": [
        {"names": "kept", "schema": {"const": 1}},
        {"names": "kept", "schema": {"const": 1}, "dryRun": True},
        {"names": "kept", "schema": True, "force": True},
        {"names": "*", "schema": {"const": 1}},
    ],
    "schema/delete": [{"names": "k*"}],
    "schedule/list": [{}],
}
"""What the answers of a request may depend on."""


@pytest.mark.parametrize("action", REQUESTS)
async def test_no_answer_has_a_secret(world: World, action: str) -> None:
    """Of any action, for somebody with all rights but the one to see secrets; refusals included."""
    caller = world.caller(a=WITHOUT)
    needed = {name: EXAMPLES[name] for name in REQUESTS[action].required if name in EXAMPLES} | ALSO.get(action, {})
    for more in [{}, *REQUESTED.get(action, [])]:
        request = build(REQUESTS[action], decode_members(msgspec.json.encode({"requestId": 1, **needed, **more})))
        assert PLANTED.encode() not in await answered(world, request, caller), more


async def test_a_secret_value_is_null_and_says_so(world: World) -> None:
    """In every form of a configuration: neither its text nor its length is there."""
    got = await world.ask(ConfigurationGet(name="kept"))
    resource = {"name": "kept", "value": None, "entityVersion": 2, "contentType": "application/json", "secret": True}
    assert json.loads(got.resource) == resource
    [listed] = (await world.ask(ConfigurationList())).configurations
    assert msgspec.to_builtins(listed) == resource
    changes = (await world.ask(ConfigurationHistory(name="kept"))).changes
    assert [(each.configuration.value, each.configuration.secret) for each in changes] == 2 * [(None, True)]
    written = await world.ask(ConfigurationPut(name="kept", value="new"))
    assert (written.configuration.value, written.configuration.secret, written.configuration.size) == (
        None,
        True,
        UNSET,
    )
    back = await world.ask(ConfigurationRollback(name="kept", to=1))
    assert back.configuration.secret
    both = [TransactChange(operation="put", name=name, value=name) for name in ("kept", "open")]
    shown = (await world.ask(ConfigurationTransact(changes=both))).configurations
    assert [(each.value, each.secret) for each in shown] == [(None, True), ("open", UNSET)]
    with pytest.raises(VersionConflict) as conflict:
        await world.ask(ConfigurationPut(name="kept", value="x", entityVersion=1))
    assert conflict.value.members["change"].configuration.secret


async def test_no_history_is_too_long_for_its_secrets(world: World) -> None:
    """Else who adds versions of known lengths finds out how long a secret is; binary contents are left out too."""
    for _ in range(17):
        await world.ask(ConfigurationPut(name="kept", value="x" * 65_536))
    assert len((await world.ask(ConfigurationHistory(name="kept"))).changes) == 19
    await world.ledger.commit(Transaction([Write("configuration", "image", bytes(2 << 20), "image/png")], "admin"))
    [image] = (await world.ask(ConfigurationHistory(name="image"))).changes
    assert image.configuration.size == 2 << 20


async def test_a_history_shows_nothing_that_became_secret_while_it_was_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read in portions, between which a schema may come."""
    for number in range(PAGE + 1):
        await world.ask(ConfigurationPut(name="open", value=str(number)))
    portions: list[int] = []
    read = world.ledger.history

    async def history(*record: str, revision: int, take: int) -> list[Change]:
        if len(portions) == 1:
            await world.ask(SchemaPut(names="open", secret=True))
        portions.append(take)
        return await read(*record, revision=revision, take=take)

    monkeypatch.setattr(world.ledger, "history", history)
    found = (await world.ask(ConfigurationHistory(name="open", take=PAGE + 1))).changes
    assert [(each.configuration.value, each.configuration.secret) for each in found] == (PAGE + 1) * [(None, True)]


async def test_who_asks_and_may_sees_it_and_the_audit_notes_that(world: World) -> None:
    """Now and earlier, by version and revision; not without the right, which action 0 includes."""
    shown = await world.ask(ConfigurationGet(name="kept", reveal=True))
    assert shown.configuration.value == f'{{"{PLANTED}":2}}'
    earlier = await world.ask(ConfigurationGet(name="kept", entityVersion=1, reveal=True), world.caller(a=[100, 102]))
    assert (earlier.configuration.value, earlier.configuration.secret) == (f"{PLANTED}-1", UNSET)
    with pytest.raises(AccessDenied, match="this needs RevealSecret"):
        await world.ask(ConfigurationGet(name="kept", reveal=True), world.caller(a=[13]))
    await world.ledger.audit.flush()
    rows = await world.ledger.audit.read(AuditFilter(kind="reveal"), take=10)
    assert [(row.subject, row.author, row.address) for row in rows] == 2 * [("kept", "admin", "10.0.0.1")]
    assert (await world.ask(ConfigurationGet(name="kept"))).configuration.secret


async def test_a_cached_answer_does_not_outlive_a_schema(world: World) -> None:
    """What was read before it became secret is not shown afterwards, and the other way round."""
    await world.store("open", value=PLANTED)
    assert (await world.ask(ConfigurationGet(name="open"))).configuration.value == PLANTED
    await world.ask(SchemaPut(names="open", secret=True))
    assert (await world.ask(ConfigurationGet(name="open"))).configuration.value is None
    await world.ask(SchemaDelete(names="open"))
    assert (await world.ask(ConfigurationGet(name="open"))).configuration.value == PLANTED


def text(peer: Peer) -> str:
    """All that a connection got."""
    return json.dumps(peer.frames)


async def test_no_push_has_a_secret(world: World) -> None:
    """Neither of a snapshot nor of a change, in any form; who reveals gets both."""
    forms: list[dict[str, Any]] = [{}, {"detail": True}, {"inline": 65_000}, {"names": ["kept"], "snapshot": False}]
    peers = [world.peer(rights=BLIND) for _ in forms]
    for peer, form in zip(peers, forms, strict=True):
        peer.subscribe(**form)
    revealing = world.peer()
    assert revealing.subscribe(reveal=True)["status"] == "success"
    await world.quiet()
    await world.put("kept", "kind", value=f"{PLANTED}-3")
    await world.quiet()
    for peer in peers:
        assert PLANTED not in text(peer)
        assert text(peer).count('"secret": true') == (1 if peer is peers[-1] else 3)
    assert text(revealing).count(PLANTED) == 3
    assert "RevealSecret" in world.peer(rights=BLIND).subscribe(reveal=True)["error"]
    await world.ledger.audit.flush()
    rows = await world.ledger.audit.read(AuditFilter(kind="reveal"), take=10)
    assert [row.subject for row in rows] == ["*"]


async def test_what_was_pushed_is_not_pushed_again_once_it_is_secret(world: World) -> None:
    """Who catches up from memory gets the same change without its value."""
    early = world.peer(rights=BLIND)
    early.subscribe(names=["open"], snapshot=False)
    position = world.position(world.ledger.revision)
    await world.put("open", value=PLANTED)
    assert PLANTED in text(early)
    await world.ask(SchemaPut(names="open", secret=True))
    late = world.peer(rights=BLIND)
    assert late.subscribe(names=["open"], since=position)["mode"] == "resumed"
    await world.quiet()
    assert PLANTED not in text(late)
    assert '"secret": true' in text(late)


async def test_a_put_behind_the_schema_in_one_commit_is_pushed_without_its_value(world: World) -> None:
    """The hub hears of a commit after it is known what is secret."""
    peer = world.peer(rights=BLIND)
    peer.subscribe(snapshot=False)
    await asyncio.gather(
        world.ask(SchemaPut(names="fresh", secret=True)), world.ask(ConfigurationPut(name="fresh", value=PLANTED))
    )
    assert '"name": "fresh"' in text(peer)
    assert PLANTED not in text(peer)


async def test_a_token_that_may_not_reveal_any_more_gets_no_secrets(world: World) -> None:
    """The subscription stops at once."""
    peer = world.peer()
    peer.subscribe(reveal=True, snapshot=False)
    feed = peer.caller.feed
    assert feed is not None
    feed.renew(world.identity(rights=BLIND))
    await world.put("kept", value=f"{PLANTED}-4")
    await world.quiet()
    assert PLANTED not in text(peer)


async def test_problems_do_not_tell_a_secret(world: World) -> None:
    """Of a value that does not fit, of stored values, and in checks."""
    await world.ask(SchemaPut(names="kept", schema=Raw(b'{"type":"object"}'), secret=True, force=True))
    for content in (f'"{PLANTED}"', PLANTED):
        with pytest.raises(DoesNotFit) as refused:
            await world.ask(ConfigurationPut(name="kept", value=content))
        assert PLANTED not in str(refused.value) + repr(refused.value.members)
        checked = await world.ask(SchemaCheck(name="kept", value=content))
        assert PLANTED not in repr(checked)
    await world.store("other", value=PLANTED)
    with pytest.raises(ValuesDoNotFit) as misfits:
        await world.ask(SchemaPut(names="other", schema=Raw(b'{"type":"object"}'), secret=True))
    assert PLANTED not in str(misfits.value) + repr(misfits.value.members)


async def test_only_who_may_see_a_secret_changes_what_hides_it(world: World) -> None:
    """Else it could be uncovered, or found out with one schema after the other; others can make more secret."""
    manager = world.caller(a=WITHOUT)
    uncovering: list[Request] = [
        SchemaDelete(names="k*"),
        SchemaPut(names="k*", schema=Raw(b"true")),
        SchemaPut(names="kept", schema=Raw(b"true")),
        SchemaPut(names="kept*", schema=Raw(b"true"), dryRun=True),
        SchemaCheck(names="kept", schema=Raw(b'{"const":1}')),
        SchemaCheck(names="k*", schema=Raw(b'{"const":1}')),
    ]
    for request in uncovering:
        with pytest.raises(NotAllowed, match="secret: to change this needs RevealSecret"):
            await world.ask(request, manager)
    await world.ask(SchemaPut(names="m*", secret=True), manager)
    await world.ask(SchemaPut(names="*", schema=Raw(b'{"const":1}'), force=True), manager)
    stored = await world.ask(SchemaCheck(names="*", schema=Raw(b'{"const":1}')), manager)
    assert (stored.fits, stored.misfits) == (True, [])
    assert (await world.ask(ConfigurationGet(name="kept"))).configuration.secret
    await world.ask(SchemaDelete(names="k*"))
    assert not (await world.ask(ConfigurationGet(name="kept"))).configuration.secret


@pytest.mark.parametrize(
    "uncovering",
    [
        SchemaDelete(names="new*"),
        SchemaPut(names="new*", schema=Raw(b"true")),
        SchemaPut(names="new", schema=Raw(b"true")),
    ],
)
async def test_a_schema_that_hides_at_the_same_time_is_not_changed(world: World, uncovering: Request) -> None:
    """Both come before either is written: the one that makes values secret is the first, and stays."""
    await world.ask(SchemaPut(names="new*", schema=Raw(b"true")))
    hiding = world.ask(SchemaPut(names="new*", secret=True))
    done = await asyncio.gather(hiding, world.ask(uncovering, world.caller(a=WITHOUT)), return_exceptions=True)
    assert isinstance(done[1], NotAllowed)
    assert world.services.schemas.is_secret("new")


async def test_a_survey_tells_nothing_of_what_becomes_secret_during_it(world: World) -> None:
    """Neither of values that are stored then, nor of those that are to be."""
    schemas = world.services.schemas
    with Survey(schemas, "new*", b'{"type":"integer"}', secret=False, sees=lambda layer: True) as survey:
        await world.ask(SchemaPut(names="new*", secret=True))
        await world.ask(ConfigurationPut(name="new", value=f'"{PLANTED}"'))
        await survey.run()
        misfits = await survey.look_at([(None, "new", f'"{PLANTED}"')])
    assert [each.name for each in misfits] == ["new", "new"]
    assert PLANTED not in repr(misfits)


@pytest.mark.parametrize(("names", "rights", "misfits"), [("new.own*", WITHOUT, 0), ("new*", None, 1)])
async def test_a_survey_tells_nothing_of_what_becomes_secret_in_the_same_commit(
    world: World, names: str, rights: list[int] | None, misfits: int
) -> None:
    """Neither where the value has another schema then, nor where the new schema is for it."""
    requests = (
        world.ask(SchemaPut(names=names, secret=True)),
        world.ask(ConfigurationPut(name="new.own", value=f'"{PLANTED}"')),
        world.ask(SchemaPut(names="new*", schema=Raw(b'{"type":"integer"}')), world.caller(a=rights)),
    )
    refused = (await asyncio.gather(*requests, return_exceptions=True))[2]
    found = refused.members["misfits"] if isinstance(refused, ValuesDoNotFit) else []
    assert len(found) == misfits
    assert PLANTED not in f"{refused} {found}"


async def test_layers_and_what_devices_say_do_not_show_a_secret() -> None:
    """Neither a layer, nor what counts for a device, nor what it reported; the device itself has it."""
    async with fleet("lamp") as world:
        await world.ask(SchemaPut(names="k*", secret=True))
        await world.put("global", kept=f"{PLANTED}-5")
        identity = world.caller(a=WITHOUT).identity
        every, one, lamp = Peer(world, identity), Peer(world, identity), world.follow("lamp")  # type: ignore[arg-type]
        assert every.subscribe(layer="*")["status"] == "success"
        assert one.subscribe(layer="global", detail=True)["status"] == "success"
        seeing = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        assert "RevealSecret" in every.subscribe(layer="*", reveal=True)["error"]
        assert seeing.subscribe(layer="*", reveal=True, inline=500)["status"] == "success"
        await world.quiet()
        await world.put("global", kept=f"{PLANTED}-6")
        await world.quiet()
        report = [{"name": "kept", "tag": "x", "error": PLANTED}, {"name": "kind", "value": f"{PLANTED}-7"}]
        await world.do("device/report", lamp.caller, deviceId="lamp", report=report)
        blind = world.caller(a=WITHOUT)
        for action, members in (
            ("configuration/get", {"name": "kept", "layer": "global"}),
            ("configuration/list", {"layer": "global"}),
            ("configuration/list", {"layer": "*", "detail": True}),
            ("configuration/history", {"name": "kept", "layer": "global"}),
            ("device/effective", {"deviceId": "lamp"}),
        ):
            assert PLANTED not in json.dumps(await world.do(action, blind, **members)), action
        conflict = await world.no("configuration/put", blind, name="kept", layer="global", value="x", entityVersion=9)
        assert PLANTED not in repr(conflict)
        assert PLANTED not in text(every) + text(one)
        assert text(every).count('"secret": true') == text(one).count('"secret": true') == 2
        assert (f"{PLANTED}-5" in text(seeing), f"{PLANTED}-6" in text(seeing)) == (True, True)
        assert f"{PLANTED}-6" in text(lamp)
        shown = await world.do("configuration/get", name="kept", layer="global", reveal=True)
        assert shown["configuration"]["value"] == f"{PLANTED}-6"


async def test_no_tag_tells_a_secret() -> None:
    """Equal contents have equal tags, under any name: who may write would find a secret by trying values."""
    async with fleet("lamp") as world:
        await world.ask(SchemaPut(names="k*", secret=True))
        await world.put("global", kept=f"{PLANTED}-5", tried=f"{PLANTED}-5")
        lamp = world.follow("lamp")
        await world.quiet()
        tags = {each["name"]: each["tag"] for each in lamp.frames[0]["configurations"]}
        assert tags["kept"] == tags["tried"]
        await world.do("device/report", lamp.caller, deviceId="lamp", report=[{"name": "kept", "tag": tags["kept"]}])
        found = await world.do("device/effective", world.caller(a=WITHOUT), deviceId="lamp")
        kept, tried = found["configurations"]
        assert (kept["state"], tried["tag"]) == ("applied", tags["tried"])
        assert tags["kept"] not in json.dumps(kept)


async def test_the_audit_says_of_which_devices_a_token_is() -> None:
    """Devices get their secret values, so who makes tokens of them can too."""
    async with fleet("lamp") as world:
        asked = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceIds": ["lamp"]}
        await world.do("token/create", world.caller(a=WITHOUT), payload=asked)
        newest = (await world.do("audit/list", kind="token"))["rows"][0]
        assert newest["detail"]["deviceIds"] == ["lamp"]
