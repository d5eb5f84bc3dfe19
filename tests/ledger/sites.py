"""What models of several gateways on one log have in common: three of them, and what goes wrong between them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol
from unittest import TestCase

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.ledger.shared import Fault, Step

GATEWAYS = 3

scripts = st.lists(
    st.lists(st.sampled_from([None, None, None, *Fault, "rival", "rival"]), max_size=3),
    min_size=GATEWAYS,
    max_size=GATEWAYS,
)
"""What happens to the next appends of each gateway."""

losses = st.lists(st.integers(0, 3), min_size=GATEWAYS, max_size=GATEWAYS)
"""How many of the next announcements of the feed each of them misses."""


class Follower(Protocol):
    """How a gateway has the log."""

    script: deque[Step]
    lose: int


class Sites(RuleBasedStateMachine):
    """Three gateways on one log; `followers` are theirs, once they are open."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.followers: list[Any] = []

    def run(self, work: Any) -> Any:
        """The result of a coroutine."""
        return self.loop.run_until_complete(work)

    def distort(
        self, given: Sequence[Sequence[Any]], lose: Sequence[int], rival: Callable[[int], Awaitable[object]]
    ) -> None:
        """Let all that happen to the next appends. `rival` has the gateway with a number append something first."""
        for number, follower in enumerate(self.followers):
            # Rivals have no rivals, or two appends would wait for one another.
            steps = [step for step in given[number] if number < GATEWAYS - 1 or step != "rival"]
            goes_first = partial(rival, (number + 1) % GATEWAYS)
            follower.script = deque(goes_first if step == "rival" else step for step in steps)
            follower.lose = lose[number]

    @abstractmethod
    async def close(self) -> None:
        """Close all gateways."""

    def teardown(self) -> None:
        """The end of an example."""
        self.run(self.close())
        self.loop.close()


def case_of(machine: type[Sites], what: str) -> type[TestCase]:
    """The test of a model; `what` says what it shows."""
    case: type[TestCase] = machine.TestCase
    case.settings = settings(  # type: ignore[attr-defined]
        max_examples=settings().max_examples,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    case.__doc__ = what
    return case
