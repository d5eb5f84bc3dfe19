"""Unexpected errors are logged, so that those of one task or callback do not affect others, or end what goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec

P = ParamSpec("P")


def log_unexpected(message: str, error: Exception) -> None:
    """Hand an error to the exception handler of the event loop, which logs it."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


def safely(message: str, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a function; its error is logged under `message` and not raised."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        log_unexpected(message, error)


async def every(seconds: float, work: Callable[[], Awaitable[None]], message: str) -> None:
    """Do some work after each interval, for ever. Its errors are logged under `message`, and do not end it."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:
            log_unexpected(message, error)
