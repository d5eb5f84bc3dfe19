"""What expires and what is scheduled, at two gateways at once."""

from __future__ import annotations

import time
from functools import partial

from tests.gate.wire import until
from tests.running import Talk


def _nothing_waits(talk: Talk) -> bool:
    return bool(talk("schedule/list")["count"] == 0)


def carried_out_once(one: Talk, two: Talk) -> None:
    """Give both what expires and what is written later: each is done once, and both show the same end."""
    for number in range(20):
        talk = one if number % 2 else two
        assert talk("configuration/put", name=f"expires.{number:02}", value="v", ttl=1)["status"] == "success"
        planned = [{"operation": "put", "name": f"planned.{number:02}", "value": "v"}]
        at = str(time.time_ns() // 1_000_000 + 2_000)  # a machine may be so slow that one for all of them would be past
        assert talk("configuration/transact", changes=planned, at=at)["status"] == "success"
    for talk in (one, two):
        until(partial(_nothing_waits, talk))
        assert talk("configuration/list", names=["expires.*"])["count"] == 0
        planned = talk("configuration/list", names=["planned.*"])["configurations"]
        assert [each["entityVersion"] for each in planned] == [1] * 20
        for number in range(20):
            changes = talk("configuration/history", name=f"expires.{number:02}")["changes"]
            assert [each["description"] for each in changes] == ["expired", None]
