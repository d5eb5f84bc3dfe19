"""The logs of messages that a parent process serves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hivewire.streams.contract import LOGS
from hivewire.streams.message import NotStored
from tests.running import PATIENCE
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
