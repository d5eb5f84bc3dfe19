"""Long work on the event loop is done in slices of time, between which the loop serves others."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TypeVar

from hivewire_protocol.tenant.steps import Steps

SLICE_SECONDS = 0.002
"""Seconds that work may take before it yields to the event loop. The last step of a slice may take it beyond."""

_T = TypeVar("_T")


async def in_slices(steps: Steps[_T]) -> _T:
    """The result of long work that yields after each of its steps."""
    began = perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        if perf_counter() - began > SLICE_SECONDS:
            await asyncio.sleep(0)
            began = perf_counter()
