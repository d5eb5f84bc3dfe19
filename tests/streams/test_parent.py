"""The logs of messages that a parent process serves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hivewire import link
from hivewire.streams.contract import LOGS
from hivewire.streams.message import KeyReused, NotStored, Undecided, Unsynced
from tests.running import PATIENCE
from tests.streams.kit import Clocks, draft, messages_on
from tests.streams.parent import Parent


async def test_a_gateway_whose_parent_hangs_up_hears_of_it(tmp_path: Path) -> None:
    """Both logs report it, so that the process ends instead of serving what is old. A close of its own is no loss."""
    parent = Parent(tmp_path / "messages")
    left, kept = parent.engine(), parent.engine()
    await left.open("ledger")
    await kept.open("ledger")
    for name in LOGS:
        await kept.log(name).confirm()
    await left.close()
    parent.hang_up()
    async with asyncio.timeout(PATIENCE):
        while kept.losses < len(LOGS):
            await asyncio.sleep(0)
    with pytest.raises(NotStored):
        await kept.log("commands").confirm()
    await kept.close()
    assert (left.losses, kept.losses) == (0, len(LOGS))


@pytest.mark.parametrize(("over", "told"), [(True, NotStored), (False, Undecided)])
async def test_a_message_whose_sync_failed_at_the_parent_is_undecided_until_it_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: bool, told: type
) -> None:
    """As one of the gateway's own storage: a start of the parent may find it."""

    async def fail(*_: object) -> None:
        raise Unsynced("input/output error")

    parent = Parent(tmp_path / "messages")
    gateway = messages_on(parent.engine(), Clocks())
    await gateway.open("ledger")
    log = parent._engine.log("commands")
    monkeypatch.setattr(log, "append", fail)
    if not over:
        monkeypatch.setattr(log, "confirm", fail)
    [failed] = await asyncio.gather(gateway.commands.insert(draft()), return_exceptions=True)
    await gateway.close()
    assert (type(failed), str(failed)) == (told, "input/output error")


async def test_gateways_that_insert_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the entry of the one before it, so that no message is stamped again."""
    monkeypatch.setattr(link, "CONTENDED_SECONDS", 3_600)
    monkeypatch.setattr(link, "TURN_SECONDS", 3_600)
    parent = Parent(tmp_path / "messages")
    engines = [parent.engine() for _ in range(3)]
    gateways = [messages_on(engine, Clocks()) for engine in engines]
    late: list[int] = []
    for engine, gateway in zip(engines, gateways, strict=True):
        await gateway.open("ledger")
        log = engine.log("commands")

        async def append(number: int, entry: bytes, append: Any = log.append) -> bool:
            stands: bool = await append(number, entry)
            if not stands:
                late.append(number)
            return stands

        monkeypatch.setattr(log, "append", append)
    for gateway in [*gateways, *gateways]:  # from now on they know of each other
        await gateway.commands.insert(draft())
    for _ in range(5):
        await asyncio.gather(*(gateway.commands.insert(draft()) for gateway in gateways))
    assert late == []
    for gateway in gateways:  # a turn in which there is nothing to append passes at once
        await gateway.commands.insert(draft(key="a"))
        with pytest.raises(KeyReused):
            await gateway.commands.insert(draft(key="a", value="b"))
    for gateway in gateways:
        await gateway.close()
